//! Routes by configuration, by the real binary: rooms, HTTP services, echoes; who may call them;
//! both dialects at one endpoint; generated clients.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
#![forbid(unsafe_code)]

#[path = "auth/services.rs"]
#[allow(dead_code, reason = "what other tests need")]
mod services;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fulmar_proto::ws::Opcode;
use fulmar_tests::client::{Client, frame, request};
use fulmar_tests::server::Binary;
use fulmar_tests::{eventually, timed};
use services::{File, Service, fulmar};
use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

const QUIET: Duration = Duration::from_millis(50);

/// A chat, as routes.
const CHAT: &str = "
[[endpoint.route]]
name = 'chat.messages'
room = 'chat:{params.0}'
[[endpoint.route]]
name = 'chat.send'
room = 'chat:{params.0}'
action = 'publish'
[[endpoint.route]]
name = 'echo'
echo = true
";

fn start(configuration: &str) -> Binary {
    let shards = "shards = 1\nworkers = 2\npin = false\n";
    Binary::start(&format!("{shards}{configuration}"), &["-v"])
}

fn rpc(more: &str, routes: &str) -> String {
    format!("[[endpoint]]\npath = '/ws'\ndialect = 'rpc'\n{more}\n{routes}")
}

/// A route that this service answers.
fn upstream(url: &str) -> String {
    format!("[[endpoint.route]]\nname = 'ask'\nhttp = '{url}'\n")
}

fn ask(client: &mut Client, text: &str) -> String {
    client.text(text);
    client.expect_text()
}

/// Calls `ask` of a server whose service answers so; the answer's JSON.
fn answered(client: &mut Client, params: &str) -> Value {
    let answer = ask(client, &format!(r#"{{"id":1,"method":"ask","params":{params}}}"#));
    sonic_rs::from_str(&answer).unwrap()
}

fn error(answer: &Value) -> (i64, String) {
    let error = answer.get("error").unwrap_or_else(|| panic!("{answer:?}"));
    (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
}

fn status(address: SocketAddr, target: &str) -> u16 {
    let mut client = Client::tcp(address);
    client.send(request(target, "").as_bytes());
    client.response().status
}

#[test]
fn what_one_client_publishes_another_one_hears() {
    let rooms = "[[endpoint]]\npath = '/rooms/:room'\nmode = 'room'\n";
    let server = start(&format!("{rooms}{}", rpc("", CHAT)));
    let mut ada = Client::open(server.address(), "/ws");
    let mut bob = Client::open(server.address(), "/ws");
    let mut text = Client::open(server.address(), "/rooms/chat:tea");
    bob.text(r#"{"id":7,"method":"chat.messages","params":["tea"]}"#);
    // In order after the subscription: it stands when this is answered.
    assert_eq!(
        ask(&mut bob, r#"{"id":8,"method":"echo","params":[1.50]}"#),
        r#"{"id":8,"result":1.50}"#
    );
    let told = ask(&mut ada, r#"{"id":1,"method":"chat.send","params":["tea",{"a":[1.50]}]}"#);
    assert_eq!(told, r#"{"id":1}"#);
    assert_eq!(bob.expect_text(), r#"{"id":7,"result":{"a":[1.50]}}"#);
    assert_eq!(text.expect_text(), r#"{"a":[1.50]}"#);
    ada.text(r#"{"method":"chat.send","params":["tea","hi"]}"#);
    assert_eq!(bob.expect_text(), r#"{"id":7,"result":"hi"}"#);
    assert_eq!(text.expect_text(), "hi");
    ada.text(r#"{"method":"chat.send","params":["tea",1,"two"]}"#);
    assert_eq!(bob.expect_text(), r#"{"id":7,"result":[1,"two"]}"#);
    assert_eq!(text.expect_text(), r#"[1,"two"]"#);
    text.text("from afar");
    assert_eq!(bob.expect_text(), r#"{"id":7,"result":"from afar"}"#);
    ada.expect_silence(QUIET);
    let own = ask(&mut bob, r#"{"id":9,"method":"chat.send","params":["tea","mine"]}"#);
    assert_eq!(own, r#"{"id":9}"#, "a publisher does not hear itself");
    bob.expect_silence(QUIET);
}

#[test]
fn calls_that_fit_no_route_are_refused() {
    let routes = format!(
        "{CHAT}params = [{{ type = 'object', required = ['n'], properties = {{ n = {{ type = \
         'integer' }} }} }}]\n"
    );
    let server = start(&rpc("", &routes));
    let mut client = Client::open(server.address(), "/ws");
    for (method, params, expected) in [
        ("nothing", "[]", r#"{"error":{"code":404,"message":"Not Found"},"id":1}"#),
        ("chat.send", "[\"tea\"]", "There is nothing to publish"),
        ("chat.send", "[7]", "There is nothing to publish"),
        ("chat.send", "[]", r#""code":400,"message":"Expected string or integer"#),
        ("chat.messages", "[{\"a\":1}]", r#""data":{"path":"/0","value":{"a":1}}"#),
        ("chat.messages", "[\"\"]", r#""data":{"path":"/0","value":""}"#),
        (
            "echo",
            "[]",
            r#""message":"Expected array length to be 1","data":{"path":"","value":[]}"#,
        ),
        ("echo", "[{}]", r#""message":"Expected required property","data":{"path":"/0/n"}"#),
        (
            "echo",
            "[{\"n\":\"x\"}]",
            r#""message":"Expected integer","data":{"path":"/0/n","value":"x"}"#,
        ),
        ("echo", "[{\"n\":5}]", r#"{"id":1,"result":{"n":5}}"#),
    ] {
        let text = format!(r#"{{"id":1,"method":"{method}","params":{params}}}"#);
        let answer = ask(&mut client, &text);
        assert!(answer.contains(expected), "{text}: {answer}");
    }
    let long = "x".repeat(300);
    let text = format!(r#"{{"id":1,"method":"chat.messages","params":["{long}"]}}"#);
    assert!(ask(&mut client, &text).contains("longer than 256 bytes"));
}

#[test]
fn rooms_that_the_patterns_do_not_allow_are_refused() {
    let more = "join = ['chat:t*', 'user:{user_id}']";
    let routes = format!("{CHAT}[[endpoint.route]]\nname = 'any'\nroom = '{{params.0}}'\n");
    let auth = "auth.methods = ['tokens']\nauth.tokens = ['sesame=ada']\n";
    let server = start(&format!("{auth}{}", rpc(more, &routes)));
    let mut client = Client::open(server.address(), "/ws?token=sesame");
    for (method, params) in
        [("chat.messages", "[\"wine\"]"), ("chat.send", "[\"wine\",1]"), ("any", "[\"user:bob\"]")]
    {
        let text = format!(r#"{{"id":1,"method":"{method}","params":{params}}}"#);
        let expected = r#"{"id":1,"error":{"code":403,"message":"Forbidden"}}"#;
        assert_eq!(ask(&mut client, &text), expected);
    }
    client.text(r#"{"id":1,"method":"any","params":["user:ada"]}"#);
    client.text(r#"{"id":2,"method":"chat.messages","params":["tea"]}"#);
    client.expect_silence(QUIET);
}

#[test]
fn rooms_of_the_server_itself_are_nobodys() {
    let routes = "[[endpoint.route]]\nname = 'any'\nroom = '{params.0}'\n";
    let server = start(&rpc("", routes));
    let mut client = Client::open(server.address(), "/ws");
    let answer = ask(&mut client, r#"{"id":1,"method":"any","params":["ws:client:x"]}"#);
    assert!(answer.contains("403"), "{answer}");
}

#[test]
fn a_service_answers_with_results() {
    let service = Service::start(|body| {
        let body: Value = sonic_rs::from_str(body).unwrap();
        match body["params"][0].as_str() {
            Some("nothing") => Some((204, String::new())),
            Some("empty") => Some((200, String::new())),
            Some("html") => Some((200, "<html>".to_owned())),
            _ => Some((200, format!("{{\"was\":{}}}", body["params"]))),
        }
    });
    let auth = "auth.methods = ['tokens']\nauth.tokens = ['sesame=ada']\n";
    let more = "upstream.headers = ['x-tenant']";
    let server = start(&format!("{auth}{}", rpc(more, &upstream(&service.url()))));
    assert_eq!(status(server.address(), "/ws"), 401);
    let mut client = Client::tcp(server.address());
    let upgraded = client.upgrade("/ws?token=sesame", "X-Tenant: red\r\nX-Other: blue\r\n");
    assert_eq!(upgraded.status, 101);
    let answer = ask(&mut client, r#"{"id":1,"method":"ask","params":[1.50,"a"]}"#);
    assert_eq!(answer, r#"{"id":1,"result":{"was":[1.5,"a"]}}"#);
    assert!(service.asked()[0].contains(r#""params":[1.50,"a"]"#), "as it was written");
    let question: Value = sonic_rs::from_str(&service.asked()[0]).unwrap();
    assert_eq!(question["method"].as_str(), Some("ask"));
    let about = &question["connection"];
    assert_eq!(about["user_id"].as_str(), Some("ada"));
    assert_eq!((about["ip"].as_str(), about["path"].as_str()), (Some("127.0.0.1"), Some("/ws")));
    assert_eq!(about["id"].as_str().map(str::len), Some(36));
    assert_eq!(about["headers"].as_array().unwrap().len(), 1);
    assert_eq!(about["headers"][0][1].as_str(), Some("red"));
    assert!(!service.asked()[0].contains("sesame"));
    assert_eq!(ask(&mut client, r#"{"id":2,"method":"ask","params":["nothing"]}"#), r#"{"id":2}"#);
    assert_eq!(ask(&mut client, r#"{"id":3,"method":"ask","params":["empty"]}"#), r#"{"id":3}"#);
    assert_eq!(error(&answered(&mut client, "[\"html\"]")).0, 502);
    client.text(r#"{"method":"ask","params":["told"]}"#);
    eventually("a notification is passed on", || service.asked().len() == 5);
    client.expect_silence(QUIET);
}

#[test]
fn errors_of_a_service_are_those_of_the_call() {
    let service = Service::start(|body| {
        let body: Value = sonic_rs::from_str(body).unwrap();
        let status = u16::try_from(body["params"][0].as_u64().unwrap()).unwrap();
        Some((status, body["params"][1].as_str().unwrap().to_owned()))
    });
    let server = start(&rpc("", &upstream(&service.url())));
    let mut client = Client::open(server.address(), "/ws");
    let mut told = |params: &str| {
        let answer = answered(&mut client, params);
        let (code, message) = error(&answer);
        (code, message, answer["error"].get("data").map(|data| data.to_string()))
    };
    assert_eq!(told("[404,\"\"]"), (404, "Not Found".to_owned(), None));
    assert_eq!(told("[500,\"<html>secret\"]"), (500, "Internal Server Error".to_owned(), None));
    let body = r#"[400,"{\"message\":\"bad\",\"code\":4711,\"data\":{\"field\":\"x\"}}"]"#;
    assert_eq!(told(body), (4711, "bad".to_owned(), Some(r#"{"field":"x"}"#.to_owned())));
    let body = r#"[418,"{\"message\":\"teapot\",\"hint\":1}"]"#;
    assert_eq!(told(body), (418, "teapot".to_owned(), Some(r#"{"hint":1}"#.to_owned())));
    assert_eq!(told("[302,\"\"]").0, 302);
}

#[test]
fn a_service_that_is_slow_or_down_costs_its_callers_no_more_than_the_timeout() {
    let service = Service::start(|_| None);
    let more = "upstream = { timeout = '200ms', concurrency_max = 1, queue_max = 1 }";
    let server = start(&rpc(more, &format!("{}{CHAT}", upstream(&service.url()))));
    let mut client = Client::open(server.address(), "/ws");
    let (answer, took) = timed(|| answered(&mut client, "[]"));
    assert_eq!(error(&answer), (504, "Upstream timed out".to_owned()));
    assert!(took >= Duration::from_millis(150), "{took:?}");
    let calls = (1..=5).map(|id| format!(r#"{{"id":{id},"method":"ask","params":[]}}"#));
    let echo = r#"{"id":6,"method":"echo","params":["quick"]}"#.to_owned();
    let frames = calls.chain([echo]).map(|call| frame(true, false, Opcode::Text, call.as_bytes()));
    client.send(&frames.collect::<Vec<_>>().concat());
    let answers: Vec<String> = (0..6).map(|_| client.expect_text()).collect();
    let place = |what: &str| answers.iter().position(|answer| answer.contains(what)).unwrap();
    assert!(place("quick") < place("504"), "{answers:?}");
    let busy = answers.iter().filter(|answer| answer.contains("Upstream is busy")).count();
    assert!((3..=4).contains(&busy), "{answers:?}");
    // A port where nobody listens any more.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = start(&rpc("", &upstream(&format!("http://{closed}/x"))));
    let mut client = Client::open(server.address(), "/ws");
    let down = error(&answered(&mut client, "[]"));
    assert_eq!(down, (502, "Upstream cannot be reached".to_owned()));
    assert!(!answers.concat().contains("127.0.0.1"));
}

#[test]
fn calls_that_take_too_long_or_come_too_often_are_answered() {
    let service = Service::start(|_| None);
    let slow = format!("{}timeout = '100ms'\n", upstream(&service.url()));
    let often = "[[endpoint.route]]\nname = 'often'\necho = true\nrate = '2/60s'\n";
    let bursts = "[[endpoint.route]]\nname = 'bursts'\necho = true\nrate = '3/1s'\n\
                  rate_kind = 'bucket'\n";
    let server = start(&rpc("", &format!("{slow}{often}{bursts}")));
    let mut client = Client::open(server.address(), "/ws");
    let (answer, took) = timed(|| answered(&mut client, "[]"));
    assert_eq!(error(&answer), (504, "Timed out".to_owned()));
    assert!((100..3000).contains(&took.as_millis()), "{took:?}");
    let mut call = |method: &str| {
        let answer = format!(r#"{{"id":1,"method":"{method}","params":[7]}}"#);
        let answer: Value = sonic_rs::from_str(&ask(&mut client, &answer)).unwrap();
        answer["error"]["data"]["retryAfter"].as_u64()
    };
    assert_eq!((call("often"), call("often")), (None, None));
    assert!(call("often").is_some_and(|wait| (50_000..=60_000).contains(&wait)));
    assert!((0..3).all(|_| call("bursts").is_none()));
    assert!(call("bursts").is_some_and(|wait| wait <= 334));
    eventually("there is room again", || call("bursts").is_none());
    // Another client has its own.
    let mut other = Client::open(server.address(), "/ws");
    let echoed = ask(&mut other, r#"{"id":1,"method":"often","params":[7]}"#);
    assert_eq!(echoed, r#"{"id":1,"result":7}"#);
}

#[test]
fn calls_that_nobody_waits_for_any_more_are_not_sent() {
    let (open, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (gate, count) = (open.clone(), asked.clone());
    let service = Service::start(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        eventually("the gate opens", || gate.load(Ordering::Relaxed));
        Some((200, "1".to_owned()))
    });
    let more = "upstream.concurrency_max = 1";
    let server = start(&rpc(more, &upstream(&service.url())));
    let mut gone = Client::open(server.address(), "/ws");
    let mut client = Client::open(server.address(), "/ws");
    client.text(r#"{"id":1,"method":"ask","params":["under way"]}"#);
    eventually("it is asked", || asked.load(Ordering::Relaxed) == 1);
    gone.text(r#"{"id":1,"method":"ask","params":["gone"]}"#);
    client.text(r#"{"id":2,"method":"ask","params":["cancelled"]}"#);
    client.expect_silence(QUIET);
    gone.reset();
    let aborted = ask(&mut client, r#"{"id":2,"method":".cancel"}"#);
    assert!(aborted.contains("AbortError"), "{aborted}");
    client.text(r#"{"method":".cancel","params":[1]}"#);
    client.text(r#"{"id":3,"method":"ask","params":["wanted"]}"#);
    client.expect_silence(QUIET);
    open.store(true, Ordering::Relaxed);
    assert_eq!(client.expect_text(), r#"{"id":3,"result":1}"#);
    let asked = service.asked();
    assert!(asked[0].contains("under way") && asked[1].contains("wanted"), "{asked:?}");
    assert_eq!(asked.len(), 2);
}

#[test]
fn clients_of_both_dialects_share_an_endpoint_and_its_rooms() {
    let endpoint = "[[endpoint]]\npath = '/ws'\ndialect = 'auto'\njoin = ['chat:*']\n";
    let routes = CHAT.replace("'publish'", "'publish'\nevent = 'message'");
    let server = start(&format!("{endpoint}{routes}"));
    let mut caller = Client::open(server.address(), "/ws");
    let mut member = Client::open(server.address(), "/ws");
    member.text(r#"{"event":"authenticate","data":{}}"#);
    assert!(member.expect_text().contains(r#""event":"connected""#));
    member.text(r#"{"event":"join","data":{"rooms":["chat:tea"]}}"#);
    caller.text(r#"{"id":1,"method":"chat.messages","params":["tea"]}"#);
    assert_eq!(
        ask(&mut caller, r#"{"id":2,"method":"echo","params":[2]}"#),
        r#"{"id":2,"result":2}"#
    );
    let mut third = Client::open(server.address(), "/ws");
    // The member's own room message comes once it is in.
    let mut heard = String::new();
    eventually("the member has joined", || {
        ask(&mut third, r#"{"id":3,"method":"chat.send","params":["tea",{"hot":true}]}"#);
        assert_eq!(caller.expect_text(), r#"{"id":1,"result":{"hot":true}}"#);
        if member.next_is_ready(50) {
            heard = member.expect_text();
        }
        !heard.is_empty()
    });
    if !heard.contains("hot") {
        heard = member.expect_text();
    }
    assert!(heard.contains(r#""event":"message""#) && heard.contains(r#"{"hot":true}"#), "{heard}");
}

#[test]
fn at_an_endpoint_of_both_dialects_nobody_unknown_calls_anything() {
    let auth = "auth.methods = ['tokens']\nauth.tokens = ['sesame=ada']\n";
    let endpoint = "[[endpoint]]\npath = '/ws'\ndialect = 'auto'\n";
    let service = Service::start(|_| Some((200, "1".to_owned())));
    let routes = format!("{CHAT}{}", upstream(&service.url()));
    let server = start(&format!("{auth}{endpoint}{routes}"));
    let mut unknown = Client::open(server.address(), "/ws");
    for call in [
        r#"{"id":1,"method":"echo","params":[1]}"#,
        r#"{"id":1,"method":"ask","params":[1]}"#,
        r#"{"id":1,"method":"chat.send","params":["tea",1]}"#,
        r#"{"id":1,"method":"chat.messages","params":["tea"]}"#,
    ] {
        let expected = r#"{"id":1,"error":{"code":401,"message":"Unauthorized"}}"#;
        assert_eq!(ask(&mut unknown, call), expected, "{call}");
    }
    assert!(service.asked().is_empty());
    assert_eq!(status(server.address(), "/ws?token=wrong"), 401);
    let mut known = Client::open(server.address(), "/ws?token=sesame");
    assert_eq!(
        ask(&mut known, r#"{"id":1,"method":"echo","params":[1]}"#),
        r#"{"id":1,"result":1}"#
    );
    let mut event = Client::open(server.address(), "/ws");
    event.text(r#"{"event":"authenticate","data":{"token":"sesame"}}"#);
    assert!(event.expect_text().contains(r#""userId":"ada""#));
    event.text(r#"{"event":"echo","data":{"a":1}}"#);
    let answer = event.expect_text();
    assert!(answer.contains(r#"{"a":1}"#), "an event may be a call: {answer}");
}

#[test]
fn anonymous_clients_may_call_where_a_method_takes_them() {
    let auth = "auth.methods = ['anonymous']\n";
    let endpoint = "[[endpoint]]\npath = '/ws'\ndialect = 'auto'\n";
    let server = start(&format!("{auth}{endpoint}{CHAT}"));
    let mut client = Client::open(server.address(), "/ws");
    assert_eq!(
        ask(&mut client, r#"{"id":1,"method":"echo","params":[1]}"#),
        r#"{"id":1,"result":1}"#
    );
}

#[test]
fn limits_of_calls_and_subscriptions_hold() {
    let service = Service::start(|_| None);
    let more = "rpc = { calls_max = 2, subscriptions_max = 1 }";
    let server = start(&rpc(more, &format!("{CHAT}{}", upstream(&service.url()))));
    let mut client = Client::open(server.address(), "/ws");
    client.text(r#"{"id":1,"method":"chat.messages","params":["a"]}"#);
    let refused = ask(&mut client, r#"{"id":2,"method":"chat.messages","params":["b"]}"#);
    assert!(refused.contains("Too many subscriptions"), "{refused}");
    client.text(r#"{"id":3,"method":"ask","params":[]}"#);
    let refused = ask(&mut client, r#"{"id":4,"method":"echo","params":["b"]}"#);
    assert!(refused.contains("Too many calls are pending"), "{refused}");
}

#[test]
fn clients_are_generated_from_the_configuration() {
    let routes = "
[[endpoint.route]]
name = 'chat.send'
room = 'chat:{params.0}'
action = 'publish'
params = [{ title = 'room', type = 'string' }, { title = 'text', type = 'string' }]
[[endpoint.route]]
name = 'count'
room = 'count'
result = { type = 'number' }
";
    let file = File::with(&rpc("", routes));
    let path = file.path().to_str().unwrap();
    let (code, module, errors) =
        fulmar(&["gen", "ts", "-c", path, "--client-import", "rpc-client"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(
        module.contains("import websocket from \"rpc-client/protocols/websocket\""),
        "{module}"
    );
    assert!(module.contains("room: string, text: string"), "{module}");
    let (code, schema, _) = fulmar(&["gen", "schema", "-c", path, "--endpoint", "/ws"]);
    let schema: Value = sonic_rs::from_str(&schema).unwrap();
    assert_eq!((code, schema["routes"]["count"]["pattern"].as_str()), (0, Some("s")));
    let directory = std::env::temp_dir().join(format!("fulmar-gen-{}", std::process::id()));
    let out = directory.to_str().unwrap();
    let check = ["gen", "ts", "-c", path, "--out", out, "--check"];
    assert_eq!(fulmar(&check).0, 1, "there is nothing yet");
    assert_eq!(fulmar(&check[..6]).0, 0);
    assert_eq!(fulmar(&check).0, 0);
    assert!(std::fs::read_to_string(directory.join("routes.d.ts")).unwrap().contains("number"));
    std::fs::remove_dir_all(directory).unwrap();
    let (code, _, errors) = fulmar(&["gen", "ts", "-c", path, "--endpoint", "/other"]);
    assert_eq!(code, 2);
    assert!(errors.contains("no endpoint at /other has routes; there is /ws"), "{errors}");
}

#[test]
fn the_profile_for_alien_rpc_starts() {
    let (code, profile, _) = fulmar(&["genconfig", "--profile", "rpc"]);
    assert_eq!(code, 0);
    let server = start(&profile);
    let mut client = Client::open(server.address(), "/ws");
    let answer = ask(&mut client, r#"{"id":1,"method":"echo","params":["a"]}"#);
    assert_eq!(answer, r#"{"id":1,"result":"a"}"#);
}

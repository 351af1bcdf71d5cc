//! Who is let in, by the real binary: every method, every refusal with its status and close code,
//! rooms, expiry, readiness and `fulmar emit`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
#![forbid(unsafe_code)]

#[path = "auth/services.rs"]
mod services;

use std::net::SocketAddr;
use std::time::Duration;

use fulmar_tests::client::{Client, Response, request};
use fulmar_tests::redis::Redis;
use fulmar_tests::server::Binary;
use fulmar_tests::{PATIENCE, eventually, holds_within, timed};
use services::{File, SECRET, Service, fulmar, key, key_set, signed, token, unsigned};

const FAILED: &str = r#"{"event":"error","data":{"message":"Authentication failed"}}"#;
const ERROR: &str = r#"{"event":"error","data":{"message":"Authentication error"}}"#;

/// `/ws` with events, `/echo` and `/rooms/:room` with texts.
const ENDPOINTS: &str = "
[[endpoint]]
path = '/ws'
dialect = 'event'
[[endpoint]]
path = '/echo'
subprotocols = ['chat']
[[endpoint]]
path = '/rooms/:room'
mode = 'room'
";

fn start(configuration: &str) -> Binary {
    let shards = "shards = 1\nworkers = 2\npin = false\n";
    Binary::start(&format!("{shards}{configuration}{ENDPOINTS}"), &["-v"])
}

/// One that knows [`SECRET`].
fn with_secret(more: &str) -> Binary {
    start(&format!("auth.methods = ['jwt']\nauth.jwt.secret = '{SECRET}'\n{more}"))
}

/// The answer to an upgrade request with these fields.
fn upgrade(address: SocketAddr, target: &str, fields: &str) -> Response {
    let mut client = Client::tcp(address);
    client.send(request(target, fields).as_bytes());
    client.response()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut client = Client::tcp(address);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    let response = client.response();
    (response.status, String::from_utf8(response.body).unwrap())
}

/// A connection to `/ws` that has sent this credential.
fn authenticating(address: SocketAddr, data: &str) -> Client {
    let mut client = Client::open(address, "/ws");
    client.text(&format!(r#"{{"event":"authenticate","data":{data}}}"#));
    client
}

fn shown(token: &str) -> String {
    format!(r#"{{"token":"{token}"}}"#)
}

/// Sends a credential that must be accepted; `connected` is what is told.
fn accepted(address: SocketAddr, data: &str) -> (Client, String) {
    let mut client = authenticating(address, data);
    let connected = client.expect_text();
    assert!(connected.starts_with(r#"{"event":"connected""#), "{connected}");
    (client, connected)
}

fn refused(address: SocketAddr, data: &str, error: &str) {
    let mut client = authenticating(address, data);
    assert_eq!(client.expect_text(), error);
    assert_eq!(client.expect_close(), (4003, "Authentication failed".to_owned()));
}

#[test]
fn a_static_token_lets_in_from_every_place_it_may_stand_in() {
    let server = start(
        "auth.methods = ['tokens']\nauth.cookie = 'session'\nauth.tokens = ['opensesame=ada']\n",
    );
    let address = server.address();
    assert_eq!(upgrade(address, "/echo", &bearer("opensesame")).status, 101);
    assert_eq!(upgrade(address, "/echo?token=opensesame", "").status, 101);
    assert_eq!(upgrade(address, "/echo", "Cookie: a=b; session=opensesame\r\n").status, 101);
    let response = upgrade(address, "/echo", "Sec-WebSocket-Protocol: bearer.opensesame, chat\r\n");
    assert_eq!(response.status, 101);
    assert_eq!(response.header("sec-websocket-protocol"), Some("chat"));
    for (target, fields) in [
        ("/echo", String::new()),
        ("/echo", bearer("sesame")),
        ("/echo?token=sesame", String::new()),
        ("/echo?token=opensesame&token=x", String::new()),
        ("/echo", "Cookie: session=x\r\n".to_owned()),
    ] {
        let response = upgrade(address, target, &fields);
        assert_eq!(response.status, 401, "{target} {fields}");
        assert_eq!(response.header("www-authenticate"), Some("Bearer"));
    }
    let (_client, connected) = accepted(address, &shown("opensesame"));
    assert!(connected.contains(r#""userId":"ada""#), "{connected}");
    refused(address, &shown("sesame"), FAILED);
    refused(address, "{}", FAILED);
    assert!(!server.log().iter().any(|line| line.contains("sesame")), "{:#?}", server.log());
}

#[test]
fn an_endpoint_may_ask_for_less() {
    let text = "
auth.methods = ['tokens']
auth.tokens = ['opensesame=ada']
[[endpoint]]
path = '/optional'
auth = 'optional'
[[endpoint]]
path = '/off'
auth = 'off'
[[endpoint]]
path = '/events'
dialect = 'event'
auth = 'optional'
";
    let server = start(text);
    let address = server.address();
    assert_eq!(upgrade(address, "/optional", "").status, 101);
    assert_eq!(upgrade(address, "/optional", &bearer("opensesame")).status, 101);
    assert_eq!(upgrade(address, "/optional", &bearer("x")).status, 401);
    assert_eq!(upgrade(address, "/off", &bearer("x")).status, 101);
    let mut client = Client::open(address, "/events");
    client.text(r#"{"event":"authenticate"}"#);
    let connected = client.expect_text();
    assert!(connected.contains("connected") && !connected.contains("userId"), "{connected}");
    let mut client = Client::open(address, "/events");
    client.text(r#"{"event":"authenticate","data":{"token":"x"}}"#);
    assert_eq!(client.expect_text(), FAILED);
}

#[test]
fn the_token_of_an_upgrade_counts_for_events_too() {
    let server = with_secret("");
    let address = server.address();
    let target = format!("/ws?token={}", signed(&[]));
    let mut client = Client::open(address, &target);
    client.text(r#"{"event":"authenticate"}"#);
    let connected = client.expect_text();
    assert!(connected.contains(r#""userId":"ada""#), "{connected}");
    assert_eq!(upgrade(address, "/ws?token=garbage", "").status, 401);
    assert_eq!(upgrade(address, "/ws", "").status, 101);
}

#[test]
fn every_algorithm_is_accepted_with_its_own_key_and_with_no_other() {
    let secret = format!("secret = '{SECRET}'");
    let public = |name: &str| format!("public_key_file = '{}'", key(name));
    let kinds = [
        ("HS256", secret, signed(&[])),
        ("RS256", public("rsa.public.pem"), token(&["--key", &key("rsa.private.pem")])),
        ("ES256", public("ec.public.pem"), token(&["--key", &key("ec.private.pem")])),
        ("EdDSA", public("ed.public.pem"), token(&["--key", &key("ed.private.pem")])),
    ];
    for (name, keys, _) in &kinds {
        let server = start(&format!("[auth]\nmethods = ['jwt']\n[auth.jwt]\n{keys}\n"));
        let address = server.address();
        for (other, _, token) in &kinds {
            let expected = if name == other { 101 } else { 401 };
            let response = upgrade(address, "/echo", &bearer(token));
            assert_eq!(response.status, expected, "{other} with the key of {name}");
            if name == other {
                accepted(address, &shown(token));
            } else {
                refused(address, &shown(token), FAILED);
            }
        }
    }
}

#[test]
fn each_refusal_has_its_status_its_close_code_and_its_count() {
    let server = with_secret(
        "auth.jwt.audience = ['chat']\nauth.jwt.issuer = 'us'\nauth.jwt.leeway = '0s'\n",
    );
    let address = server.address();
    let with = |claims: &[&str]| {
        let all = [&["aud=chat", "iss=us"], claims].concat();
        let flags: Vec<&str> = all.iter().flat_map(|claim| ["--claim", claim]).collect();
        signed(&flags)
    };
    let good = with(&[]);
    accepted(address, &shown(&good));
    let claims = r#"{"sub":"ada","aud":"chat","iss":"us","exp":99999999999}"#;
    let (start, signature) = good.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let broken = format!("{start}.{first}{}", &signature[1..]);
    for (token, reason) in [
        (with(&["exp=1000"]), "expired"),
        // The end of the century.
        (with(&["nbf=4102444800"]), "not_yet_valid"),
        (with(&["aud=mail"]), "wrong_audience"),
        (with(&["iss=them"]), "wrong_issuer"),
        (with(&["sub=\"\""]), "missing_claim"),
        (broken, "bad_signature"),
        (token(&["--secret", "another secret of more than 32 bytes"]), "bad_signature"),
        (token(&["--key", &key("ec.private.pem")]), "unsupported_algorithm"),
        (unsigned(r#"{"alg":"none"}"#, claims), "unsupported_algorithm"),
        (unsigned(r#"{"alg":"NONE","typ":"JWT"}"#, claims), "unsupported_algorithm"),
        (unsigned(r#"{"alg":"HS256","crit":["x"]}"#, claims), "malformed"),
        ("garbage".to_owned(), "malformed"),
        ("a.b.c.d.e".to_owned(), "malformed"),
    ] {
        let response = upgrade(address, "/echo", &bearer(&token));
        assert_eq!(response.status, 401, "{reason}");
        refused(address, &shown(&token), FAILED);
        let line = format!("reason={reason}");
        let count = || server.log().iter().filter(|known| known.contains(&line)).count();
        eventually("both refusals are logged", || count() >= 2);
    }
    // Longer than a request may be, so only as a message.
    refused(address, &shown(&"a".repeat(20_000)), FAILED);
    let counted = || server.log().iter().any(|line| line.contains("reason=too_long"));
    eventually("an oversized token is counted", counted);
    refused(address, r#"{"token":5}"#, FAILED);
    refused(address, "{}", FAILED);
    server.signal(rustix::process::Signal::TERM);
    let told = || {
        let log = server.log();
        log.iter().any(|line| line.contains("refused: missing 1, malformed 7, too_long 1"))
    };
    eventually("the end tells who was refused", told);
}

#[test]
fn a_public_key_is_no_secret() {
    let rsa = key("rsa.public.pem");
    let server =
        start(&format!("[auth]\nmethods = ['jwt']\n[auth.jwt]\npublic_key_file = '{rsa}'\n"));
    let forged = token(&["--secret-file", &rsa]);
    assert_eq!(upgrade(server.address(), "/echo", &bearer(&forged)).status, 401);
    refused(server.address(), &shown(&forged), FAILED);
}

#[test]
fn keys_of_a_set_are_chosen_by_their_id() {
    let ec = token(&["--key", &key("ec.private.pem"), "--key-id", "ec"]);
    let ed = token(&["--key", &key("ed.private.pem"), "--key-id", "ed"]);
    let swapped = token(&["--key", &key("ec.private.pem"), "--key-id", "ed"]);
    let unknown = token(&["--key", &key("ec.private.pem"), "--key-id", "other"]);
    let file = File::with(&key_set());
    let service = Service::start(|_| Some((200, key_set())));
    let path = file.path().display();
    for source in [format!("jwks_file = '{path}'"), format!("jwks_url = '{}'", service.url())] {
        let server = start(&format!("[auth]\nmethods = ['jwt']\n[auth.jwt]\n{source}\n"));
        let address = server.address();
        eventually("there are keys", || get(address, "/readyz").0 == 200);
        for (token, expected) in [(&ec, 101), (&ed, 101), (&swapped, 401), (&unknown, 401)] {
            let response = upgrade(address, "/echo", &bearer(token));
            assert_eq!(response.status, expected, "{source}");
        }
    }
}

#[test]
fn without_keys_nobody_is_let_in_and_the_server_is_not_ready() {
    let service = Service::start(|_| Some((500, String::new())));
    let url = service.url();
    let server = start(&format!("[auth]\nmethods = ['jwt']\n[auth.jwt]\njwks_url = '{url}'\n"));
    let address = server.address();
    eventually("the keys are asked for", || !service.asked().is_empty());
    let (status, body) = get(address, "/readyz");
    assert_eq!(status, 503);
    assert!(body.starts_with("auth: no keys for tokens: "), "{body}");
    assert_eq!(get(address, "/healthz"), (200, "ok\n".to_owned()));
    let token = token(&["--key", &key("ec.private.pem")]);
    assert_eq!(upgrade(address, "/echo", &bearer(&token)).status, 503);
    refused(address, &shown(&token), ERROR);
}

/// Answers by what stands in the question.
fn judge(question: &str) -> services::Answer {
    let yes = |text: &str| Some((200, text.to_owned()));
    match question {
        _ if question.contains("\"rooms\"") => yes(r#"{"rooms":["a","never asked for"]}"#),
        _ if question.contains("\"good\"") => {
            yes(r#"{"user_id":"ada","claims":{"team":"red"},"expires_in":3600}"#)
        }
        _ if question.contains("\"session\":\"s1\"") => yes(r#"{"user_id":"bob"}"#),
        _ if question.contains("\"nobody\"") => yes(r#"{"user_id":null}"#),
        _ if question.contains("\"slow\"") => None,
        _ if question.contains("\"broken\"") => yes("<html>"),
        _ => Some((403, String::new())),
    }
}

fn with_callback(url: &str, more: &str) -> Binary {
    start(&format!(
        "[auth]\nmethods = ['callback']\n[auth.callback]\nurl = '{url}'\nrooms_url = '{url}'\n\
         timeout = '500ms'\n{more}\n"
    ))
}

#[test]
fn a_callback_decides_who_a_client_is() {
    let service = Service::start(judge);
    let server = with_callback(&service.url(), "headers = ['x-tenant']");
    let address = server.address();
    let tenant = format!("{}X-Tenant: t1\r\nX-Other: hidden\r\n", bearer("good"));
    assert_eq!(upgrade(address, "/echo", &tenant).status, 101);
    let question = service.asked().pop().unwrap();
    assert!(question.starts_with(r#"{"kind":"authenticate","token":"good""#), "{question}");
    assert!(question.to_ascii_lowercase().contains(r#"["x-tenant","t1"]"#), "{question}");
    assert!(question.contains(r#""path":"/echo""#) && !question.contains("hidden"), "{question}");
    let (_client, connected) = accepted(address, &shown("good"));
    assert!(connected.contains(r#""userId":"ada""#), "{connected}");
    // The whole credential is passed on, with or without a token.
    let (_client, connected) = accepted(address, r#"{"session":"s1"}"#);
    assert!(connected.contains(r#""userId":"bob""#), "{connected}");
    let (_client, connected) = accepted(address, &shown("nobody"));
    assert!(!connected.contains("userId"), "{connected}");
    assert_eq!(upgrade(address, "/echo", &bearer("bad")).status, 401);
    refused(address, &shown("bad"), FAILED);
}

#[test]
fn a_callback_that_cannot_be_asked_is_not_the_clients_fault() {
    let service = Service::start(judge);
    let server = with_callback(&service.url(), "");
    let address = server.address();
    for token in ["slow", "broken"] {
        let (response, took) = timed(|| upgrade(address, "/echo", &bearer(token)));
        assert_eq!(response.status, 503, "{token}");
        assert!(took < Duration::from_secs(5), "{token} took {took:?}");
        refused(address, &shown(token), ERROR);
    }
    // Nobody listens where somebody did a moment ago.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = with_callback(&format!("http://{dead}/"), "");
    assert_eq!(upgrade(server.address(), "/echo", &bearer("good")).status, 503);
    refused(server.address(), &shown("good"), ERROR);
}

#[test]
fn a_credential_that_is_nested_deeply_harms_nobody() {
    let service = Service::start(judge);
    let server = with_callback(&service.url(), "");
    let address = server.address();
    for depth in [100, 1_000, 30_000] {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for data in [nested.clone(), format!(r#"{{"token":{nested}}}"#)] {
            let answer = authenticating(address, &data).expect_text();
            assert!(answer.starts_with(r#"{"event":"error""#), "{depth}: {answer}");
        }
    }
    accepted(address, &shown("good"));
}

#[test]
fn slow_callbacks_hold_up_nobody_else_and_do_not_pile_up() {
    let service = Service::start(judge);
    let server = with_callback(&service.url(), "concurrency_max = 1\nqueue_max = 1");
    let address = server.address();
    let (mut known, _) = accepted(address, &shown("good"));
    let slow: Vec<Client> = (0..10).map(|_| authenticating(address, &shown("slow"))).collect();
    let busy = || server.log().iter().any(|line| line.contains("reason=busy"));
    eventually("those that do not fit are refused", busy);
    let (_, took) = timed(|| {
        known.ping(b"x");
        known.expect_pong()
    });
    assert!(took < Duration::from_secs(2), "{took:?}");
    for mut client in slow {
        assert_eq!(client.expect_text(), ERROR);
        assert_eq!(client.expect_close().0, 4003);
    }
}

/// Whether what is said in the room reaches the client before long.
fn hears(address: SocketAddr, client: &mut Client, token: &str, room: &str) -> bool {
    hears_within(Duration::from_millis(300), address, client, token, room)
}

fn hears_within(
    most: Duration,
    address: SocketAddr,
    client: &mut Client,
    token: &str,
    room: &str,
) -> bool {
    let mut publisher = Client::tcp(address);
    publisher.upgrade(&format!("/rooms/{room}"), &bearer(token));
    publisher.text(room);
    let expected = format!(r#"{{"event":"message","data":"{room}"}}"#);
    let heard = holds_within(most, || client.next_is_ready(20));
    if heard {
        assert_eq!(client.expect_text(), expected);
    }
    heard
}

#[test]
fn clients_join_the_rooms_that_patterns_allow() {
    let text = "
[[endpoint]]
path = '/members'
dialect = 'event'
join = ['chat:*', 'user:{user_id}']
[[endpoint]]
path = '/teams'
dialect = 'event'
join = ['team:{claim.team}']
[[endpoint]]
path = '/own/:room'
mode = 'room'
room = 'user:{room}'
join = ['user:{user_id}']
";
    let server = with_secret(text);
    let address = server.address();
    let token = signed(&["--claim", "team=red"]);
    let member = |path: &str, rooms: &str| {
        let mut client = Client::open(address, path);
        client.text(&format!(r#"{{"event":"authenticate","data":{{"token":"{token}"}}}}"#));
        client.expect_text();
        client.text(&format!(r#"{{"event":"join","data":{{"rooms":{rooms}}}}}"#));
        client.ping(b"x");
        client.expect_pong();
        client
    };
    let mut client = member("/members", r#"["chat:a","user:ada","user:bob","team:red","*"]"#);
    for (room, expected) in [
        ("chat:a", true),
        ("chat:b", false),
        ("user:ada", true),
        ("user:bob", false),
        ("team:red", false),
    ] {
        let most = if expected { PATIENCE } else { Duration::from_millis(300) };
        let heard = hears_within(most, address, &mut client, &token, room);
        assert_eq!(heard, expected, "{room}");
    }
    // Whoever looks into claims does so on a worker, a moment later.
    let mut client = member("/teams", r#"["team:red","team:blue","chat:a"]"#);
    eventually("claims are looked at", || hears(address, &mut client, &token, "team:red"));
    assert!(!hears(address, &mut client, &token, "team:blue"));
    assert!(!hears(address, &mut client, &token, "chat:a"));
    // Without `join` nobody joins anything.
    let mut client = member("/ws", r#"["chat:a"]"#);
    assert!(!hears(address, &mut client, &token, "chat:a"));

    let mut own = Client::tcp(address);
    own.upgrade("/own/ada", &bearer(&token));
    own.text("x");
    own.ping(b"y");
    assert_eq!(own.expect_pong(), b"y");
    let mut other = Client::tcp(address);
    other.upgrade("/own/bob", &bearer(&token));
    assert_eq!(other.expect_close().0, 1008);
}

#[test]
fn a_callback_decides_about_rooms() {
    let service = Service::start(judge);
    let server = with_callback(&service.url(), "");
    let address = server.address();
    let (mut client, _) = accepted(address, &shown("good"));
    client.text(r#"{"event":"join","data":{"rooms":["a","b"]}}"#);
    eventually("the allowed room is joined", || hears(address, &mut client, "good", "a"));
    assert!(!hears(address, &mut client, "good", "b"));
    let asked = service.asked();
    let question = asked.iter().find(|question| question.contains("\"rooms\"")).unwrap();
    let expected = r#"{"kind":"rooms","user_id":"ada","claims":{"team":"red"},"rooms":["a","b"]}"#;
    assert_eq!(question, expected);
}

#[test]
fn a_token_that_expires_ends_its_connections_unless_there_is_a_newer_one() {
    let server = with_secret("auth.jwt.leeway = '0s'\n");
    let address = server.address();
    let short = signed(&["--expires-in", "5s"]);
    let mut text = Client::tcp(address);
    text.upgrade("/echo", &bearer(&short));
    let (mut expiring, _) = accepted(address, &shown(&short));
    let (mut refreshed, _) = accepted(address, &shown(&short));
    let authenticate =
        |token: &str| format!(r#"{{"event":"authenticate","data":{{"token":"{token}"}}}}"#);
    // A bad token changes nothing.
    refreshed.text(&authenticate("garbage"));
    assert_eq!(refreshed.expect_text(), FAILED);
    refreshed.text(&authenticate(&signed(&[])));
    let answer = refreshed.expect_text();
    assert!(answer.starts_with(r#"{"event":"refreshed","data":{"expires":"#), "{answer}");
    assert_eq!(expiring.expect_close().0, 4005);
    assert_eq!(text.expect_close().0, 4005);
    refreshed.ping(b"x");
    assert_eq!(refreshed.expect_pong(), b"x");
    assert_eq!(upgrade(address, "/echo", &bearer(&short)).status, 401);
}

#[test]
fn a_node_is_ready_while_redis_is_there() {
    let mut redis = Redis::start();
    let server = start(&format!("fabric.urls = ['{}']\n", redis.url()));
    let address = server.address();
    let (status, body) = get(address, "/readyz");
    assert_eq!(status, 200, "{body}");
    assert!(body.starts_with("ready\nfabric_published 0\n"), "{body}");
    let (mut client, _) = accepted(address, "{}");

    redis.kill();
    eventually("it is not ready", || get(address, "/readyz").0 == 503);
    let (_, body) = get(address, "/readyz");
    let first = body.lines().next().unwrap();
    assert!(first.starts_with("fabric: ") && first.contains("disconnected for "), "{body}");
    assert!(body.contains("\nfabric_reconnects 0\n"), "{body}");
    assert_eq!(get(address, "/healthz").0, 200);
    // Who is connected stays, and so does what this node does alone.
    client.ping(b"x");
    assert_eq!(client.expect_pong(), b"x");
    let (code, _, errors) = fulmar(&["emit", "all", "note", "1", "--url", &redis.url()]);
    assert_eq!(code, 1, "{errors}");

    redis.restart();
    eventually("it is ready again", || get(address, "/readyz").0 == 200);
    let (_, body) = get(address, "/readyz");
    assert!(body.contains("\nfabric_reconnects 2\n"), "{body}");
    let log = server.log();
    for message in ["fabric connected", "fabric disconnected", "fabric cannot connect"] {
        assert!(log.iter().any(|line| line.contains(message)), "{message}: {log:#?}");
    }
}

#[test]
fn what_is_emitted_reaches_clients() {
    let redis = Redis::start();
    let url = redis.url();
    let server = start(&format!(
        "fabric.urls = ['{url}']\nauth.methods = ['tokens']\nauth.tokens = ['a=ada', 'b=bob']\n"
    ));
    let (mut ada, connected) = accepted(server.address(), &shown("a"));
    let (mut bob, _) = accepted(server.address(), &shown("b"));
    let id = connected.split('"').nth(9).unwrap().to_owned();
    let mut client = redis.connect();
    let channel = format!("ws:client:{id}");
    eventually("the node listens", || {
        ["ws:user:ada", "ws:user:bob", "ws:room:ws-default", &channel]
            .iter()
            .all(|channel| client.subscribers(channel) > 0)
    });
    let emit = |words: &[&str]| fulmar(&[&["emit", "-v", "--url", &url], words].concat());
    assert_eq!(emit(&["user", "ada", "note", r#"{"n":1}"#]), (0, "1\n".into(), String::new()));
    assert_eq!(ada.expect_text(), r#"{"event":"note","data":{"n":1}}"#);
    assert_eq!(emit(&["client", &id, "note", "2"]).0, 0);
    assert_eq!(ada.expect_text(), r#"{"event":"note","data":2}"#);
    assert_eq!(emit(&["room", "ws-default", "note", "3", "--exclude", &id]).0, 0);
    assert_eq!(bob.expect_text(), r#"{"event":"note","data":3}"#);
    let (code, out, _) = fulmar(&["emit", "--url", &url, "all", "note"]);
    assert_eq!((code, out.as_str()), (0, ""));
    for client in [&mut ada, &mut bob] {
        assert_eq!(client.expect_text(), r#"{"event":"note","data":null}"#);
    }
}

#[test]
fn a_start_without_redis_waits_and_fails_or_serves() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("fabric.urls=[\"redis://:hunter2@{gone}\"]");
    let run = ["--listen", "127.0.0.1:0", "--set", &url, "--set", "fabric.start_timeout=200ms"];
    let (code, _, errors) = fulmar(&run);
    assert_eq!(code, 69, "{errors}");
    assert!(errors.contains("Redis did not become ready within 200 ms"), "{errors}");
    assert!(!errors.contains("hunter2"), "{errors}");
    let server = start(&format!("fabric.urls = ['redis://{gone}']\nfabric.start = 'serve'\n"));
    assert_eq!(get(server.address(), "/readyz").0, 503);
    assert_eq!(upgrade(server.address(), "/echo", "").status, 101);
}

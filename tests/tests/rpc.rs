//! The `rpc` dialect in a real server: answers, errors, streams, rooms, cancelling, closing.

use std::time::Duration;

use fulmar::dialect::rpc::Rpc;
use fulmar::handler::Subscription;
use fulmar::text::Text;
use fulmar::{
    Arg, Args, CallError, Connection, Endpoint, Promise, Result, Running, Server, State, Stream,
    Value, inline,
};
use fulmar_tests::client::Client;
use fulmar_tests::{eventually, server};
use std::sync::Mutex;

#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

fn start() -> Running {
    let add = |Args((a, b)): Args<(i64, i64)>| a + b;
    let fail = || -> Result<()> { Err(CallError::with_code(418, "teapot").field("hint", 1)) };
    let note = |seen: State<Seen>, Args((line,)): Args<(String,)>| {
        seen.0.0.lock().expect("nobody panics with it").push(line);
    };
    let count = |Args((to,)): Args<(u32,)>| Stream::iter(0..to);
    let never = || async {
        let (_kept, promise) = Promise::<Value>::pair();
        let answer = promise.await;
        std::future::pending::<()>().await;
        answer
    };
    let watch = |Args((room,)): Args<(String,)>| Subscription::new(&room);
    let say = |peer: Connection, Args((room, text)): Args<(String, String)>| {
        peer.room(&room).publish("said", &text)
    };
    let endpoint = Endpoint::new("/ws")
        .speaks(Rpc::default())
        .route("add", add)
        .route("fail", fail)
        .route("note", note)
        .route("count", count)
        .route("never", never)
        .route("watch", watch)
        .route("say", say);
    let server = Server::new(Seen::default()).config(server::config()).mount(endpoint);
    server.start("127.0.0.1:0").expect("a free port")
}

fn ask(client: &mut Client, text: &str) -> String {
    client.text(text);
    client.expect_text()
}

#[test]
fn what_a_handler_on_the_shard_asked_for_comes_before_its_answer() {
    let enter = inline(|peer: Connection, Args((room,)): Args<(String,)>| {
        drop(peer.join(&room));
        for n in 0..3 {
            peer.send_text(format!("{n}"));
        }
        "entered"
    });
    let shout = inline(|peer: Connection, Arg(text): Arg<String>| {
        drop(peer.join("all"));
        peer.send_text("first");
        drop(peer.room("all").publish("said", &text));
        "last"
    });
    let server = server::start(
        server::config(),
        vec![
            Endpoint::new("/ws").speaks(Rpc::default()).route("enter", enter),
            Endpoint::new("/text").speaks(Text::default()).on_message(shout),
        ],
    );
    let mut client = Client::open(server.local_addr(), "/ws");
    let entered = ask(&mut client, r#"{"id":1,"method":"enter","params":["r"]}"#);
    assert_eq!(entered, r#"{"id":1,"result":"entered"}"#, "rpc clients are told nothing else");
    let mut client = Client::open(server.local_addr(), "/text");
    client.text("hello");
    assert_eq!(client.expect_text(), "first");
    let mut rest = [client.expect_text(), client.expect_text()];
    rest.sort();
    assert_eq!(rest, ["hello", "last"]);
    server.stop();
}

#[test]
fn requests_are_answered_with_results_and_errors() {
    let server = start();
    let mut client = Client::open(server.local_addr(), "/ws");
    let sum = ask(&mut client, r#"{"id":1,"method":"add","params":[2,3]}"#);
    assert_eq!(sum, r#"{"id":1,"result":5}"#);
    let error = ask(&mut client, r#"{"id":"x","method":"fail","params":[]}"#);
    assert!(error.contains(r#""code":418"#) && error.contains(r#""hint":1"#), "{error}");
    let missing = ask(&mut client, r#"{"id":2,"method":"nothing","params":[]}"#);
    assert!(missing.contains(r#""code":404"#), "{missing}");
    let arity = ask(&mut client, r#"{"id":3,"method":"add","params":[2]}"#);
    assert!(arity.contains(r#""code":400"#), "{arity}");
    assert_eq!(ask(&mut client, r#"{"method":".ping"}"#), r#"{"pong":true}"#);
    client.text(r#"{"method":"note","params":["hello"]}"#);
    client.expect_silence(Duration::from_millis(30));
    server.kill();
}

#[test]
fn streams_end_and_calls_that_are_cancelled_are_forgotten() {
    let server = start();
    let mut client = Client::open(server.local_addr(), "/ws");
    client.text(r#"{"id":1,"method":"count","params":[3]}"#);
    let frames: Vec<_> = (0..4).map(|_| client.expect_text()).collect();
    assert!(
        frames[..3]
            .iter()
            .enumerate()
            .all(|(n, frame)| { *frame == format!(r#"{{"id":1,"result":{n}}}"#) })
    );
    assert!(frames[3].contains("close"), "{frames:?}");
    client.text(r#"{"id":2,"method":"never","params":[]}"#);
    let aborted = ask(&mut client, r#"{"id":2,"method":".cancel"}"#);
    assert!(aborted.contains("AbortError"), "{aborted}");
    let sum = ask(&mut client, r#"{"id":2,"method":"add","params":[1,1]}"#);
    assert_eq!(sum, r#"{"id":2,"result":2}"#, "the id is free again");
    server.kill();
}

#[test]
fn a_subscription_hears_its_room_under_its_own_id_until_it_is_cancelled() {
    let server = start();
    let mut ada = Client::open(server.local_addr(), "/ws");
    let mut bob = Client::open(server.local_addr(), "/ws");
    ada.text(r#"{"id":7,"method":"watch","params":["tea"]}"#);
    bob.text(r#"{"id":"b","method":"watch","params":["tea"]}"#);
    eventually("both watch", || server.stats().memberships == 2);
    ada.text(r#"{"method":"say","params":["tea","hot"]}"#);
    assert_eq!(ada.expect_text(), r#"{"id":7,"result":"hot"}"#);
    assert_eq!(bob.expect_text(), r#"{"id":"b","result":"hot"}"#);
    bob.text(r#"{"method":".cancel","params":["b"]}"#);
    eventually("one watches", || server.stats().memberships == 1);
    server.room("tea").publish("said", "cold").unwrap();
    assert_eq!(ada.expect_text(), r#"{"id":7,"result":"cold"}"#);
    bob.expect_silence(Duration::from_millis(30));
    server.kill();
}

#[test]
fn whoever_waits_is_told_before_the_server_closes() {
    let server = start();
    let mut client = Client::open(server.local_addr(), "/ws");
    client.text(r#"{"id":1,"method":"never","params":[]}"#);
    eventually("it runs", || server.stats().calls == 1);
    let stopping = std::thread::spawn(move || server.stop());
    let told = client.expect_text();
    assert!(told.contains(r#""id":1"#) && told.contains("503"), "{told}");
    assert_eq!(client.expect_close().0, 1001);
    drop(client);
    stopping.join().unwrap();
}

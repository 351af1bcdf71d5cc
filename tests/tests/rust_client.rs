//! The client in Rust and a real server: what each does when the other is slow, wrong or gone.
#![expect(clippy::needless_pass_by_value, reason = "handlers take their arguments by type")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fulmar::client::{CancelToken, Client, ClientError, ClientOptions, Retry, Subscription};
use fulmar::handler::End;
use fulmar::rpc::Rpc;
use fulmar::{
    Args, CallError, Connection, Defer, Endpoint, Numbered, Result, Running, Server, State, Stream,
    Timer, inline,
};
use fulmar_tests::{eventually, server};

#[derive(Debug, Default)]
struct Ends {
    begun: AtomicUsize,
    cancelled: AtomicUsize,
    disconnected: AtomicUsize,
}

fn watch_the_end(ends: &Arc<Ends>, defer: &Defer) {
    ends.begun.fetch_add(1, Ordering::SeqCst);
    let ends = ends.clone();
    defer.run(move |end| match end {
        End::Cancelled => _ = ends.cancelled.fetch_add(1, Ordering::SeqCst),
        End::Disconnected => _ = ends.disconnected.fetch_add(1, Ordering::SeqCst),
        _ => {}
    });
}

async fn slow(
    ends: State<Arc<Ends>>,
    defer: Defer,
    timer: Timer,
    Args((ms,)): Args<(u64,)>,
) -> String {
    watch_the_end(&ends.0, &defer);
    timer.sleep(Duration::from_millis(ms)).await;
    format!("slept {ms}")
}

fn count(ends: State<Arc<Ends>>, defer: Defer, Args((from,)): Args<(u64,)>) -> Stream<u64> {
    watch_the_end(&ends.0, &defer);
    Stream::iter(from..)
}

fn say(peer: Connection, Args((room, text)): Args<(String, String)>) -> Result<()> {
    Ok(peer.room(&room).publish("said", &text)?)
}

fn teapot() -> Result<()> {
    Err(CallError::with_code(418, "teapot").field("hint", 1))
}

fn start(ends: &Arc<Ends>, address: &str) -> Running {
    let endpoint = Endpoint::new("/api/ws")
        .speaks(Rpc::default())
        .route("add", inline(|Args((a, b)): Args<(i64, i64)>| a + b))
        .route("slow", slow)
        .route("count", count)
        .route("say", say)
        .route("teapot", teapot)
        .route("watch", |peer: Connection, Args((room,)): Args<(String,)>| {
            peer.room(&room).subscribe().numbered()
        });
    let started = Server::new(ends.clone()).config(server::config()).mount(endpoint);
    started.start(address).expect("the address is free")
}

fn client(server: &Running, options: ClientOptions) -> Client {
    let url = format!("http://{}/api", server.local_addr());
    Client::new(url, options).expect("a good address")
}

#[test]
fn results_errors_and_streams_arrive() {
    let ends = Arc::default();
    let server = start(&ends, "127.0.0.1:0");
    let client = client(&server, ClientOptions::default());
    let sum: i64 = client.request("add", (2, 3)).unwrap();
    assert_eq!(sum, 5);
    let wrong = client.request::<i64>("add", (2, "3")).unwrap_err();
    let ClientError::Request(wrong) = wrong else { panic!("{wrong}") };
    let data: std::collections::BTreeMap<String, fulmar::Value> =
        wrong.data.unwrap().parse().unwrap();
    assert_eq!((wrong.code, data["path"].to_text()), (400, "/1".into()));
    let teapot = client.request::<()>("teapot", ()).unwrap_err();
    assert!(matches!(teapot, ClientError::Request(error) if error.code == 418));
    let missing = client.request::<()>("nowhere", ()).unwrap_err();
    assert!(matches!(missing, ClientError::Request(error) if error.code == 404));
    let some: Subscription<u64> = client.subscribe("count", (5,)).unwrap();
    let some: Vec<u64> = some.take(3).map(|item| item.unwrap()).collect();
    assert_eq!(some, [5, 6, 7]);
    eventually("what is dropped is cancelled", || ends.cancelled.load(Ordering::SeqCst) == 1);
    assert_eq!(server.stats().accepted, 1);
    server.stop();
}

#[test]
fn a_subscription_of_a_room_hears_every_message_with_its_number() {
    let server = start(&Arc::default(), "127.0.0.1:0");
    let hearing = client(&server, ClientOptions::default());
    let saying = client(&server, ClientOptions::default());
    let mut heard: Subscription<Numbered<String>> = hearing.subscribe("watch", ("r",)).unwrap();
    // Answered behind the subscription: it is in force.
    let _: i64 = hearing.request("add", (0, 0)).unwrap();
    eventually("it is a member", || server.stats().memberships == 1);
    let texts: Vec<String> = (0..100).map(|n| format!("message {n}")).collect();
    for text in &texts {
        saying.notify("say", ("r", text)).unwrap();
    }
    let heard: Vec<_> = heard.by_ref().take(100).map(|item| item.unwrap()).collect();
    assert!(heard.iter().map(|item| &item.data).eq(&texts));
    assert!(heard.windows(2).all(|two| two[1].number == two[0].number + 1));
    server.stop();
}

#[test]
fn what_is_given_up_is_stopped_on_the_server() {
    let ends = Arc::<Ends>::default();
    let server = start(&ends, "127.0.0.1:0");
    let client = client(&server, ClientOptions::default());
    let late = client.call("slow").args((60_000,)).timeout(Duration::from_millis(50));
    assert!(matches!(late.request::<String>(), Err(ClientError::Timeout)));
    eventually("it is cancelled", || ends.cancelled.load(Ordering::SeqCst) == 1);
    let token = CancelToken::new();
    let (calling, cancelling) = (client.clone(), token.clone());
    let waiting = std::thread::spawn(move || {
        calling.call("slow").args((60_000,)).token(&cancelling).request::<String>()
    });
    eventually("it has begun", || ends.begun.load(Ordering::SeqCst) == 2);
    token.cancel();
    assert!(matches!(waiting.join().unwrap(), Err(ClientError::Aborted)));
    eventually("that one, too", || ends.cancelled.load(Ordering::SeqCst) == 2);
    let (calling, waiting) = (client.clone(), client.clone());
    let waiting = std::thread::spawn(move || waiting.request::<String>("slow", (60_000,)));
    eventually("a third one has begun", || ends.begun.load(Ordering::SeqCst) == 3);
    calling.close();
    assert!(waiting.join().unwrap().is_err());
    eventually("the server sees the end", || ends.disconnected.load(Ordering::SeqCst) == 1);
    server.stop();
}

#[test]
fn a_server_that_ends_answers_what_is_pending_and_one_that_comes_back_is_found() {
    let ends = Arc::<Ends>::default();
    let server = start(&ends, "127.0.0.1:0");
    let address = server.local_addr().to_string();
    let retry = Retry {
        limit: 100,
        delay: Duration::from_millis(10),
        backoff_limit: Duration::from_millis(50),
        jitter: true,
    };
    let client = client(&server, ClientOptions { retry, ..ClientOptions::default() });
    let calling = client.clone();
    let waiting = std::thread::spawn(move || calling.request::<String>("slow", (200,)));
    eventually("it has begun", || ends.begun.load(Ordering::SeqCst) == 1);
    server.stop();
    let ended = waiting.join().unwrap().unwrap_err();
    assert!(matches!(ended, ClientError::Request(error) if error.code == 503));
    let calling = client.clone();
    let waiting = std::thread::spawn(move || calling.request::<i64>("add", (1, 2)));
    let server = start(&ends, &address);
    assert_eq!(waiting.join().unwrap().unwrap(), 3);
    server.stop();
    let once = client.call("add").args((1, 2)).retry(0);
    let refused = once.request::<i64>().unwrap_err();
    assert_eq!(refused.name(), "ws.ConnectionError");
}

#[test]
fn a_pool_spreads_calls_over_its_connections() {
    let ends = Arc::<Ends>::default();
    let server = start(&ends, "127.0.0.1:0");
    let client = client(&server, ClientOptions { pool: 3, ..ClientOptions::default() });
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| client.request::<String>("slow", (100,)).unwrap());
        }
    });
    assert_eq!(server.stats().accepted, 3);
    server.stop();
}

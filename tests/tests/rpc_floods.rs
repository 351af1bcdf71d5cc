//! Calls over the `rpc` dialect in great numbers: nothing of them is left, and nobody else waits.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![expect(clippy::needless_pass_by_value, reason = "handlers take their arguments by type")]
#![expect(clippy::disallowed_methods, reason = "clients live in real time")]
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fulmar::rpc::Rpc;
use fulmar::{Args, Config, Defer, Endpoint, Running, Server, State, Stream, Subscription, inline};
use fulmar_tests::rpc_client::RpcClient;
use fulmar_tests::{eventually, memory, server, timed};

/// What runs now, how often it has begun, and how often a call's end was told.
#[derive(Default)]
struct Count {
    now: AtomicUsize,
    begun: AtomicUsize,
    ended: AtomicUsize,
}

/// Counts for as long as it is there.
struct Counted(Arc<Count>);

impl Counted {
    fn new(count: &State<Count>) -> Self {
        count.now.fetch_add(1, Ordering::SeqCst);
        Self(count.0.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn slow(count: State<Count>, defer: Defer) {
    let _counted = Counted::new(&count);
    count.begun.fetch_add(1, Ordering::SeqCst);
    defer.run(move |_| _ = count.ended.fetch_add(1, Ordering::SeqCst));
    std::future::pending().await
}

/// One item, and then it waits.
fn stream(count: State<Count>) -> Stream<u32> {
    let counted = Counted::new(&count);
    Stream::produce(move |items| async move {
        let _counted = counted;
        items.send(1).await?;
        std::future::pending().await
    })
}

fn watch(Args((room,)): Args<(String,)>) -> Subscription {
    Subscription::new(&room)
}

fn start(shards: usize) -> (Running, Arc<Count>) {
    let mut config = Config { shards, ..server::config() };
    config.limits.calls_queued_max = 4096;
    config.limits.rooms_per_connection_max = 4096;
    let count = Arc::new(Count::default());
    let endpoint = Endpoint::new("/ws")
        .speaks(Rpc::default())
        .route("slow", slow)
        .route("stream", stream)
        .route("watch", watch)
        .route("watchInline", inline(watch))
        .route("add", |Args((a, b)): Args<(i64, i64)>| a + b);
    let server = Server::with_shared(count.clone()).config(config).mount(endpoint);
    (server.start("127.0.0.1:0").unwrap(), count)
}

fn client(server: &Running) -> RpcClient {
    RpcClient::open(server.local_addr(), "/ws")
}

/// Nothing of any call is left, only what so many idle clients have.
fn expect_nothing_left(server: &Running, count: &Count, clients: u64) {
    eventually("nothing is left", || {
        let stats = server.stats();
        let left = (stats.memberships, stats.rooms, stats.calls_now);
        left == (0, 0, clients) && count.now.load(Ordering::SeqCst) == 0
    });
}

#[test]
fn of_a_hundred_thousand_subscriptions_nothing_is_left() {
    const WAVES: u64 = 100;
    /// Of each wave and connection: rooms by worker, rooms at once, streams.
    const EACH: [(u64, &str); 3] = [(100, "watch"), (100, "watchInline"), (50, "stream")];
    let (server, count) = start(2);
    let mut clients = [(); 4].map(|()| client(&server));
    let mut resident = Vec::new();
    for wave in 0..WAVES {
        for (number, client) in clients.iter_mut().enumerate() {
            let mut ids = Vec::new();
            for (times, method) in EACH {
                // Some rooms are everybody's, most are somebody's only.
                let params = |id: u64| match (method, id % 5) {
                    ("stream", _) => String::new(),
                    (_, 0) => format!("\"all/{id}\""),
                    _ => format!("\"{number}/{id}\""),
                };
                let first = client.requests(times, method, params);
                ids.extend(first..first + times);
            }
            // Every other wave is cancelled before it is all open.
            if wave % 2 == 1 {
                client.cancel_all(ids);
            }
        }
        if wave % 2 == 0 {
            let streams = || count.now.load(Ordering::SeqCst);
            eventually("all are open", || server.stats().memberships == 800 && streams() == 200);
            for client in &mut clients {
                client.settle();
                let last = (wave + 1) * 250;
                client.cancel_all(last - 249..=last);
            }
        }
        for client in &mut clients {
            client.settle();
        }
        expect_nothing_left(&server, &count, 4);
        resident.push(memory::resident(std::process::id()));
    }
    let half = resident.len() / 2;
    let (middle, end) = (resident[half], *resident.last().unwrap());
    assert!(end < middle + (4 << 20), "{middle} bytes after {half} waves, {end} at the end");
    server.kill();
}

#[test]
fn what_is_requested_and_cancelled_in_floods_leaves_nothing_and_holds_up_nobody() {
    const CALLS: u64 = 20_000;
    let (server, count) = start(2);
    let (mut flooder, mut other) = (client(&server), client(&server));
    let mut worst = Duration::ZERO;
    for first in (1..=CALLS).step_by(500) {
        let ids = first..first + 500;
        let request = |id| format!(r#"{{"method":"slow","params":[],"id":{id}}}"#);
        let cancel = |id| format!(r#"{{"method":".cancel","params":[{id}]}}"#);
        if first % 1000 == 1 {
            // Before it has begun, as a rule.
            flooder.send_all(ids.flat_map(|id| [request(id), cancel(id)]));
        } else {
            flooder.send_all(ids.clone().map(request));
            eventually("some run", || count.now.load(Ordering::SeqCst) > 0);
            flooder.send_all(ids.rev().map(cancel));
        }
        let (sum, took) = timed(|| other.ask("add", "1,2"));
        assert!(sum.ends_with(r#""result":3}"#), "{sum}");
        worst = worst.max(took);
    }
    assert_eq!(flooder.settle(), [""; 0], "who cancelled hears nothing");
    assert!(worst < Duration::from_secs(2), "{worst:?}");
    expect_nothing_left(&server, &count, 2);
    let [begun, ended] = [&count.begun, &count.ended].map(|count| count.load(Ordering::SeqCst));
    assert!(begun > 0 && begun == ended, "{begun} have begun, {ended} ended");
    assert_eq!(flooder.ask("add", "2,2"), r#"{"id":1,"result":4}"#);
    server.kill();
}

#[test]
fn a_thousand_open_subscriptions_do_not_make_a_call_slower() {
    const CALLS: u64 = 2000;
    const ROUNDS: usize = 200;
    // Both clients are served by one thread.
    let (server, count) = start(1);
    let (mut idle, mut busy) = (client(&server), client(&server));
    busy.requests(500, "watch", |id| format!("\"{id}\""));
    busy.requests(500, "stream", |_| String::new());
    eventually("all are open", || {
        server.stats().memberships == 500 && count.now.load(Ordering::SeqCst) == 500
    });
    let mut items = 0;
    while items < 500 {
        assert!(busy.socket.expect_text().ends_with(r#""result":1}"#));
        items += 1;
    }
    let round = |client: &mut RpcClient| {
        let began = Instant::now();
        client.requests(CALLS, "add", |id| format!("{id},0"));
        let answers = (0..CALLS).map(|_| client.socket.expect_text());
        assert!(answers.into_iter().all(|answer| !answer.contains("error")));
        began.elapsed()
    };
    // What else the machine does only adds to a time: the least of many rounds is what the calls
    // take. Were they slower, no number of rounds would bring the two together.
    let mut least = [Duration::MAX; 2];
    let alike = (0..ROUNDS).any(|_| {
        least[0] = least[0].min(round(&mut idle));
        least[1] = least[1].min(round(&mut busy));
        least[1] < least[0] * 3 / 2
    });
    assert!(alike, "{:?} instead of {:?}", least[1], least[0]);
    server.kill();
}

//! What calls over the `rpc` dialect may rely on, in a real server: how they end, in which order
//! they are answered, what stands in front of them, what subscribers hear.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![expect(clippy::needless_pass_by_value, reason = "handlers take their arguments by type")]
#![expect(clippy::disallowed_methods, reason = "clients live in real time")]
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fulmar::dialect::stub::Settler;
use fulmar::rpc::Rpc;
use fulmar::{
    Args, Backpressure, CallError, Cancelled, Config, Connection, Context, Defer, Endpoint,
    EndpointOptions, Hub, Promise, Rate, Result, Running, Server, State, Stream, Subscription,
    Timer, Value, worker,
};
use fulmar_tests::client::Client;
use fulmar_tests::rpc_client::RpcClient;
use fulmar_tests::{PATIENCE, eventually, server};
use sonic_rs::JsonValueTrait;

/// Soon enough for whoever has cancelled: as a rule, and however busy the machine is.
const SOON: Duration = Duration::from_millis(50);
const LATEST: Duration = Duration::from_secs(5);

/// How long nothing may come where nothing is to come.
const QUIET: Duration = Duration::from_millis(30);

/// What handlers tell the test.
type Told = (&'static str, String, Instant);

struct World {
    told: Mutex<Sender<Told>>,
    notes: Mutex<Vec<u32>>,
    gates: Mutex<HashMap<u32, Settler>>,
    /// How many hold a worker now, and did at most.
    now: AtomicUsize,
    most: AtomicUsize,
    made: AtomicUsize,
}

impl World {
    fn tell(&self, what: &'static str, more: &str) {
        let _gone = self.told.lock().unwrap().send((what, more.to_owned(), Instant::now()));
    }
}

/// Tells that it is dropped.
struct Leaving(Arc<World>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.tell("left", "");
    }
}

/// Tells when the call begins, when the handler is left, and how it ends.
fn watch(world: &State<World>, defer: &Defer) -> Leaving {
    let told = world.clone();
    defer.run(move |end| told.tell("end", &format!("{end:?}")));
    world.tell("began", "");
    Leaving(world.0.clone())
}

fn block(world: State<World>, cancelled: Cancelled, defer: Defer) -> Result<()> {
    let _leaving = watch(&world, &defer);
    while !cancelled.is_cancelled() {
        thread::park_timeout(Duration::from_millis(1));
    }
    Err(CallError::new("given up"))
}

async fn wait(world: State<World>, defer: Defer) {
    let _leaving = watch(&world, &defer);
    std::future::pending().await
}

fn tick(world: State<World>, timer: Timer, defer: Defer) -> Stream<u64> {
    let leaving = watch(&world, &defer);
    Stream::produce(move |items| async move {
        let _leaving = leaving;
        for number in 0.. {
            items.send(number).await?;
            timer.sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    })
}

/// As many as are wanted, each of 4 KiB.
fn pour(world: State<World>) -> Stream<String> {
    let filling = "x".repeat(4087);
    Stream::iter((0_u64..).map(move |number| {
        world.made.fetch_add(1, Ordering::Relaxed);
        format!("{number:08} {filling}")
    }))
}

fn succeed(world: State<World>, defer: Defer) -> &'static str {
    watch(&world, &defer);
    "done"
}

fn fail(world: State<World>, defer: Defer) -> Result<()> {
    watch(&world, &defer);
    Err(CallError::with_code(418, "teapot"))
}

fn gated(world: State<World>, Args((gate,)): Args<(u32,)>) -> Promise<Value> {
    let (settler, promise) = Promise::pair();
    world.gates.lock().unwrap().insert(gate, settler);
    promise
}

/// Holds a worker until its gate opens.
fn hold(world: State<World>, Args((gate,)): Args<(u32,)>) -> Result<Value> {
    let (settler, promise) = Promise::pair();
    world.gates.lock().unwrap().insert(gate, settler);
    let now = world.now.fetch_add(1, Ordering::SeqCst) + 1;
    world.most.fetch_max(now, Ordering::SeqCst);
    let result = promise.wait(PATIENCE);
    world.now.fetch_sub(1, Ordering::SeqCst);
    result
}

impl World {
    fn open_gate(&self, gate: u32) {
        self.gates.lock().unwrap().remove(&gate).unwrap().settle(Ok(Value::Int(gate.into())));
    }
}

struct User(String);

fn signed_in(peer: Connection) -> Result<User> {
    let name = peer.query_parameter("user");
    name.map(User).ok_or_else(|| CallError::with_code(401, "Who are you?"))
}

fn is_admin(user: Context<User>) -> Result<()> {
    if user.0.0 == "admin" { Ok(()) } else { Err(CallError::with_code(403, "Not you")) }
}

fn start(config: Config) -> (Running, Arc<World>, Receiver<Told>) {
    let (sender, told) = channel();
    let world = Arc::new(World {
        told: Mutex::new(sender),
        notes: Mutex::default(),
        gates: Mutex::default(),
        now: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
        made: AtomicUsize::new(0),
    });
    let second = Rate::window(3, Duration::from_secs(1));
    let endpoint = Endpoint::new("/ws")
        .speaks(Rpc::default())
        .options(EndpointOptions {
            backpressure: Some(Backpressure {
                bytes_max: 256 << 10,
                low_bytes: 64 << 10,
                ..Backpressure::default()
            }),
            ..EndpointOptions::default()
        })
        .route("block", block)
        .route("wait", wait)
        .route("tick", tick)
        .route("pour", pour)
        .route("succeed", succeed)
        .route("fail", fail)
        .route("late", worker(wait).timeout(Duration::from_millis(50)))
        .route("gated", gated)
        .route("hold", hold)
        .route("note", |world: State<World>, Args((n,)): Args<(u32,)>| {
            world.notes.lock().unwrap().push(n);
        })
        .route("add", |Args((a, b)): Args<(i64, i64)>| a + b)
        .route("panic", || -> Result<()> { panic!("on purpose") })
        .route("rare", worker(|| "passed").rate(second))
        .route("me", worker(|user: Context<User>| user.0.0.clone()).guard(signed_in))
        .route("admin", worker(|| "welcome").guard(signed_in).guard(is_admin))
        .route("watch", |Args((room,)): Args<(String,)>| Subscription::new(&room))
        .route("numbered", |Args((room,)): Args<(String,)>| Subscription::new(&room).numbered())
        .route("leave", |peer: Connection, Args((room,)): Args<(String,)>| peer.leave(&room))
        .route("close", |peer: Connection| peer.close(1000, "bye"));
    let server = Server::with_shared(world.clone()).config(config).mount(endpoint);
    (server.start("127.0.0.1:0").unwrap(), world, told)
}

fn plain() -> Config {
    Config { workers: 4, ..server::config() }
}

fn client(server: &Running) -> RpcClient {
    RpcClient::open(server.local_addr(), "/ws")
}

/// When a handler tells this, and what of it.
fn told(receiver: &Receiver<Told>, what: &str) -> (String, Instant) {
    let (which, more, at) = receiver.recv_timeout(PATIENCE).expect(what);
    assert_eq!(which, what);
    (more, at)
}

#[test]
fn who_cancels_has_the_handler_stopped_at_once_and_hears_no_more() {
    let (server, _, receiver) = start(plain());
    for method in ["block", "wait", "tick"] {
        for knows in [false, true] {
            let mut client = client(&server);
            let mut took: Vec<_> =
                (0..9).map(|_| cancelled(&mut client, method, knows, &receiver)).collect();
            client.socket.expect_silence(QUIET);
            took.sort();
            assert!(took[took.len() / 2] < SOON, "{method} {knows}: {took:?}");
            assert!(took[took.len() - 1] < LATEST, "{method} {knows}: {took:?}");
        }
    }
    eventually("nothing runs", || server.stats().calls_now == 0);
    server.kill();
}

/// How long it takes from the client's frame until the handler is left and its end is known.
fn cancelled(
    client: &mut RpcClient,
    method: &str,
    knows: bool,
    receiver: &Receiver<Told>,
) -> Duration {
    let id = client.request(method, "");
    told(receiver, "began");
    let sent = Instant::now();
    if knows {
        client.socket.text(&format!(r#"{{"method":".cancel","id":{id}}}"#));
    } else {
        client.cancel(id);
    }
    let mut both: Vec<_> = (0..2).map(|_| receiver.recv_timeout(PATIENCE).unwrap()).collect();
    both.sort_by_key(|(what, ..)| *what);
    assert_eq!((both[0].0, &*both[0].1, both[1].0), ("end", "Cancelled", "left"));
    let last = both[0].2.max(both[1].2);
    let mut frames = client.settle();
    if knows {
        let end = frames.pop().unwrap();
        // A stream without any items yet is a call like any other.
        let is_stream = method == "tick" && !frames.is_empty();
        let expected = if is_stream { r#""close":true"# } else { "AbortError" };
        assert!(end.contains(expected), "{end}");
    }
    // What was on its way before.
    let item = |n: usize| format!(r#"{{"id":{id},"result":{n}}}"#);
    assert!(frames.iter().enumerate().all(|(n, frame)| *frame == item(n)), "{frames:?}");
    last.saturating_duration_since(sent)
}

#[test]
fn whoever_asked_to_be_told_learns_how_a_call_ended() {
    let (server, _, receiver) = start(plain());
    let mut client = client(&server);
    let end = || loop {
        let (what, how, _) = receiver.recv_timeout(PATIENCE).unwrap();
        if what == "end" {
            return how;
        }
    };
    let id = client.request("succeed", "");
    client.expect_result(id, r#""done""#);
    assert_eq!(end(), "Done");
    let id = client.request("fail", "");
    client.expect_error(id, 418);
    let failed = end();
    assert!(failed.starts_with("Failed(") && failed.contains("teapot"), "{failed}");
    let id = client.request("late", "");
    client.expect_error(id, 504);
    assert_eq!(end(), "TimedOut");
    client.notify("succeed", "");
    assert_eq!(end(), "Done");
    client.request("wait", "");
    client.request("tick", "");
    client.socket.expect_text();
    drop(client);
    assert_eq!([end(), end()], ["Disconnected", "Disconnected"]);
    server.kill();
}

#[test]
fn a_producer_waits_for_its_client() {
    let mut config = plain();
    config.listen.send_buffer_bytes = Some(64 << 10);
    let (server, world, _receiver) = start(config);
    let mut socket = Client::small(server.local_addr());
    socket.upgrade("/ws", "");
    let mut stuck = RpcClient::over(socket);
    let mut other = client(&server);
    let id = stuck.request("pour", "");
    let made = || world.made.load(Ordering::Relaxed);
    eventually("it begins", || made() > 0);
    let before = at_rest("it stops", made);
    // 256 KiB of ours, what the kernel takes, and what is on its way.
    assert!(before * 4096 < 2 << 20, "{before} items");
    assert_eq!(other.ask("add", "1,2"), r#"{"id":1,"result":3}"#);
    assert_eq!(made(), before, "nothing is made for one that does not read");
    for number in 0..before + 500 {
        let frame = stuck.socket.expect_text();
        let beginning = format!(r#"{{"id":{id},"result":"{number:08} "#);
        assert!(frame.starts_with(&beginning), "{}", &frame[..40.min(frame.len())]);
    }
    assert!(made() >= before + 500);
    stuck.cancel(id);
    stuck.settle();
    at_rest("who cancelled wants no more", made);
    stuck.socket.expect_silence(QUIET);
    server.kill();
}

/// The count at which something stays. Looks are counted, not time: when the machine stands still,
/// nobody looks either.
fn at_rest(what: &str, count: impl Fn() -> usize) -> usize {
    let (mut before, mut looks) = (count(), 0);
    eventually(what, || {
        let now = count();
        looks = if now == before { looks + 1 } else { 0 };
        before = now;
        looks == 100
    });
    before
}

#[test]
fn requests_run_side_by_side_as_many_as_may() {
    let mut config = Config { workers: 8, ..plain() };
    config.limits.calls_in_flight_max = 4;
    let (server, world, _receiver) = start(config);
    let mut client = client(&server);
    let first = client.requests(10, "hold", |id| id.to_string());
    for open in 1..=10_u32 {
        let most = (10 - open + 1).min(4) as usize;
        eventually("as many run as may", || world.gates.lock().unwrap().len() == most);
        let gates = world.gates.lock().unwrap();
        let gate = *gates.keys().max().unwrap();
        drop(gates);
        world.open_gate(gate);
        client.expect_result(first - 1 + u64::from(gate), &gate.to_string());
    }
    assert_eq!(world.most.load(Ordering::SeqCst), 4);
    server.kill();
}

#[test]
fn answers_come_as_they_are_ready_and_notifications_are_handled_in_order() {
    let (server, world, _receiver) = start(plain());
    let mut client = client(&server);
    client.requests(5, "gated", |id| id.to_string());
    eventually("all wait", || world.gates.lock().unwrap().len() == 5);
    for gate in [3_u32, 1, 5, 2, 4] {
        world.open_gate(gate);
        client.expect_result(gate.into(), &gate.to_string());
    }
    let note = |n: u32| format!(r#"{{"method":"note","params":[{n}]}}"#);
    let request = |n: u32| format!(r#"{{"method":"add","params":[{n},0],"id":"{n}"}}"#);
    for first in (0..1000).step_by(50) {
        client.send_all((first..first + 50).flat_map(|n| [note(n), request(n)]));
        let mut sums: Vec<_> = (0..50).map(|_| client.socket.expect_text()).collect();
        sums.sort();
        let mut expected: Vec<_> =
            (first..first + 50).map(|n| format!(r#"{{"id":"{n}","result":{n}}}"#)).collect();
        expected.sort();
        assert_eq!(sums, expected);
    }
    eventually("all are handled", || world.notes.lock().unwrap().len() == 1000);
    assert!(world.notes.lock().unwrap().iter().copied().eq(0..1000));
    server.kill();
}

#[test]
fn a_handler_that_panics_fails_its_call_and_no_other() {
    let (server, world, _receiver) = start(plain());
    let (mut client, mut other) = (client(&server), client(&server));
    let pending = client.request("gated", "1");
    let elsewhere = other.request("gated", "2");
    let stream = client.request("watch", r#""room""#);
    eventually("all wait", || {
        world.gates.lock().unwrap().len() == 2 && server.stats().memberships == 1
    });
    for _ in 0..20 {
        let id = client.request("panic", "");
        let error = client.expect_error(id, 500);
        assert!(!error.contains("on purpose"), "{error}");
        client.notify("panic", "");
    }
    world.open_gate(1);
    client.expect_result(pending, "1");
    world.open_gate(2);
    other.expect_result(elsewhere, "2");
    server.room("room").publish("said", "still here").unwrap();
    client.expect_result(stream, r#""still here""#);
    server.kill();
}

#[test]
fn a_call_that_takes_too_long_is_answered_504() {
    let (server, ..) = start(plain());
    let mut client = client(&server);
    let began = Instant::now();
    let id = client.request("late", "");
    let add = client.request("add", "1,1");
    client.expect_result(add, "2");
    client.expect_error(id, 504);
    assert!(began.elapsed() >= Duration::from_millis(50), "{:?}", began.elapsed());
    client.socket.expect_silence(QUIET);
    server.kill();
}

#[test]
fn calls_beyond_a_rate_are_answered_429_until_there_is_room_again() {
    let (server, ..) = start(plain());
    let (mut client, mut other) = (client(&server), client(&server));
    for id in 1..=3 {
        assert_eq!(client.ask("rare", ""), format!(r#"{{"id":{id},"result":"passed"}}"#));
    }
    client.request("rare", "");
    let refused = client.expect_error(4, 429);
    let frame: sonic_rs::Value = sonic_rs::from_str(&refused).unwrap();
    let wait = frame["error"]["data"]["retryAfter"].as_u64().unwrap();
    assert!((1..=1000).contains(&wait), "{refused}");
    assert!(other.ask("rare", "").contains("passed"), "each connection has its own");
    assert!(!client.socket.next_is_ready(wait + 40), "nothing comes by itself");
    assert!(client.ask("rare", "").contains("passed"));
    server.kill();
}

#[test]
fn guards_decide_before_handlers_and_tell_them_what_they_know() {
    let (server, ..) = start(plain());
    let ask =
        |target: &str, method: &str| RpcClient::open(server.local_addr(), target).ask(method, "");
    let unknown = r#"{"id":1,"error":{"code":401,"message":"Who are you?"}}"#;
    assert_eq!(ask("/ws", "me"), unknown);
    assert_eq!(ask("/ws?user=ada", "me"), r#"{"id":1,"result":"ada"}"#);
    assert_eq!(ask("/ws", "admin"), unknown, "the first guard is asked first");
    let other = r#"{"id":1,"error":{"code":403,"message":"Not you"}}"#;
    assert_eq!(ask("/ws?user=ada", "admin"), other);
    assert_eq!(ask("/ws?user=admin", "admin"), r#"{"id":1,"result":"welcome"}"#);
    server.kill();
}

#[test]
fn numbered_subscribers_hear_the_same_in_the_same_order_without_gaps() {
    let (server, ..) = start(plain());
    let mut subscribers = [client(&server), client(&server), client(&server)];
    let methods = ["numbered", "numbered", "watch"];
    for (subscriber, method) in subscribers.iter_mut().zip(methods) {
        subscriber.request(method, r#""tea""#);
    }
    eventually("all listen", || server.stats().memberships == 3);
    let hub: Hub = server.hub();
    thread::scope(|scope| {
        for publisher in 0..4 {
            let hub = &hub;
            scope.spawn(move || {
                for number in 0..250 {
                    hub.room("tea").publish("said", &(publisher, number)).unwrap();
                }
            });
        }
    });
    let heard = subscribers.map(|mut subscriber| {
        let frame = |_| sonic_rs::from_str(&subscriber.socket.expect_text()).unwrap();
        (0..1000).map(frame).collect::<Vec<sonic_rs::Value>>()
    });
    let data = |frame: &sonic_rs::Value| frame["result"]["data"].to_string();
    assert!(heard[0].iter().map(data).eq(heard[1].iter().map(data)));
    let bare = |frame: &sonic_rs::Value| frame["result"].to_string();
    assert!(heard[0].iter().map(data).eq(heard[2].iter().map(bare)));
    for one in &heard[..2] {
        let number = |frame: &sonic_rs::Value| frame["result"]["number"].as_u64().unwrap();
        let first = number(&one[0]);
        assert!(one.iter().map(number).eq(first..first + 1000));
        assert!(one.iter().all(|f| f["result"]["epoch"] == one[0]["result"]["epoch"]));
    }
    server.kill();
}

#[test]
fn a_client_that_the_server_takes_out_of_a_room_is_told_the_end() {
    let (server, ..) = start(plain());
    let mut client = client(&server);
    let tea = client.request("watch", r#""tea""#);
    let coffee = client.request("watch", r#""coffee""#);
    eventually("it listens", || server.stats().memberships == 2);
    let leave = client.request("leave", r#""tea""#);
    let mut frames = [client.socket.expect_text(), client.socket.expect_text()];
    frames.sort();
    let mut expected = [format!(r#"{{"id":{leave}}}"#), format!(r#"{{"id":{tea},"close":true}}"#)];
    expected.sort();
    assert_eq!(frames, expected);
    server.room("tea").publish("said", "cold").unwrap();
    server.room("coffee").publish("said", "hot").unwrap();
    client.expect_result(coffee, r#""hot""#);
    client.socket.expect_silence(QUIET);
    server.kill();
}

#[test]
fn whatever_is_pending_is_answered_before_the_server_closes_a_connection() {
    let (server, world, _receiver) = start(plain());
    let mut client = client(&server);
    let pending = client.request("gated", "1");
    let room = client.request("watch", r#""tea""#);
    let stream = client.request("tick", "");
    eventually("all are open", || {
        world.gates.lock().unwrap().len() == 1 && server.stats().memberships == 1
    });
    client.notify("close", "");
    let (mut told, mut items) = (Vec::new(), 0);
    while told.len() < 3 {
        let frame = client.socket.expect_text();
        let frame: sonic_rs::Value = sonic_rs::from_str(&frame).unwrap();
        if frame["result"].as_u64() == Some(items) {
            items += 1;
            continue;
        }
        assert_eq!(frame["error"]["code"].as_u64(), Some(503), "{frame}");
        told.push(frame["id"].as_u64().unwrap());
    }
    assert_eq!(told, [pending, room, stream]);
    let close = client.socket.expect_frame();
    assert_eq!((close.opcode, &*close.payload), (8, &b"\x03\xe8bye"[..]), "and nothing between");
    server.kill();
}

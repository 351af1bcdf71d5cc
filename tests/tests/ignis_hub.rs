//! What an embedder sees and does of the event protocol's clients: the hub, receipts, hooks.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test, whose clients live in real time"
)]
#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fulmar::event::{EventOptions, JoinPolicy};
use fulmar::{
    Arg, Backpressure, CallError, Client, Connection, EndpointOptions, Hub, Identity, Promise,
    Running, Sent, Server, SlowPolicy, State, Stopped, Value,
};
use fulmar_tests::conformance::{events, node};
use fulmar_tests::event_client::{EventClient, PATH};
use fulmar_tests::{PATIENCE, eventually, server};

const QUIET: Duration = Duration::from_millis(60);

fn login(node: &Running, token: &str, rooms: &[&str]) -> EventClient {
    EventClient::member(node.local_addr(), token, rooms)
}

fn ids(clients: &[Client]) -> Vec<&str> {
    let mut ids: Vec<&str> = clients.iter().map(|client| &*client.id).collect();
    ids.sort_unstable();
    ids
}

fn sorted<const N: usize>(mut ids: [&str; N]) -> [&str; N] {
    ids.sort_unstable();
    ids
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

#[test]
fn the_hub_tells_who_is_there() {
    let before = now();
    let node = node(None);
    let hub = node.hub();
    assert!(hub.clients().is_empty() && hub.client("no such id").is_none());
    let mut ada = login(&node, "ada", &["r"]);
    let tab = login(&node, "ada", &[]);
    let bob = login(&node, "bob", &["r", "s"]);
    let unknown = EventClient::open(node.local_addr());
    eventually("all four are told of", || hub.clients().len() == 4);
    assert_eq!(ids(&hub.clients_of("user-ada")), sorted([&*ada.id, &*tab.id]));
    assert_eq!(ids(&hub.clients_of("user-nobody")), [""; 0]);
    assert_eq!(ids(&hub.clients_in("r")), sorted([&*ada.id, &*bob.id]));
    assert_eq!(ids(&hub.clients_in("s")), [&*bob.id]);
    assert_eq!(ids(&hub.clients_in("nowhere")), [""; 0]);
    assert_eq!(ids(&hub.clients_in("ws-default")), sorted([&*ada.id, &*tab.id, &*bob.id]));
    assert_eq!(ids(&hub.clients_in(&ada.id)), [&*ada.id]);
    let client = hub.client(&ada.id).unwrap();
    assert_eq!((client.state, client.user.as_deref()), ("authenticated", Some("user-ada")));
    let rooms: Vec<&str> = client.rooms.iter().map(|room| &**room).collect();
    assert_eq!(rooms, [&*ada.id, "ws-default", "ws-notification", "r"]);
    assert!(!client.is_encrypted && !client.is_backpressured);
    assert_eq!((client.public_key, client.salt), (None, None));
    assert!(client.address.ip().is_loopback());
    assert!((before..=now()).contains(&client.connected_at), "{}", client.connected_at);
    assert!((client.connected_at..=now()).contains(&client.last_activity));
    let all = hub.clients();
    let stranger = all.iter().find(|client| client.state != "authenticated").unwrap();
    assert_eq!((stranger.state, stranger.user.as_deref()), ("unauthorized", None));
    assert!(stranger.rooms.is_empty());
    // Pings of the protocol are no activity, a heartbeat is.
    let last = client.last_activity;
    eventually("time passes", || now() > last);
    ada.send(r#"{"event":"heartbeat"}"#);
    eventually("it is active", || hub.client(&ada.id).unwrap().last_activity > last);
    drop(unknown);
    node.kill();
}

#[test]
fn the_hub_speaks_to_clients_moves_and_closes_them() {
    let node = node(None);
    let hub = node.hub();
    let mut ada = login(&node, "ada", &[]);
    let mut unknown = EventClient::open(node.local_addr());
    eventually("both are there", || hub.clients().len() == 2);
    let stranger = hub.clients().into_iter().find(|client| client.state == "unauthorized").unwrap();
    assert!(hub.to_client(&ada.id, "e", &1).unwrap());
    ada.expect(r#"{"event":"e","data":1}"#);
    assert!(hub.to_client(&stranger.id, "e", &2).unwrap());
    unknown.expect(r#"{"event":"e","data":2}"#);
    assert!(!hub.to_client("no such id", "e", &3).unwrap());
    // What clients may not ask for, the server may do.
    assert!(hub.join(&ada.id, "ws:secret") && hub.join(&ada.id, "r"));
    eventually("it is in", || hub.clients_in("ws:secret").len() == 1);
    hub.room("ws:secret").publish("e", &4).unwrap();
    ada.expect(r#"{"event":"e","data":4}"#);
    assert!(hub.leave(&ada.id, "ws:secret") && hub.leave(&ada.id, "ws-default"));
    eventually("it is out", || hub.clients_in("ws:secret").is_empty());
    assert_eq!(ada.rooms(), [&*ada.id, "ws-notification", "r"]);
    for nobody in ["no such id", "", "00000000-0000-4000-8000-000000000000"] {
        assert!(!hub.join(nobody, "r") && !hub.leave(nobody, "r") && !hub.close(nobody, 1000, ""));
    }
    assert!(hub.to_client(&ada.id, "last", &5).unwrap());
    assert!(hub.close(&ada.id, 4321, "enough"));
    ada.expect(r#"{"event":"last","data":5}"#);
    assert_eq!(ada.socket.expect_close(), (4321, "enough".into()));
    ada.socket.close(4321, "");
    ada.socket.expect_fin();
    eventually("it is gone", || hub.clients().len() == 1);
    unknown.expect_quiet(QUIET);
    node.kill();
}

#[test]
fn nothing_is_left_of_clients_that_end_however_they_do() {
    let node = node(None);
    let hub = node.hub();
    let mut clients: Vec<EventClient> =
        (0..40).map(|n| login(&node, &format!("u{}", n % 4), &["r", &format!("r{n}")])).collect();
    clients.extend((0..8).map(|_| EventClient::open(node.local_addr())));
    eventually("all are there", || hub.clients().len() == 48);
    assert_eq!(hub.clients_of("user-u1").len(), 10);
    assert_eq!(hub.clients_in("r").len(), 40);
    assert!(node.stats().rooms > 40);
    for (n, mut client) in clients.into_iter().enumerate() {
        match n % 4 {
            0 => {
                client.socket.close(1000, "");
                assert_eq!(client.socket.expect_close().0, 1000);
            }
            1 => client.socket.reset(),
            2 => client.socket.shutdown(),
            _ => client.socket.send(b"\xff\xff\xff"),
        }
    }
    eventually("nobody is told of", || hub.clients().is_empty());
    assert!(hub.clients_of("user-u1").is_empty() && hub.clients_in("r").is_empty());
    eventually("nothing is left", || {
        let stats = node.stats();
        (stats.rooms, stats.memberships, stats.open, stats.calls_now) == (0, 0, 0, 0)
    });
    assert_eq!(node.stop(), Stopped::Drained);
}

/// What hooks and handlers leave for the test.
#[derive(Default)]
struct Seen {
    lines: Mutex<Vec<String>>,
    peers: Mutex<Vec<Connection>>,
}

impl Seen {
    fn note(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }
}

#[expect(clippy::needless_pass_by_value, reason = "handlers take their arguments by type")]
fn keep(seen: State<Seen>, peer: Connection) {
    seen.peers.lock().unwrap().push(peer);
}

fn start(options: EndpointOptions) -> (Running, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let speaks = EventOptions { join: JoinPolicy::Anybody, ..EventOptions::default() };
    let endpoint = events(speaks)
        .options(options)
        .on_authenticated(|seen: State<Seen>, peer: Connection| {
            seen.note(format!("came {}", peer.user().unwrap_or_default()));
        })
        .on_disconnect(|seen: State<Seen>, hub: Hub, peer: Connection| {
            let left = hub.clients_of(&peer.user().unwrap_or_default()).len();
            seen.note(format!("went {} of whom {left} are left", peer.user().unwrap_or_default()));
        })
        .on_drain(|seen: State<Seen>| seen.note("drained".into()))
        .route("keep", keep);
    let mut config = server::config();
    config.listen.send_buffer_bytes = Some(16 << 10);
    let server = Server::with_shared(seen.clone()).config(config).mount(endpoint);
    (server.start("127.0.0.1:0").unwrap(), seen)
}

#[test]
fn hooks_tell_of_who_comes_and_goes_also_of_the_unknown() {
    let (node, seen) = start(EndpointOptions::default());
    let ada = login(&node, "ada", &[]);
    let line = |line: &str| {
        eventually(line, || seen.lines.lock().unwrap().iter().any(|known| known == line));
    };
    line("came user-ada");
    let unknown = EventClient::open(node.local_addr());
    drop(ada);
    line("went user-ada of whom 0 are left");
    drop(unknown);
    line("went  of whom 0 are left");
    assert_eq!(seen.lines.lock().unwrap().len(), 3);
    node.kill();
}

#[test]
fn a_receipt_says_whether_a_message_was_sent_queued_or_dropped() {
    let options = EndpointOptions {
        backpressure: Some(Backpressure {
            bytes_max: 256 << 10,
            low_bytes: 16 << 10,
            policy: SlowPolicy::DropNewest,
        }),
        ..EndpointOptions::default()
    };
    let (node, seen) = start(options);
    let mut client = EventClient {
        socket: fulmar_tests::client::Client::small(node.local_addr()),
        id: String::new(),
    };
    client.socket.upgrade(PATH, "");
    client.authenticate("ada");
    client.send(r#"{"event":"keep"}"#);
    eventually("the handler ran", || !seen.peers.lock().unwrap().is_empty());
    let peer = seen.peers.lock().unwrap()[0].clone();
    let send = |n: u32| -> Sent {
        let payload = (n, "x".repeat(8 << 10));
        peer.send_with_receipt("n", &payload).unwrap().wait(PATIENCE).unwrap()
    };
    assert_eq!(send(0), Sent::Sent);
    // It does not read: first they wait, then they are dropped; never the other way around.
    let fates: Vec<Sent> = (1..200).map(send).collect();
    let count = |fate| fates.iter().filter(|known| **known == fate).count();
    assert!(count(Sent::Queued) > 0 && count(Sent::Dropped) > 0, "{fates:?}");
    let dropped = fates.iter().position(|fate| *fate == Sent::Dropped).unwrap();
    assert!(fates[dropped..].iter().all(|fate| *fate == Sent::Dropped), "{fates:?}");
    assert!(node.hub().client(&client.id).unwrap().is_backpressured);
    // Once it has read, they are sent again, and it has got those that were not dropped.
    for n in 0..=dropped {
        assert!(client.expect_text().starts_with(&format!(r#"{{"event":"n","data":[{n},"#)));
    }
    eventually("it has drained", || !node.hub().client(&client.id).unwrap().is_backpressured);
    eventually("the hook ran", || seen.lines.lock().unwrap().iter().any(|line| line == "drained"));
    assert_eq!(send(1000), Sent::Sent);
    assert!(client.expect_text().contains("[1000,"));
    node.kill();
}

#[test]
fn a_receipt_for_a_client_that_is_gone_says_dropped() {
    let (node, seen) = start(EndpointOptions::default());
    let mut client = login(&node, "ada", &[]);
    client.send(r#"{"event":"keep"}"#);
    eventually("the handler ran", || !seen.peers.lock().unwrap().is_empty());
    let peer = seen.peers.lock().unwrap()[0].clone();
    drop(client);
    eventually("it is gone", || peer.is_closed());
    let receipt = peer.send_with_receipt("n", &1).unwrap().wait(PATIENCE);
    assert!(matches!(receipt, Ok(Sent::Dropped)), "{receipt:?}");
    node.kill();
}

#[test]
fn a_slow_authenticator_shows_and_its_promise_decides() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let settlers = held.clone();
    let endpoint = events(EventOptions::default()).authenticate(move || {
        let (settler, promise) = Promise::<()>::pair();
        settlers.lock().unwrap().push(settler);
        async move {
            promise.await?;
            Ok::<_, CallError>(Identity::user("late"))
        }
    });
    let node = server::start(server::config(), vec![endpoint]);
    let mut client = EventClient::open(node.local_addr());
    client.event("authenticate", "{}");
    eventually("it is asked", || !held.lock().unwrap().is_empty());
    assert_eq!(node.hub().clients()[0].state, "authenticating");
    held.lock().unwrap().pop().unwrap().settle(Ok(Value::Undefined));
    assert!(client.expect_text().contains(r#""userId":"late""#));
    assert_eq!(node.hub().clients_of("late").len(), 1);
    // Who goes while it is decided about leaves nothing.
    let mut other = EventClient::open(node.local_addr());
    other.event("authenticate", "{}");
    eventually("it is asked", || !held.lock().unwrap().is_empty());
    drop(other);
    eventually("it is gone", || node.hub().clients().len() == 1);
    held.lock().unwrap().pop().unwrap().settle(Ok(Value::Undefined));
    client.expect_quiet(QUIET);
    assert_eq!(node.hub().clients_of("late").len(), 1);
    node.kill();
}

#[test]
fn handlers_errors_and_panics_are_not_told_and_change_nothing() {
    let endpoint = events::<()>(EventOptions::default())
        .route("err", || Err::<(), _>(CallError::new("no")))
        .route("panic", |Arg(_): Arg<Value>| {
            if true {
                panic!("as asked")
            }
        })
        .route("answer", |Arg(data): Arg<Value>| data);
    let node = server::start(server::config(), vec![endpoint]);
    let mut client = EventClient::login(node.local_addr(), "ada");
    for event in ["err", "panic", "err", "panic"] {
        client.event(event, "1");
    }
    client.send(r#"{"event":"answer","data":{"a":1},"id":"x"}"#);
    client.expect(r#"{"event":"answer:response","data":{"a":1},"id":"x"}"#);
    client.expect_quiet(QUIET);
    node.kill();
}

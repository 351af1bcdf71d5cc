//! Two nodes and one Redis: what arrives, in which order, and over which channels.

mod node;
mod redis;

use std::sync::Arc;
use std::time::Duration;

use fulmar_fabric::{Fabric, Kind, Letter, Options, Parcel, Subscriptions, Topic};

use node::{Node, Note, lingering, options};
use redis::{Server, until};

fn room(name: &str) -> Topic {
    Topic::Room(name.into())
}

fn user(name: &str) -> Topic {
    Topic::User(name.into())
}

fn client(name: &str) -> Topic {
    Topic::Client(name.into())
}

#[test]
fn nodes_exchange_letters_of_every_kind() {
    let redis = Server::start();
    let (a, b) = (Node::start(&redis.url()), Node::start(&redis.url()));
    b.fabric.subscribe(room("lobby"));
    b.fabric.subscribe(user("alice"));
    b.fabric.subscribe(client("c1"));
    b.subscribed(5);
    a.send(Kind::Room, "lobby", "1");
    a.send(Kind::User, "alice", "2");
    a.send(Kind::Client, "c1", "3");
    a.send(Kind::Room, "c1", "4");
    a.send(Kind::Broadcast, "", "{\"n\" : 5}");
    a.fabric.publish(Note::except(Kind::Room, "lobby", "6", &["x", "y"]));
    assert_eq!(
        b.take(6),
        [
            "Room lobby event 1",
            "User alice event 2",
            "Client c1 event 3",
            "Room c1 event 4",
            "Broadcast  event {\"n\" : 5}",
            "Room lobby event 6 not [\"x\", \"y\"]",
        ]
    );
    b.send(Kind::Broadcast, "", "null");
    assert_eq!(a.take(1), ["Broadcast  event null"]);
    assert!(until(|| a.fabric.counters().own_skipped == 1));
    assert!(until(|| a.fabric.counters().published == 6));
    assert_eq!((a.fabric.counters().received, b.fabric.counters().own_skipped), (1, 1));
    assert_eq!((a.count(), b.count()), (0, 0));
}

#[test]
fn the_wire_has_the_bytes_of_an_ignis_node() {
    let redis = Server::start();
    let node = Node::start(&redis.url());
    let mut listener = redis.client();
    listener.command(&["PSUBSCRIBE", "*"]).unwrap();
    node.fabric.publish(Note::except(Kind::Room, "a\"b", r#"{"z":1,"a":"é"}"#, &["c"]));
    node.send(Kind::Broadcast, "", "null");
    let id = &node.id;
    let start = format!(r#"{{"serverId":"{id}","type":"room","target":"a\"b","event":"event""#);
    let room = start + r#","data":{"z":1,"a":"é"},"exclude":["c"]}"#;
    assert_eq!(listener.receive().unwrap().texts()[2..], ["ws:room:a\"b".to_owned(), room]);
    let all = format!(r#"{{"serverId":"{id}","type":"broadcast","event":"event","data":null}}"#);
    assert_eq!(listener.receive().unwrap().texts()[2..], ["ws:broadcast".to_owned(), all]);
}

#[test]
fn ten_thousand_messages_each_way_arrive_once_and_in_order() {
    const COUNT: usize = 10_000;
    let redis = Server::start();
    let (a, b) = (Node::start(&redis.url()), Node::start(&redis.url()));
    for node in [&a, &b] {
        node.fabric.subscribe(room("r"));
        node.fabric.subscribe(client("c"));
        node.subscribed(4);
    }
    let kinds = [(Kind::Room, "r"), (Kind::Client, "c"), (Kind::Broadcast, "")];
    let send = |node: &Node| {
        for number in 0..COUNT {
            let (kind, target) = kinds[number % 3];
            node.send(kind, target, &number.to_string());
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| send(&a));
        scope.spawn(|| send(&b));
    });
    for node in [&a, &b] {
        let all = node.take(COUNT);
        assert_eq!(all.len(), COUNT);
        for (number, text) in all.iter().enumerate() {
            assert_eq!(text.rsplit(' ').next().unwrap(), number.to_string());
        }
    }
    for node in [&a, &b] {
        assert!(until(|| node.fabric.counters().own_skipped == 10_000));
        let counters = node.fabric.counters();
        assert_eq!((counters.published, counters.received), (10_000, 10_000));
        assert_eq!((counters.dropped_queue, counters.lost_disconnected), (0, 0));
    }
}

#[test]
fn only_channels_of_interest_are_subscribed() {
    let redis = Server::start();
    let node = Node::start(&redis.url());
    for name in ["a", "b", "b"] {
        node.fabric.subscribe(room(name));
    }
    node.fabric.subscribe(user("u"));
    node.fabric.subscribe(client("c"));
    node.subscribed(6);
    let channels =
        ["ws:broadcast", "ws:client:c", "ws:room:a", "ws:room:b", "ws:room:c", "ws:user:u"];
    assert_eq!(redis.channels(), channels);
    assert_eq!(redis.command(&["PUBSUB", "NUMPAT"]).integer(), 0);
    let other = Node::start(&redis.url());
    other.send(Kind::Room, "elsewhere", "1");
    other.send(Kind::Room, "a", "2");
    assert_eq!(node.take(1), ["Room a event 2"]);
}

#[test]
fn many_rooms_are_subscribed_in_a_few_commands() {
    let redis = Server::start();
    let node = Node::start(&redis.url());
    for number in 0..5000 {
        node.fabric.subscribe(room(&number.to_string()));
    }
    node.subscribed(5001);
    let stats = redis.command(&["INFO", "commandstats"]).text();
    let calls = stats.split("cmdstat_subscribe:calls=").nth(1).unwrap().split(',').next().unwrap();
    assert!(calls.parse::<usize>().unwrap() < 500, "{calls} commands");
    assert_eq!(redis.channels().len(), 5001);
}

#[test]
fn with_patterns_everything_is_heard_once() {
    let redis = Server::start();
    let patterns = Options { subscriptions: Subscriptions::Patterns, ..options(&redis.url()) };
    let (a, b) = (Node::start(&redis.url()), Node::with(patterns));
    b.subscribed(4);
    b.fabric.subscribe(room("r"));
    b.fabric.unsubscribe(room("r"));
    assert_eq!(redis.command(&["PUBSUB", "NUMPAT"]).integer(), 3);
    assert_eq!(redis.channels(), ["ws:broadcast"]);
    a.send(Kind::Room, "r", "1");
    a.send(Kind::User, "u", "2");
    a.send(Kind::Client, "c", "3");
    a.send(Kind::Broadcast, "", "4");
    assert_eq!(
        b.take(4),
        ["Room r event 1", "User u event 2", "Client c event 3", "Broadcast  event 4"]
    );
}

#[test]
fn a_channel_lingers_after_the_last_interest() {
    let redis = Server::start();
    let long = Node::with(lingering(&redis.url(), Duration::from_secs(60)));
    let short = Node::with(lingering(&redis.url(), Duration::from_millis(30)));
    for (node, name) in [(&long, "long"), (&short, "short")] {
        node.fabric.subscribe(room(name));
        node.subscribed(2);
        node.fabric.unsubscribe(room(name));
    }
    short.subscribed(1);
    assert_eq!(redis.channels(), ["ws:broadcast", "ws:room:long"]);
    assert_eq!(long.fabric.counters().subscriptions, 2);
    short.fabric.subscribe(room("short"));
    short.subscribed(2);
    short.send(Kind::Room, "long", "1");
    assert_eq!(long.take(1), ["Room long event 1"]);
}

#[test]
fn a_node_has_exactly_two_named_connections() {
    let redis = Server::start();
    let name = "edge-7".to_owned();
    let node = Node::with(Options { name, ..options(&redis.url()) });
    assert_eq!(redis.client_names(), ["edge-7-pub", "edge-7-sub"]);
    // Its own, and the one that asks.
    assert!(until(|| redis.command(&["CLIENT", "LIST"]).text().lines().count() == 3));
    node.fabric.stop();
    assert!(until(|| redis.client_names().is_empty()));
    assert!(!node.fabric.status().is_ready());
}

#[test]
fn a_stopping_fabric_sends_what_waits() {
    let redis = Server::start();
    let (a, b) = (Node::start(&redis.url()), Node::start(&redis.url()));
    for number in 0..5000 {
        a.send(Kind::Broadcast, "", &number.to_string());
    }
    a.fabric.stop();
    a.fabric.stop();
    assert_eq!(a.fabric.counters().published, 5000);
    assert_eq!(b.take(5000).last().unwrap(), "Broadcast  event 4999");
    a.send(Kind::Broadcast, "", "late");
    assert_eq!(a.fabric.counters().lost_disconnected, 1);
}

#[test]
fn a_fabric_stops_when_its_last_handle_goes() {
    let redis = Server::start();
    let node = Node::start(&redis.url());
    let fabric = node.fabric.clone();
    drop(node);
    assert_eq!(redis.client_names().len(), 2);
    drop(fabric);
    assert!(until(|| redis.client_names().is_empty()));
}

#[test]
fn letters_beyond_the_limits_are_dropped_and_counted() {
    let redis = Server::start();
    let limits = Options {
        queue_max: 10,
        queue_bytes_max: 5000,
        message_bytes_max: 1000,
        ..options(&redis.url())
    };
    let (a, b) = (Node::with(limits), Node::start(&redis.url()));
    a.fabric.publish(Box::new(Crowd(11)));
    assert_eq!(a.fabric.counters().dropped_queue, 11);
    a.send(Kind::Broadcast, "", &format!("\"{}\"", "x".repeat(5000)));
    assert_eq!(a.fabric.counters().dropped_queue, 12);
    a.send(Kind::Broadcast, "", &format!("\"{}\"", "x".repeat(1000)));
    assert!(until(|| a.fabric.counters().dropped_size == 1));
    a.fabric.publish(Box::new(Crowd(0)));
    a.fabric.publish(Box::new(Crowd(10)));
    assert_eq!(b.take(10).len(), 10);
    b.send(Kind::Broadcast, "", &format!("\"{}\"", "x".repeat(1000)));
    assert!(until(|| a.fabric.counters().malformed == 1), "too long to be received");
}

#[test]
fn a_parcel_that_panics_harms_no_other() {
    let redis = Server::start();
    let (a, b) = (Node::start(&redis.url()), Node::start(&redis.url()));
    a.fabric.publish(Box::new(Faulty));
    a.send(Kind::Broadcast, "", "1");
    assert_eq!(b.take(1), ["Broadcast  event 1"]);
}

#[test]
fn what_the_inbox_has_no_room_for_is_counted() {
    struct Full;
    impl fulmar_fabric::Inbox for Full {
        fn receive(&self, _: fulmar_fabric::Received) -> bool {
            false
        }
    }
    let redis = Server::start();
    let fabric = Fabric::start(options(&redis.url()), "s", Arc::new(Full)).unwrap();
    redis.publish("ws:broadcast", br#"{"serverId":"x","type":"broadcast","event":"e"}"#);
    assert!(until(|| fabric.counters().dropped_inbox == 1));
    assert_eq!(fabric.counters().received, 0);
    fabric.stop();
}

#[test]
fn a_fabric_may_be_stopped_from_its_own_thread() {
    struct Stopping(std::sync::OnceLock<Fabric>);
    impl fulmar_fabric::Inbox for Stopping {
        fn receive(&self, _: fulmar_fabric::Received) -> bool {
            self.0.get().unwrap().stop();
            true
        }
    }
    let redis = Server::start();
    let inbox = Arc::new(Stopping(std::sync::OnceLock::new()));
    let fabric = Fabric::start(options(&redis.url()), "s", Arc::clone(&inbox) as _).unwrap();
    inbox.0.set(fabric.clone()).unwrap();
    redis.publish("ws:broadcast", br#"{"serverId":"x","type":"broadcast","event":"e"}"#);
    assert!(until(|| redis.client_names().is_empty()));
    fabric.stop();
}

struct Crowd(usize);

impl Parcel for Crowd {
    fn unpack(self: Box<Self>, each: &mut dyn FnMut(&Letter<'_>)) {
        let letter =
            Letter { kind: Kind::Broadcast, target: "", event: "e", data: None, exclude: &[] };
        (0..self.0).for_each(|_| each(&letter));
    }

    fn letters(&self) -> usize {
        self.0
    }
}

struct Faulty;

impl Parcel for Faulty {
    fn unpack(self: Box<Self>, _: &mut dyn FnMut(&Letter<'_>)) {
        panic!("a fault of the caller");
    }

    fn letters(&self) -> usize {
        1
    }
}

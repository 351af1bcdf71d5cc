//! A hundred thousand messages between two nodes while a third comes and goes.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test, whose clients live in real time"
)]
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fulmar_proto::ws::Opcode;
use fulmar_tests::client::{Client, Next, frame};
use fulmar_tests::conformance::Conformance;
use fulmar_tests::event_client::EventClient;
use fulmar_tests::redis::Redis;
use fulmar_tests::{PATIENCE, eventually};

const ROOMS: usize = 50;
const MESSAGES: usize = 100_000;
/// On both nodes together.
const PUBLISHERS: usize = 8;
const EACH: usize = MESSAGES / PUBLISHERS;
/// Members of each node; every room has one on each.
const MEMBERS: usize = 5;
const ROOMS_EACH: usize = ROOMS / MEMBERS;
/// Messages of one publisher that not all have heard yet: so many that every queue has some, so few
/// that none is full.
const WINDOW: usize = 512;

/// What has been heard, and whether it is over.
#[derive(Default)]
struct Progress {
    /// Deliveries of each publisher's messages, on both nodes together.
    heard: [AtomicUsize; PUBLISHERS],
    is_over: AtomicBool,
}

#[test]
fn every_message_arrives_once_and_in_order_while_a_third_node_comes_and_goes() {
    let redis = Redis::start();
    let start = || Conformance::start(&["--redis", &redis.url()]);
    let mut nodes = [start(), start()];
    let addresses = nodes.each_ref().map(Conformance::address);
    let progress = Progress::default();
    let mut members = Vec::new();
    for address in addresses {
        for member in 0..MEMBERS {
            members.push(joined(address, member * ROOMS_EACH..(member + 1) * ROOMS_EACH));
        }
    }
    let mut control = redis.connect();
    for room in 0..ROOMS {
        eventually("both are subscribed", || control.subscribers(&channel(room)) == 2);
    }
    let visits = thread::scope(|scope| {
        let progress = &progress;
        let visitor = scope.spawn(|| visit(&redis, progress));
        let hearing: Vec<_> =
            members.iter_mut().map(|member| scope.spawn(move || hear(member, progress))).collect();
        let saying: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                scope.spawn(move || say(publisher, addresses[publisher % 2], progress))
            })
            .collect();
        saying.into_iter().for_each(|thread| thread.join().unwrap());
        hearing.into_iter().for_each(|thread| thread.join().unwrap());
        progress.is_over.store(true, Ordering::Relaxed);
        visitor.join().unwrap()
    });
    assert!(visits >= 2, "the third node came {visits} times");
    for member in &mut members {
        member.expect_quiet(Duration::from_millis(20));
    }
    let heard: usize = progress.heard.iter().map(|heard| heard.load(Ordering::Relaxed)).sum();
    assert_eq!(heard, 2 * MESSAGES);
    assert!(nodes.iter_mut().all(Conformance::is_running));
}

fn name(room: usize) -> String {
    format!("room-{room}")
}

fn channel(room: usize) -> String {
    format!("ws:room:{}", name(room))
}

fn joined(address: SocketAddr, rooms: std::ops::Range<usize>) -> EventClient {
    let names: Vec<String> = rooms.map(name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    EventClient::member(address, "member", &names)
}

/// Says its numbers in the rooms in turn, never more than the window ahead of those who hear.
fn say(publisher: usize, address: SocketAddr, progress: &Progress) {
    let heard = || progress.heard[publisher].load(Ordering::Relaxed) / 2;
    const AT_ONCE: usize = 64;
    let mut client = EventClient::login(address, &publisher.to_string());
    for first in (0..EACH).step_by(AT_ONCE) {
        let until = (first + AT_ONCE).min(EACH);
        let mut bytes = Vec::new();
        for n in first..until {
            let room = name(n % ROOMS);
            let text = format!(
                r#"{{"event":"chat","data":{{"room":"{room}","text":"{publisher} {n}"}}}}"#
            );
            bytes.extend(frame(true, false, Opcode::Text, text.as_bytes()));
        }
        client.socket.send(&bytes);
        eventually("others hear it", || until <= heard() + WINDOW);
    }
    eventually("others hear all of it", || heard() == EACH);
}

/// Hears everything that is said in its rooms, in order.
fn hear(member: &mut EventClient, progress: &Progress) {
    let mut next = Order::default();
    for _ in 0..MESSAGES / MEMBERS {
        let publisher = next.check(&member.expect_text());
        progress.heard[publisher].fetch_add(1, Ordering::Relaxed);
    }
}

/// For each publisher and room, the number that comes next: rooms come in turn, so it is by so many
/// greater than the last.
#[derive(Default)]
struct Order {
    next: HashMap<(usize, usize), usize>,
    /// Whether the first that is heard may be any.
    is_late: bool,
}

impl Order {
    /// Who said it.
    fn check(&mut self, text: &str) -> usize {
        let (_, said) = text.split_once(r#""text":""#).unwrap_or_else(|| panic!("{text}"));
        let (publisher, n) = said.trim_end_matches(r#""}}"#).split_once(' ').unwrap();
        let (publisher, n): (usize, usize) = (publisher.parse().unwrap(), n.parse().unwrap());
        let room = n % ROOMS;
        let first = if self.is_late { n } else { room };
        let next = self.next.entry((publisher, room)).or_insert(first);
        assert_eq!(n, *next, "of publisher {publisher} in room {room}");
        *next = n + ROOMS;
        publisher
    }
}

/// A third node starts, hears for a while without a gap, dies; and again. How often it did.
fn visit(redis: &Redis, progress: &Progress) -> usize {
    let mut visits = 0;
    while !progress.is_over.load(Ordering::Relaxed) {
        let node = Conformance::start(&["--redis", &redis.url()]);
        let mut client = EventClient::login(node.address(), "visitor");
        let rooms: Vec<String> = (0..ROOMS_EACH).map(|room| format!("{:?}", name(room))).collect();
        client.event("join", &format!(r#"{{"rooms":[{}]}}"#, rooms.join(",")));
        let mut order = Order { is_late: true, ..Order::default() };
        let began = Instant::now();
        let mut heard = 0;
        while heard < 2000 && !progress.is_over.load(Ordering::Relaxed) {
            assert!(began.elapsed() < PATIENCE, "only {heard} messages");
            match client.socket.next(Duration::from_millis(200)) {
                Next::Frame(frame) => {
                    order.check(&String::from_utf8(frame.payload).unwrap());
                    heard += 1;
                }
                Next::Nothing => {}
                other => panic!("{other:?}"),
            }
        }
        visits += usize::from(heard == 2000);
        node.kill();
        drain(&mut client.socket, &mut order);
    }
    visits
}

/// What was on its way when the node died is in order too.
fn drain(socket: &mut Client, order: &mut Order) {
    while let Next::Frame(frame) = socket.next(PATIENCE) {
        order.check(&String::from_utf8(frame.payload).unwrap());
    }
}

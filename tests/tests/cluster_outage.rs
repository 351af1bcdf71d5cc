//! Redis dies under load and comes back: clients of one node notice nothing, those of different
//! nodes a gap, and the node can tell how large it is.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test, whose clients live in real time"
)]
#![forbid(unsafe_code)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fulmar::fabric::Options;
use fulmar::{Room, Running};
use fulmar_tests::client::Next;
use fulmar_tests::conformance::node;
use fulmar_tests::event_client::EventClient;
use fulmar_tests::redis::Redis;
use fulmar_tests::{eventually, holds_within};

/// Cross-node delivery must be back so soon after Redis is.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// The longest that a local message may take, on a machine that does other things.
const LOCAL_WITHIN: Duration = Duration::from_secs(2);

/// What a member has heard: numbers by the node that said them, with the time of the last.
#[derive(Default)]
struct Heard {
    numbers: [Mutex<Vec<u64>>; 2],
}

impl Heard {
    fn count(&self, node: usize) -> usize {
        self.numbers[node].lock().unwrap().len()
    }

    fn last(&self, node: usize) -> u64 {
        self.numbers[node].lock().unwrap().last().copied().unwrap_or(0)
    }
}

/// Everything that goes on at a time.
#[derive(Default)]
struct World {
    said: [AtomicU64; 2],
    heard: [Heard; 2],
    is_over: AtomicBool,
}

fn is_ready(node: &Running) -> bool {
    node.fabric().unwrap().status().is_ready()
}

#[test]
fn when_redis_dies_local_messages_go_on_and_others_come_back_with_it() {
    let mut redis = Redis::start();
    let nodes = [(); 2].map(|()| node(Some(Options::new(redis.url()))));
    let mut members =
        nodes.each_ref().map(|node| EventClient::member(node.local_addr(), "ada", &["r"]));
    let mut control = redis.connect();
    eventually("both are subscribed", || control.subscribers("ws:room:r") == 2);
    let world = World::default();
    thread::scope(|scope| {
        let (world, nodes) = (&world, &nodes);
        for (at, node) in nodes.iter().enumerate() {
            let room = node.hub().room("r");
            scope.spawn(move || say(at, &room, world));
        }
        for (at, member) in members.iter_mut().enumerate() {
            scope.spawn(move || hear(member, &world.heard[at], world));
        }
        let over = Over(&world.is_over);
        for round in 0..2 {
            both_ways(world, "at first");
            redis.kill();
            eventually("both notice", || !nodes.iter().any(is_ready));
            goes_on_locally(world);
            let trouble = nodes[0].fabric().unwrap().status().trouble;
            assert!(trouble.is_some(), "in round {round}");
            redis.restart();
            let back = Instant::now();
            both_ways(world, "again");
            assert!(back.elapsed() < BACK_WITHIN, "after {:?}", back.elapsed());
            eventually("both are ready", || nodes.iter().all(is_ready));
        }
        drop(over);
    });
    for at in [0, 1] {
        check(at, &nodes, &world);
    }
    nodes.into_iter().for_each(Running::kill);
}

/// Ends the world's threads even if an assertion fails, so that the failure is told.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Says a number about every millisecond.
fn say(at: usize, room: &Room, world: &World) {
    while !world.is_over.load(Ordering::Relaxed) {
        let n = world.said[at].fetch_add(1, Ordering::Relaxed) + 1;
        room.publish("n", &(at, n)).unwrap();
        thread::park_timeout(Duration::from_millis(1));
    }
}

fn hear(member: &mut EventClient, heard: &Heard, world: &World) {
    let mut quiet = 0;
    // What is on its way at the end is heard too.
    while quiet < 3 {
        match member.socket.next(Duration::from_millis(200)) {
            Next::Frame(frame) => {
                let text = String::from_utf8(frame.payload).unwrap();
                let said = text.strip_prefix(r#"{"event":"n","data":["#).unwrap();
                let (at, n) = said.trim_end_matches("]}").split_once(',').unwrap();
                let at: usize = at.parse().unwrap();
                heard.numbers[at].lock().unwrap().push(n.parse().unwrap());
            }
            Next::Nothing if world.is_over.load(Ordering::Relaxed) => quiet += 1,
            Next::Nothing => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Waits until each node's member has heard 100 more of the other node's.
fn both_ways(world: &World, when: &str) {
    let before = [world.heard[0].count(1), world.heard[1].count(0)];
    eventually(when, || {
        world.heard[0].count(1) >= before[0] + 100 && world.heard[1].count(0) >= before[1] + 100
    });
}

/// For a second, whatever a node says its own members hear at once; the others hear nothing.
fn goes_on_locally(world: &World) {
    let began = Instant::now();
    let remote = [world.heard[0].count(1), world.heard[1].count(0)];
    while began.elapsed() < Duration::from_secs(1) {
        for at in [0, 1] {
            let said = world.said[at].load(Ordering::Relaxed);
            let heard = || world.heard[at].last(at) >= said;
            assert!(holds_within(LOCAL_WITHIN, heard), "node {at}: {said} is not heard");
        }
    }
    assert_eq!([world.heard[0].count(1), world.heard[1].count(0)], remote);
}

/// Local members heard everything, remote ones a part in order, and the counters tell the rest.
fn check(at: usize, nodes: &[Running; 2], world: &World) {
    let said = world.said[at].load(Ordering::Relaxed);
    let local = world.heard[at].numbers[at].lock().unwrap().clone();
    assert!(local.iter().copied().eq(1..=said), "node {at}: {} of {said} local", local.len());
    let remote = world.heard[1 - at].numbers[at].lock().unwrap().clone();
    assert!(remote.is_sorted_by(|one, next| one < next), "node {at}: remote in order, each once");
    let (own, other) = (counters(&nodes[at]), counters(&nodes[1 - at]));
    let unsent = own.lost_disconnected + own.dropped_queue + own.dropped_size + own.refused;
    assert_eq!(own.published + unsent, said, "{own:?}");
    assert!(unsent > 0, "{own:?}");
    assert_eq!(other.received, remote.len() as u64, "{other:?}");
    // Redis may have passed on what it could not confirm any more: a pipeline's worth each time.
    assert!(remote.len() as u64 <= own.published + unsent, "{own:?}");
    assert!(own.reconnects >= 4, "two links, two times: {own:?}");
}

fn counters(node: &Running) -> fulmar::fabric::Counters {
    node.fabric().unwrap().status().counters
}

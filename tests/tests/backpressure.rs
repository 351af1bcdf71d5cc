//! A client that does not read costs its limit, gets what its policy says, and nobody else notices.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fulmar::text::{Role, RoomOptions, Text};
use fulmar::{Arg, Backpressure, Connection, Endpoint, PublishError, Reason, Running, SlowPolicy};
use fulmar_proto::ws::Opcode;
use fulmar_tests::client::{Client, Next, frame};
use fulmar_tests::server::{self, Binary, pressed};
use fulmar_tests::{PATIENCE, eventually, memory};

const KIB: usize = 1 << 10;

fn feed(policy: SlowPolicy) -> Endpoint<()> {
    let options = RoomOptions { role: Role::Member, ..RoomOptions::default() };
    let backpressure = Backpressure { bytes_max: 256 << 10, low_bytes: 64 << 10, policy };
    Endpoint::new("/feed/:room").speaks(Text::room(options)).options(pressed(backpressure))
}

/// A message that says its number first.
fn numbered(number: u64) -> String {
    format!("{number:08} {}", "x".repeat(4 * KIB - 9))
}

fn number(text: &str) -> u64 {
    text[..8].parse().unwrap()
}

fn joined(server: &Running, members: u64) {
    eventually("all are members", || server.stats().memberships == members);
}

fn small(server: &Running, target: &str) -> Client {
    let mut client = Client::small(server.local_addr());
    client.upgrade(target, "");
    client
}

/// Publishes as fast as the healthy client reads, so that only a stuck one is slow.
fn publish(server: &Running, healthy: &mut Client, from: u64, to: u64) {
    let room = server.room("r");
    for first in (from..to).step_by(16) {
        let batch = first..(first + 16).min(to);
        for n in batch.clone() {
            room.publish("", &numbered(n)).unwrap();
        }
        for n in batch {
            assert_eq!(number(&healthy.expect_text()), n, "the healthy one misses nothing");
        }
    }
}

/// More than the kernel may hold for a client that does not read.
const MESSAGES: u64 = 6000;

/// A server whose kernel holds little for a client that does not read.
fn tight(endpoint: Endpoint<()>) -> Running {
    let mut config = server::config();
    config.listen.send_buffer_bytes = Some(64 << 10);
    server::start(config, vec![endpoint])
}

#[test]
fn drop_newest_delivers_a_prefix_then_goes_on_and_tells_when_drained() {
    let drained = Arc::new(AtomicUsize::new(0));
    let count = drained.clone();
    let hook = move || {
        count.fetch_add(1, Ordering::Relaxed);
    };
    let endpoint = feed(SlowPolicy::DropNewest).on_drain(hook);
    let server = tight(endpoint);
    let mut healthy = Client::open(server.local_addr(), "/feed/r");
    let mut stuck = small(&server, "/feed/r");
    joined(&server, 2);
    // Less than the room retains, for one that is further behind loses what it waits for.
    publish(&server, &mut healthy, 0, 800);
    let mut expected = 0;
    // What had been taken over when it was full is there without a gap.
    loop {
        match stuck.next(Duration::from_millis(500)) {
            Next::Frame(frame) => {
                assert_eq!(number(std::str::from_utf8(&frame.payload).unwrap()), expected);
                expected += 1;
            }
            Next::Nothing => break,
            other => panic!("{other:?}"),
        }
    }
    assert!((64..700).contains(&expected), "{expected}");
    eventually("the hook ran", || drained.load(Ordering::Relaxed) == 1);
    publish(&server, &mut healthy, 800, 816);
    for n in 800..816 {
        assert_eq!(number(&stuck.expect_text()), n, "it goes on with what is new");
    }
    assert_eq!(drained.load(Ordering::Relaxed), 1, "once per backlog");
    assert_eq!(server.stats().drained, 1);
    server.kill();
}

#[test]
fn skip_leaves_out_what_waits_and_goes_on_with_what_is_new() {
    let server = server::start(server::config(), vec![feed(SlowPolicy::Skip)]);
    let mut healthy = Client::open(server.local_addr(), "/feed/r");
    let mut stuck = small(&server, "/feed/r");
    joined(&server, 2);
    publish(&server, &mut healthy, 0, MESSAGES);
    let mut last = None;
    let mut got = 0;
    while let Next::Frame(frame) = stuck.next(Duration::from_millis(500)) {
        let n = number(std::str::from_utf8(&frame.payload).unwrap());
        assert!(last.is_none_or(|last| n > last), "order, and nothing twice");
        (last, got) = (Some(n), got + 1);
    }
    assert!(got < MESSAGES, "something was left out");
    publish(&server, &mut healthy, MESSAGES, MESSAGES + 16);
    for n in MESSAGES..MESSAGES + 16 {
        assert_eq!(number(&stuck.expect_text()), n);
    }
    server.kill();
}

#[test]
fn close_ends_a_slow_reader_with_1013_and_a_reason() {
    let server = server::start(server::config(), vec![feed(SlowPolicy::Close)]);
    let mut healthy = Client::open(server.local_addr(), "/feed/r");
    let mut stuck = small(&server, "/feed/r");
    joined(&server, 2);
    publish(&server, &mut healthy, 0, MESSAGES);
    eventually("it is closed", || server.stats().reasons.of(Reason::SlowConsumer) == 1);
    assert_eq!(server.stats().memberships, 1, "it is a member no more");
    let mut expected = 0;
    let (code, reason) = loop {
        let frame = stuck.expect_frame();
        if frame.opcode == Opcode::Close.bits() {
            let (code, reason) = frame.payload.split_first_chunk::<2>().unwrap();
            break (u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).unwrap());
        }
        assert_eq!(number(std::str::from_utf8(&frame.payload).unwrap()), expected);
        expected += 1;
    };
    assert_eq!(code, 1013);
    assert!(reason.contains("slow"), "{reason:?}");
    stuck.expect_fin();
    server.kill();
}

#[test]
fn a_stuck_member_costs_its_limit_in_a_fresh_process_and_the_other_gets_everything() {
    for policy in ["drop_newest", "skip", "close"] {
        let toml = format!(
            "shards = 1\nworkers = 1\n[timeouts]\nping_interval = \"off\"\n[backpressure]\n\
             bytes_max = \"1MiB\"\npolicy = \"{policy}\"\n"
        );
        let server = Binary::start(&toml, &[]);
        let mut stuck: Vec<Client> = (0..8)
            .map(|_| {
                let mut client = Client::small(server.address());
                client.upgrade("/rooms/r", "");
                client
            })
            .collect();
        let mut healthy = Client::open(server.address(), "/rooms/r");
        let mut talk = |from: u64, to: u64| {
            for n in from..to {
                healthy.text(&numbered(n));
                assert_eq!(number(&healthy.expect_text()), n);
            }
        };
        talk(0, 16);
        let before = memory::resident(server.id());
        talk(16, MESSAGES);
        let growth = memory::peak(server.id()).saturating_sub(before);
        // They lag in one room, whose messages they share.
        assert!(growth < 12 << 20, "{policy}: {growth} bytes more");
        stuck.clear();
        talk(MESSAGES, MESSAGES + 16);
    }
}

#[test]
fn direct_messages_over_the_limit_are_dropped_but_answers_never() {
    let handler = |connection: Connection, Arg(text): Arg<String>| {
        if text == "flood" {
            for n in 0..4000 {
                connection.send_text(numbered(n));
            }
        }
        format!("answer to {text}")
    };
    let backpressure =
        Backpressure { bytes_max: 256 << 10, low_bytes: 64 << 10, policy: SlowPolicy::DropNewest };
    let endpoint = Endpoint::new("/")
        .speaks(Text::default())
        .on_message(handler)
        .options(pressed(backpressure));
    let mut config = server::config();
    config.listen.send_buffer_bytes = Some(64 << 10);
    let server = server::start(config, vec![endpoint]);
    let mut client = small(&server, "/");
    client.text("flood");
    client.text("one");
    client.text("two");
    eventually("some are dropped", || server.stats().reasons.of(Reason::DroppedBacklog) > 0);
    let (mut answers, mut last) = (Vec::new(), None);
    while answers.len() < 3 {
        let text = client.expect_text();
        if text.starts_with("answer") {
            answers.push(text);
            continue;
        }
        let n = number(&text);
        assert!(last.is_none_or(|last| n > last), "{n} after {last:?}");
        last = Some(n);
    }
    assert_eq!(answers, ["answer to flood", "answer to one", "answer to two"]);
    assert_eq!(server.stats().reasons.of(Reason::SlowConsumer), 0);
    server.kill();
}

#[test]
fn direct_messages_over_the_limit_close_where_the_policy_is_to_close() {
    let handler = |connection: Connection, Arg(_): Arg<String>| {
        (0..4000).for_each(|n| connection.send_text(numbered(n)));
    };
    let backpressure =
        Backpressure { bytes_max: 256 << 10, low_bytes: 64 << 10, policy: SlowPolicy::Close };
    let endpoint = Endpoint::new("/")
        .speaks(Text::default())
        .on_message(handler)
        .options(pressed(backpressure));
    let mut config = server::config();
    config.listen.send_buffer_bytes = Some(64 << 10);
    let server = server::start(config, vec![endpoint]);
    let mut client = small(&server, "/");
    client.text("flood");
    eventually("it is closed", || server.stats().reasons.of(Reason::SlowConsumer) == 1);
    assert_eq!(client.expect_close().0, 1013);
    client.expect_fin();
    server.kill();
}

#[test]
fn a_handler_that_blocks_stops_the_receiving_and_loses_nothing() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = open.clone();
    let handler = move |Arg(text): Arg<String>| {
        eventually("the gate opens", || gate.load(Ordering::Relaxed));
        text
    };
    let endpoint = Endpoint::new("/").speaks(Text::default()).on_message(handler);
    let other = Endpoint::new("/echo").speaks(Text::echo());
    let mut config = server::config();
    config.limits.calls_queued_max = 8;
    let server = server::start(config, vec![endpoint, other]);
    let mut client = Client::open(server.local_addr(), "/");
    let count = 2000;
    let all: Vec<u8> = (0..count)
        .flat_map(|n| frame(true, false, Opcode::Text, n.to_string().as_bytes()))
        .collect();
    client.send(&all);
    eventually("it is paused", || server.stats().paused > 0);
    assert!(server.stats().messages_in < 16, "{}", server.stats().messages_in);
    assert!(server.stats().calls_now <= 1);
    let mut healthy = Client::open(server.local_addr(), "/echo");
    healthy.text("not held up");
    assert_eq!(healthy.expect_text(), "not held up");
    open.store(true, Ordering::Relaxed);
    for n in 0..count {
        assert_eq!(client.expect_text(), n.to_string());
    }
    server.kill();
}

#[test]
fn publishers_are_refused_when_a_homes_mailbox_is_full_and_nobody_got_anything() {
    let blocking = Arc::new(AtomicBool::new(true));
    let gate = blocking.clone();
    // Keeps the shard busy, so that its mailbox fills.
    let handler = move || {
        fulmar_tests::holds_within(PATIENCE, || !gate.load(Ordering::Relaxed));
    };
    let stall = Endpoint::new("/stall").speaks(Text::default()).on_message(fulmar::inline(handler));
    let mut config = server::config();
    config.limits.mailbox_max = 64;
    let rooms = Endpoint::new("/rooms/:room").speaks(Text::room(RoomOptions::default()));
    let server = server::start(config, vec![stall, rooms]);
    let mut member = Client::open(server.local_addr(), "/rooms/r");
    joined(&server, 1);
    let mut stalling = Client::open(server.local_addr(), "/stall");
    stalling.text("x");
    let room = server.room("r");
    let mut taken = 0;
    eventually("it is refused", || match room.publish("", &taken.to_string()) {
        Ok(()) => {
            taken += 1;
            false
        }
        Err(PublishError::Busy) => true,
        Err(other) => panic!("{other}"),
    });
    blocking.store(false, Ordering::Relaxed);
    for n in 0..taken {
        assert_eq!(member.expect_text(), n.to_string());
    }
    eventually("it is taken again", || room.publish("", "more").is_ok());
    assert_eq!(member.expect_text(), "more", "and nothing of what was refused");
    server.kill();
}

//! Rooms: order, exactly once between joining and leaving, roles, names.

use std::collections::HashMap;
use std::time::Duration;

use fulmar::text::{Role, RoomOptions, Text};
use fulmar::{Config, Endpoint, Running};
use fulmar_proto::ws::Opcode;
use fulmar_tests::client::Client;
use fulmar_tests::{eventually, server};

fn sharded(shards: usize) -> Config {
    Config { shards, ..server::config() }
}

fn rooms(shards: usize, options: RoomOptions) -> Running {
    let endpoint = Endpoint::new("/rooms/:room").speaks(Text::room(options));
    server::start(sharded(shards), vec![endpoint])
}

fn members(server: &Running, count: u64) {
    eventually("all are members", || server.stats().memberships == count);
}

#[test]
fn every_member_hears_everything_once_in_one_order_per_room() {
    const MEMBERS: usize = 24;
    const ROOMS: usize = 3;
    const EACH: usize = 50;
    for shards in [1, 2, 4] {
        let server = rooms(shards, RoomOptions { echo_to_self: true, ..RoomOptions::default() });
        let clients: Vec<Client> = (0..MEMBERS)
            .map(|n| Client::open(server.local_addr(), &format!("/rooms/{}", n % ROOMS)))
            .collect();
        members(&server, MEMBERS as u64);
        let threads: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(n, mut client)| {
                std::thread::spawn(move || {
                    for k in 0..EACH {
                        client.text(&format!("{n} {k}"));
                    }
                    let count = EACH * MEMBERS / ROOMS;
                    let heard: Vec<String> = (0..count).map(|_| client.expect_text()).collect();
                    client.ping(b"");
                    assert_eq!(client.expect_pong(), b"", "nothing more");
                    heard
                })
            })
            .collect();
        let heard: Vec<Vec<String>> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        for (n, mine) in heard.iter().enumerate() {
            assert_eq!(*mine, heard[n % ROOMS], "{shards} shards: one order for all of a room");
            let mut next: HashMap<usize, usize> = HashMap::new();
            for text in mine {
                let (who, k) = text.split_once(' ').unwrap();
                let (who, k): (usize, usize) = (who.parse().unwrap(), k.parse().unwrap());
                assert_eq!(who % ROOMS, n % ROOMS, "from the same room");
                let expected = next.entry(who).or_default();
                assert_eq!(k, *expected, "each publisher's messages in order, once");
                *expected += 1;
            }
        }
        server.kill();
    }
}

#[test]
fn members_that_come_and_go_hear_a_gapless_stretch() {
    for shards in [1, 2] {
        let server = rooms(shards, RoomOptions::default());
        let (stopper, room) =
            (std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)), server.room("r"));
        let stop = stopper.clone();
        let publisher = std::thread::spawn(move || {
            let mut n = 0_u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                if room.publish("", &n.to_string()).is_ok() {
                    n += 1;
                }
                std::thread::park_timeout(Duration::from_micros(200));
            }
        });
        for _ in 0..40 {
            let mut client = Client::open(server.local_addr(), "/rooms/r");
            let first: u64 = client.expect_text().parse().unwrap();
            for n in first + 1..first + 20 {
                assert_eq!(client.expect_text(), n.to_string(), "{shards} shards");
            }
        }
        stopper.store(true, std::sync::atomic::Ordering::Relaxed);
        publisher.join().unwrap();
        eventually("none is a member", || server.stats().memberships == 0);
        assert_eq!(server.stats().rooms, 0, "a room without members is gone");
        server.kill();
    }
}

#[test]
fn publishers_do_not_hear_themselves_unless_told_to() {
    for echo_to_self in [false, true] {
        let server = rooms(2, RoomOptions { echo_to_self, ..RoomOptions::default() });
        let mut one = Client::open(server.local_addr(), "/rooms/r");
        let mut two = Client::open(server.local_addr(), "/rooms/r");
        members(&server, 2);
        one.text("from one");
        assert_eq!(two.expect_text(), "from one");
        two.text("from two");
        if echo_to_self {
            assert_eq!(one.expect_text(), "from one");
            assert_eq!(two.expect_text(), "from two");
        }
        assert_eq!(one.expect_text(), "from two");
        server.kill();
    }
}

#[test]
fn text_stays_text_and_bytes_stay_bytes() {
    let server = rooms(2, RoomOptions::default());
    let mut one = Client::open(server.local_addr(), "/rooms/r");
    let mut two = Client::open(server.local_addr(), "/rooms/r");
    members(&server, 2);
    let long = vec![0xfe; 300_000];
    one.binary(b"\xff\0");
    one.text("caf\u{e9}");
    one.frame(false, Opcode::Text, b"in ");
    one.frame(true, Opcode::Continuation, b"parts");
    one.binary(b"");
    one.text("");
    one.binary(&long);
    assert_eq!(two.expect_binary(), b"\xff\0");
    assert_eq!(two.expect_text(), "caf\u{e9}");
    assert_eq!(two.expect_text(), "in parts");
    assert_eq!(two.expect_binary(), b"");
    assert_eq!(two.expect_text(), "");
    assert_eq!(two.expect_binary(), long);
    server.kill();
}

#[test]
fn a_member_only_listens_and_is_closed_with_1008_when_it_speaks() {
    let room = |role| RoomOptions { role, ..RoomOptions::default() };
    let endpoint = |path: &str, role| Endpoint::new(path).speaks(Text::room(room(role)));
    let server = server::start(
        sharded(2),
        vec![
            endpoint("/listen/:room", Role::Member),
            endpoint("/speak/:room", Role::Publisher),
            endpoint("/both/:room", Role::Both),
        ],
    );
    let mut listener = Client::open(server.local_addr(), "/listen/r");
    let mut both = Client::open(server.local_addr(), "/both/r");
    members(&server, 2);
    let mut speaker = Client::open(server.local_addr(), "/speak/r");
    speaker.text("one");
    assert_eq!((listener.expect_text(), both.expect_text()), ("one".into(), "one".into()));
    both.text("two");
    assert_eq!(listener.expect_text(), "two");
    speaker.ping(b"");
    assert_eq!(speaker.expect_pong(), b"", "a publisher hears nothing");
    listener.text("not allowed");
    assert_eq!(listener.expect_close().0, 1008);
    listener.expect_fin();
    members(&server, 1);
    server.kill();
}

#[test]
fn rooms_are_named_by_path_and_query() {
    let template = "{team}/{query.topic}".parse().unwrap();
    let options = RoomOptions { room: template, ..RoomOptions::default() };
    let endpoint = Endpoint::new("/teams/:team").speaks(Text::room(options));
    let server = server::start(sharded(2), vec![endpoint]);
    let open = |target: &str| Client::open(server.local_addr(), target);
    let mut one = open("/teams/red?topic=x");
    let mut same = open("/teams/red?other=1&topic=%78");
    let mut other = open("/teams/blue?topic=x");
    members(&server, 3);
    one.text("hello red x");
    assert_eq!(same.expect_text(), "hello red x");
    server.room("blue/x").publish("", "hello blue x").unwrap();
    assert_eq!(other.expect_text(), "hello blue x");
    server.room("red/x").publish("", "to both").unwrap();
    assert_eq!((one.expect_text(), same.expect_text()), ("to both".into(), "to both".into()));
    for target in ["/teams/red", "/teams/red?topic=", "/teams/red?topic"] {
        let mut nowhere = open(target);
        assert_eq!(nowhere.expect_close().0, 1008, "{target}");
    }
    let mut long = open(&format!("/teams/red?topic={}", "x".repeat(300)));
    assert_eq!(long.expect_close().0, 1008);
    server.kill();
}

#[test]
fn what_is_published_from_outside_reaches_members_on_every_shard() {
    let server = rooms(4, RoomOptions::default());
    let mut clients: Vec<Client> =
        (0..16).map(|_| Client::open(server.local_addr(), "/rooms/r")).collect();
    members(&server, 16);
    let room = server.room("r");
    room.publish("", "text").unwrap();
    room.publish("", &fulmar::Bytes(vec![1, 2])).unwrap();
    room.publish("", &vec![1, 2]).unwrap();
    for client in &mut clients {
        assert_eq!(client.expect_text(), "text");
        assert_eq!(client.expect_binary(), [1, 2]);
        assert_eq!(client.expect_text(), "[1,2]");
    }
    server.kill();
}

//! Floods: replies to a peer that does not read are bounded like everything else, and others do not
//! notice.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fulmar_proto::ws::Opcode;
use fulmar_tests::client::{Client, Next, frame};
use fulmar_tests::server::Binary;
use fulmar_tests::{PATIENCE, memory, server, timed};

const ONE: &str = "shards = 1\nworkers = 1\n[timeouts]\nping_interval = \"off\"\n";
/// Beyond a connection's limit of 1 MiB: what a process may grow by all the same (pools, the
/// allocator's slack, buffers of one read).
const CONSTANT: u64 = 6 << 20;

fn open(server: &Binary, target: &str) -> Client {
    let mut client = Client::small(server.address());
    client.upgrade(target, "");
    client
}

#[test]
fn pings_of_a_peer_that_does_not_read_cost_nothing_and_the_newest_is_answered() {
    let server = Binary::start(ONE, &[]);
    let mut client = open(&server, "/echo");
    client.ping(b"warm");
    client.expect_pong();
    let before = memory::resident(server.id());
    let mut number = 0_u64;
    for _ in 0..160 {
        // 1,000 pings of 125 bytes: 131 KB.
        let mut pings = Vec::new();
        for _ in 0..1000 {
            number += 1;
            let payload = [&number.to_be_bytes(), [7; 117].as_slice()].concat();
            pings.extend(frame(true, false, Opcode::Ping, &payload));
        }
        client.send(&pings);
    }
    let growth = memory::peak(server.id()).saturating_sub(before);
    assert!(growth < CONSTANT, "{growth} bytes more for 20 MiB of pings");
    let (mut pongs, mut newest) = (0, 0);
    while newest < number {
        let payload = client.expect_pong();
        let answered = u64::from_be_bytes(*payload.first_chunk().unwrap());
        assert!(answered > newest, "{answered} after {newest}");
        (pongs, newest) = (pongs + 1, answered);
    }
    assert!(pongs < number, "some were never sent");
    client.text("still there");
    assert_eq!(client.expect_text(), "still there");
}

#[test]
fn pings_of_a_peer_that_reads_are_all_answered_in_order() {
    let server = server::echo(server::config());
    let mut client = Client::open(server.local_addr(), "/echo");
    for number in 0..1000_u32 {
        client.ping(&number.to_be_bytes());
        assert_eq!(client.expect_pong(), number.to_be_bytes());
    }
    for length in [0, 1, 124, 125] {
        client.ping(&vec![0xff; length]);
        assert_eq!(client.expect_pong(), vec![0xff; length]);
    }
    server.kill();
}

#[test]
fn echo_to_a_peer_that_does_not_read_is_bounded_and_nothing_taken_is_lost() {
    let server = Binary::start(ONE, &[]);
    let mut client = open(&server, "/echo");
    client.text("warm");
    client.expect_text();
    let before = memory::resident(server.id());
    let message = |number: u64| {
        let payload = [&number.to_be_bytes(), vec![7; (32 << 10) - 8].as_slice()].concat();
        frame(true, false, Opcode::Binary, &payload)
    };
    // 64 MiB, if the server took it.
    let (mut number, mut rest) = (0, Vec::new());
    while number < 2048 {
        let bytes = message(number);
        let sent = client.push(&bytes, Duration::from_millis(500));
        number += 1;
        if sent < bytes.len() {
            rest = bytes[sent..].to_vec();
            break;
        }
    }
    assert!(number < 2048, "a client that does not read is not read either");
    let growth = memory::peak(server.id()).saturating_sub(before);
    assert!(growth < (1 << 20) + CONSTANT, "{growth} bytes more");
    let mut stream = client.stream();
    let writer = std::thread::spawn(move || stream.write_all(&rest).unwrap());
    for expected in 0..number {
        let payload = client.expect_binary();
        assert_eq!(payload.len(), 32 << 10);
        assert_eq!(payload.first_chunk(), Some(&expected.to_be_bytes()));
    }
    writer.join().unwrap();
    client.text("still there");
    assert_eq!(client.expect_text(), "still there");
}

#[test]
fn many_stuck_peers_cost_their_limit_each_at_most() {
    let toml = format!("{ONE}[backpressure]\nbytes_max = \"64KiB\"\nlow_bytes = \"16KiB\"\n");
    let server = Binary::start(&toml, &[]);
    let mut clients: Vec<Client> = (0..12).map(|_| open(&server, "/echo")).collect();
    for client in &mut clients {
        client.text("warm");
        client.expect_text();
    }
    let before = memory::resident(server.id());
    let message = frame(true, false, Opcode::Binary, &[7; 8 << 10]);
    for client in &mut clients {
        // The kernel takes some MiB on both sides.
        let mut left = 4096;
        while left > 0 && client.push(&message, Duration::from_millis(50)) == message.len() {
            left -= 1;
        }
        assert!(left > 0, "32 MiB were taken from a client that reads nothing");
    }
    let growth = memory::peak(server.id()).saturating_sub(before);
    // Its limit, what one turn read beyond it, and slack.
    assert!(growth < 12 * ((64 + 512) << 10) + CONSTANT, "{growth} bytes more");
    let mut healthy = Client::open(server.address(), "/echo");
    healthy.text("not held up");
    assert_eq!(healthy.expect_text(), "not held up");
}

/// What is published in one turn is in memory until the turn ends, and a message of three bytes
/// takes hundreds there.
#[test]
fn members_that_flood_their_room_cost_little_more_than_what_they_may_lag() {
    for shards in ["shards = 1", "shards = 2"] {
        let server = Binary::start(&ONE.replace("shards = 1", shards), &[]);
        let bytes = frame(true, false, Opcode::Text, b"123").repeat(5000);
        let members: Vec<_> = (0..20)
            .map(|_| {
                let client = Client::open(server.address(), "/rooms/crowded");
                let (mut writer, mut reader) = (client.stream(), client.stream());
                let bytes = bytes.clone();
                let writing = std::thread::spawn(move || {
                    (0..60).for_each(|_| writer.write_all(&bytes).unwrap_or(()));
                });
                let reading = std::thread::spawn(move || {
                    let mut sink = vec![0; 64 << 10];
                    while reader.read(&mut sink).is_ok_and(|n| n > 0) {}
                });
                (client, writing, reading)
            })
            .collect();
        let (clients, threads): (Vec<_>, Vec<_>) = members
            .into_iter()
            .map(|(client, writing, reading)| (client, (writing, reading)))
            .unzip();
        let (writing, reading): (Vec<_>, Vec<_>) = threads.into_iter().unzip();
        writing.into_iter().for_each(|thread| thread.join().unwrap());
        let peak = memory::peak(server.id());
        assert!(peak < 96 << 20, "{shards}: {peak} bytes");
        clients.iter().for_each(|client| {
            let _gone = client.stream().shutdown(std::net::Shutdown::Both);
        });
        reading.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn floods_of_control_frames_do_not_starve_others() {
    let server = server::echo(server::config());
    let stop = Arc::new(AtomicBool::new(false));
    let flood = |opcode: Opcode| {
        let client = Client::open(server.local_addr(), "/echo");
        let (mut writer, mut reader, stop) = (client.stream(), client, stop.clone());
        let frames = frame(true, false, opcode, b"x").repeat(5000);
        let writing = std::thread::spawn({
            let stop = stop.clone();
            move || while !stop.load(Ordering::Relaxed) && writer.write_all(&frames).is_ok() {}
        });
        let reading = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let _pong = reader.next(Duration::from_millis(50));
            }
        });
        [writing, reading]
    };
    let floods = [flood(Opcode::Ping), flood(Opcode::Pong)];
    let mut healthy = Client::open(server.local_addr(), "/echo");
    let mut slowest = Duration::ZERO;
    for round in 0..200 {
        let text = round.to_string();
        let (answer, took) = timed(|| {
            healthy.text(&text);
            healthy.expect_text()
        });
        assert_eq!(answer, text);
        slowest = slowest.max(took);
    }
    stop.store(true, Ordering::Relaxed);
    floods.into_iter().flatten().for_each(|thread| thread.join().unwrap());
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    server.kill();
}

#[test]
fn unasked_pongs_are_ignored() {
    let server = server::echo(server::config());
    let mut client = Client::open(server.local_addr(), "/echo");
    client.send(&frame(true, false, Opcode::Pong, b"").repeat(10_000));
    client.text("after");
    assert_eq!(client.expect_text(), "after");
    client.close(1000, "");
    assert_eq!(client.expect_close().0, 1000);
    assert_eq!(client.next(PATIENCE), Next::Fin);
    server.kill();
}

#[test]
fn connections_that_come_and_go_leave_no_memory_behind() {
    let server = Binary::start(ONE, &[]);
    let churn = |rounds: usize| {
        for round in 0..rounds {
            let mut client = Client::open(server.address(), "/echo");
            match round % 4 {
                0 => client.close(1000, ""),
                1 => client.send(b"\x83\x80"),
                2 => client.send(b"\x82\xff\0\0\0\0\0\x01\0\0abcdefgh"),
                _ => {
                    client.reset();
                    continue;
                }
            }
        }
    };
    churn(500);
    let before = memory::resident(server.id());
    churn(3000);
    let growth = memory::resident(server.id()).saturating_sub(before);
    assert!(growth < 2 << 20, "{growth} bytes more after 3,000 connections");
}

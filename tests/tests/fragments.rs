//! Fragments: counted and bounded, whatever their headers announce.

use std::io::Write;
use std::time::Duration;

use fulmar::Reason;
use fulmar_proto::ws::Opcode::{self, Continuation, Text};
use fulmar_tests::client::{Client, Next, frame};
use fulmar_tests::server::Binary;
use fulmar_tests::{eventually, memory, server};

/// A masked head that announces `length`, in eight bytes.
fn announcing(first: u8, length: u64) -> Vec<u8> {
    [&[first, 0xff], length.to_be_bytes().as_slice(), &[1, 2, 3, 4]].concat()
}

/// A message of `count` frames with one byte each.
fn bytewise(count: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(count * 7);
    for index in 0..count {
        let opcode = if index == 0 { Text } else { Continuation };
        out.extend(frame(index + 1 == count, false, opcode, b"a"));
    }
    out
}

#[test]
fn a_hundred_thousand_fragments_of_one_byte_are_one_message_in_little_memory() {
    let server = Binary::start("shards = 1\nworkers = 1\n", &[]);
    let mut client = Client::open(server.address(), "/echo");
    client.text("warm");
    client.expect_text();
    let before = memory::resident(server.id());
    for _ in 0..3 {
        client.send(&bytewise(100_000));
        assert_eq!(client.expect_text(), "a".repeat(100_000));
    }
    let growth = memory::peak(server.id()).saturating_sub(before);
    assert!(growth < 4 << 20, "{growth} bytes more for a message of 100 KB");
}

#[test]
fn more_fragments_than_allowed_close_with_1008() {
    let mut config = server::config();
    config.limits.fragments_max = 10;
    let server = server::echo(config);
    let mut client = Client::open(server.local_addr(), "/echo");
    client.send(&bytewise(10));
    assert_eq!(client.expect_text(), "a".repeat(10), "as many as allowed");
    client.send(&bytewise(10));
    assert_eq!(client.expect_text(), "a".repeat(10), "the count begins anew");
    client.send(&bytewise(11));
    assert_eq!(client.expect_close().0, 1008);
    client.expect_fin();
    assert_eq!(server.stats().reasons.of(Reason::TooManyFragments), 1);
    server.kill();
}

#[test]
fn empty_fragments_count() {
    let mut config = server::config();
    config.limits.fragments_max = 1000;
    let server = server::echo(config);
    for first in [Text, Opcode::Binary] {
        let mut client = Client::open(server.local_addr(), "/echo");
        client.frame(false, first, b"");
        let empty = frame(false, false, Continuation, b"");
        client.send(&empty.repeat(999));
        client.ping(b"still there");
        assert_eq!(client.expect_pong(), b"still there");
        client.send(&empty);
        assert_eq!(client.expect_close().0, 1008);
        client.expect_fin();
    }
    server.kill();
}

#[test]
fn a_message_of_empty_fragments_is_an_empty_message() {
    let server = server::echo(server::config());
    let mut client = Client::open(server.local_addr(), "/echo");
    client.frame(false, Text, b"");
    client.frame(false, Continuation, b"");
    client.frame(true, Continuation, b"");
    assert_eq!(client.expect_text(), "");
    server.kill();
}

#[test]
fn control_frames_between_fragments_are_served_at_once() {
    let server = server::echo(server::config());
    let mut client = Client::open(server.local_addr(), "/echo");
    client.frame(false, Text, "caf\u{e9}".as_bytes().split_at(4).0);
    client.ping(b"one");
    assert_eq!(client.expect_pong(), b"one");
    client.frame(true, Opcode::Pong, b"unasked");
    client.frame(false, Continuation, "\u{e9}".as_bytes().split_at(1).1);
    client.ping(b"two");
    assert_eq!(client.expect_pong(), b"two");
    client.frame(true, Continuation, b"!");
    assert_eq!(client.expect_text(), "caf\u{e9}!");
    client.frame(false, Text, b"never finished");
    client.close(1000, "");
    assert_eq!(client.expect_close().0, 1000);
    client.expect_fin();
    server.kill();
}

#[test]
fn an_announced_length_over_the_limit_is_refused_before_any_of_it_comes() {
    let server = server::echo(server::config());
    let max = (1_u64 << 63) - 1;
    let part = frame(false, false, Opcode::Binary, b"begun");
    for (bytes, code) in [
        (announcing(0x82, max), 1009),
        (announcing(0x81, (1 << 20) + 1), 1009),
        (announcing(0x82, 1 << 63), 1002),
        (announcing(0x82, u64::MAX), 1002),
        // The sum with what has come would wrap, or be negative.
        ([part.clone(), announcing(0x80, max)].concat(), 1009),
        ([part.clone(), announcing(0x00, max - 4)].concat(), 1009),
        ([part, announcing(0x80, (1 << 20) - 4)].concat(), 1009),
    ] {
        let mut client = Client::open(server.local_addr(), "/echo");
        client.send(&bytes);
        assert_eq!(client.expect_close().0, code, "{bytes:02x?}");
        client.expect_fin();
    }
    server.kill();
}

#[test]
fn an_announced_length_reserves_nothing() {
    let server = Binary::start("shards = 1\nworkers = 1\n", &[]);
    let open = || {
        let mut client = Client::open(server.address(), "/echo");
        client.text("warm");
        client.expect_text();
        client
    };
    let mut clients: Vec<Client> = (0..200).map(|_| open()).collect();
    let before = memory::resident(server.id());
    for client in &mut clients {
        // All that is allowed, and one byte of it.
        client.send(&[announcing(0x82, 1 << 20), vec![0]].concat());
    }
    for client in &mut clients {
        assert_eq!(client.next(Duration::from_millis(1)), Next::Nothing);
    }
    clients.push(open());
    let growth = memory::resident(server.id()).saturating_sub(before);
    assert!(growth < 8 << 20, "{growth} bytes more for 200 bytes of payload");
}

#[test]
fn the_limit_holds_exactly_to_the_byte() {
    for limit in [1, 125, 126, 1000, 65_535, 65_536, 100_000] {
        let mut config = server::config();
        config.limits.message_bytes_max = limit;
        let server = server::echo(config);
        let (fits, over) = (vec![b'x'; limit], vec![b'x'; limit + 1]);
        let mut client = Client::open(server.local_addr(), "/echo");
        client.binary(&fits);
        assert_eq!(client.expect_binary().len(), limit, "whole");
        for at in [0, 1, limit / 2, limit] {
            client.frame(false, Text, &fits[..at]);
            client.frame(true, Continuation, &fits[at..]);
            assert_eq!(client.expect_text().len(), limit, "in two at {at}");
        }
        client.binary(&over);
        assert_eq!(client.expect_close().0, 1009, "{limit} + 1");
        for at in [0, 1, limit / 2, limit] {
            let mut client = Client::open(server.local_addr(), "/echo");
            client.frame(false, Text, &over[..at]);
            client.frame(true, Continuation, &over[at..]);
            assert_eq!(client.expect_close().0, 1009, "{limit} + 1 in two at {at}");
            client.expect_fin();
        }
        server.kill();
    }
}

#[test]
fn any_chunking_of_the_stream_is_the_same_stream() {
    let server = server::echo(server::config());
    let mut stream = Vec::new();
    stream.extend(bytewise(20));
    stream.extend(frame(true, false, Opcode::Binary, &[7; 70_000]));
    stream.extend(frame(true, false, Opcode::Ping, b"p"));
    stream.extend(frame(true, false, Text, "\u{1f9a2}".repeat(40).as_bytes()));
    for chunk in [1, 2, 3, 7, 13, 1021, 65_536] {
        let mut client = Client::open(server.local_addr(), "/echo");
        let (mut writer, bytes) = (client.stream(), stream.clone());
        let sent = std::thread::spawn(move || {
            // The long middle goes at once where the chunks are small.
            let (head, tail) = (bytes.len() - 300, &bytes[bytes.len() - 300..]);
            let (first, rest) = bytes[..head].split_at(200);
            first.chunks(chunk).for_each(|part| writer.write_all(part).unwrap());
            rest.chunks(chunk.max(500)).for_each(|part| writer.write_all(part).unwrap());
            tail.chunks(chunk).for_each(|part| writer.write_all(part).unwrap());
        });
        // A pong may overtake data that waits; data keeps its order.
        let frames: Vec<_> = (0..4).map(|_| client.expect_frame()).collect();
        let (pongs, data): (Vec<_>, Vec<_>) =
            frames.iter().map(|frame| (frame.opcode, frame.payload.len())).partition(is_pong);
        assert_eq!(pongs, [(10, 1)], "{chunk}");
        assert_eq!(data, [(1, 20), (2, 70_000), (1, 160)], "{chunk}");
        sent.join().unwrap();
    }
    eventually("all are gone", || server.stats().connections == 0);
    server.kill();
}

fn is_pong((opcode, _): &(u8, usize)) -> bool {
    *opcode == Opcode::Pong.bits()
}

//! Every way a connection ends is told: the right close code arrives, then a FIN, in bounded time.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fulmar::text::Text;
use fulmar::{Arg, Connection, Endpoint, Reason, Running};
use fulmar_proto::ws::Opcode;
use fulmar_tests::client::{Client, frame};
use fulmar_tests::{eventually, server, timed};

/// Bytes that break a rule, and the close code that has to tell so.
fn offences() -> Vec<(&'static str, Vec<u8>, u16)> {
    let masked = |fin, opcode, payload: &[u8]| frame(fin, false, opcode, payload);
    let text = masked(true, Opcode::Text, b"x");
    let with_first = |first: u8| [&[first], &text[1..]].concat();
    let pair = |first: Vec<u8>, second: Vec<u8>| [first, second].concat();
    vec![
        ("RSV1", with_first(0xc1), 1002),
        ("RSV2", with_first(0xa1), 1002),
        ("RSV3", with_first(0x91), 1002),
        ("RSV1 on a ping", with_first(0xc9), 1002),
        ("opcode 3", with_first(0x83), 1002),
        ("opcode 7", with_first(0x87), 1002),
        ("opcode 11", with_first(0x8b), 1002),
        ("opcode 15", with_first(0x8f), 1002),
        ("no mask", b"\x81\x01x".to_vec(), 1002),
        ("no mask on a ping", b"\x89\x00".to_vec(), 1002),
        ("a fragmented ping", masked(false, Opcode::Ping, b""), 1002),
        ("a fragmented close", masked(false, Opcode::Close, b""), 1002),
        ("a ping of 126 bytes", masked(true, Opcode::Ping, &[0; 126]), 1002),
        ("a close of 126 bytes", masked(true, Opcode::Close, &[3; 126]), 1002),
        ("16 bits for a length of 5", b"\x81\xfe\x00\x05".to_vec(), 1002),
        ("64 bits for a length of 5", b"\x81\xff\0\0\0\0\0\0\0\x05".to_vec(), 1002),
        ("a length with its top bit set", b"\x81\xff\x80\0\0\0\0\0\0\0".to_vec(), 1002),
        ("a continuation of nothing", masked(true, Opcode::Continuation, b"x"), 1002),
        (
            "a message inside another",
            pair(masked(false, Opcode::Text, b"x"), masked(true, Opcode::Text, b"y")),
            1002,
        ),
        ("a close of one byte", masked(true, Opcode::Close, b"\x03"), 1002),
        ("text that is not UTF-8", masked(true, Opcode::Text, b"\xff"), 1007),
        ("a surrogate", masked(true, Opcode::Text, b"\xed\xa0\x80"), 1007),
        ("an overlong slash", masked(true, Opcode::Text, b"\xc0\xaf"), 1007),
        ("text that ends inside a character", masked(true, Opcode::Text, b"\xe2\x82"), 1007),
        (
            "a character torn by another fragment",
            pair(masked(false, Opcode::Text, b"\xe2"), masked(true, Opcode::Continuation, b"x")),
            1007,
        ),
        ("a reason that is not UTF-8", masked(true, Opcode::Close, b"\x03\xe8\xff"), 1007),
        ("a message over the limit", masked(true, Opcode::Binary, &[0; 4097]), 1009),
        (
            "fragments over the limit",
            pair(
                masked(false, Opcode::Binary, &[0; 4096]),
                masked(true, Opcode::Continuation, &[0; 1]),
            ),
            1009,
        ),
    ]
}

fn strict() -> Running {
    let mut config = server::config();
    config.limits.message_bytes_max = 4096;
    server::echo(config)
}

#[test]
fn every_offence_gets_its_close_code_and_then_a_fin() {
    let server = strict();
    for (what, bytes, code) in offences() {
        let mut client = Client::open(server.local_addr(), "/echo");
        client.send(&bytes);
        assert_eq!(client.expect_close().0, code, "{what}");
        client.expect_fin();
    }
    let offences = offences().len() as u64;
    eventually("all are gone", || server.stats().connections == 0);
    let reasons = server.stats().reasons;
    let counted = [Reason::ProtocolError, Reason::InvalidText, Reason::MessageTooBig];
    assert_eq!(counted.iter().map(|reason| reasons.of(*reason)).sum::<u64>(), offences);
    server.kill();
}

#[test]
fn the_close_code_reaches_a_client_that_goes_on_sending_garbage() {
    let server = strict();
    for (what, bytes, code) in offences() {
        let mut client = Client::open(server.local_addr(), "/echo");
        let (mut stream, stop) = (client.stream(), Arc::new(AtomicBool::new(false)));
        let garbage = std::thread::spawn({
            let stop = stop.clone();
            move || {
                stream.write_all(&bytes).unwrap();
                // At least so much lies unread in the server's kernel when it says its last.
                for _ in 0..32 {
                    stream.write_all(&[0xff; 4096]).unwrap();
                }
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(&[0xff; 4096]).unwrap();
                }
            }
        });
        assert_eq!(client.expect_close().0, code, "{what}");
        client.expect_fin();
        stop.store(true, Ordering::Relaxed);
        garbage.join().unwrap();
    }
    server.kill();
}

#[test]
fn what_was_answered_before_the_offence_arrives_before_the_close() {
    let server = strict();
    let mut client = Client::open(server.local_addr(), "/echo");
    let good = frame(true, false, Opcode::Text, b"fine");
    client.send(&[&good, &good, b"\x83\x80\0\0\0\0".as_slice(), &good].concat());
    assert_eq!((client.expect_text(), client.expect_text()), ("fine".into(), "fine".into()));
    assert_eq!(client.expect_close().0, 1002);
    client.expect_fin();
    assert_eq!(server.stats().messages_in, 2, "nothing is heard after the offence");
    server.kill();
}

#[test]
fn a_peer_that_never_closes_is_cut_when_the_close_timeout_has_passed() {
    let mut config = server::config();
    config.timeouts.close = Duration::from_millis(300);
    let server = server::echo(config);
    let mut silent = Client::open(server.local_addr(), "/echo");
    silent.send(b"\x83\x80");
    let mut polite = Client::open(server.local_addr(), "/echo");
    polite.close(1000, "");
    for (client, code) in [(&mut silent, 1002), (&mut polite, 1000)] {
        assert_eq!(client.expect_close().0, code);
        client.expect_fin();
    }
    // Neither of them sends its FIN.
    let ((), took) = timed(|| eventually("both are cut", || server.stats().connections == 0));
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(server.stats().reasons.of(Reason::CloseTimeout), 2);
    server.kill();
}

#[test]
fn a_peer_that_sends_for_ever_after_its_offence_is_cut_as_well() {
    let mut config = server::config();
    config.timeouts.close = Duration::from_millis(300);
    let server = server::echo(config);
    let mut client = Client::open(server.local_addr(), "/echo");
    client.send(b"\x83\x80");
    let ((), took) = timed(|| {
        eventually("it is cut", || client.try_send(&[0x81; 512]).is_err());
    });
    assert!(took < Duration::from_secs(3), "{took:?}");
    eventually("it is gone", || server.stats().connections == 0);
    server.kill();
}

#[test]
fn a_peer_that_reads_nothing_is_cut_when_the_close_timeout_has_passed() {
    let mut config = server::config();
    config.timeouts.close = Duration::from_millis(300);
    let server = server::echo(config);
    let mut client = Client::small(server.local_addr());
    client.upgrade("/echo", "");
    let message = frame(true, false, Opcode::Binary, &vec![7; 64 << 10]);
    while client.push(&message, Duration::from_millis(200)) == message.len() {}
    server.stop();
    client.expect_end();
}

#[test]
fn frames_after_a_close_are_ignored() {
    let server = strict();
    let mut client = Client::open(server.local_addr(), "/echo");
    let close = |code: u16| frame(true, false, Opcode::Close, &code.to_be_bytes());
    let text = frame(true, false, Opcode::Text, b"late");
    let ping = frame(true, false, Opcode::Ping, b"late");
    client.send(&[close(4000), text, ping, close(4001), vec![0xff; 64]].concat());
    assert_eq!(client.expect_close(), (4000, String::new()));
    client.expect_fin();
    let stats = server.stats();
    assert_eq!((stats.messages_in, stats.pings_in), (0, 0));
    assert_eq!(stats.reasons.of(Reason::ClosedByPeer), 1);
    assert_eq!(stats.reasons.of(Reason::ProtocolError), 0);
    server.kill();
}

#[test]
fn a_close_that_crosses_ours_is_not_answered_again() {
    let closes = |connection: Connection, Arg(_): Arg<String>| connection.close(4321, "ours");
    let endpoint = Endpoint::new("/").speaks(Text::default()).on_message(closes);
    let server = server::start(server::config(), vec![endpoint]);
    let mut client = Client::open(server.local_addr(), "/");
    client.text("please");
    assert_eq!(client.expect_close(), (4321, "ours".into()));
    client.close(4321, "");
    client.expect_fin();
    client.shutdown();
    eventually("it is gone", || server.stats().connections == 0);
    assert_eq!(server.stats().reasons.of(Reason::CloseTimeout), 0);
    server.kill();
}

#[test]
fn valid_close_codes_come_back_and_others_are_a_protocol_error() {
    let server = strict();
    let valid = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ];
    for code in valid {
        let mut client = Client::open(server.local_addr(), "/echo");
        client.close(code, "a reason");
        assert_eq!(client.expect_close().0, code);
        client.expect_fin();
    }
    let invalid =
        [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 10_000, u16::MAX];
    for code in invalid {
        let mut client = Client::open(server.local_addr(), "/echo");
        client.close(code, "a reason");
        assert_eq!(client.expect_close().0, 1002, "{code}");
        client.expect_fin();
    }
    let mut client = Client::open(server.local_addr(), "/echo");
    client.frame(true, Opcode::Close, b"");
    assert_eq!(client.expect_close(), (1005, String::new()), "no code is answered with none");
    client.expect_fin();
    let mut client = Client::open(server.local_addr(), "/echo");
    client.close(1000, &"r".repeat(123));
    assert_eq!(client.expect_close().0, 1000, "the longest reason there is");
    client.expect_fin();
    server.kill();
}

#[test]
fn a_reason_is_cut_to_123_bytes_between_two_characters() {
    let closes = |connection: Connection, Arg(reason): Arg<String>| connection.close(4000, &reason);
    let endpoint = Endpoint::new("/").speaks(Text::default()).on_message(closes);
    let server = server::start(server::config(), vec![endpoint]);
    for (given, got) in [
        ("x".repeat(123), "x".repeat(123)),
        ("x".repeat(5000), "x".repeat(123)),
        ("é".repeat(100), "é".repeat(61)),
        ("🦢".repeat(100), "🦢".repeat(30)),
    ] {
        let mut client = Client::open(server.local_addr(), "/");
        client.text(&given);
        assert_eq!(client.expect_close(), (4000, got));
        client.expect_fin();
    }
    server.kill();
}

#[test]
fn a_handlers_close_code_that_may_not_travel_becomes_1000() {
    let closes = |connection: Connection, Arg(code): Arg<String>| {
        connection.close(code.parse().unwrap_or(1), "why");
    };
    let endpoint = Endpoint::new("/").speaks(Text::default()).on_message(closes);
    let server = server::start(server::config(), vec![endpoint]);
    for (given, told) in
        [("0", 1000), ("1005", 1000), ("1006", 1000), ("65535", 1000), ("3333", 3333)]
    {
        let mut client = Client::open(server.local_addr(), "/");
        client.text(given);
        assert_eq!(client.expect_close(), (told, "why".into()), "{given}");
    }
    server.kill();
}

#[test]
fn an_end_without_a_close_frame_is_counted_as_lost() {
    let server = strict();
    let mut fin = Client::open(server.local_addr(), "/echo");
    fin.text("x");
    fin.expect_text();
    fin.shutdown();
    fin.expect_fin();
    Client::open(server.local_addr(), "/echo").reset();
    let mut torn = Client::open(server.local_addr(), "/echo");
    torn.send(b"\x81\x85\0\0"); // inside a head
    torn.shutdown();
    torn.expect_fin();
    eventually("all are lost", || server.stats().reasons.of(Reason::Lost) == 3);
    eventually("all are gone", || server.stats().connections == 0);
    server.kill();
}

#[test]
fn what_came_before_a_fin_is_still_answered() {
    let server = strict();
    let mut client = Client::open(server.local_addr(), "/echo");
    client.text("last words");
    client.close(1000, "");
    client.shutdown();
    assert_eq!(client.expect_text(), "last words");
    assert_eq!(client.expect_close().0, 1000);
    client.expect_fin();
    server.kill();
}

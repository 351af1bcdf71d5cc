//! Silence, pings without answers, peers that are gone: each ends in time and is counted.

use std::time::Duration;

use fulmar::{Config, Reason};
use fulmar_proto::ws::Opcode;
use fulmar_tests::client::{Client, Next, frame};
use fulmar_tests::{PATIENCE, eventually, server, timed};

const SOON: Duration = Duration::from_secs(4);

fn config(ping: Option<u64>, pong: Option<u64>, idle: Option<u64>) -> Config {
    let mut config = server::config();
    config.timeouts.ping_interval = ping.map(Duration::from_millis);
    config.timeouts.pong = pong.map(Duration::from_millis);
    config.timeouts.idle = idle.map(Duration::from_millis);
    config
}

#[test]
fn a_silent_connection_is_closed_with_1001_when_idle_for_too_long() {
    let server = server::echo(config(None, None, Some(300)));
    let ((mut client, code, reason), took) = timed(|| {
        let mut client = Client::open(server.local_addr(), "/echo");
        let (code, reason) = client.expect_close();
        (client, code, reason)
    });
    assert_eq!(code, 1001);
    assert!(reason.contains("idle"), "{reason}");
    assert!(took >= Duration::from_millis(280) && took < SOON, "{took:?}");
    client.expect_fin();
    assert_eq!(server.stats().reasons.of(Reason::IdleTimeout), 1);
    server.kill();
}

#[test]
fn anything_received_keeps_a_connection_alive() {
    let server = server::echo(config(None, None, Some(1000)));
    let mut client = Client::open(server.local_addr(), "/echo");
    for round in 0..12 {
        client.expect_silence(Duration::from_millis(150));
        // A single byte of a frame is something as well.
        match round {
            0..4 => client.frame(true, Opcode::Pong, b""),
            4..10 => client.send(&frame(true, false, Opcode::Pong, b"")[round - 4..=round - 4]),
            _ => client.frame(true, Opcode::Pong, b"x"),
        }
    }
    assert_eq!(server.stats().reasons.of(Reason::IdleTimeout), 0);
    server.kill();
}

#[test]
fn what_the_server_sends_does_not_keep_a_silent_client_alive() {
    let server = server::echo(config(None, None, Some(300)));
    let mut client = Client::open(server.local_addr(), "/rooms/r");
    eventually("it is a member", || server.stats().memberships == 1);
    let (room, mut closed) = (server.room("r"), false);
    eventually("it is closed", || {
        room.publish("", "tick").unwrap();
        if let Next::Frame(frame) = client.next(Duration::from_millis(20)) {
            closed = frame.opcode == Opcode::Close.bits();
        }
        closed
    });
    server.kill();
}

#[test]
fn a_client_that_answers_pings_stays() {
    let server = server::echo(config(Some(100), Some(600), Some(2000)));
    let mut client = Client::open(server.local_addr(), "/echo");
    for _ in 0..12 {
        let ping = client.expect_frame();
        assert_eq!(ping.opcode, Opcode::Ping.bits());
        client.frame(true, Opcode::Pong, &ping.payload);
    }
    client.text("here");
    assert_eq!(client.expect_text(), "here");
    assert_eq!(server.stats().reasons.iter().count(), 0);
    server.kill();
}

#[test]
fn a_busy_client_is_not_pinged() {
    let server = server::echo(config(Some(1000), Some(1000), None));
    let mut client = Client::open(server.local_addr(), "/echo");
    for _ in 0..40 {
        client.text("x");
        assert_eq!(client.expect_text(), "x", "no ping");
        client.expect_silence(Duration::from_millis(40));
    }
    server.kill();
}

#[test]
fn a_half_open_connection_is_pinged_then_closed_then_cut() {
    let mut config = config(Some(100), Some(200), None);
    config.timeouts.close = Duration::from_millis(300);
    let server = server::echo(config);
    // Its kernel takes what comes, but nobody is there: no pong, no close, no FIN.
    let mut client = Client::open(server.local_addr(), "/echo");
    let ((), took) = timed(|| eventually("it is cut", || server.stats().connections == 0));
    assert!(took < SOON, "{took:?}");
    let reasons = server.stats().reasons;
    assert_eq!((reasons.of(Reason::PongTimeout), reasons.of(Reason::CloseTimeout)), (1, 1));
    assert_eq!(client.expect_frame().opcode, Opcode::Ping.bits());
    assert_eq!(client.expect_close().0, 1011);
    client.expect_end();
    server.kill();
}

#[test]
fn half_a_frame_does_not_keep_a_connection_for_ever() {
    let mut config = config(Some(100), Some(200), None);
    config.timeouts.close = Duration::from_millis(300);
    let server = server::echo(config);
    let mut client = Client::open(server.local_addr(), "/echo");
    client.send(b"\x82\xff\0\0\0\0\0\x01\0\0\x01\x02\x03\x04and then nothing");
    eventually("it is cut", || server.stats().connections == 0);
    client.expect_end();
    server.kill();
}

#[test]
fn a_client_that_reads_nothing_and_says_nothing_is_cut_by_the_pong_timeout() {
    let mut config = config(Some(100), Some(200), None);
    config.timeouts.close = Duration::from_millis(300);
    let server = server::echo(config);
    let mut client = Client::small(server.local_addr());
    client.upgrade("/rooms/r", "");
    eventually("it is a member", || server.stats().memberships == 1);
    let room = server.room("r");
    let text = "x".repeat(64 << 10);
    let ((), took) = timed(|| {
        eventually("it is cut", || {
            let _busy = room.publish("", &text);
            server.stats().connections == 0
        });
    });
    assert!(took < PATIENCE, "{took:?}");
    assert_eq!(server.stats().reasons.of(Reason::PongTimeout), 1);
    client.expect_end();
    server.kill();
}

#[test]
fn without_a_pong_timeout_pings_go_on() {
    let server = server::echo(config(Some(100), None, None));
    let mut client = Client::open(server.local_addr(), "/echo");
    for _ in 0..6 {
        assert_eq!(client.expect_frame().opcode, Opcode::Ping.bits());
    }
    assert_eq!(server.stats().open, 1);
    server.kill();
}

#[test]
fn a_client_that_sends_but_does_not_read_its_echoes_is_ended_when_it_takes_nothing() {
    let mut config = config(Some(700), Some(700), None);
    config.timeouts.close = Duration::from_millis(300);
    let server = server::echo(config);
    let mut client = Client::small(server.local_addr());
    client.upgrade("/echo", "");
    let message = frame(true, false, Opcode::Binary, &vec![7; 64 << 10]);
    // Until it blocks: the server has stopped reading, because nobody reads the echoes.
    while client.push(&message, Duration::from_millis(100)) == message.len() {}
    eventually("it is cut", || server.stats().connections == 0);
    assert_eq!(server.stats().reasons.of(Reason::SlowConsumer), 1);
    server.kill();
}

//! Signals: a stop under load tells every client, in bounded time, and the exit code says how it
//! went.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fulmar_proto::ws::Opcode;
use fulmar_tests::client::{Client, Next, frame};
use fulmar_tests::server::Binary;
use fulmar_tests::{PATIENCE, eventually, timed};
use rustix::process::Signal;

const TWO: &str = "shards = 2\nworkers = 1\n";
/// Clean stop.
const CLEAN: Option<i32> = Some(0);
/// `EX_TEMPFAIL`: the window of a graceful stop has passed.
const CUT: Option<i32> = Some(75);

/// What a client saw of a stop.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Close(u16),
    Torn(Next),
}

/// Says something, waits for it to come back, and so on, until the server closes.
fn talk(mut client: Client, number: usize, busy: &AtomicUsize) -> Seen {
    let name = number.to_string();
    let text = frame(true, false, Opcode::Text, name.as_bytes());
    let mut answered = true;
    loop {
        // Fails at the earliest when the server has closed, which is read below.
        if std::mem::take(&mut answered) && client.try_send(&text).is_ok() {
            busy.fetch_add(1, Ordering::Relaxed);
        }
        match client.next(PATIENCE) {
            Next::Frame(frame) if frame.opcode == Opcode::Close.bits() => {
                let code =
                    frame.payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                return match client.next(PATIENCE) {
                    Next::Fin => Seen::Close(code),
                    other => Seen::Torn(other),
                };
            }
            Next::Frame(frame) => answered = frame.payload == name.as_bytes(),
            other => return Seen::Torn(other),
        }
    }
}

#[test]
fn a_terminated_server_closes_200_busy_clients_and_exits_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Binary::start(TWO, &[]);
        let busy = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..200)
            .map(|number| {
                let target = if number % 2 == 0 {
                    "/echo".into()
                } else {
                    format!("/rooms/{}", number % 10)
                };
                let (client, busy) = (Client::open(server.address(), &target), busy.clone());
                std::thread::spawn(move || talk(client, number, &busy))
            })
            .collect();
        eventually("all are busy", || busy.load(Ordering::Relaxed) > 2000);
        server.signal(signal);
        for client in clients {
            assert_eq!(client.join().unwrap(), Seen::Close(1001));
        }
        let status = server.wait(PATIENCE).expect("it exits");
        assert_eq!(status.code(), CLEAN, "{:#?}", server.log());
    }
}

#[test]
fn a_stopping_server_accepts_nobody() {
    let mut server = Binary::start(TWO, &["--set", "timeouts.close=1s"]);
    // Keeps the stop from ending: it neither answers the close nor ends.
    let mut stubborn = Client::open(server.address(), "/echo");
    server.signal(Signal::TERM);
    assert_eq!(stubborn.expect_close().0, 1001);
    // The other shard may hear of the stop a moment later.
    let address = server.address();
    eventually("nobody is accepted", || std::net::TcpStream::connect(address).is_err());
    drop(stubborn);
    assert_eq!(server.wait(PATIENCE).expect("it exits").code(), CLEAN);
}

#[test]
fn requests_that_are_awaited_are_refused_when_the_server_stops() {
    let mut server = Binary::start(TWO, &[]);
    let mut waiting = Client::tcp(server.address());
    waiting.send(b"GET /echo HTTP/1.1\r\n");
    // So that it has been accepted for sure.
    let mut other = Client::open(server.address(), "/echo");
    other.text("x");
    other.expect_text();
    eventually("it is accepted", || accepted(&server, &waiting));
    server.signal(Signal::TERM);
    let response = waiting.response();
    assert_eq!(response.status, 503, "{}", response.head);
    assert!(response.header("retry-after").is_some());
    waiting.expect_fin();
    assert_eq!(other.expect_close().0, 1001);
    drop((waiting, other));
    assert_eq!(server.wait(PATIENCE).expect("it exits").code(), CLEAN);
}

/// The server's log cannot tell; a ping over another connection of the same shard would, but which
/// shard a connection is on is the kernel's choice. A page is served by each in turn.
fn accepted(server: &Binary, _client: &Client) -> bool {
    (0..16).all(|_| {
        let mut probe = Client::tcp(server.address());
        probe.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        probe.response().status == 200
    })
}

#[test]
fn clients_that_refuse_to_go_are_cut_and_the_exit_code_is_75() {
    let mut server =
        Binary::start(TWO, &["--set", "timeouts.stop=1s", "--set", "timeouts.close=60s"]);
    let mut stubborn = Client::open(server.address(), "/echo");
    let (status, took) = timed(|| {
        server.signal(Signal::TERM);
        assert_eq!(stubborn.expect_close().0, 1001);
        stubborn.expect_fin();
        server.wait(PATIENCE).expect("it exits")
    });
    assert_eq!(status.code(), CUT, "{:#?}", server.log());
    assert!(took >= Duration::from_millis(950), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_second_interrupt_cuts_at_once() {
    let mut server =
        Binary::start(TWO, &["--set", "timeouts.stop=60s", "--set", "timeouts.close=60s"]);
    let mut stubborn = Client::open(server.address(), "/echo");
    server.signal(Signal::INT);
    assert_eq!(stubborn.expect_close().0, 1001);
    server.signal(Signal::TERM);
    assert!(server.wait(Duration::from_millis(300)).is_none(), "a repeated SIGTERM cuts nothing");
    server.signal(Signal::INT);
    let (status, took) = timed(|| server.wait(PATIENCE).expect("it exits"));
    assert!(status.code().is_some(), "{status:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    stubborn.expect_end();
}

#[test]
fn a_hangup_stops_nothing() {
    let mut server = Binary::start(TWO, &[]);
    let mut client = Client::open(server.address(), "/echo");
    server.signal(Signal::HUP);
    eventually("it is noted", || {
        server.log().iter().any(|line| line.contains("configuration is valid"))
    });
    client.text("still there");
    assert_eq!(client.expect_text(), "still there");
    assert!(server.wait(Duration::ZERO).is_none());
}

#[test]
fn a_stuck_reader_does_not_hold_up_a_stop() {
    let mut server = Binary::start(TWO, &["--set", "timeouts.close=500ms"]);
    let mut stuck = Client::small(server.address());
    stuck.upgrade("/echo", "");
    let message = frame(true, false, Opcode::Binary, &[7; 64 << 10]);
    while stuck.push(&message, Duration::from_millis(200)) == message.len() {}
    server.signal(Signal::TERM);
    let (status, took) = timed(|| server.wait(PATIENCE).expect("it exits"));
    assert_eq!(status.code(), CLEAN, "{:#?}", server.log());
    assert!(took < Duration::from_secs(5), "{took:?}");
}

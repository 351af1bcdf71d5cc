//! Rules of the event protocol that no transcript shows, over the wire.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test, whose clients live in real time"
)]
#![forbid(unsafe_code)]

use std::thread;
use std::time::Duration;

use fulmar_proto::ws::Opcode;
use fulmar_tests::client::frame;
use fulmar_tests::conformance::Conformance;
use fulmar_tests::event_client::{EventClient, chatted};
use fulmar_tests::timed;

const QUIET: Duration = Duration::from_millis(60);

fn error(message: &str) -> String {
    format!(r#"{{"event":"error","data":{{"message":"{message}"}}}}"#)
}

#[test]
fn room_names_are_filtered_and_then_the_application_decides() {
    let server = Conformance::start(&[]);
    let mut client = EventClient::login(server.address(), "ada");
    let own = client.id.clone();
    let longest = "é".repeat(256);
    let birds = "🐦".repeat(128);
    let asked = format!(
        r#"{{"rooms":["a",7,null,["b"],"",{{}},"ws:x","WS:ok","ws-x","private","{longest}",
            "{longest}x","{birds}","{birds}x"," b ","a"]}}"#
    );
    client.event("join", &asked);
    let expected = [&*own, "ws-default", "ws-notification", "a", "WS:ok", "ws-x", &longest, &birds];
    let mut expected: Vec<String> = expected.map(String::from).into();
    expected.push(" b ".into());
    assert_eq!(client.rooms(), expected);
    client.event("leave", &format!(r#"{{"rooms":["{own}","ws-default","never",1,"a"]}}"#));
    expected.retain(|room| *room != own && room != "ws-default" && room != "a");
    assert_eq!(client.rooms(), expected);
}

#[test]
fn a_thousand_rooms_may_be_joined_at_once() {
    let server = Conformance::start(&[]);
    let mut client = EventClient::login(server.address(), "ada");
    let rooms: Vec<String> = (0..1000).map(|n| format!("room-{n}")).collect();
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
    client.join(&rooms);
    assert_eq!(client.rooms().len(), 1003);
    client.leave(&rooms);
    assert_eq!(client.rooms().len(), 3);
}

#[test]
fn a_room_joined_twice_is_heard_once() {
    let server = Conformance::start(&[]);
    let mut client = EventClient::login(server.address(), "ada");
    let own = client.id.clone();
    client.join(&["r"]);
    client.join(&["r", "r"]);
    client.join(&[&own]);
    client.chat("r", "one");
    client.chat(&own, "two");
    let mut seen = client.collect("one and two", 2, QUIET);
    seen.sort();
    assert!(seen[0].contains("one") && seen[1].contains("two"), "{seen:?}");
    client.leave(&["r"]);
    client.chat("r", "three");
    client.expect_quiet(QUIET);
}

#[test]
fn what_was_said_before_a_close_is_handled() {
    const EVENTS: usize = 300;
    let server = Conformance::start(&[]);
    let mut member = EventClient::member(server.address(), "ada", &["r"]);
    for by_frame in [true, false] {
        let mut speaker = EventClient::login(server.address(), "bob");
        let mut bytes = Vec::new();
        for n in 0..EVENTS {
            let text = format!(r#"{{"event":"chat","data":{{"room":"r","text":"{n}"}}}}"#);
            bytes.extend(frame(true, false, Opcode::Text, text.as_bytes()));
        }
        speaker.socket.send(&bytes);
        if by_frame {
            speaker.socket.close(1000, "");
            assert_eq!(speaker.socket.expect_close().0, 1000);
        } else {
            speaker.socket.shutdown();
            speaker.socket.expect_end();
        }
        let seen = member.collect("all of it", 0, Duration::from_millis(500));
        let how = if by_frame { "a close frame" } else { "the end of the stream" };
        assert_eq!(seen.len(), EVENTS, "before {how}");
        for (n, text) in seen.iter().enumerate() {
            assert_eq!(*text, chatted("bob", &n.to_string()));
        }
    }
}

#[test]
fn null_is_sent_and_nothing_is_not() {
    let server = Conformance::start(&[]);
    let mut client = EventClient::login(server.address(), "ada");
    client.send(r#"{"event":"null-data"}"#);
    client.expect(r#"{"event":"nothing","data":null}"#);
    client.send(r#"{"event":"undef-data"}"#);
    client.expect(r#"{"event":"undef"}"#);
    client.expect_quiet(QUIET);
}

#[test]
fn binary_messages_are_texts_too() {
    let server = Conformance::start(&[]);
    let mut client = EventClient::login(server.address(), "ada");
    client.socket.binary(r#"{"event":"echo","data":"wörld","id":"7"}"#.as_bytes());
    client.expect(r#"{"event":"echo:response","data":{"original":"wörld","id":"7"}}"#);
    client.socket.binary(b"\xff\xfe");
    client.expect(&error("Invalid message format"));
    client.socket.binary(b"");
    client.expect(&error("Invalid message format"));
    client.expect_quiet(QUIET);
}

#[test]
fn what_is_no_event_is_dropped_and_what_is_no_json_is_told_of() {
    let server = Conformance::start(&[]);
    let mut client = EventClient::login(server.address(), "ada");
    for dropped in [
        "null",
        "0",
        "true",
        "[]",
        "{}",
        r#""x""#,
        r#"{"event":null}"#,
        r#"{"event":0}"#,
        r#"{"event":false}"#,
        r#"{"Event":"echo"}"#,
        r#"{"event":"nobody-knows"}"#,
        r#"{"event":7}"#,
        r#"{"event":["echo"]}"#,
    ] {
        client.send(dropped);
    }
    client.expect_quiet(QUIET);
    for invalid in
        [" ", "{", "nope", "{'event':'echo'}", r#"{"event":"echo"}}"#, "[1,]", "\u{feff}{}"]
    {
        client.send(invalid);
        assert_eq!(client.expect_text(), error("Invalid message format"), "{invalid:?}");
    }
    let deep =
        [r#"{"event":"echo","data":"#, &"[".repeat(50_000), &"]".repeat(50_000), "}"].concat();
    client.send(&deep);
    client.socket.ping(b"");
    // Answered or refused; either way the connection goes on.
    while client.socket.expect_frame().opcode != Opcode::Pong.bits() {}
    client.send(r#"{"event":"echo","data":1}"#);
    let seen = client.collect("the echo", 1, QUIET);
    assert!(seen.last().unwrap().contains(r#""original":1}"#), "{:?}", seen.last());
}

#[test]
fn a_message_may_have_131072_bytes_and_no_more() {
    let server = Conformance::start(&[]);
    let mut client = EventClient::login(server.address(), "ada");
    let echo = |length: usize| {
        let empty = r#"{"event":"echo","data":""}"#;
        empty.replace(r#""""#, &format!("\"{}\"", "x".repeat(length - empty.len())))
    };
    client.send(&echo(131_072));
    assert_eq!(client.expect_text().len(), 131_094);
    client.send(&echo(131_073));
    // The reason is ours: IGNIS shows its HTTP library's.
    assert_eq!(client.socket.expect_close().0, 1009);
}

#[test]
fn every_way_to_fail_authentication_has_its_words() {
    let server = Conformance::start(&[]);
    for (data, words) in [
        (r#"{"token":"bad"}"#, "Authentication failed"),
        (r#"{"token":7}"#, "Authentication failed"),
        ("null", "Authentication failed"),
        ("7", "Authentication error"),
        (r#"{"token":"throw"}"#, "Authentication error"),
    ] {
        let mut client = EventClient::open(server.address());
        client.event("authenticate", data);
        let told = client.expect_text();
        // What an application makes of data that is no object is its own matter.
        assert!(told == error(words) || data == "7", "{data}: {told}");
        assert_eq!(client.socket.expect_close(), (4003, "Authentication failed".into()), "{data}");
    }
}

#[test]
fn authenticating_clients_are_not_authenticated() {
    let server = Conformance::start(&[]);
    let mut client = EventClient::open(server.address());
    client.event("authenticate", r#"{"token":"slow","ms":400}"#);
    client.event("authenticate", r#"{"token":"ada"}"#);
    client.expect(&error("Already authenticated"));
    client.event("echo", "1");
    client.expect(&error("Not authenticated"));
    client.event("join", r#"{"rooms":["r"]}"#);
    client.expect(&error("Not authenticated"));
    assert!(client.expect_text().contains("user-slow"));
    assert_eq!(client.rooms().len(), 3);
}

#[test]
fn failing_authentications_do_not_disturb_who_is_well() {
    const ATTEMPTS: usize = 2000;
    const THREADS: usize = 8;
    let server = Conformance::start(&[]);
    let address = server.address();
    let mut well = EventClient::login(address, "ada");
    let flood = || {
        let data = r#"{"event":"authenticate","data":{"token":"bad"}}"#;
        let bytes = frame(true, false, Opcode::Text, data.as_bytes());
        for _ in 0..ATTEMPTS / THREADS {
            let mut client = EventClient::open(address);
            client.socket.send(&bytes);
            client.expect(&error("Authentication failed"));
            assert_eq!(client.socket.expect_close().0, 4003);
        }
    };
    let (mut slowest, mut echoes) = (Duration::ZERO, 0);
    thread::scope(|scope| {
        let floods: Vec<_> = (0..THREADS).map(|_| scope.spawn(flood)).collect();
        while !floods.iter().all(thread::ScopedJoinHandle::is_finished) {
            let text = format!(r#""{echoes}""#);
            let ((), took) = timed(|| {
                well.event("echo", &text);
                let expected =
                    format!(r#"{{"event":"echo:response","data":{{"original":{text}}}}}"#);
                well.expect(&expected);
            });
            slowest = slowest.max(took);
            echoes += 1;
        }
    });
    assert!(echoes > 50, "only {echoes} echoes in the meantime");
    // Eight threads hammer at two cores; this is about being starved, not about being fast.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    well.expect_quiet(QUIET);
    let mut late = EventClient::login(address, "bob");
    assert_eq!(late.rooms().len(), 3);
}

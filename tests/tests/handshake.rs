//! The handshake: what is not exactly a WebSocket's request gets the status that says why, and
//! nobody may take for ever.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::time::Duration;

use fulmar::text::Text;
use fulmar::{Connection, Endpoint, EndpointOptions, Page, Reason, Server};
use fulmar_proto::ws::Opcode;
use fulmar_tests::client::{Client, KEY, Next, frame, request};
use fulmar_tests::{PATIENCE, eventually, server, timed};

/// A good request with one field replaced or, where `with` is empty, left out.
fn but(field: &str, with: &str) -> Vec<u8> {
    let good = request("/echo", "");
    let line = good.lines().find(|line| line.starts_with(field)).unwrap();
    let with = if with.is_empty() { String::new() } else { format!("{with}\r\n") };
    good.replace(&format!("{line}\r\n"), &with).into_bytes()
}

/// A good request with further fields.
fn and(fields: &str) -> Vec<u8> {
    request("/echo", fields).into_bytes()
}

/// Requests that are refused, and with which status.
fn refused() -> Vec<(&'static str, Vec<u8>, u16)> {
    let key = |key: &str| but("Sec-WebSocket-Key", &format!("Sec-WebSocket-Key: {key}"));
    let line = |line: &str| but("GET", line);
    let mut all = vec![
        ("POST", line("POST /echo HTTP/1.1"), 405),
        ("HEAD", line("HEAD /echo HTTP/1.1"), 405),
        ("lower case", line("get /echo HTTP/1.1"), 405),
        ("HTTP/1.0", line("GET /echo HTTP/1.0"), 400),
        ("HTTP/2.0", line("GET /echo HTTP/2.0"), 505),
        ("HTTP/0.9", line("GET /echo"), 400),
        ("no version", line("GET /echo HTTP"), 400),
        ("two spaces", line("GET  /echo HTTP/1.1"), 400),
        ("a relative target", line("GET echo HTTP/1.1"), 400),
        ("a fragment", line("GET /echo#x HTTP/1.1"), 400),
        ("no host", but("Host", ""), 400),
        ("two hosts", and("Host: other.test\r\n"), 400),
        ("an upgrade to something else", but("Upgrade", "Upgrade: h2c"), 426),
        ("no upgrade", but("Upgrade", ""), 426),
        ("no connection", but("Connection", ""), 400),
        ("another connection", but("Connection", "Connection: keep-alive"), 400),
        ("no version of WebSocket", but("Sec-WebSocket-Version", ""), 426),
        ("version 8", but("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"), 426),
        ("version 13 twice", and("Sec-WebSocket-Version: 13\r\n"), 426),
        ("no key", but("Sec-WebSocket-Key", ""), 400),
        ("two keys", and(&format!("Sec-WebSocket-Key: {KEY}\r\n")), 400),
        ("a key of 15 bytes", key("AAAAAAAAAAAAAAAAAAAA"), 400),
        ("a key of 17 bytes", key("AAAAAAAAAAAAAAAAAAAAAAA="), 400),
        ("a key that is not base64", key("!!!!!!!!!!!!!!!!!!!!!!=="), 400),
        ("a key without padding", key("dGhlIHNhbXBsZSBub25jZQ"), 400),
        ("an empty key", key(""), 400),
        ("a body", [and("Content-Length: 5\r\n"), b"hello".to_vec()].concat(), 400),
        ("a chunked body", and("Transfer-Encoding: chunked\r\n"), 400),
        ("both lengths", and("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400),
        ("two lengths", and("Content-Length: 5\r\nContent-Length: 6\r\n"), 400),
        ("a length of minus one", and("Content-Length: -1\r\n"), 400),
        ("another coding", and("Transfer-Encoding: gzip\r\n"), 501),
        ("a folded field", and("X-Folded: a\r\n b\r\n"), 400),
        ("a fold at once", but("Host", " Host: x"), 400),
        ("a space before the colon", and("X-Spaced : a\r\n"), 400),
        ("no colon", and("nonsense\r\n"), 400),
        ("no name", and(": a\r\n"), 400),
        ("a bare CR", and("X-Bare: a\rb\r\n"), 400),
        ("a NUL", and("X-Nul: a\0b\r\n"), 400),
        ("a name that is not ASCII", and("X-\u{e9}: a\r\n"), 400),
        ("an empty line first", [b"\r\n".to_vec(), and("")].concat(), 400),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 400),
        ("a frame", b"\x81\x85\0\0\0\0hello".to_vec(), 400),
        ("a head over 8 KiB", and(&format!("X-Long: {}\r\n", "x".repeat(8192))), 431),
        ("more than 64 fields", and(&"X-Many: x\r\n".repeat(60)), 431),
        ("a target over 4 KiB", line(&format!("GET /{} HTTP/1.1", "x".repeat(4096))), 414),
        ("another path", line("GET /nowhere HTTP/1.1"), 404),
        ("a path below", line("GET /echo/x HTTP/1.1"), 404),
    ];
    // A lone LF is no line end (RFC 9112, 2.2 lets one choose).
    let lone = request("/echo", "").replace("\r\n", "\n").into_bytes();
    all.push(("LF without CR", lone, 400));
    all
}

#[test]
fn each_broken_rule_has_its_status() {
    let server = server::echo(server::config());
    for (what, request, status) in refused() {
        let mut client = Client::tcp(server.local_addr());
        client.send(&request);
        let response = client.response();
        assert_eq!(response.status, status, "{what}: {}", response.head);
        if status == 426 {
            assert_eq!(response.header("sec-websocket-version"), Some("13"), "{what}");
            assert!(response.header("upgrade").is_some(), "{what}: {}", response.head);
        }
        client.expect_fin();
    }
    eventually("all are gone", || server.stats().connections == 0);
    let stats = server.stats();
    assert_eq!((stats.opened, stats.open), (0, 0));
    server.kill();
}

#[test]
fn the_status_reaches_a_client_that_goes_on_sending() {
    let server = server::echo(server::config());
    for (what, request, status) in refused() {
        let mut client = Client::tcp(server.local_addr());
        // More than fits any buffer of the handshake.
        client.send(&[request, vec![b'x'; 256 << 10]].concat());
        assert_eq!(client.response().status, status, "{what}");
        client.expect_fin();
    }
    server.kill();
}

#[test]
fn lenient_where_the_standard_is() {
    let server = server::echo(server::config());
    let good = [
        but("Upgrade", "upgrade: h2c, WebSocket"),
        but("Connection", "CONNECTION:keep-alive,\tUPGRADE  "),
        and("Connection: keep-alive\r\n"),
        and("Content-Length: 0\r\n"),
        and("X-Empty:\r\n"),
        and("Sec-WebSocket-Extensions: unknown; x=1\r\n"),
        and("Sec-WebSocket-Protocol: unknown\r\n"),
        but("GET", "GET /echo?a=b&c HTTP/1.1"),
        but("GET", "GET http://fulmar.test/echo HTTP/1.1"),
        but("Sec-WebSocket-Key", "Sec-WebSocket-Key: abcdefghijklmnopqrstuv=="),
    ];
    for request in good {
        let mut client = Client::tcp(server.local_addr());
        client.send(&request);
        let response = client.response();
        let shown = String::from_utf8_lossy(&request).into_owned();
        assert_eq!(response.status, 101, "{shown}\n{}", response.head);
        assert_eq!(response.header("sec-websocket-extensions"), None);
        assert_eq!(response.header("sec-websocket-protocol"), None);
        client.text("served");
        assert_eq!(client.expect_text(), "served");
    }
    server.kill();
}

#[test]
fn a_body_is_never_read_as_frames() {
    let server = server::echo(server::config());
    let hidden = frame(true, false, Opcode::Text, b"smuggled");
    let length = format!("Content-Length: {}\r\n", hidden.len());
    for fields in [length.as_str(), "Transfer-Encoding: chunked\r\n"] {
        for line in ["GET /echo HTTP/1.1", "POST /echo HTTP/1.1"] {
            let head = request("/echo", fields).replace("GET /echo HTTP/1.1", line);
            let mut client = Client::tcp(server.local_addr());
            client.send(&[head.as_bytes(), &hidden].concat());
            assert!(client.response().status >= 400);
            client.expect_fin();
        }
    }
    let stats = server.stats();
    assert_eq!((stats.opened, stats.messages_in), (0, 0));
    server.kill();
}

#[test]
fn a_second_request_on_a_refused_connection_is_not_served() {
    let server = server::echo(server::config());
    let mut client = Client::tcp(server.local_addr());
    client.send(&[but("GET", "GET /nowhere HTTP/1.1"), and("")].concat());
    assert_eq!(client.response().status, 404);
    client.expect_fin();
    assert_eq!(server.stats().opened, 0);
    server.kill();
}

#[test]
fn a_slow_request_is_answered_408_in_time_however_it_trickles() {
    let mut config = server::config();
    config.timeouts.handshake = Duration::from_millis(300);
    let server = server::echo(config);
    let request = request("/echo", "");
    let connect = || Client::tcp(server.local_addr());
    let ((mut trickling, mut silent, response), took) = timed(|| {
        let (mut trickling, silent) = (connect(), connect());
        for byte in request.as_bytes().chunks(1) {
            // Each byte is progress; the whole takes longer than the server waits.
            if trickling.try_send(byte).is_err() || trickling.next_is_ready(30) {
                break;
            }
        }
        let response = trickling.response();
        (trickling, silent, response)
    });
    assert_eq!(response.status, 408, "{}", response.head);
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(took >= Duration::from_millis(250), "{took:?}");
    trickling.expect_fin();
    assert_eq!(silent.response().status, 408);
    silent.expect_fin();
    drop((trickling, silent));
    eventually("both are gone", || server.stats().connections == 0);
    assert_eq!(server.stats().reasons.of(Reason::HandshakeTimeout), 2);
    server.kill();
}

#[test]
fn a_long_head_may_arrive_byte_by_byte_and_costs_no_more_for_it() {
    let mut config = server::config();
    config.limits.head_bytes_max = 32 << 10;
    let server = server::echo(config);
    let fields = format!("X-Long: {}\r\n", "x".repeat(31 << 10));
    let head = request("/echo", &fields);
    let mut client = Client::tcp(server.local_addr());
    let ((), took) = timed(|| head.as_bytes().chunks(1).for_each(|byte| client.send(byte)));
    assert_eq!(client.response().status, 101);
    assert!(took < Duration::from_secs(10), "{took:?}");
    client.text("hello");
    assert_eq!(client.expect_text(), "hello");
    server.kill();
}

#[test]
fn every_split_of_a_request_is_the_same_request() {
    let server = server::echo(server::config());
    let bytes = [and(""), frame(true, false, Opcode::Text, b"at once")].concat();
    for at in 1..bytes.len() {
        let mut client = Client::tcp(server.local_addr());
        client.send(&bytes[..at]);
        client.send(&bytes[at..]);
        assert_eq!(client.response().status, 101, "split at {at}");
        assert_eq!(client.expect_text(), "at once", "split at {at}");
    }
    server.kill();
}

#[test]
fn frames_in_the_segment_of_the_request_are_served() {
    let server = server::echo(server::config());
    let mut client = Client::tcp(server.local_addr());
    let text = |text: &str| frame(true, false, Opcode::Text, text.as_bytes());
    let half = text("three");
    client.send(&[and(""), text("one"), text("two"), half[..4].to_vec()].concat());
    assert_eq!(client.response().status, 101);
    assert_eq!((client.expect_text(), client.expect_text()), ("one".into(), "two".into()));
    client.send(&half[4..]);
    assert_eq!(client.expect_text(), "three");
    server.kill();
}

#[test]
fn values_that_are_not_ascii_survive() {
    let shows = |connection: Connection| {
        connection.send_text(format!("{:?}", connection.header("x-name")));
        connection.send_text(format!("{:?}", connection.header("x-latin")));
    };
    let endpoint = Endpoint::new("/echo").speaks(Text::echo()).on_connect(shows);
    let server = server::start(server::config(), vec![endpoint]);
    let mut client = Client::tcp(server.local_addr());
    let mut bytes =
        request("/echo", "X-Name: caf\u{e9} \u{1f9a2}\r\nX-Latin: caf?\r\n").into_bytes();
    let mark = bytes.iter().rposition(|byte| *byte == b'?').unwrap();
    bytes[mark] = 0xe9;
    client.send(&bytes);
    assert_eq!(client.response().status, 101);
    assert_eq!(client.expect_text(), "Some(\"caf\u{e9} \u{1f9a2}\")");
    assert_eq!(client.expect_text(), "None", "no handler could use it as text");
    server.kill();
}

#[test]
fn origins_are_checked_where_an_endpoint_names_some() {
    let options = EndpointOptions {
        origins: vec!["https://good.test".into(), "http://localhost:8080".into()],
        ..EndpointOptions::default()
    };
    let endpoint = Endpoint::new("/echo").speaks(Text::echo()).options(options);
    let server = server::start(server::config(), vec![endpoint]);
    for (origin, status) in [
        ("https://good.test", 101),
        ("HTTPS://GOOD.test", 101),
        ("http://localhost:8080", 101),
        ("http://good.test", 403),
        ("https://good.test.evil.test", 403),
        ("https://evil.test", 403),
        ("https://good.test:444", 403),
        ("null", 403),
        ("", 403),
    ] {
        let mut client = Client::tcp(server.local_addr());
        client.send(&and(&format!("Origin: {origin}\r\n")));
        assert_eq!(client.response().status, status, "{origin:?}");
    }
    let _not_a_browser = Client::open(server.local_addr(), "/echo");
    assert_eq!(server.stats().reasons.of(Reason::OriginRefused), 6);
    server.kill();
}

#[test]
fn the_clients_first_wish_among_the_known_subprotocols_is_granted() {
    let options = EndpointOptions {
        subprotocols: vec!["chat".into(), "v2.chat".into()],
        ..EndpointOptions::default()
    };
    let endpoint = Endpoint::new("/echo").speaks(Text::echo()).options(options);
    let server = server::start(server::config(), vec![endpoint]);
    for (offered, granted) in [
        ("chat", Some("chat")),
        ("v2.chat, chat", Some("v2.chat")),
        ("unknown, chat", Some("chat")),
        ("CHAT", None),
        ("unknown", None),
        ("", None),
    ] {
        let mut client = Client::tcp(server.local_addr());
        let response = client.upgrade("/echo", &format!("Sec-WebSocket-Protocol: {offered}\r\n"));
        assert_eq!(response.header("sec-websocket-protocol"), granted, "{offered}");
    }
    server.kill();
}

#[test]
fn connections_over_the_limit_are_told_to_retry_and_free_places_are_used_again() {
    let mut config = server::config();
    config.limits.connections_max = 2;
    let server = server::echo(config);
    let (first, _second) =
        (Client::open(server.local_addr(), "/echo"), Client::open(server.local_addr(), "/echo"));
    let mut third = Client::tcp(server.local_addr());
    third.send(&and(""));
    let response = third.response();
    assert_eq!(response.status, 503, "{}", response.head);
    assert!(response.header("retry-after").is_some(), "{}", response.head);
    third.expect_fin();
    drop((first, third));
    eventually("there is a place", || server.stats().connections == 1);
    let _fourth = Client::open(server.local_addr(), "/echo");
    assert_eq!(server.stats().reasons.of(Reason::ConnectionsMax), 1);
    server.kill();
}

#[test]
fn one_address_has_its_own_limit() {
    let mut config = server::config();
    config.limits.connections_per_address_max = 1;
    let server = server::echo(config);
    let first = Client::open(server.local_addr(), "/echo");
    let mut second = Client::tcp(server.local_addr());
    second.send(&and(""));
    let response = second.response();
    assert_eq!(response.status, 429, "{}", response.head);
    assert!(response.header("retry-after").is_some());
    drop((first, second));
    eventually("the address is free", || server.stats().connections == 0);
    let _third = Client::open(server.local_addr(), "/echo");
    server.kill();
}

#[test]
fn requests_that_are_awaited_have_a_limit_of_their_own() {
    let mut config = server::config();
    config.limits.connections_pending_max = 2;
    let server = server::echo(config);
    let mut waiting: Vec<Client> = (0..2).map(|_| Client::tcp(server.local_addr())).collect();
    eventually("both are awaited", || server.stats().connections == 2);
    let mut third = Client::tcp(server.local_addr());
    third.send(&and(""));
    assert_eq!(third.response().status, 503);
    for client in &mut waiting {
        client.upgrade("/echo", "");
    }
    let _open = Client::open(server.local_addr(), "/echo");
    assert_eq!(server.stats().reasons.of(Reason::PendingMax), 1);
    server.kill();
}

#[test]
fn pages_are_served_to_get_and_head_only() {
    let server = Server::new(())
        .config(server::config())
        .mount(Endpoint::new("/").speaks(Text::echo()))
        .page(Page::new("/", "text/html; charset=utf-8", "<p>hello"))
        .page(Page::new("/healthz", "text/plain; charset=utf-8", "ok\n"))
        .start("127.0.0.1:0")
        .unwrap();
    let ask = |line: &str| {
        let mut client = Client::tcp(server.local_addr());
        client.send(format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        client
    };
    let mut get = ask("GET /healthz?from=probe");
    let response = get.response();
    assert_eq!((response.status, response.body.as_slice()), (200, b"ok\n".as_slice()));
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    get.expect_fin();
    let mut head = ask("HEAD /healthz");
    let response = head.response_head();
    assert_eq!((response.status, response.header("content-length")), (200, Some("3")));
    head.expect_fin();
    let response = ask("POST /healthz").response();
    assert_eq!((response.status, response.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(ask("GET /").response().body, b"<p>hello");
    assert_eq!(ask("GET /other").response().status, 404);
    assert_eq!(ask("GET /healthz/").response().status, 404);
    let mut socket = Client::open(server.local_addr(), "/");
    socket.text("the same path");
    assert_eq!(socket.expect_text(), "the same path");
    server.kill();
}

#[test]
fn a_client_that_leaves_before_its_request_is_forgotten() {
    let server = server::echo(server::config());
    let mut half = Client::tcp(server.local_addr());
    half.send(b"GET /echo HT");
    half.shutdown();
    assert!(matches!(half.next(PATIENCE), Next::Fin | Next::Reset));
    Client::tcp(server.local_addr()).reset();
    drop(Client::tcp(server.local_addr()));
    eventually("all are forgotten", || {
        let stats = server.stats();
        stats.accepted == 3 && stats.connections == 0
    });
    assert_eq!(server.stats().reasons.of(Reason::NoRequest), 3);
    server.kill();
}

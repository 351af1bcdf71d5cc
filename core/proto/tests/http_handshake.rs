//! Handshakes against another implementation, and what happens to hostile ones.

use std::io::{self, Cursor, Read, Write};

use fulmar_proto::http::{self, HeadLimits, HeadScanner, HttpError};
use tungstenite::handshake::derive_accept_key;

/// What a blocking peer reads and writes: one string in, one out.
#[derive(Debug)]
struct Pipe {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The whole of a server's way from bytes to an answer.
fn answer(received: &[u8]) -> Result<Vec<u8>, HttpError> {
    let limits = HeadLimits::default();
    let end = HeadScanner::default().scan(received, &limits)?.unwrap_or(received.len());
    let request = http::parse(&received[..end], &limits)?;
    let upgrade = http::upgrade(&request)?;
    let chosen = http::choose_subprotocol(upgrade.subprotocols(), &["json"]);
    let mut out = Vec::new();
    http::write_switching_protocols(&mut out, upgrade.key(), chosen, None);
    Ok(out)
}

#[test]
fn another_server_accepts_our_request() {
    let mut input = Vec::new();
    let key = "AAECAwQFBgcICQoLDA0ODw==";
    http::write_upgrade_request(&mut input, "here:80", "/chat?x=y", key, None, None);
    let socket = tungstenite::accept(Pipe { input: Cursor::new(input), output: Vec::new() })
        .expect("an accepted handshake");
    let (response, end) =
        http::parse_response(&socket.get_ref().output).expect("good").expect("whole");
    assert_eq!(end, socket.get_ref().output.len());
    assert_eq!(response.status, 101);
    let accept = http::accept_key(key);
    assert_eq!(response.header("sec-websocket-accept"), Some(&*accept));
}

#[test]
fn another_client_asks_what_we_accept() {
    let (_, response) = tungstenite::client("ws://here/chat", AnsweringPipe::default())
        .expect("an accepted handshake");
    assert_eq!(response.status().as_u16(), 101);
}

/// A pipe that answers, by our code, what was written to it.
#[derive(Debug, Default)]
struct AnsweringPipe {
    received: Vec<u8>,
    output: Cursor<Vec<u8>>,
}

impl Read for AnsweringPipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.output.get_ref().is_empty() {
            self.output = Cursor::new(answer(&self.received).map_err(io::Error::other)?);
        }
        self.output.read(buffer)
    }
}

impl Write for AnsweringPipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.received.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn keys_are_answered_as_another_server_answers_them() {
    let mut state = 1_u64;
    for _ in 0..500 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let key = format!("{state:022}==");
        assert_eq!(http::accept_key(&key), derive_accept_key(key.as_bytes()));
    }
}

#[test]
fn hostile_requests_get_the_status_they_deserve() {
    let good = "Host: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let long = "x".repeat(9000);
    let many = "A: b\r\n".repeat(64);
    for (status, request) in [
        (400, format!("GET / HTTP/1.1\r\n{good}Host: i\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{good}X : y\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{good} folded\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{good}X: a\0b\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{good}X: a\rb\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\n{good}\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{good}Content-Length: 6\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{good}Content-Length: 0\r\nContent-Length: 6\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{good}Transfer-Encoding: chunked\r\n\r\n")),
        (400, format!("GET / HTTP/1.0\r\n{good}\r\n")),
        (405, format!("POST / HTTP/1.1\r\n{good}\r\n")),
        (414, format!("GET /{long} HTTP/1.1\r\n{good}\r\n")),
        (426, "GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned()),
        (426, format!("GET / HTTP/1.1\r\n{}\r\n", good.replace(": 13", ": 12"))),
        (431, format!("GET / HTTP/1.1\r\n{good}X: {long}\r\n\r\n")),
        (431, format!("GET / HTTP/1.1\r\n{good}{many}\r\n")),
        (501, format!("GET / HTTP/1.1\r\n{good}Transfer-Encoding: gzip\r\n\r\n")),
        (505, format!("GET / HTTP/2.0\r\n{good}\r\n")),
    ] {
        let error = answer(request.as_bytes()).expect_err(&request);
        assert_eq!(error.status, status, "{error}: {request}");
        let mut out = Vec::new();
        http::write_refusal(&mut out, &error);
        let (response, _) = http::parse_response(&out).expect("good").expect("whole");
        assert_eq!(response.status, status);
    }
    let head = format!("GET / HTTP/1.1\r\n{good}\r\n");
    assert!(answer(head.as_bytes()).is_ok());
}

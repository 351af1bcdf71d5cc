//! A small HTTP server on the loopback interface, and tokens and keys for tests.
#![allow(dead_code, reason = "every test file uses a part of it")]
#![allow(unreachable_pub, missing_docs, reason = "shared by test files, not published")]
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use fulmar_auth::{SigningKey, VerifyingKey};

pub const SECRET: &[u8] = b"a secret of more than 32 bytes, for tests only";
pub const RSA_PUBLIC: &str = include_str!("../keys/rsa.public.pem");
pub const EC_PUBLIC: &str = include_str!("../keys/ec.public.pem");
pub const ED_PUBLIC: &str = include_str!("../keys/ed.public.pem");

pub fn rsa() -> SigningKey {
    SigningKey::private_pem(include_str!("../keys/rsa.private.pem")).unwrap()
}

pub fn ec() -> SigningKey {
    SigningKey::private_pem(include_str!("../keys/ec.private.pem")).unwrap()
}

pub fn ed() -> SigningKey {
    SigningKey::private_pem(include_str!("../keys/ed.private.pem")).unwrap()
}

pub fn public(pem: &str) -> VerifyingKey {
    VerifyingKey::public_pem(pem).unwrap()
}

#[derive(Clone, Debug)]
pub struct Request {
    pub head: String,
    pub body: String,
}

/// Status, further header lines (each with its end of line), body; `None` closes the connection
/// without an answer.
pub type Response = Option<(u16, String, String)>;

pub fn ok(body: &str) -> Response {
    Some((200, String::new(), body.to_owned()))
}

/// Answers every request by a function, every connection on its own thread. Lives until the test
/// process ends.
#[derive(Clone)]
pub struct Server {
    pub url: String,
    hits: Arc<AtomicUsize>,
}

impl Server {
    pub fn start(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let hits = Arc::new(AtomicUsize::new(0));
        let (answer, counter) = (Arc::new(answer), Arc::clone(&hits));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, counter) = (Arc::clone(&answer), Arc::clone(&counter));
                thread::spawn(move || serve(&stream.unwrap(), &*answer, &counter));
            }
        });
        Self { url, hits }
    }

    pub fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }
}

fn serve(
    stream: &TcpStream,
    answer: &(dyn Fn(&Request) -> Response + Send + Sync),
    hits: &AtomicUsize,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    // Connections are kept open, as real servers do.
    loop {
        let mut head = String::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        hits.fetch_add(1, Ordering::SeqCst);
        let (status, extra, text) =
            answer(&Request { head, body: String::from_utf8(body).unwrap() })?;
        let mut stream = stream;
        write!(
            stream,
            "HTTP/1.1 {status} X\r\n{extra}content-length: {}\r\n\r\n{text}",
            text.len()
        )
        .ok()?;
    }
}

/// Waits until something holds; fails after 10 seconds.
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        pause(Duration::from_millis(5));
    }
    panic!("never happened: {what}");
}

/// Lets time pass, where a test shows that nothing happens meanwhile.
pub fn pause(time: Duration) {
    let _ = crossbeam_channel::never::<()>().recv_timeout(time);
}

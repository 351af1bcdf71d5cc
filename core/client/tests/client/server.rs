//! A small alien-rpc server over blocking sockets, which reports all it sees.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use sonic_rs::{JsonContainerTrait as _, JsonValueTrait as _, Value};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::protocol::{CloseFrame, WebSocket};
use tungstenite::{Bytes, Message};

/// Longer than anything takes that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) url: String,
    accepted: Arc<AtomicUsize>,
    events: Receiver<Event>,
}

/// Something a connection has seen; connections are numbered from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Opened(usize, Vec<(String, String)>, String),
    Frame(usize, String),
    /// The client has closed with a code, or is gone.
    Closed(usize, Option<u16>),
}

impl Server {
    /// A server that does what the methods of [`serve`] say.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/api", listener.local_addr().unwrap());
        let accepted = Arc::new(AtomicUsize::new(0));
        let (report, events) = channel();
        let count = Arc::clone(&accepted);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                stream.set_nodelay(true).unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst);
                let report = report.clone();
                std::thread::spawn(move || serve(number, stream, &report));
            }
        });
        Self { url, accepted, events }
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// The next event that is of interest.
    pub(crate) fn expect<T>(&self, mut interest: impl FnMut(Event) -> Option<T>) -> T {
        for _ in 0..100_000 {
            let event = self.events.recv_timeout(PATIENCE).expect("something happens");
            if let Some(found) = interest(event) {
                return found;
            }
        }
        panic!("too much happens");
    }

    /// The next frame with a text in it, and the connection it came over.
    pub(crate) fn expect_frame(&self, part: &str) -> (usize, String) {
        self.expect(|event| match event {
            Event::Frame(number, text) if text.contains(part) => Some((number, text)),
            _ => None,
        })
    }

    /// The next close.
    pub(crate) fn expect_close(&self) -> (usize, Option<u16>) {
        self.expect(|event| match event {
            Event::Closed(number, code) => Some((number, code)),
            _ => None,
        })
    }
}

/// Serves one connection over any stream.
pub(crate) fn serve<S: Read + Write>(number: usize, stream: S, report: &Sender<Event>) {
    let mut opened = None;
    #[expect(clippy::result_large_err, reason = "tungstenite's type")]
    let look = |request: &Request, response: Response| {
        let headers = request.headers().iter();
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers = headers.map(|(name, value)| (name.to_string(), text(value.as_bytes())));
        opened = Some(Event::Opened(number, headers.collect(), request.uri().to_string()));
        Ok(response)
    };
    let Ok(mut socket) = tungstenite::accept_hdr(stream, look) else { return };
    let _ = report.send(opened.unwrap());
    let mut peer = Peer { number, socket: &mut socket, pongs: true };
    let code = loop {
        match peer.socket.read() {
            Ok(Message::Text(text)) => {
                let _ = report.send(Event::Frame(number, text.to_string()));
                if peer.answer(&text).is_none() {
                    return;
                }
            }
            Ok(Message::Close(frame)) => {
                // The answer goes out with the next read.
                let _ = peer.socket.flush();
                break frame.map(|frame| frame.code.into());
            }
            Ok(_) => {}
            Err(_) => break None,
        }
    };
    let _ = report.send(Event::Closed(number, code));
}

struct Peer<'a, S> {
    number: usize,
    socket: &'a mut WebSocket<S>,
    pongs: bool,
}

impl<S: Read + Write> Peer<'_, S> {
    /// Answers a frame; `None` cuts the connection.
    fn answer(&mut self, text: &str) -> Option<()> {
        let frame: Value = sonic_rs::from_str(text).unwrap();
        let params = frame["params"].as_array().cloned().unwrap_or_default();
        let number = |place: usize| params[place].as_i64().unwrap();
        let id = frame["id"].as_u64().unwrap_or_default();
        let result = |json: &str| format!(r#"{{"id":{id},"result":{json}}}"#);
        let end = format!(r#"{{"id":{id},"close":true}}"#);
        match frame["method"].as_str().unwrap() {
            ".ping" if self.pongs => self.send(r#"{"pong":true}"#),
            "add" => self.send(&result(&(number(0) + number(1)).to_string())),
            "echo" => self.send(&result(&params[0].to_string())),
            "nothing" => self.send(&format!(r#"{{"id":{id}}}"#)),
            "fail" => self.send(&format!(
                r#"{{"id":{id},"error":{{"code":400,"message":"bad","data":{{"path":"/0"}}}}}}"#
            )),
            "count" => {
                for item in 0..number(0) {
                    self.send(&result(&item.to_string()))?;
                }
                self.send(&end)
            }
            "countFail" => {
                self.send(&result("0"))?;
                self.send(&result("\"x\""))?;
                self.send(&result("2"))?;
                self.send(&format!(r#"{{"id":{id},"error":{{"code":500,"message":"broke"}}}}"#))
            }
            // One item per connection, and the end on the third.
            "fragile" => {
                self.send(&result(&self.number.to_string()))?;
                if self.number < 2 { None } else { self.send(&end) }
            }
            "dieOnce" if self.number > 0 => self.send(&result(&self.number.to_string())),
            "die" | "dieOnce" => None,
            "leave" => {
                let code = u16::try_from(number(0)).unwrap().into();
                self.socket.close(Some(CloseFrame { code, reason: "bye".into() })).ok()
            }
            "binary" => self.socket.send(Message::Binary(Bytes::from_static(b"{}"))).ok(),
            "garbage" => self.send(&"[".repeat(50_000)),
            "long" => self.send(&result(&format!("\"{}\"", "x".repeat(100_000)))),
            "pingMe" => {
                self.socket.send(Message::Ping(Bytes::from_static(b"hello"))).ok()?;
                let pong = self.socket.read().ok()?;
                self.send(&result(
                    &(pong == Message::Pong(Bytes::from_static(b"hello"))).to_string(),
                ))
            }
            "mute" => {
                self.pongs = false;
                self.send(&result("true"))
            }
            // Whatever else has no answer.
            _ => Some(()),
        }
    }

    fn send(&mut self, text: &str) -> Option<()> {
        self.socket.send(Message::text(text)).ok()
    }
}

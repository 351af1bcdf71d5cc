//! A client of the `event` dialect.

use std::net::SocketAddr;
use std::time::Duration;

use fulmar_proto::ws::Opcode;
use sonic_rs::{JsonContainerTrait, JsonValueTrait};

use crate::PATIENCE;
use crate::client::{Client, Next};

/// Where nodes have their event endpoint.
pub const PATH: &str = "/ignis/ws";

/// A client that is connected and, as a rule, authenticated.
#[derive(Debug)]
pub struct EventClient {
    /// The WebSocket below.
    pub socket: Client,
    /// Its id, once it is authenticated.
    pub id: String,
}

impl EventClient {
    /// Connected, and nothing more.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn open(address: SocketAddr) -> Self {
        Self { socket: Client::open(address, PATH), id: String::new() }
    }

    /// Connected, and authenticated with this token.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn login(address: SocketAddr, token: &str) -> Self {
        let mut client = Self::open(address);
        client.authenticate(token);
        client
    }

    /// The same, and a member of these rooms.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn member(address: SocketAddr, token: &str, rooms: &[&str]) -> Self {
        let mut client = Self::login(address, token);
        client.join(rooms);
        client
    }

    /// Authenticates with this token.
    ///
    /// # Panics
    /// If it is refused.
    pub fn authenticate(&mut self, token: &str) {
        self.send(&format!(r#"{{"event":"authenticate","data":{{"token":"{token}"}}}}"#));
        let text = self.expect_text();
        let frame: sonic_rs::Value = sonic_rs::from_str(&text).unwrap();
        assert_eq!(frame["event"].as_str(), Some("connected"), "{text}");
        self.id = frame["data"]["id"].as_str().unwrap().into();
    }

    /// Joins rooms, and waits until that is done.
    ///
    /// # Panics
    /// If it is not put into all of them.
    pub fn join(&mut self, rooms: &[&str]) {
        self.send(&envelope("join", &rooms_json(rooms)));
        let now = self.rooms();
        assert!(rooms.iter().all(|room| now.iter().any(|known| known == room)), "{now:?}");
    }

    /// Leaves rooms, and waits until that is done.
    ///
    /// # Panics
    /// If it is in one of them still.
    pub fn leave(&mut self, rooms: &[&str]) {
        self.send(&envelope("leave", &rooms_json(rooms)));
        let now = self.rooms();
        assert!(!rooms.iter().any(|room| now.iter().any(|known| known == room)), "{now:?}");
    }

    /// The rooms it is in, as the server says in answer to the event `rooms`.
    ///
    /// # Panics
    /// If something else comes.
    pub fn rooms(&mut self) -> Vec<String> {
        self.send(r#"{"event":"rooms"}"#);
        let text = self.expect_text();
        let frame: sonic_rs::Value = sonic_rs::from_str(&text).unwrap();
        assert_eq!(frame["event"].as_str(), Some("rooms"), "{text}");
        let rooms = frame["data"].as_array().unwrap();
        rooms.iter().map(|room| room.as_str().unwrap().into()).collect()
    }

    /// Sends a text as it is.
    ///
    /// # Panics
    /// If the server does not take it.
    pub fn send(&mut self, text: &str) {
        self.socket.text(text);
    }

    /// Sends an event with raw JSON as its data.
    ///
    /// # Panics
    /// If the server does not take it.
    pub fn event(&mut self, event: &str, data: &str) {
        self.send(&envelope(event, data));
    }

    /// Says something in a room by way of the handler `chat`.
    ///
    /// # Panics
    /// If the server does not take it.
    pub fn chat(&mut self, room: &str, text: &str) {
        self.event("chat", &format!(r#"{{"room":"{room}","text":"{text}"}}"#));
    }

    /// The next message; pings before it are answered.
    ///
    /// # Panics
    /// If none comes.
    pub fn expect_text(&mut self) -> String {
        loop {
            let frame = self.socket.expect_frame();
            if frame.opcode == Opcode::Ping.bits() {
                self.socket.frame(true, Opcode::Pong, &frame.payload);
                continue;
            }
            assert!(frame.fin && frame.opcode == Opcode::Text.bits(), "{frame:?}");
            return String::from_utf8(frame.payload).unwrap();
        }
    }

    /// That the next message is this one.
    ///
    /// # Panics
    /// If another comes, or none.
    pub fn expect(&mut self, text: &str) {
        assert_eq!(self.expect_text(), text);
    }

    /// That the next message says in a room what [`chat`](Self::chat) said.
    ///
    /// # Panics
    /// If another comes, or none.
    pub fn expect_chat(&mut self, user: &str, text: &str) {
        self.expect(&chatted(user, text));
    }

    /// Whether it is connected still: the server answers pings, and sends nothing else for so long.
    ///
    /// # Panics
    /// If not.
    pub fn expect_quiet(&mut self, long: Duration) {
        self.socket.ping(b"alive");
        assert_eq!(self.socket.expect_pong(), b"alive");
        self.socket.expect_silence(long);
    }

    /// Everything that comes until nothing came for so long, and at least `count` messages.
    ///
    /// # Panics
    /// If fewer come.
    pub fn collect(&mut self, what: &str, count: usize, quiet: Duration) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let most = if seen.len() < count { PATIENCE } else { quiet };
            match self.socket.next(most) {
                Next::Frame(frame) if frame.opcode == 1 => {
                    seen.push(String::from_utf8(frame.payload).unwrap());
                }
                Next::Nothing if seen.len() >= count => return seen,
                other => panic!("{what}: {other:?} behind {seen:?}, {count} were expected"),
            }
        }
    }
}

/// What members hear of [`EventClient::chat`].
#[must_use]
pub fn chatted(user: &str, text: &str) -> String {
    format!(r#"{{"event":"chat","data":{{"from":"user-{user}","text":"{text}"}}}}"#)
}

fn envelope(event: &str, data: &str) -> String {
    format!(r#"{{"event":"{event}","data":{data}}}"#)
}

fn rooms_json(rooms: &[&str]) -> String {
    format!(r#"{{"rooms":{}}}"#, sonic_rs::to_string(rooms).unwrap())
}

/// A text in which ids and times are named, not told: those of `known` by their names, all others
/// that are well-formed `<uuid>` and `<time>`.
#[must_use]
pub fn masked(text: &str, known: &[(&str, &str)]) -> String {
    let named = known.iter().fold(text.to_owned(), |text, (id, name)| text.replace(id, name));
    let without_ids = mask(&named, "hhhhhhhh-hhhh-4hhh-vhhh-hhhhhhhhhhhh", "<uuid>");
    mask(&without_ids, "dddd-dd-ddTdd:dd:dd.dddZ", "<time>")
}

/// Replaces what has a shape: `h` is a hexadecimal digit, `d` a decimal one, `v` a UUID's variant.
fn mask(text: &str, shape: &str, name: &str) -> String {
    let fits = |bytes: &[u8]| {
        bytes.len() >= shape.len()
            && shape.bytes().zip(bytes).all(|(kind, byte)| match kind {
                b'h' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
                b'd' => byte.is_ascii_digit(),
                b'v' => matches!(byte, b'8' | b'9' | b'a' | b'b'),
                literal => literal == *byte,
            })
    };
    let mut result = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if fits(rest.as_bytes()) {
            result += name;
            rest = &rest[shape.len()..];
        } else {
            result.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    result
}

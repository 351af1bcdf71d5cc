//! The NATS client protocol over WebSocket, as much of it as a load needs.
//!
//! After the handshake the server says `INFO`; the client answers `CONNECT`, `SUB` if it is a
//! member, and `PING`. The `PONG` to that shows that the subscription is in force, so only then a
//! connection counts as open. The stream of commands is independent of frames: one frame may hold
//! many, and a command may go over several frames.

mod parser;
mod payloads;

use std::sync::Arc;

use self::parser::Parser;
use self::payloads::{Part, Payloads};
use crate::walker::{Item, Malformed, Message};

/// What a connection does after the handshake.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    /// Where the room's messages go.
    pub(crate) subject: Arc<str>,
    /// Whether it wants to have them.
    pub(crate) subscribes: bool,
}

/// What the server said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said<'a> {
    /// `INFO`, the first thing on a connection.
    Info,
    /// `MSG`: a message of a subscription, whole.
    Message(Message<'a>),
    /// `PING`, to be answered with [`PONG`].
    Ping,
    /// `PONG`.
    Pong,
    /// `-ERR` with its text.
    Error(&'a str),
    /// A control frame of WebSocket.
    Control(Item<'a>),
}

/// The answer to `PING`.
pub(crate) const PONG: &[u8] = b"PONG\r\n";

/// One connection's stream.
#[derive(Debug, Default)]
pub(crate) struct Session {
    payloads: Payloads,
    parser: Parser,
}

impl Session {
    /// Walks over what was read and reports everything that ends in it.
    ///
    /// # Errors
    /// The stream is not one of a NATS server; the session is of no use after.
    #[inline]
    pub(crate) fn walk(
        &mut self,
        bytes: &[u8],
        mut on_said: impl FnMut(Said<'_>),
    ) -> Result<(), Malformed> {
        let parser = &mut self.parser;
        self.payloads.walk(bytes, |part| match part {
            Part::Data(bytes) => parser.feed(bytes, &mut on_said),
            Part::Control(item) => {
                on_said(Said::Control(item));
                Ok(())
            }
        })
    }
}

impl Seat {
    /// What to say once the server has said `INFO`.
    pub(crate) fn greeting(&self) -> Vec<u8> {
        let mut greeting = b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n".to_vec();
        if self.subscribes {
            greeting.extend_from_slice(format!("SUB {} 1\r\n", self.subject).as_bytes());
        }
        greeting.extend_from_slice(b"PING\r\n");
        greeting
    }
}

/// What goes before and after a payload of `size` bytes to publish it.
pub(crate) fn publication(subject: &str, size: usize) -> (Vec<u8>, &'static [u8]) {
    (format!("PUB {subject} {size}\r\n").into_bytes(), b"\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walker::Message;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x82, u8::try_from(payload.len()).unwrap()];
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn commands_cross_frames_and_reads_as_they_like() {
        let mut stream = frame(b"INFO {\"server_id\":\"x\"}\r\nPI");
        stream.extend(frame(b"NG\r\nMSG tea 1 5\r\nhe"));
        stream.extend(b"\x89\x02hi");
        stream.extend(frame(b"llo\r\nMSG tea 1 0\r\n\r\n"));
        for piece in 1..=stream.len() {
            let mut session = Session::default();
            let mut seen = Vec::new();
            for bytes in stream.chunks(piece) {
                session.walk(bytes, |said| seen.push(format!("{said:?}"))).unwrap();
            }
            let message = |start: &[u8]| {
                format!("{:?}", Said::Message(Message { length: start.len() as u64, start }))
            };
            let ping = format!("{:?}", Said::Control(Item::Ping(b"hi")));
            let expected =
                ["Info".to_owned(), "Ping".to_owned(), ping, message(b"hello"), message(b"")];
            assert_eq!(seen, expected, "pieces of {piece}");
        }
    }

    #[test]
    fn members_subscribe_and_publishers_do_not() {
        let seat = |subscribes| Seat { subject: Arc::from("7"), subscribes };
        let connect = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";
        assert_eq!(seat(true).greeting(), format!("{connect}SUB 7 1\r\nPING\r\n").as_bytes());
        assert_eq!(seat(false).greeting(), format!("{connect}PING\r\n").as_bytes());
        assert_eq!(publication("7", 64), (b"PUB 7 64\r\n".to_vec(), &b"\r\n"[..]));
    }
}

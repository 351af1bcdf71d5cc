//! Messages on their way to the members of a room.
use std::{ops::Range, sync::Arc};

use crate::{CallError, Payload};

/// A message on its way to a room, in no dialect's words. Who is left out is the host's to know.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Name of the room.
    pub room: Arc<str>,
    /// Name of the event; empty where the publisher's dialect has none.
    pub event: Box<str>,
    /// What. Never holds objects or stubs.
    pub payload: Payload<'static>,
}

/// A publication as [`crate::Dialect::encode`] sees it: lent, so that wording it copies nothing.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Name of the room.
    pub room: &'a str,
    /// Name of the event; empty where the publisher's dialect has none.
    pub event: &'a str,
    /// What. Never holds objects or stubs.
    pub payload: &'a Payload<'a>,
    /// Its place in the room.
    pub position: Position,
}

/// The place of a message in its room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The life of the room in which the number counts: those of two lives cannot be compared.
    pub epoch: u64,
    /// One more than that of the message before.
    pub number: u64,
}

impl Publication {
    /// The publication as dialects word it, at this place.
    #[must_use]
    pub fn said(&self, position: Position) -> Said<'_> {
        Said { room: &self.room, event: &self.event, payload: &self.payload, position }
    }

    /// A publication.
    ///
    /// # Errors
    ///
    /// If the payload holds objects, stubs or streams: those belong to one connection.
    pub fn new(
        room: impl Into<Arc<str>>,
        event: impl Into<Box<str>>,
        payload: Payload<'static>,
    ) -> Result<Self, CallError> {
        if payload.holds_objects() {
            return Err(CallError::type_error(
                "An object or a stub cannot be published to a room.",
            ));
        }
        Ok(Self { room: room.into(), event: event.into(), payload })
    }
}

/// What [`crate::Dialect::encode`] appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Whether it is a binary message.
    pub binary: bool,
    /// Where in the appended bytes the bare data lies, counted from the first appended byte.
    pub data: Range<usize>,
}

impl Encoded {
    /// Appends a payload as it is: strings unquoted, bytes as a binary message, all else as JSON,
    /// nothing at all for [`Payload::Undefined`].
    pub fn plain(payload: &Payload<'_>, out: &mut Vec<u8>) -> Self {
        let start = out.len();
        let mut binary = false;
        match payload {
            Payload::Undefined => {}
            Payload::Text(text) => out.extend_from_slice(text.as_bytes()),
            Payload::Binary(bytes) => {
                binary = true;
                out.extend_from_slice(bytes);
            }
            Payload::Json(_) | Payload::Rich(_) => {
                if payload.write_json(out).is_err() {
                    // Only what `Publication::new` refuses cannot be said.
                    out.truncate(start);
                    out.extend_from_slice(b"null");
                }
            }
        }
        Self { binary, data: 0..out.len() - start }
    }
}

/// Publications that a slow member missed: `from..to` of the room's numbering in `epoch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap<'a> {
    /// Name of the room.
    pub room: &'a str,
    /// Changes whenever the numbering starts anew.
    pub epoch: u64,
    /// Number of the first one missed.
    pub from: u64,
    /// Number of the first one that comes again.
    pub to: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    #[test]
    fn encodes_plain_payloads_behind_what_is_there() {
        let mut out = b"before".to_vec();
        let text = Encoded::plain(&Payload::Text("say \"hi\"".into()), &mut out);
        assert_eq!(text, Encoded { binary: false, data: 0..8 });
        let binary = Encoded::plain(&Payload::Binary(vec![1, 2].into()), &mut out);
        assert_eq!(binary, Encoded { binary: true, data: 0..2 });
        let json = Encoded::plain(&Payload::Rich(Value::Date(0.0)), &mut out);
        assert_eq!(json, Encoded { binary: false, data: 0..26 });
        assert_eq!(out, b"beforesay \"hi\"\x01\x02\"1970-01-01T00:00:00.000Z\"");
    }
}

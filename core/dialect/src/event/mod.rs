//! The `event` dialect: named events in JSON, as IGNIS's WebSocket helper has them.
//!
//! Both sides send `{"event": ..., "data": ...}`. A client first sends `authenticate` and is told
//! `connected`; then it may `join` and `leave` rooms, and every other event goes to the endpoint's
//! handlers. `heartbeat` says that it is alive. What is wrong is said with an `error` event; the
//! close codes are 4001 (authentication timeout), 4002 (heartbeat timeout), 4003 (authentication
//! failed) and 4004 (encryption required).
//!
//! Beyond what IGNIS has:
//!
//! * What a handler of the event `x` returns is sent as `x:response`, with the `id` of the client's
//!   message if it had one. Handlers that return nothing answer nothing, as there.
//! * A client whose identity expires may send `authenticate` again before that, as the same user,
//!   and is told `refreshed`.
//! * With [`EventOptions::gaps`] a slow client is told what it missed.
//! * Names that are not JSON text (an event that is a number) reach no handler.
mod handshake;
pub mod names;
mod options;
mod rooms;
#[cfg(feature = "encryption")]
mod seal;
mod session;
mod wire;

#[cfg(test)]
mod tests;

pub use options::{Authentication, Encryption, EventOptions, JoinPolicy, RoomFilter, Transformer};
#[cfg(feature = "encryption")]
pub use seal::{AesGcmSeal, HandshakeError, P256Handshake};
pub use wire::client_public_key;

use std::sync::Arc;

use crate::{Dialect, Encoded, Gap, Message, OpenRequest, Payload, Said, Session};
use session::{EventSession, event_name};

/// The `event` dialect; see the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Event(Arc<EventOptions>);

impl Event {
    /// With these options.
    #[must_use]
    pub fn new(options: EventOptions) -> Self {
        Self(Arc::new(options))
    }

    /// How it speaks.
    #[must_use]
    pub fn options(&self) -> &EventOptions {
        &self.0
    }
}

impl Dialect for Event {
    fn name(&self) -> &'static str {
        "event"
    }

    fn claims(&self, first: &Message<'_>) -> bool {
        match first {
            Message::Text(text) => wire::is_envelope(text),
            Message::Binary(bytes) => wire::is_envelope(&String::from_utf8_lossy(bytes)),
            Message::Batch(_) => false,
        }
    }

    fn is_addressable(&self) -> bool {
        true
    }

    fn close_words(&self, reason: &str) -> Option<(u16, &'static str)> {
        match reason {
            "stopping" | "restarting" => Some((1001, "Server shutting down")),
            "message_too_big" => Some((1009, "Received too big message")),
            _ => None,
        }
    }

    fn close_reason(&self, code: u16) -> Option<&'static str> {
        match code {
            4001 => Some("authentication_timeout"),
            4002 => Some("heartbeat_timeout"),
            4003 => Some("authentication_failed"),
            4004 => Some("encryption_required"),
            _ => None,
        }
    }

    fn open(&self, request: &OpenRequest<'_>) -> Box<dyn Session> {
        Box::new(EventSession::new(&self.0, request))
    }

    fn encode(&self, said: &Said<'_>, out: &mut Vec<u8>) -> Encoded {
        let event = event_name(said.event);
        let data = wire::write(event, said.payload, out).or_else(|_| {
            // Only what `Publication::new` refuses cannot be said.
            wire::write(event, &Payload::json("null"), out)
        });
        Encoded { binary: false, data: data.unwrap_or_default() }
    }

    fn gap(&self, gap: &Gap<'_>, out: &mut Vec<u8>) -> Option<Encoded> {
        if !self.0.gaps {
            return None;
        }
        let mut data = b"{\"room\":\"".to_vec();
        wire::quote(gap.room, &mut data);
        // Numbers beyond 2^53 are not what they were in JavaScript.
        let Gap { epoch, from, to, .. } = gap;
        let rest = format!("\",\"epoch\":\"{epoch}\",\"from\":{from},\"to\":{to}}}");
        data.extend_from_slice(rest.as_bytes());
        let data = Payload::Json(String::from_utf8(data).ok()?.into());
        let data = wire::write("gap", &data, out).ok()?;
        Some(Encoded { binary: false, data })
    }
}

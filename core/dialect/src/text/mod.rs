//! The `text` dialect: the message *is* the payload.
//!
//! No envelope, no ids, no errors on the wire: what any WebSocket client speaks. An endpoint
//! chooses one of three things to do with a message:
//!
//! * [`Text::echo`]: send it back,
//! * [`Text::room`]: publish it to a room named by the request,
//! * [`Text::default`]: give it to the endpoint's handler (the route `message`), and send what that
//!   answers.
mod handler;
mod room;
mod template;

pub use room::{Role, RoomOptions};
pub use template::{RoomTemplate, TemplateError};

use std::sync::Arc;

use crate::{
    Ask, CallId, Dialect, Effect, Encoded, Form, Host, Kind, Message, OpenRequest, Payload, Reply,
    Said, Session,
};
use handler::HandlerSession;
use room::RoomSession;

/// The `text` dialect; see the [module](self). Default: messages go to the endpoint's handler.
#[derive(Clone, Debug, Default)]
pub struct Text(Mode);

#[derive(Clone, Debug, Default)]
enum Mode {
    #[default]
    Handler,
    Echo,
    Room(Arc<RoomOptions>),
}

impl Text {
    /// Sends every message back to where it came from.
    #[must_use]
    pub fn echo() -> Self {
        Self(Mode::Echo)
    }

    /// Every connection belongs to one room, named by its request.
    #[must_use]
    pub fn room(options: RoomOptions) -> Self {
        Self(Mode::Room(Arc::new(options)))
    }
}

impl Dialect for Text {
    fn name(&self) -> &'static str {
        "text"
    }

    fn form(&self) -> Form {
        Form::Raw
    }

    fn open(&self, request: &OpenRequest<'_>) -> Box<dyn Session> {
        match &self.0 {
            Mode::Handler => Box::new(HandlerSession::default()),
            // Has no size: the box allocates nothing.
            Mode::Echo => Box::new(EchoSession),
            Mode::Room(options) => Box::new(RoomSession::open(options, request)),
        }
    }

    fn encode(&self, said: &Said<'_>, out: &mut Vec<u8>) -> Encoded {
        Encoded::plain(said.payload, out)
    }
}

struct EchoSession;

impl Session for EchoSession {
    fn on_message(&mut self, message: Message<'_>, host: &mut dyn Host) {
        host.effect(Effect::Send { message, kind: Kind::Data });
    }

    fn on_reply(&mut self, _call: CallId, _reply: Reply<'_>, _host: &mut dyn Host) {}

    fn is_plain(&self) -> bool {
        true
    }

    fn on_ask(&mut self, ask: Ask, host: &mut dyn Host) {
        obey(ask, host);
    }
}

/// What handles may ask of a text connection, whatever its mode.
fn obey(ask: Ask, host: &mut dyn Host) {
    match ask {
        Ask::Join { room, import: None, settler } => {
            host.effect(handler::join(&room));
            host.settle(settler, Ok(().into()));
        }
        Ask::Leave { room } => host.effect(Effect::Leave { room: &room, tag: handler::TAG }),
        Ask::Send { payload, receipt, .. } => {
            say(&payload, Kind::Data, host);
            host.acknowledge(receipt);
        }
        Ask::Close { code, reason } => host.effect(Effect::Close { code, reason: &reason }),
        other => host.refuse(other, "A text connection has nothing that could be called."),
    }
}

/// Sends a payload as the message that it is; nothing for `Undefined` and for what has no JSON.
fn say(payload: &Payload<'_>, kind: Kind, host: &mut dyn Host) {
    match payload {
        Payload::Undefined => {}
        Payload::Text(text) | Payload::Json(text) => {
            host.effect(Effect::Send { message: Message::Text(text), kind });
        }
        Payload::Binary(bytes) => {
            host.effect(Effect::Send { message: Message::Binary(bytes), kind });
        }
        Payload::Rich(_) => {
            let mut json = Vec::new();
            if payload.write_json(&mut json).is_ok()
                && let Ok(text) = str::from_utf8(&json)
            {
                host.effect(Effect::Send { message: Message::Text(text), kind });
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! A text connection that belongs to one room.
use std::sync::Arc;

use super::{RoomTemplate, handler, obey};
use crate::event::{RoomFilter, names};
use crate::{Ask, CallId, Effect, Host, Identity, Message, OpenRequest, Payload, Reply, Session};

/// What connections of a room endpoint do.
#[derive(Clone, Debug, Default)]
pub struct RoomOptions {
    /// The room's name, made of the request's parameters. Default: `{room}`.
    pub room: RoomTemplate,
    /// Default: both.
    pub role: Role,
    /// Whether a publisher that is a member too hears itself. Default: no.
    pub echo_to_self: bool,
    /// Which rooms may be entered by whom. Default: all by everybody, but for those whose names
    /// begin with `ws:`, which are the server's own.
    pub allow: Option<Arc<dyn RoomFilter>>,
}

/// What a connection may do in its room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Only receives. One that sends is closed with 1008.
    Member,
    /// Only sends.
    Publisher,
    /// Receives and sends.
    #[default]
    Both,
}

/// Names longer than this are refused, in bytes.
pub(super) const ROOM_BYTES_MAX: usize = 256;

/// RFC 6455, 7.4.1: policy violation.
const POLICY: u16 = 1008;

pub(super) struct RoomSession {
    room: Result<Arc<str>, Refusal>,
    role: Role,
    echo_to_self: bool,
}

// One per idle connection.
const _: () = assert!(size_of::<RoomSession>() <= 24);

#[derive(Clone, Copy)]
enum Refusal {
    Empty,
    Long,
    Reserved,
    Forbidden,
}

impl RoomSession {
    pub(super) fn open(options: &RoomOptions, request: &OpenRequest<'_>) -> Self {
        let room = match options.room.expand(request) {
            None => Err(Refusal::Empty),
            Some(name) if name.is_empty() => Err(Refusal::Empty),
            Some(name) if name.len() > ROOM_BYTES_MAX => Err(Refusal::Long),
            Some(name) if name.starts_with(names::RESERVED) => Err(Refusal::Reserved),
            Some(name) if !is_allowed(options, &name, request) => Err(Refusal::Forbidden),
            Some(name) => Ok(name.into()),
        };
        Self { room, role: options.role, echo_to_self: options.echo_to_self }
    }
}

fn is_allowed(options: &RoomOptions, room: &str, request: &OpenRequest<'_>) -> bool {
    let nobody = Identity::default();
    let identity = request.identity.unwrap_or(&nobody);
    options.allow.as_ref().is_none_or(|filter| filter.allows(room, identity))
}

impl Session for RoomSession {
    fn on_open(&mut self, host: &mut dyn Host) {
        let reason = match &self.room {
            Ok(room) => {
                if self.role != Role::Publisher {
                    host.effect(handler::join(room));
                }
                let shared = host.room_name(room);
                self.room = Ok(shared);
                return;
            }
            Err(Refusal::Empty) => "the request names no room",
            Err(Refusal::Long) => "the name of the room is longer than 256 bytes",
            Err(Refusal::Reserved) => "names of rooms that begin with ws: are the server's own",
            Err(Refusal::Forbidden) => "this room may not be entered",
        };
        host.effect(Effect::Close { code: POLICY, reason });
    }

    fn on_message(&mut self, message: Message<'_>, host: &mut dyn Host) {
        // Refused at the beginning: what comes before the close is not heard.
        let Ok(room) = &self.room else { return };
        if self.role == Role::Member {
            let reason = "this endpoint only receives (role = \"member\")";
            return host.effect(Effect::Close { code: POLICY, reason });
        }
        let payload = match message {
            Message::Text(text) | Message::Batch(text) => Payload::Text(text.into()),
            Message::Binary(bytes) => Payload::Binary(bytes.into()),
        };
        let exclude_self = !self.echo_to_self;
        host.effect(Effect::Publish { room, event: "", payload, exclude_self });
    }

    fn on_reply(&mut self, _call: CallId, _reply: Reply<'_>, _host: &mut dyn Host) {}

    fn is_plain(&self) -> bool {
        true
    }

    fn on_ask(&mut self, ask: Ask, host: &mut dyn Host) {
        obey(ask, host);
    }
}

//! A text connection whose messages go to the endpoint's handler.
use super::{obey, say};
use crate::{
    Args, Ask, CallId, Delivery, Effect, Host, Kind, Message, On, Order, Payload, Reply, Session,
    Tag,
};

/// The tag of every membership. Members are told apart by room and tag, so joining a room twice is
/// being in it once, and the session needs no table.
pub(super) const TAG: Tag = Tag(0);

pub(super) fn join(room: &str) -> Effect<'_> {
    Effect::Join { room, tag: TAG, delivery: Delivery::Shared }
}

#[derive(Default)]
pub(super) struct HandlerSession {
    calls: u64,
}

impl Session for HandlerSession {
    fn is_plain(&self) -> bool {
        true
    }

    fn on_message(&mut self, message: Message<'_>, host: &mut dyn Host) {
        let payload = match message {
            Message::Text(text) | Message::Batch(text) => Payload::Text(text.into()),
            Message::Binary(bytes) => Payload::Binary(bytes.into()),
        };
        self.calls += 1;
        host.effect(Effect::Call {
            call: CallId(self.calls),
            on: On::Endpoint,
            member: "message",
            get: false,
            args: Args::One(payload),
            order: Order::Strict,
        });
    }

    fn on_reply(&mut self, _call: CallId, reply: Reply<'_>, host: &mut dyn Host) {
        match reply {
            Reply::Value(payload) | Reply::Item(payload) => say(&payload, Kind::Reply, host),
            Reply::Room(room) => host.effect(join(&room.room)),
            // There are no words for failure: the host logs and counts it.
            Reply::Error(_) | Reply::Missing | Reply::End | Reply::Verdict(_) => {}
        }
    }

    fn on_ask(&mut self, ask: Ask, host: &mut dyn Host) {
        obey(ask, host);
    }
}

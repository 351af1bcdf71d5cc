//! What sessions want, done: at once where it concerns their own connection, at the end of the turn
//! where it concerns others.

use std::sync::Arc;

use fulmar_dialect::{
    Answer, Args, CallId, Delivery, Effect, Host, Kind, Message, On, Order, Part, Payload, Sent,
    Value,
};
use fulmar_driver::SocketId;
use fulmar_proto::ws::{self, Opcode};

use super::Shard;
use super::calling::{self, Asked};
use super::connection::Connection;
use crate::node::{connection_id, connection_number, payload_of};
use crate::output::{self, BodyPart, Encoding, Exclude, JoinRequest, Publication, Reach, Refused};
use crate::reason::Reason;
use crate::worker::{Job, OwnedReply};

/// Bytes that the publications of one turn may hold, about, before their publishers have to wait
/// for the next turn: what is published is in memory until the turn ends.
pub(super) const PUBLISHED_BYTES_MAX: usize = 4 << 20;

/// The shard as a session sees it.
pub(super) struct SessionHost<'a> {
    shard: &'a mut Shard,
    socket: SocketId,
    close: Option<(u16, Box<str>)>,
    last_sent: Sent,
}

impl<'a> SessionHost<'a> {
    pub(super) fn new(shard: &'a mut Shard, socket: SocketId) -> Self {
        Self { shard, socket, close: None, last_sent: Sent::Sent }
    }

    /// How many replies wait that sessions are to hear when they have returned.
    pub(super) fn replies(&self) -> usize {
        self.shard.replies.len()
    }

    /// The first reply behind so many others.
    pub(super) fn next_reply(&mut self, others: usize) -> Option<(CallId, OwnedReply)> {
        let replies = &mut self.shard.replies;
        (replies.len() > others).then(|| replies.remove(others))
    }

    /// A reply that the session has heard.
    pub(super) fn dispose_of(&self, reply: OwnedReply) {
        calling::dispose(self.shard, reply);
    }

    /// How the session wants to end, if it does. Done when it has returned: it is told of its end.
    pub(super) fn into_close(self) -> Option<(u16, Box<str>)> {
        self.close
    }
}

impl Host for SessionHost<'_> {
    fn effect(&mut self, effect: Effect<'_>) {
        let (shard, socket) = (&mut *self.shard, self.socket);
        match effect {
            Effect::Send { message, kind } => self.last_sent = shard.send(socket, message, kind),
            Effect::Publish { room, event, payload, exclude_self } => {
                shard.publish(socket, room, event, payload, exclude_self);
            }
            Effect::Call { call, on, member, get, args, order } => {
                let asked = Asked { call, on, member, get, args, order };
                if let Some(answer) = shard.call(socket, asked) {
                    shard.replies.push((call, answer.into()));
                }
            }
            Effect::Cancel { call } => shard.cancel(socket, call),
            Effect::Flow { call, open } => shard.flow(socket, call, open),
            Effect::Settle { settler, result } => settler.settle(result),
            Effect::Identify { identity } => shard.identify(socket, identity),
            Effect::Join { room, tag, delivery } => {
                if let Err((code, text)) = shard.join(socket, room, tag.0, delivery) {
                    self.close.get_or_insert_with(|| (code, text.into()));
                }
            }
            Effect::Leave { room, tag } => {
                shard.output.leave(socket, room, tag.0);
            }
            Effect::Seal { seal } => shard.set_seal(socket, seal),
            Effect::Deadline { after } => shard.set_session_deadline(socket, after),
            Effect::Dispose { value } => shard.dispose(value),
            Effect::Close { code, reason } => {
                self.close.get_or_insert_with(|| (code, reason.into()));
            }
        }
    }

    fn call(&mut self, call: CallId, member: &str, args: Args<'_>, order: Order) -> Option<Answer> {
        let asked = Asked { call, on: On::Endpoint, member, get: false, args, order };
        self.shard.call(self.socket, asked)
    }

    fn send_with(&mut self, len: usize, write: &dyn Fn(&mut Vec<u8>)) {
        self.last_sent = self.shard.send_with(self.socket, len, write);
    }

    fn room_name(&self, name: &str) -> Arc<str> {
        self.shard.output.room_name(name).unwrap_or_else(|| name.into())
    }

    fn last_sent(&self) -> Sent {
        self.last_sent
    }

    fn now(&self) -> u64 {
        self.shard.clock.wall_milliseconds()
    }

    fn random(&mut self, bytes: &mut [u8]) {
        self.shard.entropy.fill(bytes);
    }
}

impl Shard {
    /// A message to one connection: framed into its lane, copied once.
    fn send(&mut self, socket: SocketId, message: Message<'_>, kind: Kind) -> Sent {
        let (opcode, payload) = match message {
            Message::Text(text) | Message::Batch(text) => (Opcode::Text, text.as_bytes()),
            Message::Binary(bytes) => (Opcode::Binary, bytes),
        };
        let before = self.output.queued(socket);
        let waits = if before == 0 { Sent::Sent } else { Sent::Queued };
        if self.is_sealed(socket) {
            self.send_sealed(socket, opcode == Opcode::Binary, payload);
            return Sent::Queued;
        }
        let Self { output, compressors, connections, node, .. } = self;
        let deflate = connections.get(socket).and_then(Connection::deflate);
        let options = node.config.deflate.as_ref();
        let options = options.filter(|options| payload.len() >= options.min_bytes);
        // Compressed once it is sure to be sent, not before: a window that is kept must have seen
        // what the peer gets and nothing else.
        let write = |out: &mut Vec<u8>| {
            let mut smaller = Vec::new();
            let is_compressed = deflate
                .zip(options)
                .and_then(|(deflate, options)| compressors.of(socket, deflate, options))
                .is_some_and(|compressor| compressor.compress(payload, &mut smaller));
            if is_compressed {
                out.extend_from_slice(&ws::head(true, true, opcode, smaller.len()));
                out.extend_from_slice(&smaller);
            } else {
                ws::write_frame(out, opcode, payload);
            }
        };
        let done = match kind {
            Kind::Reply => output.reply_with(socket, write),
            Kind::Data => output.data_with(socket, write),
        };
        self.sent(done, waits)
    }

    /// The same for a text message that is written where it waits, if nothing is to be done with it
    /// first.
    fn send_with(&mut self, socket: SocketId, len: usize, write: &dyn Fn(&mut Vec<u8>)) -> Sent {
        let deflate = self.connections.get(socket).and_then(Connection::deflate);
        if deflate.is_some() || self.is_sealed(socket) {
            let mut text = Vec::with_capacity(len);
            write(&mut text);
            let Ok(text) = str::from_utf8(&text) else { return Sent::Dropped };
            return self.send(socket, Message::Text(text), Kind::Reply);
        }
        let waits = if self.output.queued(socket) == 0 { Sent::Sent } else { Sent::Queued };
        let framed = |out: &mut Vec<u8>| ws::write_frame_with(out, Opcode::Text, len, write);
        let done = self.output.reply_with(socket, framed);
        self.sent(done, waits)
    }

    /// What became of a message: `waits` if it was taken.
    fn sent(&mut self, done: Result<(), Refused>, waits: Sent) -> Sent {
        match done {
            Ok(()) => {
                self.stats.messages_out += 1;
                return waits;
            }
            Err(Refused::Backlog) => self.stats.reasons.bump(Reason::DroppedBacklog),
            Err(_) => {}
        }
        Sent::Dropped
    }

    fn publish(
        &mut self,
        socket: SocketId,
        room: &str,
        event: &str,
        payload: Payload<'_>,
        exclude_self: bool,
    ) {
        self.stats.published += 1;
        let exclude = match exclude_self {
            true => Exclude::One(output::ConnectionId { shard: self.id, socket }),
            false => Exclude::Nobody,
        };
        // A room with members here has its name already.
        let room = self.output.room_name(room).unwrap_or_else(|| Arc::from(room));
        let payload = payload_of(payload);
        let reach = Reach::Cluster;
        let publication = Publication { room, event: event.into(), payload, exclude, reach };
        self.output.publish(Some(socket), publication);
        if self.output.outbound_bytes() > PUBLISHED_BYTES_MAX {
            self.throttle(socket);
        }
    }

    fn join(
        &mut self,
        socket: SocketId,
        room: &str,
        tag: u32,
        delivery: Delivery,
    ) -> Result<(), (u16, &'static str)> {
        let Some(connection) = self.connections.get(socket) else { return Ok(()) };
        let endpoint = &self.node.endpoints[usize::from(connection.endpoint)];
        // A compressed frame of the room's can be shared by whoever needs no context of its own.
        let options = self.node.config.deflate.as_ref();
        let takes_shared = connection.deflate().zip(options).is_some_and(|(deflate, options)| {
            deflate.server_no_context_takeover
                && deflate.server_max_window_bits >= options.window_bits
        });
        let Some((_, encoding)) = endpoint.dialects.get(connection.dialect()) else {
            return Ok(());
        };
        let request = JoinRequest {
            room,
            encoding: Encoding(encoding.0 + u8::from(takes_shared)),
            delivery: match delivery {
                Delivery::Shared => output::Delivery::Shared,
                Delivery::Enveloped(Part::Whole) => output::Delivery::Enveloped(BodyPart::Whole),
                Delivery::Enveloped(Part::Data) => output::Delivery::Enveloped(BodyPart::Data),
            },
            tag,
            is_positioned: false,
            is_counted: delivery != Delivery::Shared,
            policy: endpoint.policy,
        };
        match self.output.join(socket, &request) {
            Err(Refused::TooManyRooms) => {
                self.stats.reasons.bump(Reason::TooManyRooms);
                Err((Reason::TooManyRooms.told(), Reason::TooManyRooms.code()))
            }
            // Joining again changes nothing; a connection that is gone joins nothing.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn dispose(&self, value: Value) {
        if value.holds_objects() {
            self.node.pool.submit(Job::Dispose(Box::new(value)));
        }
    }

    /// This connection's number on the node.
    pub(super) fn number(&self, socket: SocketId) -> u64 {
        let number = connection_number(self.id, socket);
        debug_assert!(connection_id(number).socket == socket, "a socket's index has 24 bits");
        number
    }
}

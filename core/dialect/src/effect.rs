//! What a session may ask its host for: the whole vocabulary.
use std::{fmt, sync::Arc, time::Duration};

use crate::{Args, CallError, Identity, Object, Payload, Settler, Value};

/// One thing a session wants done. Data is borrowed from the frame; the host copies only what
/// leaves the shard.
#[derive(Debug)]
pub enum Effect<'a> {
    /// Run something. Every call is answered by exactly one ending [`crate::Reply`], unless
    /// cancelled.
    Call {
        /// Names the call in replies.
        call: CallId,
        /// On what.
        on: On<'a>,
        /// Route, method or property; empty for the target itself.
        member: &'a str,
        /// Read the property instead of calling the method.
        get: bool,
        /// What it is called with.
        args: Args<'a>,
        /// What must hold before it starts.
        order: Order,
    },
    /// Nobody wants the answer any more: stop it if it can be stopped. No reply follows.
    Cancel {
        /// Which.
        call: CallId,
    },
    /// Opens or closes the tap of a streaming call, beside the socket's own.
    Flow {
        /// Which.
        call: CallId,
        /// Whether items may come.
        open: bool,
    },
    /// The client answered an [`crate::Ask`].
    Settle {
        /// The opaque settler from the ask.
        settler: Settler,
        /// The answer.
        result: Result<Value, CallError>,
    },
    /// The connection now acts for somebody. Only recorded: memberships that follow from it are the
    /// session's to make.
    Identify {
        /// For whom.
        identity: &'a Identity,
    },
    /// Become a member. Joining again under the same room and tag changes nothing.
    Join {
        /// Name of the room.
        room: &'a str,
        /// The session's number for this membership.
        tag: Tag,
        /// How publications are to be delivered.
        delivery: Delivery,
    },
    /// End a membership; unknown ones are ignored.
    Leave {
        /// Name of the room.
        room: &'a str,
        /// As it was joined.
        tag: Tag,
    },
    /// Publish to all members of a room.
    Publish {
        /// Name of the room.
        room: &'a str,
        /// Name of the event; empty where the dialect has none.
        event: &'a str,
        /// What.
        payload: Payload<'a>,
        /// Whether memberships of this connection are left out.
        exclude_self: bool,
    },
    /// Say something to the client.
    Send {
        /// What.
        message: Message<'a>,
        /// Whether the endpoint's backpressure policy may drop it.
        kind: Kind,
    },
    /// From here on every outgoing message passes through this, in order, on a worker.
    Seal {
        /// The transformation.
        seal: Arc<dyn Seal>,
    },
    /// Sets the session's one timer; `None` stops it.
    Deadline {
        /// From now.
        after: Option<Duration>,
    },
    /// Values that may hold an embedder's objects: dropped on a worker, never on a shard.
    Dispose {
        /// What to drop.
        value: Value,
    },
    /// Close the connection, after what was sent so far.
    Close {
        /// RFC 6455, 7.4.
        code: u16,
        /// At most 123 bytes go out (RFC 6455, 5.5.1 with 5.5).
        reason: &'a str,
    },
}

/// Where a call lands.
#[derive(Clone, Copy, Debug)]
pub enum On<'a> {
    /// The endpoint: its route table, which is also Cap'n Web's main object.
    Endpoint,
    /// An object that a handler returned earlier.
    Object(&'a Object),
    /// The endpoint's own questions, answered like any call, on workers.
    Gate(Gate),
}

/// The questions and moments for which an endpoint may have a hook.
///
/// The host itself runs [`Connect`](Self::Connect), [`Disconnect`](Self::Disconnect) and
/// [`Drain`](Self::Drain) where an endpoint has them; sessions need not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// May this request become a connection, and whose is it? Asked by the host before it answers
    /// the request. Answered with [`crate::Reply::Verdict`].
    Upgrade,
    /// Who is this client? Answered with [`crate::Reply::Verdict`].
    Authenticate,
    /// Which of these rooms may it join?
    Join,
    /// What is our side of the key exchange? Answered with [`crate::Reply::Verdict`].
    Handshake,
    /// A connection opened.
    Connect,
    /// A client was accepted by [`Authenticate`](Self::Authenticate) and told so.
    Authenticated,
    /// A connection ended.
    Disconnect,
    /// The server is about to stop.
    Drain,
}

impl Gate {
    /// All of them, in order of declaration.
    pub const ALL: [Self; 8] = [
        Self::Upgrade,
        Self::Authenticate,
        Self::Join,
        Self::Handshake,
        Self::Connect,
        Self::Authenticated,
        Self::Disconnect,
        Self::Drain,
    ];

    /// Its name in lower case, as logs and tables say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Upgrade => "upgrade",
            Self::Authenticate => "authenticate",
            Self::Join => "join",
            Self::Handshake => "handshake",
            Self::Connect => "connect",
            Self::Authenticated => "authenticated",
            Self::Disconnect => "disconnect",
            Self::Drain => "drain",
        }
    }
}

/// What must hold before a call starts, within its connection (or object).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Starts at once: alien-rpc requests.
    Free,
    /// Starts when the one before has *returned* (it may still be waiting): Cap'n Web.
    Start,
    /// Starts when the one before has *settled*: text, events, notifications, lifecycle hooks.
    Strict,
}

/// Chosen by the session, unique among its calls in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// Number a session gave to one membership. Opaque to rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u32);

/// One message, in or out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message; checked to be UTF-8.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A whole `POST` body, or the answer to one; the session closes when it has said everything.
    Batch(&'a str),
}

/// What may happen to an outgoing message when the client is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Never dropped: answers and protocol messages. A client that does not take them is closed.
    Reply,
    /// The endpoint's backpressure policy applies.
    Data,
}

/// How a membership wants its publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The body as it is; the session is not touched.
    Shared,
    /// This part of the body between a head and a tail of the session's making.
    Enveloped(Part),
}

/// Which bytes of an encoded publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of them.
    Whole,
    /// The bare data: [`crate::Encoded::data`].
    Data,
}

/// Written by [`crate::Session::envelope`]; the host adds WebSocket headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Before the body.
    pub head: Vec<u8>,
    /// Behind it.
    pub tail: Vec<u8>,
}

/// Encrypts or rewrites outgoing messages. Runs on workers, several at a time across connections,
/// one at a time and in order within one.
pub trait Seal: fmt::Debug + Send + Sync {
    /// Appends the sealed message to `out`; `false` leaves the message as it was. `random` fills
    /// with random bytes fit for secrets.
    fn seal(&self, message: &[u8], random: &mut dyn FnMut(&mut [u8]), out: &mut Vec<u8>) -> bool;
}

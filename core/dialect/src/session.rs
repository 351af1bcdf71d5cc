//! What a protocol provides, and the host it faces.
use std::{borrow::Cow, fmt, sync::Arc};

use crate::{
    Answer, Args, Ask, CallError, CallId, Effect, Encoded, Envelope, Form, Gap, Kind, Message, On,
    OpenRequest, Order, Reply, Said, Settler, Tag, Value,
};

/// One per protocol and endpoint, shared by all shards, without state of a connection.
///
/// Object-safe: embedders add protocols of their own.
pub trait Dialect: fmt::Debug + Send + Sync + 'static {
    /// Its name, as configuration and statistics say it.
    fn name(&self) -> &'static str;

    /// Subprotocols it answers to (RFC 6455, 1.9); the first is preferred. Default: none.
    fn subprotocols(&self) -> &'static [&'static str] {
        &[]
    }

    /// The form in which it wants results. Default: [`Form::Json`].
    fn form(&self) -> Form {
        Form::Json
    }

    /// Whether a connection whose first message is this one speaks it; asked where an endpoint has
    /// several dialects. Default: yes.
    fn claims(&self, _first: &Message<'_>) -> bool {
        true
    }

    /// Whether `POST` bodies are served by a session of their own ([`Message::Batch`]).
    /// Default: no.
    fn serves_batch(&self) -> bool {
        false
    }

    /// Whether its connections are found by their ids: sent to, asked about, left out. Default: no,
    /// which costs less.
    fn is_addressable(&self) -> bool {
        false
    }

    /// Its own close code and words for a reason of the server's, by the reason's static code
    /// (`stopping`, `message_too_big`). Default: none.
    fn close_words(&self, _reason: &str) -> Option<(u16, &'static str)> {
        None
    }

    /// The static code of the server's reason for which a session of its closes with `code`, for
    /// the counters. Default: none, it is counted as closed by the server.
    fn close_reason(&self, _code: u16) -> Option<&'static str> {
        None
    }

    /// The session of one new connection. What it wants to say at once belongs in
    /// [`Session::on_open`].
    fn open(&self, request: &OpenRequest<'_>) -> Box<dyn Session>;

    /// Appends a publication in this dialect's words to `out`, which may hold other bytes already
    /// and must not be touched otherwise. Called at most once per publication and node.
    fn encode(&self, said: &Said<'_>, out: &mut Vec<u8>) -> Encoded;

    /// Appends the dialect's words for messages that a member missed. `None`, the default: it has
    /// no such words, and nothing may have been appended.
    fn gap(&self, _gap: &Gap<'_>, _out: &mut Vec<u8>) -> Option<Encoded> {
        None
    }
}

/// One per connection: the protocol's state machine.
///
/// Never called re-entrantly: what the host does about an effect comes back in a later call.
/// Nothing that a client can send may make it panic or hold more than its limits.
pub trait Session: Send {
    /// Once, at the beginning.
    fn on_open(&mut self, _host: &mut dyn Host) {}

    /// The client sent a whole message.
    fn on_message(&mut self, message: Message<'_>, host: &mut dyn Host);

    /// What became of an [`Effect::Call`].
    fn on_reply(&mut self, call: CallId, reply: Reply<'_>, host: &mut dyn Host);

    /// What a handler or a handle wants of this client.
    fn on_ask(&mut self, ask: Ask, host: &mut dyn Host);

    /// The time set with [`Effect::Deadline`] has come.
    fn on_deadline(&mut self, _host: &mut dyn Host) {}

    /// So many messages of an enveloped membership were handed to the socket since the last call:
    /// told before the session is called again, for sessions that count.
    fn on_delivered(&mut self, _tag: Tag, _frames: u32, _host: &mut dyn Host) {}

    /// Whether dropping the session runs no code of an embedder's: it holds no objects, stubs or
    /// values of theirs. Others are dropped on a worker. Default: no.
    fn is_plain(&self) -> bool {
        false
    }
    /// Once, at the end. With `by_us`, what is sent here still goes out before the close frame.
    fn on_close(&mut self, _by_us: bool, _host: &mut dyn Host) {}

    /// Adds what it knows of its client to what is told about a connection.
    fn describe(&self, _description: &mut Description) {}

    /// Head and tail around a body of `body_len` bytes, for memberships joined as
    /// [`crate::Delivery::Enveloped`]; `around` comes empty. A pure function of the tag and the
    /// length: it may be asked for messages that are dropped afterwards.
    fn envelope(&self, _tag: Tag, _body_len: usize, _around: &mut Envelope) {}
}

/// What a session knows of its client.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// Where the protocol's state machine stands, in the protocol's words.
    pub state: &'static str,
    /// The user it acts for.
    pub user: Option<Box<str>>,
    /// JSON object; empty for none.
    pub claims: Box<str>,
    /// The rooms it is in, in the order in which it joined them, as its protocol counts them.
    pub rooms: Vec<Arc<str>>,
    /// Whether what it is sent is encrypted.
    pub is_encrypted: bool,
    /// What it was told of our key, if it is.
    pub public_key: Option<Box<str>>,
    /// What both derived the key with.
    pub salt: Option<Box<str>>,
}

/// What became of a message to one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sent {
    /// It leaves with the next flush: nothing waits before it.
    Sent,
    /// It waits behind others, because the client does not read as fast as it is sent to.
    Queued,
    /// The client's backlog is full, or it is gone.
    Dropped,
}

impl Sent {
    /// `sent`, `queued`, `dropped`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Queued => "queued",
            Self::Dropped => "dropped",
        }
    }
}

impl fmt::Debug for dyn Session + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

/// The other side of the seam: a shard, or a test.
pub trait Host {
    /// Applies an effect: at once where it concerns this connection only, at the end of the turn
    /// where others are concerned.
    fn effect(&mut self, effect: Effect<'_>);

    /// Calls a route of the endpoint's, as [`Effect::Call`] does, and returns the answer if there
    /// is one at once; no reply comes then. `None`: replies come later, as for the effect.
    fn call(&mut self, call: CallId, member: &str, args: Args<'_>, order: Order) -> Option<Answer> {
        self.effect(Effect::Call { call, on: On::Endpoint, member, get: false, args, order });
        None
    }

    /// Sends a text message that is never dropped, written where it waits: `write` appends `len`
    /// bytes to what it is given, and touches nothing else of it. That they are UTF-8 is the
    /// session's to see to. Default: as [`Effect::Send`].
    fn send_with(&mut self, len: usize, write: &dyn Fn(&mut Vec<u8>)) {
        let mut text = Vec::with_capacity(len);
        write(&mut text);
        if let Ok(text) = str::from_utf8(&text) {
            self.effect(Effect::Send { message: Message::Text(text), kind: Kind::Reply });
        }
    }

    /// The name of a room to keep: the one all its members share, where there are members. A
    /// session that keeps a copy of its own costs that much more for each connection.
    fn room_name(&self, name: &str) -> Arc<str> {
        name.into()
    }

    /// What became of the last [`Effect::Send`].
    fn last_sent(&self) -> Sent {
        Sent::Sent
    }

    /// Wall clock of this turn, in milliseconds since 1970.
    fn now(&self) -> u64;

    /// Fills with random bytes fit for secrets.
    fn random(&mut self, bytes: &mut [u8]);
}

impl dyn Host + '_ {
    /// Sends a text message that is never dropped.
    pub fn send(&mut self, text: &str) {
        self.effect(Effect::Send { message: Message::Text(text), kind: Kind::Reply });
    }

    /// Settles what the server asked of the client.
    pub fn settle(&mut self, settler: Settler, result: Result<Value, CallError>) {
        self.effect(Effect::Settle { settler, result });
    }

    /// Settles a receipt, if there is one, with what became of the last message.
    pub fn acknowledge(&mut self, receipt: Option<Settler>) {
        if let Some(settler) = receipt {
            let sent = Value::from(self.last_sent().name());
            self.settle(settler, Ok(sent));
        }
    }

    /// Settles with code 501: this dialect has no words for what was asked.
    pub fn unsupported(&mut self, settler: Settler, what: &'static str) {
        self.settle(settler, Err(CallError::with_code(501, Cow::Borrowed(what))));
    }

    /// `unsupported` for any ask; one that nobody waits for is dropped, one
    /// that closes is obeyed.
    pub fn refuse(&mut self, ask: Ask, what: &'static str) {
        match ask {
            Ask::Call { settler, .. }
            | Ask::Local { settler, .. }
            | Ask::Read { settler, .. }
            | Ask::Join { settler, .. }
            | Ask::Send { receipt: Some(settler), .. } => self.unsupported(settler, what),
            Ask::Close { code, reason } => self.effect(Effect::Close { code, reason: &reason }),
            Ask::Release { .. } | Ask::Leave { .. } | Ask::Send { receipt: None, .. } => {}
        }
    }
}

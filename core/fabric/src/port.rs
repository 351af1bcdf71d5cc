//! What a node and whatever carries its messages say to each other.

use std::sync::Arc;
use std::time::Duration;

use crate::envelope::{Letter, Received};

/// Letters handed over together. They become JSON on the fabric's thread, so that the caller does
/// no encoding.
pub trait Parcel: Send {
    /// Calls `each` with every letter, in order. Runs on the fabric's thread: must not block.
    fn unpack(self: Box<Self>, each: &mut dyn FnMut(&Letter<'_>));

    /// How many letters there are.
    fn letters(&self) -> usize;

    /// About how much memory they hold, in bytes, for `queue_bytes_max`.
    fn bytes(&self) -> usize {
        0
    }
}

/// Takes what other nodes send.
pub trait Inbox: Send + Sync {
    /// Called on the fabric's thread, in the order of each sender: must not block.
    ///
    /// `false`: there is no room for it, and it is dropped and counted
    /// ([`Counters::dropped_inbox`]).
    fn receive(&self, received: Received) -> bool;
}

/// Something a node may be interested in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A room with members on this node.
    Room(Arc<str>),
    /// A user with connections to this node.
    User(Arc<str>),
    /// A connection: its own channel, and the room of the same name, by which nodes that do not
    /// know it address it.
    Client(Arc<str>),
}

impl Topic {
    /// The Redis channels on which it travels.
    pub fn channels(&self) -> impl Iterator<Item = String> {
        let (channel, room) = match self {
            Self::Room(room) => (None, Some(room)),
            Self::User(user) => (Some(format!("ws:user:{user}")), None),
            Self::Client(client) => (Some(format!("ws:client:{client}")), Some(client)),
        };
        channel.into_iter().chain(room.map(|room| format!("ws:room:{room}")))
    }
}

/// A fabric's condition at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Letters are published.
    pub publisher: bool,
    /// All of interest is subscribed.
    pub subscriber: bool,
    /// Where the publisher is connected, without user and password.
    pub publisher_address: Option<Arc<str>>,
    /// Where the subscriber is connected, without user and password.
    pub subscriber_address: Option<Arc<str>>,
    /// How long [`is_ready`](Self::is_ready) has been what it is.
    pub since: Duration,
    /// The last failure of either connection, while the fabric is not ready.
    pub trouble: Option<Arc<str>>,
    /// What was counted.
    pub counters: Counters,
}

impl Status {
    /// Whether the node takes part in the cluster: both connections can be used.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.publisher && self.subscriber
    }
}

/// Numbers since the start; they only grow, except for `subscriptions`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Letters that Redis took.
    pub published: u64,
    /// Messages of other nodes handed to the inbox.
    pub received: u64,
    /// Messages of other nodes that the inbox had no room for.
    pub dropped_inbox: u64,
    /// Messages that this node had sent itself.
    pub own_skipped: u64,
    /// Messages that were no envelopes, too long or too deeply nested.
    pub malformed: u64,
    /// Letters dropped because too many waited already.
    pub dropped_queue: u64,
    /// Letters dropped because they were longer than `message_bytes_max`.
    pub dropped_size: u64,
    /// Letters that Redis answered with an error, such as missing permission.
    pub refused: u64,
    /// Letters lost because there was no connection, or the connection broke under them.
    pub lost_disconnected: u64,
    /// Connections made after the first of each link.
    pub reconnects: u64,
    /// Channels and patterns subscribed at present.
    pub subscriptions: u64,
}

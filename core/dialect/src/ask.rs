//! What the server wants of a client, and the way it is said from any thread.
use std::{fmt, sync::Arc};

use crate::{Object, Payload, Settler, Value};

/// What the server wants of a client; posted from any thread through a [`Link`].
#[derive(Debug)]
pub enum Ask {
    /// Call something the client lent us.
    Call {
        /// The session's number for it.
        import: i64,
        /// Method; empty for the thing itself.
        member: Box<str>,
        /// Arguments.
        args: Vec<Value>,
        /// What of the answer matters.
        want: Want,
        /// Settled with the answer.
        settler: Settler,
    },
    /// Call one of our own objects that came back as a stub.
    Local {
        /// The object.
        object: Object,
        /// Method; empty for the object itself.
        member: Box<str>,
        /// Arguments.
        args: Vec<Value>,
        /// Settled with the answer.
        settler: Settler,
    },
    /// The last handle to something lent is gone.
    Release {
        /// The session's number for it.
        import: i64,
    },
    /// The next item of a stream that the client sends.
    Read {
        /// The session's number for it.
        stream: i64,
        /// Settled with a list of one, or null at the end.
        settler: Settler,
    },
    /// Join a room; with an import, through that callback.
    Join {
        /// Name of the room.
        room: Box<str>,
        /// The callback.
        import: Option<i64>,
        /// Settled when it is a member.
        settler: Settler,
    },
    /// Leave a room.
    Leave {
        /// Name of the room.
        room: Box<str>,
    },
    /// Say this to the client unasked, if its protocol has words for it.
    Send {
        /// Name of the event, for dialects that have events.
        event: Box<str>,
        /// What.
        payload: Payload<'static>,
        /// Settled with the name of a [`Sent`](crate::Sent), for whoever wants to know.
        receipt: Option<Settler>,
    },
    /// Close after what has been asked so far.
    Close {
        /// RFC 6455, 7.4.
        code: u16,
        /// At most 123 bytes go out.
        reason: Box<str>,
    },
}

/// What of an answer matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// The result.
    Value,
    /// Only to know that it was taken: stream writes.
    Ack,
    /// Nothing.
    Nothing,
}

/// Where asks go: one per shard, shared by all its connections.
pub trait Outbox: Send + Sync {
    /// Hands an ask to the session of a connection; one that is gone drops it. Never blocks.
    fn post(&self, connection: u64, ask: Ask);
}

/// A connection's way in, from any thread. Everything posted arrives in order, before or after
/// replies exactly as the handler did things.
///
/// 24 bytes and one reference count; making one for a connection allocates nothing.
#[derive(Clone)]
pub struct Link {
    outbox: Arc<dyn Outbox>,
    connection: u64,
}

impl Link {
    /// The way to this connection of that shard.
    #[must_use]
    pub fn new(outbox: Arc<dyn Outbox>, connection: u64) -> Self {
        Self { outbox, connection }
    }

    /// Asks something of the client. Never blocks; what is asked of a closed connection is dropped.
    pub fn post(&self, ask: Ask) {
        self.outbox.post(self.connection, ask);
    }

    /// The number under which the host knows the connection; not used twice within one outbox.
    #[must_use]
    pub fn connection(&self) -> u64 {
        self.connection
    }
}

impl PartialEq for Link {
    fn eq(&self, other: &Self) -> bool {
        self.connection == other.connection && Arc::ptr_eq(&self.outbox, &other.outbox)
    }
}

impl Eq for Link {}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.connection)
    }
}

const _: () = assert!(size_of::<Link>() == 24);

#[cfg(test)]
mod tests {
    use super::*;

    struct Nowhere;

    impl Outbox for Nowhere {
        fn post(&self, _connection: u64, _ask: Ask) {}
    }

    #[test]
    fn links_are_equal_when_outbox_and_connection_are() {
        // Not a unit struct behind the pointers: those may share an address.
        struct Other(#[expect(dead_code, reason = "gives the allocation an address")] u8);
        impl Outbox for Other {
            fn post(&self, _connection: u64, _ask: Ask) {}
        }
        let (one, two): (Arc<dyn Outbox>, Arc<dyn Outbox>) =
            (Arc::new(Nowhere), Arc::new(Other(1)));
        assert_eq!(Link::new(one.clone(), 1), Link::new(one.clone(), 1));
        assert_ne!(Link::new(one.clone(), 1), Link::new(one.clone(), 2));
        assert_ne!(Link::new(one, 1), Link::new(two, 1));
    }
}

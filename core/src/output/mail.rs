//! What shards tell each other about rooms.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use fulmar_driver::SocketId;

use super::encode::{Encoding, Encodings, Form};

/// A connection anywhere on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// Its shard.
    pub shard: u32,
    /// Its socket there.
    pub socket: SocketId,
}

/// Place of a message in a room's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The life of the room in which the number counts.
    pub epoch: u32,
    /// Contiguous from 0 within the epoch.
    pub number: u64,
}

/// A publication's payload, before any dialect words it.
#[derive(Clone, Debug)]
pub enum PayloadBytes {
    /// None.
    Undefined,
    /// Text.
    Text(Box<str>),
    /// A JSON value.
    Json(Box<str>),
    /// Bytes.
    Binary(Box<[u8]>),
    /// Something only the encodings understand.
    Opaque(Arc<dyn Any + Send + Sync>),
}

impl PayloadBytes {
    /// Bytes of what is said; 0 for what only the encodings understand.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) | Self::Json(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Undefined | Self::Opaque(_) => 0,
        }
    }

    /// Whether that is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Something said to a room, before its home has numbered it.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Which room.
    pub room: Arc<str>,
    /// What kind of thing.
    pub event: Box<str>,
    /// What is said.
    pub payload: PayloadBytes,
    /// Who must not get it: usually whoever says it.
    pub exclude: Exclude,
    /// How far it goes.
    pub reach: Reach,
}

/// Connections that do not get a publication although they are members.
#[derive(Clone, Debug, Default)]
pub enum Exclude {
    /// None.
    #[default]
    Nobody,
    /// This one.
    One(ConnectionId),
    /// These.
    Several(Arc<Excluded>),
}

/// Several connections that do not get a publication.
#[derive(Clone, Debug, Default)]
pub struct Excluded {
    /// Those of this node.
    pub connections: Box<[ConnectionId]>,
    /// All of them, by the ids under which every node knows them.
    pub ids: Box<[Box<str>]>,
}

impl Exclude {
    /// All of this node.
    pub fn connections(&self) -> &[ConnectionId] {
        match self {
            Self::Nobody => &[],
            Self::One(connection) => std::slice::from_ref(connection),
            Self::Several(excluded) => &excluded.connections,
        }
    }

    /// Their ids, as far as other nodes need to know them.
    pub fn ids(&self) -> &[Box<str>] {
        match self {
            Self::Nobody | Self::One(_) => &[],
            Self::Several(excluded) => &excluded.ids,
        }
    }
}

/// How far a publication goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Members on this node.
    Node,
    /// Members on every node.
    #[default]
    Cluster,
}

/// A numbered publication with what it was rendered to, each made at most once on the node.
#[derive(Debug)]
pub struct Broadcast {
    /// The message.
    pub publication: Publication,
    /// Its place in the room.
    pub position: Position,
    rendered: OnceLock<Rendered>,
}

/// A list without locks: nearly always there is one entry, and it is in the broadcast itself.
#[derive(Debug)]
struct Rendered {
    encoding: Encoding,
    form: Form,
    bytes: Arc<[u8]>,
    next: OnceLock<Box<Self>>,
}

impl Broadcast {
    /// Numbers a publication.
    pub fn new(publication: Publication, position: Position) -> Self {
        Self { publication, position, rendered: OnceLock::new() }
    }

    /// The bytes for tapes of `encoding` and `form`. Whoever asks first makes them, in `scratch`.
    pub fn rendered(
        &self,
        encodings: &Encodings,
        encoding: Encoding,
        form: Form,
        scratch: &mut Vec<u8>,
    ) -> Arc<[u8]> {
        let mut make = || {
            let at = encodings.render(encoding, form, &self.publication, self.position, scratch);
            let bytes = Arc::from(scratch.get(at..).unwrap_or(&[]));
            Rendered { encoding, form, bytes, next: OnceLock::new() }
        };
        let mut entry = self.rendered.get_or_init(&mut make);
        while entry.encoding != encoding || entry.form != form {
            entry = entry.next.get_or_init(|| Box::new(make()));
        }
        entry.bytes.clone()
    }
}

/// A turn's messages of one room, shared by all shards with members.
pub type Messages = Arc<[Broadcast]>;

/// A letter between shards. The first three go to a room's home, the others come from it.
#[derive(Clone, Debug)]
pub enum RoomMail {
    /// `shard` has members in `room` from now on.
    Join {
        /// The room.
        room: Arc<str>,
        /// Who has members.
        shard: u32,
        /// Names this spell of having members.
        interest: u32,
    },
    /// That spell is over.
    Leave {
        /// The room.
        room: Arc<str>,
        /// Who has no members any more.
        shard: u32,
        /// Which spell.
        interest: u32,
    },
    /// Please number and deliver.
    Publish(Publication),
    /// The answer to `Join`: deliveries of that spell begin at `next`.
    Subscribed {
        /// The room.
        room: Arc<str>,
        /// Which spell.
        interest: u32,
        /// Where it begins.
        next: Position,
    },
    /// Messages of one turn of the home, those from `from` on.
    Deliver {
        /// The room.
        room: Arc<str>,
        /// Which spell.
        interest: u32,
        /// First number of the spell.
        from: u64,
        /// The messages.
        messages: Messages,
    },
    /// Deliveries before `next` were refused by a full mailbox and will not come.
    Missed {
        /// The room.
        room: Arc<str>,
        /// Which spell.
        interest: u32,
        /// One past the last missing number.
        next: u64,
    },
}

impl RoomMail {
    /// Whether a full mailbox refuses it. Joins, leaves and their answers never are: their number
    /// is bounded by the connections' own limits, and losing one could not be made good.
    pub fn is_refusable(&self) -> bool {
        matches!(self, Self::Publish(_) | Self::Deliver { .. } | Self::Missed { .. })
    }

    /// The room it is about.
    pub fn room(&self) -> &Arc<str> {
        match self {
            Self::Join { room, .. }
            | Self::Leave { room, .. }
            | Self::Subscribed { room, .. }
            | Self::Deliver { room, .. }
            | Self::Missed { room, .. }
            | Self::Publish(Publication { room, .. }) => room,
        }
    }
}

/// Where letters are posted.
pub trait Posts {
    /// Posts `mail` to `shard`; what is posted first is handled first.
    ///
    /// # Errors
    /// Gives back a letter that a full mailbox refused; see [`RoomMail::is_refusable`].
    fn post(&mut self, shard: u32, mail: RoomMail) -> Result<(), RoomMail>;
}

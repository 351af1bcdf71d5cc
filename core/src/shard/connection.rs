//! The input side of one connection, and the table of them.

use std::net::{IpAddr, SocketAddr};

use fulmar_dialect::Session;
use fulmar_driver::SocketId;
use fulmar_proto::http::HeadScanner;
use fulmar_proto::ws::Decoder;
use fulmar_proto::ws::deflate::Deflate;

use super::deadlines::Deadlines;
use crate::reason::Reason;

/// No lane yet.
pub(crate) const NO_LANE: u32 = u32::MAX;

/// One connection. Idle, it holds no buffer: what belongs to a stage or to trouble is boxed.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) generation: u32,
    /// Its calls, once there was one.
    pub(crate) lane: u32,
    pub(crate) stage: Stage,
    pub(crate) deadlines: Deadlines,
    /// Random, a UUID's bits.
    pub(crate) id: u128,
    /// Absent while its session is being called, which is never re-entered.
    pub(crate) talk: Option<Talk>,
    /// Input that came before receiving stopped. Boxed: nearly no connection has any.
    #[expect(clippy::box_collection, reason = "a third of the size in every idle connection")]
    pub(crate) stash: Option<Box<Vec<u8>>>,
    /// For limits per address, if there are any.
    pub(crate) address: Option<Box<IpAddr>>,
    pub(crate) endpoint: u16,
    /// Index among the endpoint's dialects.
    pub(crate) dialect: u8,
    /// What of permessage-deflate was negotiated.
    pub(crate) deflate: Option<Deflate>,
    pub(crate) paused: Paused,
    /// Whether the peer has finished sending.
    pub(crate) ended: bool,
    /// Whether streams of it wait until it has read more.
    pub(crate) owes: bool,
}

// With 64 bytes of output side, 32 in the driver and 16 in the wheel: what an idle connection costs
// beside its session.
const _: () = assert!(size_of::<Option<Connection>>() <= 136);

/// How far a connection is.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Its request is awaited.
    Request(Box<Request>),
    /// It is a WebSocket.
    Open,
    /// The last bytes are queued or sent: what still comes is read and forgotten until the peer's
    /// end or the deadline, because unread input would turn our end into a reset.
    Closing,
}

/// A request on its way in.
#[derive(Debug)]
pub(crate) struct Request {
    /// What has come, if it did not come at once.
    pub(crate) buffer: Vec<u8>,
    pub(crate) scanner: HeadScanner,
    pub(crate) peer: SocketAddr,
    /// What it will be told whatever it asks.
    pub(crate) refuse: Option<Reason>,
}

/// What is needed to talk: taken out of the table while it is at work.
pub(crate) struct Talk {
    pub(crate) decoder: Decoder,
    /// Absent until the first message shows which dialect is spoken, and after the end.
    pub(crate) session: Option<Box<dyn Session>>,
}

impl std::fmt::Debug for Talk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Talk").field("decoder", &self.decoder).finish_non_exhaustive()
    }
}

/// Why a connection is not being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paused {
    /// Too many of its calls wait.
    pub(crate) calls: bool,
    /// It does not read what it is sent.
    pub(crate) output: bool,
    /// Its room's home is full.
    pub(crate) mailbox: bool,
    /// The endpoint's hook for new connections has not answered.
    pub(crate) admission: bool,
}

impl Paused {
    pub(crate) fn any(self) -> bool {
        self.calls || self.output || self.mailbox || self.admission
    }
}

/// The connections of a shard, by the index of their sockets.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    table: Vec<Option<Connection>>,
    count: usize,
}

impl Connections {
    pub(crate) fn insert(&mut self, socket: SocketId, connection: Connection) {
        let index = socket.index as usize;
        if self.table.len() <= index {
            self.table.resize_with(index + 1, || None);
        }
        self.count += 1;
        self.table[index] = Some(connection);
    }

    pub(crate) fn remove(&mut self, socket: SocketId) -> Option<Connection> {
        self.get(socket)?;
        self.count -= 1;
        self.table.get_mut(socket.index as usize)?.take()
    }

    pub(crate) fn get(&self, socket: SocketId) -> Option<&Connection> {
        let connection = self.table.get(socket.index as usize)?.as_ref()?;
        (connection.generation == socket.generation).then_some(connection)
    }

    pub(crate) fn get_mut(&mut self, socket: SocketId) -> Option<&mut Connection> {
        let connection = self.table.get_mut(socket.index as usize)?.as_mut()?;
        (connection.generation == socket.generation).then_some(connection)
    }

    /// The full name of an index in use.
    pub(crate) fn id(&self, index: u32) -> Option<SocketId> {
        let connection = self.table.get(index as usize)?.as_ref()?;
        Some(SocketId { index, generation: connection.generation })
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Every connection's name.
    pub(crate) fn ids(&self) -> Vec<SocketId> {
        (0..self.table.len()).filter_map(|index| self.id(u32::try_from(index).ok()?)).collect()
    }
}

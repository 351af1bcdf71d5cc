//! The input side of one connection, and the table of them.
//!
//! There may be a million, nearly all of them silent, so an entry holds what every connection has
//! at any time, and nothing else. The rest is in a box that comes and goes; see [`Extras`].

use std::net::SocketAddr;

use fulmar_dialect::Session;
use fulmar_driver::SocketId;
use fulmar_proto::http::HeadScanner;
use fulmar_proto::ws::deflate::Deflate;
use fulmar_proto::ws::{Decoder, Role};

use super::deadlines::{Deadlines, Mark, Wanted};
use crate::flags::{Flag, Flags};
use crate::paged::Paged;
use crate::reason::Reason;

/// No lane yet.
pub(crate) const NO_LANE: u32 = u32::MAX;

/// Not read because too many of its calls wait.
pub(crate) const PAUSED_CALLS: Flag = Flag::new(0);
/// Not read because it does not read what it is sent.
pub(crate) const PAUSED_OUTPUT: Flag = Flag::new(1);
/// Not read because its room's home is full.
pub(crate) const PAUSED_MAILBOX: Flag = Flag::new(2);
/// Not read because the endpoint's hook for new connections has not answered.
pub(crate) const PAUSED_ADMISSION: Flag = Flag::new(3);
/// Not read, whatever the reason.
pub(crate) const PAUSED: Flag =
    PAUSED_CALLS.or(PAUSED_OUTPUT).or(PAUSED_MAILBOX).or(PAUSED_ADMISSION);
/// Its session is being called, which is never re-entered.
pub(crate) const AT_WORK: Flag = Flag::new(4);
/// The peer has finished sending.
pub(crate) const ENDED: Flag = Flag::new(5);
/// Streams of it wait until it has read more.
pub(crate) const OWES: Flag = Flag::new(6);

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) generation: u32,
    pub(crate) endpoint: u16,
    pub(crate) stage: Stage,
    pub(crate) flags: Flags,
    pub(crate) deadlines: Deadlines,
    /// Absent while it is being called, until the first message shows which dialect is spoken, and
    /// after the end.
    pub(crate) session: Option<Box<dyn Session>>,
    extras: Option<Box<Extras>>,
}

// With 32 bytes of output side, 32 in the driver and 12 in the wheel: what an idle connection costs
// beside its session.
const _: () = assert!(size_of::<Option<Connection>>() == 40);

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its request is awaited.
    Request,
    /// It is a WebSocket.
    Open,
    /// The last bytes are queued or sent: what still comes is read and forgotten until the peer's
    /// end or the deadline, because unread input would turn our end into a reset.
    Closing,
}

/// What few connections have, or none for long.
#[derive(Debug)]
pub(crate) struct Extras {
    /// While its request is awaited.
    pub(crate) request: Option<Box<Request>>,
    /// While a frame or message is half received, and if it has a window for decompression.
    decoder: Option<Decoder>,
    /// Input that came before receiving stopped.
    pub(crate) stash: Vec<u8>,
    /// When its session wants to be called.
    pub(crate) session_due: Mark,
    /// When what it proved itself with expires.
    pub(crate) expires: Mark,
    /// When the first of its calls must have been answered.
    pub(crate) calls_due: Mark,
    /// Under which it is found; 0 if it is not.
    pub(crate) id: u128,
    /// Its calls, once there was one.
    pub(crate) lane: u32,
    /// Index among the endpoint's dialects.
    pub(crate) dialect: u8,
    /// What of permessage-deflate was negotiated.
    pub(crate) deflate: Option<Deflate>,
}

impl Default for Extras {
    fn default() -> Self {
        Self {
            request: None,
            decoder: None,
            stash: Vec::new(),
            session_due: Mark::default(),
            expires: Mark::default(),
            calls_due: Mark::default(),
            id: 0,
            lane: NO_LANE,
            dialect: 0,
            deflate: None,
        }
    }
}

impl Extras {
    fn is_empty(&self) -> bool {
        self.request.is_none()
            && self.decoder.is_none()
            && self.stash.is_empty()
            && self.session_due == Mark::default()
            && self.expires == Mark::default()
            && self.calls_due == Mark::default()
            && self.id == 0
            && self.lane == NO_LANE
            && self.dialect == 0
            && self.deflate.is_none()
    }
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
    /// What it asked, while its endpoint's guard makes up its mind.
    pub(crate) asked: Option<Box<Asked>>,
}

/// A request whose answer waits for its endpoint's guard.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The endpoint's index.
    pub(crate) endpoint: usize,
    /// What it is answered if it is let in.
    pub(crate) answer: Vec<u8>,
    /// The subprotocol agreed on.
    pub(crate) subprotocol: Option<Box<str>>,
    /// What of permessage-deflate was negotiated.
    pub(crate) deflate: Option<Deflate>,
    /// Frames that came with the request.
    pub(crate) rest: Vec<u8>,
}

/// What is needed to talk: taken out of the table while it is at work.
pub(crate) struct Talk {
    pub(crate) decoder: Decoder,
    pub(crate) session: Option<Box<dyn Session>>,
}

impl Connection {
    /// A connection whose request is awaited.
    pub(crate) fn new(generation: u32, deadlines: Deadlines, request: Request) -> Self {
        let extras = Extras { request: Some(Box::new(request)), ..Extras::default() };
        Self {
            generation,
            endpoint: u16::MAX,
            stage: Stage::Request,
            flags: Flags::default(),
            deadlines,
            session: None,
            extras: Some(Box::new(extras)),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.flags.has(PAUSED)
    }

    /// What few connections have, to be changed. [`tidy`](Self::tidy) is to follow.
    pub(crate) fn extras_mut(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// What few connections have, if this one has any of it.
    pub(crate) fn extras(&self) -> Option<&Extras> {
        self.extras.as_deref()
    }

    /// The request that is awaited.
    pub(crate) fn request_mut(&mut self) -> Option<&mut Request> {
        self.extras.as_mut()?.request.as_deref_mut()
    }

    /// Its calls; [`NO_LANE`] if it has made none.
    pub(crate) fn lane(&self) -> u32 {
        self.extras().map_or(NO_LANE, |extras| extras.lane)
    }

    /// Index among the endpoint's dialects.
    pub(crate) fn dialect(&self) -> usize {
        self.extras().map_or(0, |extras| usize::from(extras.dialect))
    }

    /// What of permessage-deflate was negotiated.
    pub(crate) fn deflate(&self) -> Option<Deflate> {
        self.extras()?.deflate
    }

    /// When its session wants to be called, its identity expires, a call is due.
    pub(crate) fn wanted(&self) -> Wanted {
        self.extras().map_or_else(Wanted::default, |extras| Wanted {
            session: extras.session_due,
            expiry: extras.expires,
            calls: extras.calls_due,
        })
    }

    /// The id under which it is found; 0 if it is not.
    pub(crate) fn id(&self) -> u128 {
        self.extras().map_or(0, |extras| extras.id)
    }

    /// Gives back what nothing is in any more.
    pub(crate) fn tidy(&mut self) {
        self.extras.take_if(|extras| extras.is_empty());
    }

    /// Takes out what is needed to talk, unless it is at work or the connection is not open.
    pub(crate) fn take_talk(&mut self) -> Option<Talk> {
        if !self.is_open() || self.flags.set(AT_WORK, true) {
            return None;
        }
        let kept = self.extras.as_mut().and_then(|extras| extras.decoder.take());
        // Between two messages a decoder knows nothing but what was negotiated.
        let decoder = kept.unwrap_or_else(|| Decoder::new(Role::Server, self.deflate()));
        Some(Talk { decoder, session: self.session.take() })
    }

    /// Puts it back, unless the connection has ended meanwhile.
    pub(crate) fn put_talk(&mut self, talk: Talk) {
        if !self.is_open() {
            return;
        }
        self.flags.set(AT_WORK, false);
        self.session = talk.session;
        if !talk.decoder.is_idle() || talk.decoder.deflate().is_some() {
            self.extras_mut().decoder = Some(talk.decoder);
        } else {
            self.tidy();
        }
    }

    /// It is over: nothing is read, called or waited for any more. Returns its lane.
    pub(crate) fn end(&mut self) -> u32 {
        let lane = self.lane();
        self.stage = Stage::Closing;
        self.flags.set(PAUSED.or(AT_WORK), false);
        self.session = None;
        self.extras = None;
        lane
    }
}

/// The connections of a shard, by the index of their sockets.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    table: Paged<Option<Connection>>,
    count: usize,
}

impl Connections {
    pub(crate) fn insert(&mut self, socket: SocketId, connection: Connection) {
        self.count += 1;
        *self.table.grow(socket.index) = Some(connection);
    }

    pub(crate) fn remove(&mut self, socket: SocketId) -> Option<Connection> {
        self.get(socket)?;
        self.count -= 1;
        self.table.get_mut(socket.index)?.take()
    }

    pub(crate) fn get(&self, socket: SocketId) -> Option<&Connection> {
        let connection = self.table.get(socket.index)?.as_ref()?;
        (connection.generation == socket.generation).then_some(connection)
    }

    pub(crate) fn get_mut(&mut self, socket: SocketId) -> Option<&mut Connection> {
        let connection = self.table.get_mut(socket.index)?.as_mut()?;
        (connection.generation == socket.generation).then_some(connection)
    }

    /// The full name of an index in use.
    pub(crate) fn id(&self, index: u32) -> Option<SocketId> {
        let connection = self.table.get(index)?.as_ref()?;
        Some(SocketId { index, generation: connection.generation })
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Every connection's name.
    pub(crate) fn ids(&self) -> Vec<SocketId> {
        let id = |(index, place): (u32, &Option<Connection>)| {
            Some(SocketId { index, generation: place.as_ref()?.generation })
        };
        self.table.iter().filter_map(id).collect()
    }
}

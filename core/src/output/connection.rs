//! A connection's output side: lanes, memberships, and what one send is made of.
//!
//! Order within one send: the rest of a frame begun by a short cast, the control lane, the reply
//! lane, then frames of its rooms by turns. Everything queued in the lanes goes with each send, so
//! a room never waits for more than one send, and a reply (a join's acknowledgement above all)
//! never comes after frames of a room handed over later.
//!
//! A connection that has nothing to send is 32 bytes in a table; everything that exists only while
//! something is queued, in flight or lagging is in a box from a pool.

use std::collections::VecDeque;
use std::ops::Range;

use fulmar_driver::{Piece, SocketId};

use super::membership::{Membership, Memberships};
use super::pool::Pool;
use super::reserved::Reserved;
use super::wire::Outgoing;
use super::{Slot, narrow};
use crate::flags::{Flag, Flags};
use crate::paged::Paged;

/// It is in the shard's list of connections to flush.
pub(crate) const DIRTY: Flag = Flag::new(0);
/// The last cast was refused in part: the next send is the least possible.
pub(crate) const PROBING: Flag = Flag::new(1);
/// The backlog went over its limit and has not come down to the low mark since.
pub(crate) const OVER: Flag = Flag::new(2);
/// A close frame is queued or sent: nothing follows it.
pub(crate) const CLOSING: Flag = Flag::new(3);
/// Nothing is sent any more: the socket is gone, or the close frame has left.
pub(crate) const DEAD: Flag = Flag::new(4);
/// Every message passes through a seal.
pub(crate) const SEALED: Flag = Flag::new(5);

/// The output side of one connection.
#[derive(Debug)]
pub struct Connection {
    /// Against the index used again.
    pub generation: u32,
    /// Index of its backpressure profile.
    pub profile: u8,
    pub(crate) flags: Flags,
    /// Rooms it is in.
    pub memberships: Memberships,
    /// What exists only while it has something to send.
    pub active: Option<Box<Active>>,
}

/// Unsent pongs of one connection: a connection that floods us with pings and reads nothing costs
/// 2 KiB.
const PONGS_MAX: u8 = 16;

// An idle connection in one room. A million of them is what this is about.
const _: () = assert!(size_of::<Option<Connection>>() == 32);

/// What a connection has to send, and what of it is under way.
#[derive(Debug, Default)]
pub struct Active {
    /// Memberships with something to send, by turns.
    pub waiting: VecDeque<Slot>,
    /// Bytes of all memberships' lag together.
    pub lag: u64,
    /// Bytes of the send in flight; 0 if there is none.
    pub in_flight: usize,
    /// Urgent frames: pongs, pings, the close frame.
    pub control: Vec<u8>,
    /// Replies, and direct data.
    pub replies: Vec<u8>,
    /// Entries that wait for their seals; goes on behind `replies`.
    pub reserved: Option<Box<Reserved>>,
    /// The newest pong in `control`.
    pong: Option<Range<u32>>,
    /// How many pongs are in `control`, at most [`PONGS_MAX`].
    pongs: u8,
    rest: Option<Piece>,
}

impl Active {
    /// Queues a pong, or replaces the newest unsent one if [`PONGS_MAX`] wait already; says whether
    /// it replaced one. A client that floods us with pings is owed the newest answer only (RFC 6455
    /// section 5.5.3), but one that sends a few may well count the answers.
    pub fn pong(&mut self, frame: &[u8]) -> bool {
        let old = self.pong.take().filter(|_| self.pongs == PONGS_MAX);
        match &old {
            Some(old) => drop(self.control.drain(old.start as usize..old.end as usize)),
            None => self.pongs += 1,
        }
        let start = narrow(self.control.len());
        self.control.extend_from_slice(frame);
        self.pong = Some(start..narrow(self.control.len()));
        old.is_some()
    }

    /// Keeps the rest of a frame begun by a short cast. It waits for nothing: the flush in which
    /// the cast was short ends with a send that begins with it, and nothing can be queued before
    /// that.
    pub fn begin_with(&mut self, rest: Piece) {
        debug_assert!(self.rest.is_none(), "one frame is begun at a time");
        self.rest = Some(rest);
    }

    /// Drops what is not sent yet, except the rest of a frame begun.
    pub fn clear_lanes(&mut self) {
        self.control.clear();
        self.replies.clear();
        self.reserved = None;
        self.pong = None;
        self.pongs = 0;
    }

    /// Whether the reply lane is all there is to send.
    pub fn has_only_replies(&self) -> bool {
        self.rest.is_none()
            && self.control.is_empty()
            && self.waiting.is_empty()
            && self.reserved.is_none()
    }

    /// Moves the rest of a frame begun and the lanes into `out`.
    pub fn take_lanes(&mut self, out: &mut Outgoing, copy_bytes_max: usize, pool: &mut Pool) {
        if let Some(rest) = self.rest.take() {
            out.gather_in(pool);
            out.push_piece(rest, copy_bytes_max);
        }
        self.pong = None;
        self.pongs = 0;
        out.push_buffer(std::mem::take(&mut self.control), pool);
        out.push_buffer(std::mem::take(&mut self.replies), pool);
        let Some(reserved) = &mut self.reserved else {
            return;
        };
        while let Some(frame) = reserved.take() {
            out.push_buffer(frame, pool);
        }
        if reserved.is_empty() {
            self.reserved = None;
        }
    }

    /// Whether the rest of a frame begun waits for a send; never true outside a flush.
    pub fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    /// Whether output stands still until a seal is filled.
    pub fn is_blocked(&self) -> bool {
        self.reserved.as_ref().is_some_and(|reserved| reserved.is_blocked())
    }

    /// Whether something waits for a send.
    pub fn has_output(&self) -> bool {
        self.queued() > 0 || !self.waiting.is_empty()
    }

    /// Bytes in the lanes.
    pub fn queued(&self) -> usize {
        let reserved = self.reserved.as_ref().map_or(0, |reserved| reserved.bytes());
        let rest = self.rest.as_ref().map_or(0, Piece::len);
        self.control.len() + self.replies.len() + reserved + rest
    }

    /// Whether nothing of this needs to be kept.
    pub fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.lag == 0 && !self.has_output() && self.reserved.is_none()
    }

    /// Makes it as new, but for room in its round; returns the lanes' buffers.
    pub fn reset(&mut self) -> (Vec<u8>, Vec<u8>) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.clear();
        waiting.shrink_to(16);
        let old = std::mem::replace(self, Self { waiting, ..Self::default() });
        (old.control, old.replies)
    }
}

impl Connection {
    /// A fresh connection.
    pub fn new(generation: u32, profile: u8) -> Self {
        Self {
            generation,
            profile,
            flags: Flags::default(),
            memberships: Memberships::None,
            active: None,
        }
    }

    /// Whether it takes nothing more.
    pub fn is_over_with(&self) -> bool {
        self.flags.has(CLOSING.or(DEAD))
    }

    /// Bytes that wait for this client: own queue, send in flight, lag on every tape.
    pub fn backlog(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| self.own() + active.lag)
    }

    /// The part of the backlog that is its own: lanes and the send in flight.
    pub fn own(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| (active.queued() + active.in_flight) as u64)
    }

    /// Whether a send is in flight.
    pub fn is_in_flight(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.in_flight > 0)
    }

    /// The slots of its memberships in `room` (more than one only under different tags).
    pub fn slots_in(&self, room: u32) -> impl Iterator<Item = Slot> + '_ {
        let is_in = move |(_, membership): &(Slot, &Membership)| membership.room == room;
        self.memberships.iter().filter(is_in).map(|(slot, _)| slot)
    }
}

/// The shard's connections by socket index.
#[derive(Debug, Default)]
pub struct Connections {
    table: Paged<Option<Connection>>,
    count: usize,
}

impl Connections {
    /// Puts a connection at its index; returns one that was there.
    pub fn insert(&mut self, index: u32, connection: Connection) -> Option<Connection> {
        let old = self.table.grow(index).replace(connection);
        self.count += usize::from(old.is_none());
        old
    }

    /// Takes the connection away.
    pub fn remove(&mut self, index: u32) -> Option<Connection> {
        let connection = self.table.get_mut(index)?.take()?;
        self.count -= 1;
        Some(connection)
    }

    /// The connection at `index`.
    pub fn get(&self, index: u32) -> Option<&Connection> {
        self.table.get(index)?.as_ref()
    }

    /// The connection at `index`, to change.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut Connection> {
        self.table.get_mut(index)?.as_mut()
    }

    /// The connection of `socket`, unless it is an earlier one of that index.
    pub fn of(&self, socket: SocketId) -> Option<&Connection> {
        self.get(socket.index).filter(|connection| connection.generation == socket.generation)
    }

    /// The same to change.
    pub fn of_mut(&mut self, socket: SocketId) -> Option<&mut Connection> {
        self.get_mut(socket.index).filter(|connection| connection.generation == socket.generation)
    }

    /// The membership `slot` of the connection at `index`.
    pub fn membership(&self, index: u32, slot: Slot) -> Option<&Membership> {
        self.get(index)?.memberships.get(slot)
    }

    /// The membership `slot` of the connection at `index`, to change.
    pub fn membership_mut(&mut self, index: u32, slot: Slot) -> Option<&mut Membership> {
        self.get_mut(index)?.memberships.get_mut(slot)
    }

    /// The name of the connection at `index`.
    pub fn id(&self, index: u32) -> SocketId {
        let generation = self.get(index).map_or(0, |connection| connection.generation);
        SocketId { index, generation }
    }

    /// All connections with their indexes.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Connection)> {
        self.table.iter().filter_map(|(index, place)| Some((index, place.as_ref()?)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_unsent_pongs_the_newest_is_replaced() {
        let mut active = Active::default();
        active.control.extend_from_slice(b"<");
        (0..PONGS_MAX).for_each(|number| assert!(!active.pong(&[b'a' + number])));
        active.control.extend_from_slice(b">");
        assert!(active.pong(b"second"));
        assert!(active.pong(b"3"));
        assert_eq!(active.control, b"<abcdefghijklmno>3");
        let (mut out, mut pool) = (Outgoing::default(), Pool::default());
        active.take_lanes(&mut out, 0, &mut pool);
        assert!(!active.pong(b"four"), "those before have left");
        assert_eq!(active.control, b"four");
    }
}

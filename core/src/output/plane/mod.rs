//! A shard's rooms and the output of its connections: what happens between the reactor's phases.
//!
//! Events and mail call the methods of this file, of `lanes` and of `rooms`; then
//! [`Output::post`] sends letters out, the shard takes its notices (and answers
//! [`Notice::Joined`]), and [`Output::flush`] hands everything to the driver. Split by subject:
//! `lanes` (what concerns one connection), `rooms` (join, leave, publish), `letters` (from homes,
//! and to them), `place` (where memberships stand), `wave` (serving groups), `flush` (serving
//! connections), `audit` (what tests ask).

#[cfg(any(test, feature = "sim"))]
mod audit;
mod flush;
mod lanes;
mod letters;
mod place;
mod rooms;
mod wave;

use std::collections::VecDeque;

use ahash::RandomState;
use fulmar_driver::{Ledger, SendBatch, Short, SocketId};

use super::aside::Scratch;
use super::asides::Asides;
use super::bits::{Bits, Marks};
use super::connection::{Connection, Connections, DIRTY, OVER, PROBING};
use super::encode::Encodings;
use super::home::Home;
use super::limits::{Limits, Profile, ProfileId};
use super::mail::{Position, RoomMail};
use super::pool::Pool;
use super::room::Rooms;
use super::{Ordinal, Slot};

pub use lanes::{Finish, Ticket};
pub use rooms::{JoinRequest, Joined};

/// Counts of work done, for the bounds on it, and of what became of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Members looked at by waves.
    pub visited: u64,
    /// Members offered a span by a cast.
    pub offered: u64,
    /// Members that did not take all of it.
    pub short: u64,
    /// Private sends.
    pub sends: u64,
    /// Frames put on tapes.
    pub appended: u64,
    /// Members that changed place in an array because another came or went.
    pub moved: u64,
    /// Members that went aside.
    pub asides: u64,
    /// Members aside looked at because their tape grew.
    pub scanned: u64,
    /// Times a policy skipped, fenced or closed somebody.
    pub policy: u64,
    /// Frames kept off a tape because the room was overloaded.
    pub refused: u64,
    /// Frames handed over: lanes and rooms, once per member. A whole reply lane may count as one.
    pub frames_out: u64,
    /// Bytes handed to the driver.
    pub bytes_out: u64,
    /// Direct data refused because its connection was over the limit.
    pub dropped_backlog: u64,
    /// Connections closed with 1013 for being slow.
    pub closed_slow: u64,
    /// Pongs replaced by a newer one before they left.
    pub pongs_collapsed: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.visited += other.visited;
        self.offered += other.offered;
        self.short += other.short;
        self.sends += other.sends;
        self.appended += other.appended;
        self.moved += other.moved;
        self.asides += other.asides;
        self.scanned += other.scanned;
        self.policy += other.policy;
        self.refused += other.refused;
        self.frames_out += other.frames_out;
        self.bytes_out += other.bytes_out;
        self.dropped_backlog += other.dropped_backlog;
        self.closed_slow += other.closed_slow;
        self.pongs_collapsed += other.pongs_collapsed;
    }
}

/// Something the layer above wants to know.
#[derive(Debug)]
pub enum Notice {
    /// The backlog came down to the low mark after having been over the limit.
    Drained(SocketId),
    /// A publication was refused by its home's mailbox: answer with an error, stop receiving for a
    /// while.
    Refused(SocketId),
    /// A close frame with 1013 was queued, because the client is slow. It may never leave.
    SlowClosed(SocketId),
    /// The close frame has left: shut the socket down, wait a while, close it.
    Finished(SocketId),
    /// The position of a join that asked for it is known. Its acknowledgement must be queued before
    /// the next flush.
    Joined {
        /// Whose.
        socket: SocketId,
        /// The room.
        room: std::sync::Arc<str>,
        /// The membership's tag.
        tag: u32,
        /// Where its messages begin.
        next: Position,
    },
    /// Messages in envelopes were handed over, for a membership that counts them.
    Delivered {
        /// Whose.
        socket: SocketId,
        /// The membership's tag.
        tag: u32,
        /// How many, markers included.
        frames: u64,
    },
    /// Seal this message, then [`Output::fill`] the ticket with a whole WebSocket frame.
    ToSeal {
        /// Whose.
        socket: SocketId,
        /// Its place in the connection's order.
        ticket: Ticket,
        /// Whether the message is binary.
        is_binary: bool,
        /// The message, without a WebSocket frame.
        bytes: Vec<u8>,
    },
}

/// Why something was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The connection is closing or gone.
    Gone,
    /// Too much is queued: the data is dropped and counted.
    Backlog,
    /// Nothing plain may leave this connection: reserve and fill instead.
    Sealed,
    /// It is in this room under this tag already.
    Duplicate,
    /// It is in as many rooms as a connection may be.
    TooManyRooms,
}

/// What an output is made with.
#[derive(Clone, Debug)]
pub struct OutputSettings {
    /// This shard's index on the node.
    pub shard: u32,
    /// Shards of the node, at least 1.
    pub shards: u32,
    /// Bounds.
    pub limits: Limits,
    /// Backpressure of [`ProfileId`] 0.
    pub profile: Profile,
    /// The node's encodings.
    pub encodings: Encodings,
    /// Seeds of this shard's hash maps.
    pub hash_seeds: [u64; 4],
    /// Decides which shard is home of which room; the same on the whole node.
    pub home_seed: u64,
    /// Rooms' epochs begin above this, so that positions of an earlier life of the node do not fit.
    pub epoch: u32,
}

impl Default for OutputSettings {
    fn default() -> Self {
        Self {
            shard: 0,
            shards: 1,
            limits: Limits::default(),
            profile: Profile::default(),
            encodings: Encodings::default(),
            hash_seeds: [1, 2, 3, 4],
            home_seed: 0,
            epoch: 0,
        }
    }
}

/// A group in a list of the shard's. The room's interest tells a room from a later one under the
/// same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct GroupRef {
    room: u32,
    interest: u32,
    group: u8,
}

/// An offer under way, to make sense of shorts.
#[derive(Clone, Copy, Debug)]
struct Offer {
    group: GroupRef,
    from: Ordinal,
    to: Ordinal,
    bytes: u64,
}

/// The output of one shard's connections.
#[derive(Debug)]
pub struct Output {
    shard: u32,
    shards: u32,
    home_seed: u64,
    home: Home,
    counts: Counts,
    notices: Vec<Notice>,
    limits: Limits,
    profiles: Vec<Profile>,
    encodings: Encodings,
    connections: Connections,
    asides: Asides,
    rooms: Rooms,
    memberships: usize,
    /// Sockets no cast may go to: something queued or in flight, closing, dead, or no connection.
    busy: Bits,
    /// Sockets offered something since the last settling.
    offered: Marks,
    /// Groups whose tape grew since they were last gone through.
    touched: VecDeque<GroupRef>,
    /// Groups with members to serve, by turns.
    active: VecDeque<GroupRef>,
    /// Groups served this turn, to be trimmed when the offers have ended.
    served: Vec<GroupRef>,
    dirty: Vec<u32>,
    /// Joins, leaves and publications of this turn, in their order, with who publishes.
    outbound: Vec<(Option<SocketId>, RoomMail)>,
    /// About what the publications of this turn hold, in bytes.
    outbound_bytes: usize,
    interests: u32,
    ledger: Ledger,
    pool: Pool,
    scratch: Scratch,
    offers: Vec<Offer>,
    shorts: Vec<Short>,
    settled: Vec<Slot>,
    doomed: Vec<u32>,
}

impl Output {
    /// An output without connections.
    pub fn new(settings: OutputSettings) -> Self {
        let [first, second, third, fourth] = settings.hash_seeds;
        let hash = RandomState::with_seeds(first, second, third, fourth);
        Self {
            shard: settings.shard,
            shards: settings.shards.max(1),
            home_seed: settings.home_seed,
            home: Home::new(hash.clone(), settings.epoch),
            counts: Counts::default(),
            notices: Vec::new(),
            limits: settings.limits,
            profiles: vec![settings.profile],
            encodings: settings.encodings,
            connections: Connections::default(),
            asides: Asides::default(),
            rooms: Rooms::new(hash),
            memberships: 0,
            busy: Bits::default(),
            offered: Marks::default(),
            touched: VecDeque::new(),
            active: VecDeque::new(),
            served: Vec::new(),
            dirty: Vec::new(),
            outbound: Vec::new(),
            outbound_bytes: 0,
            interests: 0,
            ledger: Ledger::default(),
            pool: Pool::default(),
            scratch: Scratch::default(),
            offers: Vec::new(),
            shorts: Vec::new(),
            settled: Vec::new(),
            doomed: Vec::new(),
        }
    }

    /// Adds a backpressure profile, or finds an equal one. `None` if there are 256 already.
    pub fn add_profile(&mut self, profile: Profile) -> Option<ProfileId> {
        let known = self.profiles.iter().position(|known| *known == profile);
        let index = u8::try_from(known.unwrap_or(self.profiles.len())).ok()?;
        if known.is_none() {
            self.profiles.push(profile);
        }
        Some(ProfileId(index))
    }

    /// A connection is open. One that still has its index is forgotten, as if it had been closed.
    pub fn open(&mut self, socket: SocketId, profile: ProfileId) {
        if self.connections.get(socket.index).is_some() {
            self.closed(self.connections.id(socket.index));
        }
        self.connections.insert(socket.index, Connection::new(socket.generation, profile.0));
        self.busy.clear(socket.index);
    }

    /// Gives a connection another backpressure profile.
    pub fn set_profile(&mut self, socket: SocketId, profile: ProfileId) {
        if let Some(connection) = self.connections.of_mut(socket) {
            connection.profile = profile.0;
        }
    }

    /// Bytes that wait for one connection alone: its lanes and its send in flight, without its lag
    /// in rooms.
    pub fn queued(&self, socket: SocketId) -> u64 {
        self.connections.of(socket).map_or(0, Connection::own)
    }

    /// The shared name of a room that has members here.
    pub fn room_name(&self, room: &str) -> Option<std::sync::Arc<str>> {
        self.rooms.get(self.rooms.key(room)?).map(|room| room.name.clone())
    }

    /// The socket is gone, and with it all that was queued; it has left every room.
    pub fn closed(&mut self, socket: SocketId) {
        if self.connections.of(socket).is_none() {
            return;
        }
        self.leave_all(socket.index);
        if let Some(active) = self.connections.remove(socket.index).and_then(|c| c.active) {
            self.pool.retire(active);
        }
        self.busy.set(socket.index);
    }

    /// The batch in flight was taken whole.
    pub fn sent(&mut self, socket: SocketId, batch: SendBatch) {
        if let Some(buffer) = batch.into_buffer() {
            self.pool.give_back(buffer);
        }
        let Some(connection) = self.connections.of_mut(socket) else {
            return;
        };
        if let Some(active) = &mut connection.active {
            active.in_flight = 0;
        }
        connection.flags.set(PROBING, false);
        self.after_progress(socket.index);
        self.mark(socket.index);
    }

    /// Moves what the layer above should learn to the end of `into`.
    pub fn take_notices(&mut self, into: &mut Vec<Notice>) {
        into.append(&mut self.notices);
    }

    /// Work done so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Publications, since the start, to rooms of this home without members anywhere.
    pub fn unheard(&self) -> u64 {
        self.home.unheard()
    }

    /// Connections open.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Rooms with members on this shard.
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// Memberships on this shard, in all rooms.
    pub fn membership_count(&self) -> usize {
        self.memberships
    }

    /// Members of a room on this shard.
    pub fn members_of(&self, room: &str) -> usize {
        let room = self.rooms.key(room).and_then(|key| self.rooms.get(key));
        room.map_or(0, |room| room.members as usize)
    }

    /// Bytes of tapes, those included that only sends in flight still hold.
    pub fn tape_bytes(&self) -> usize {
        self.ledger.live()
    }

    /// The rooms this shard is home of.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The same, to take its journal.
    pub fn home_mut(&mut self) -> &mut Home {
        &mut self.home
    }

    /// Whether a turn is due even if nothing happens.
    pub fn is_pending(&self) -> bool {
        !self.active.is_empty()
            || !self.touched.is_empty()
            || !self.dirty.is_empty()
            || !self.outbound.is_empty()
            || !self.notices.is_empty()
            || self.home.is_pending()
    }

    /// Puts a connection in the list to flush; until then no cast may overtake what it has to say.
    fn mark(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        self.busy.set(index);
        let limit = profile_of(&self.profiles, connection).backlog_bytes_max;
        if connection.backlog() > u64::from(limit) {
            connection.flags.set(OVER, true);
        }
        if !connection.flags.set(DIRTY, true) {
            self.dirty.push(index);
        }
    }

    /// Tells once that a backlog has drained.
    fn after_progress(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index).filter(|c| c.flags.has(OVER)) else {
            return;
        };
        let low = profile_of(&self.profiles, connection).backlog_bytes_low;
        if connection.backlog() <= u64::from(low) {
            connection.flags.set(OVER, false);
            self.notices.push(Notice::Drained(self.connections.id(index)));
        }
    }
}

/// A connection's profile; the first one if it names none of the table.
fn profile_of(profiles: &[Profile], connection: &Connection) -> Profile {
    let profile = profiles.get(usize::from(connection.profile));
    profile.or_else(|| profiles.first()).copied().unwrap_or_default()
}

//! What a connection has to say for itself: replies, direct data, control frames, its end.

use fulmar_driver::SocketId;

use crate::output::connection::{Active, CLOSING, Connection, DEAD, OVER, SEALED};
use crate::output::limits::Policy;
use crate::output::reserved::Reserved;
use crate::output::wire;

use super::{Notice, Output, Refused, profile_of};

/// What is not droppable is held to so many times the limit on the backlog.
const UNDROPPABLE_FACTOR: u64 = 4;

/// Place of a reserved entry in its connection's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u32);

/// What becomes of replies not yet sent when a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// They go before the close frame.
    AfterReplies,
    /// They are dropped.
    Now,
}

/// How important something queued is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Answers and control frames: never dropped, but the connection is closed at four times the
    /// limit.
    Owed,
    /// What nobody asked for: subject to the profile's policy.
    Data,
}

impl Output {
    /// Lends the reply lane for writing whole frames, in answer to something the client sent.
    ///
    /// # Errors
    /// [`Refused::Gone`], also if the connection was just closed because it lets replies pile up to
    /// four times its limit; [`Refused::Sealed`]. Nothing is written then.
    pub fn reply_with<R>(
        &mut self,
        socket: SocketId,
        write: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> Result<R, Refused> {
        self.write_with(socket, Class::Owed, write)
    }

    /// Lends the same lane for data that nobody asked for.
    ///
    /// # Errors
    /// [`Refused::Backlog`] if the connection is over its limit and its policy is to drop,
    /// [`Refused::Gone`] if it is to close; and as [`reply_with`](Self::reply_with).
    pub fn data_with<R>(
        &mut self,
        socket: SocketId,
        write: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> Result<R, Refused> {
        self.write_with(socket, Class::Data, write)
    }

    /// Queues a whole control frame, before replies and rooms.
    ///
    /// # Errors
    /// [`Refused::Gone`].
    pub fn control(&mut self, socket: SocketId, frame: &[u8]) -> Result<(), Refused> {
        self.admit(socket, Class::Owed)?.control.extend_from_slice(frame);
        self.counts.frames_out += 1;
        self.mark(socket.index);
        Ok(())
    }

    /// Queues a pong. With several that have not left yet the newest is replaced (RFC 6455 section
    /// 5.5.3), so a flood of pings costs little.
    ///
    /// # Errors
    /// [`Refused::Gone`].
    pub fn pong(&mut self, socket: SocketId, frame: &[u8]) -> Result<(), Refused> {
        let replaced = self.admit(socket, Class::Owed)?.pong(frame);
        self.counts.pongs_collapsed += u64::from(replaced);
        self.counts.frames_out += u64::from(!replaced);
        self.mark(socket.index);
        Ok(())
    }

    /// From now on every message of the connection passes through a seal: plain replies are
    /// refused, its rooms' messages are told as [`Notice::ToSeal`]. What was queued before leaves
    /// before.
    pub fn set_sealed(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.of_mut(socket).filter(|c| !c.flags.has(SEALED))
        else {
            return;
        };
        connection.flags.set(SEALED, true);
        self.reseat_all(socket.index);
    }

    /// Reserves the next place in the reply lane: nothing behind it leaves before it is filled.
    /// Control frames pass ahead. What will fill it is held elsewhere meanwhile; its `size` counts
    /// as queued from now on.
    ///
    /// # Errors
    /// [`Refused::Gone`].
    pub fn reserve(&mut self, socket: SocketId, size: usize) -> Result<Ticket, Refused> {
        let active = self.admit(socket, Class::Owed)?;
        let ticket = active.reserved.get_or_insert_with(Box::<Reserved>::default).reserve(size);
        self.mark(socket.index);
        Ok(Ticket(ticket))
    }

    /// Completes a reserved entry with whole frames; empty if there is nothing to say after all. A
    /// ticket that is not waiting is ignored: its connection may have ended meanwhile.
    pub fn fill(&mut self, socket: SocketId, ticket: Ticket, frames: Vec<u8>) {
        let Some(connection) = self.connections.of_mut(socket).filter(|c| !c.flags.has(DEAD))
        else {
            return;
        };
        let Some(active) = &mut connection.active else {
            return;
        };
        let Some(reserved) = &mut active.reserved else {
            return;
        };
        if reserved.fill(ticket.0, frames) {
            self.counts.frames_out += 1;
            self.mark(socket.index);
        }
    }

    /// Ends a connection's output with `close_frame`: the connection leaves its rooms, and nothing
    /// follows. [`Notice::Finished`] tells when it has left. That may be never, if the client does
    /// not read or a reserved entry is not filled: a deadline is the caller's.
    pub fn finish(&mut self, socket: SocketId, close_frame: &[u8], mode: Finish) {
        if self.connections.of(socket).is_none_or(Connection::is_over_with) {
            return;
        }
        self.leave_all(socket.index);
        let Some(connection) = self.connections.of_mut(socket) else {
            return;
        };
        connection.flags.set(CLOSING, true);
        let active = self.pool.activate(&mut connection.active);
        if mode == Finish::Now {
            active.clear_lanes();
        }
        match &mut active.reserved {
            None => active.replies.extend_from_slice(close_frame),
            Some(reserved) => {
                let ticket = reserved.reserve(close_frame.len());
                reserved.fill(ticket, close_frame.to_vec());
            }
        }
        self.counts.frames_out += 1;
        self.mark(socket.index);
    }

    /// Bytes that wait for this client: own queue, send in flight, lag in its rooms.
    pub fn backlog(&self, socket: SocketId) -> u64 {
        self.connections.of(socket).map_or(0, Connection::backlog)
    }

    /// Whether the backlog went over the limit and did not drain since: the client should not be
    /// asked for more. [`Notice::Drained`] ends it.
    pub fn is_over(&self, socket: SocketId) -> bool {
        self.connections.of(socket).is_some_and(|connection| connection.flags.has(OVER))
    }

    /// Closes a connection that is too slow.
    pub(super) fn close_slow(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.of(socket).filter(|c| !c.is_over_with()) else {
            return;
        };
        let limit = profile_of(&self.profiles, connection).backlog_bytes_max;
        let backlog = connection.backlog();
        let reason = format!("slow: {backlog} bytes queued > backpressure.bytes_max {limit}");
        self.finish(socket, &wire::close_frame(1013, &reason), Finish::Now);
        self.counts.closed_slow += 1;
        self.notices.push(Notice::SlowClosed(socket));
    }

    fn write_with<R>(
        &mut self,
        socket: SocketId,
        class: Class,
        write: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> Result<R, Refused> {
        if self.connections.of(socket).is_some_and(|connection| connection.flags.has(SEALED)) {
            return Err(Refused::Sealed);
        }
        self.admit(socket, class)?;
        let connection = self.connections.of_mut(socket).ok_or(Refused::Gone)?;
        let active = self.pool.activate(&mut connection.active);
        let result = if let Some(reserved) = &mut active.reserved {
            // A plain connection may reserve entries too, for answers made elsewhere: what comes
            // later must not overtake them.
            let mut frame = Vec::new();
            let result = write(&mut frame);
            let ticket = reserved.reserve(frame.len());
            reserved.fill(ticket, frame);
            result
        } else {
            if active.replies.capacity() == 0 {
                active.replies = self.pool.buffer();
            }
            self.pool.make_room(&mut active.replies);
            write(&mut active.replies)
        };
        self.counts.frames_out += 1;
        self.mark(socket.index);
        Ok(result)
    }

    /// The connection's lanes, if something of `class` may be queued. Measured before it is: one
    /// frame may be larger than the limit.
    fn admit(&mut self, socket: SocketId, class: Class) -> Result<&mut Active, Refused> {
        let connection = self.connections.of(socket).filter(|c| !c.is_over_with());
        let connection = connection.ok_or(Refused::Gone)?;
        if connection.active.is_some() {
            let profile = profile_of(&self.profiles, connection);
            let limit = u64::from(profile.backlog_bytes_max);
            let over = connection.backlog() > limit;
            if connection.own() > UNDROPPABLE_FACTOR * limit
                || (class == Class::Data && over && profile.policy == Policy::Close)
            {
                self.close_slow(socket);
                return Err(Refused::Gone);
            }
            if class == Class::Data && over {
                self.counts.dropped_backlog += 1;
                return Err(Refused::Backlog);
            }
        }
        let connection = self.connections.of_mut(socket).ok_or(Refused::Gone)?;
        Ok(self.pool.activate(&mut connection.active))
    }

    /// Puts what a connection's rooms have for its seal in its order, and has it sealed.
    pub(super) fn seal(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.of_mut(socket) else {
            return;
        };
        let active = self.pool.activate(&mut connection.active);
        for message in self.scratch.sealing.drain(..) {
            let reserved = active.reserved.get_or_insert_with(Box::<Reserved>::default);
            let ticket = Ticket(reserved.reserve(message.bytes.len()));
            let (is_binary, bytes) = (message.is_binary, message.bytes);
            self.notices.push(Notice::ToSeal { socket, ticket, is_binary, bytes });
        }
    }
}

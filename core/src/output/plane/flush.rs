//! Serving connections: sends of everything that waits.

use fulmar_driver::{Driver, Member, SendBatch, Sending, SocketId};

use crate::output::aside::{Outlet, Unsealed};
use crate::output::connection::{CLOSING, Connection, DEAD, DIRTY, PROBING, SEALED};
use crate::output::encode::Envelopes;
use crate::output::members::Cut;
use crate::output::wire::Outgoing;
use crate::output::{Ordinal, Slot};

use super::{GroupRef, Notice, Output};

impl Output {
    /// Hands to the driver what is to be sent. Groups first, so that what a connection has to say
    /// and what its rooms say goes in one send; then the connections marked since the last flush.
    ///
    /// While a wave goes on from the turn before, connections come first: they have waited for a
    /// slice of it already.
    pub fn flush(&mut self, driver: &mut impl Driver, envelopes: &mut dyn Envelopes) {
        if !self.active.is_empty() {
            self.flush_connections(driver, envelopes);
        }
        self.serve_groups(driver, envelopes);
        self.flush_connections(driver, envelopes);
    }

    fn flush_connections(&mut self, driver: &mut impl Driver, envelopes: &mut dyn Envelopes) {
        let mut dirty = std::mem::take(&mut self.dirty);
        // Those marked on the way come in the next flush.
        for index in dirty.drain(..) {
            self.flush_connection(index, driver, envelopes);
        }
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
    }

    fn flush_connection(
        &mut self,
        index: u32,
        driver: &mut impl Driver,
        envelopes: &mut dyn Envelopes,
    ) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        connection.flags.set(DIRTY, false);
        if connection.flags.has(DEAD) || connection.is_in_flight() {
            return; // still busy; `Sent` or `Closed` goes on
        }
        for _ in 0..self.limits.sends_max.max(1) {
            let batch = self.gather(index, envelopes);
            if batch.is_empty() {
                self.come_to_rest(index);
                self.after_progress(index);
                self.retire_if_idle(index);
                return;
            }
            let socket = self.connections.id(index);
            let is_done = self.submit(socket, batch, self.is_last(index), driver);
            self.after_progress(index);
            if !is_done {
                return;
            }
        }
        self.mark(index); // the kernel takes all it is given: others have their turn first
    }

    /// Nothing can be sent now: because there is nothing, because the close frame has left, or
    /// because a seal is waited for.
    fn come_to_rest(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if connection.active.as_ref().is_some_and(|active| active.has_output()) {
            return;
        }
        if connection.flags.has(CLOSING) {
            connection.flags.set(DEAD, true);
            self.notices.push(Notice::Finished(self.connections.id(index)));
        } else {
            self.busy.clear(index);
        }
    }

    /// The next send: lanes whole, then rooms by turns.
    fn gather(&mut self, index: u32, envelopes: &mut dyn Envelopes) -> SendBatch {
        let Some(connection) = self.connections.get_mut(index) else {
            return SendBatch::default();
        };
        let Some(active) = &mut connection.active else {
            return SendBatch::default();
        };
        if active.has_only_replies() {
            // The usual case: what one read was answered leaves as it was written.
            return SendBatch::from_bytes(std::mem::take(&mut active.replies));
        }
        let mut out = Outgoing::default();
        active.take_lanes(&mut out, self.limits.copy_bytes_max, &mut self.pool);
        if !active.waiting.is_empty() {
            out.gather_in(&mut self.pool);
            self.take_rooms(index, &mut out, envelopes);
        }
        out.finish(&mut self.pool)
    }

    /// Takes frames of the connection's rooms by turns, up to one send's worth. After a refusal
    /// only the least that shows whether the socket takes anything: nothing if the lanes gave
    /// something, one frame otherwise.
    fn take_rooms(&mut self, index: u32, out: &mut Outgoing, envelopes: &mut dyn Envelopes) {
        let Some((mut left, mut must)) = self.rooms_share(index, out.is_empty()) else {
            return;
        };
        let mut settled = std::mem::take(&mut self.settled);
        while let Some(slot) = self.next_waiting(index) {
            let budget = left.min(self.limits.quantum_bytes);
            let (done, taken) = self.take_room(index, slot, budget, must, out, envelopes);
            left = left.saturating_sub(taken);
            must &= taken == 0;
            if done {
                settled.push(slot);
            } else if let Some(active) =
                self.connections.get_mut(index).and_then(|connection| connection.active.as_mut())
            {
                active.waiting.push_back(slot);
            }
            if left == 0 && !must {
                break;
            }
        }
        for slot in settled.drain(..) {
            self.settle_place(index, slot);
        }
        self.settled = settled;
        if !self.scratch.sealing.is_empty() {
            self.seal(self.connections.id(index));
        }
    }

    /// Bytes that rooms may give to a send, and whether they must give something.
    fn rooms_share(&self, index: u32, lanes_gave_nothing: bool) -> Option<(usize, bool)> {
        let connection = self.connections.get(index)?;
        let send = self.limits.send_bytes_max;
        if connection.flags.has(SEALED) {
            // What is with the seal is bounded like a send in flight.
            let reserved = connection.active.as_ref()?.reserved.as_ref();
            let sealing = reserved.map_or(0, |reserved| reserved.bytes());
            return (sealing < send).then(|| (send - sealing, sealing == 0));
        }
        match (connection.flags.has(PROBING), lanes_gave_nothing) {
            (true, false) => None,
            (true, true) => Some((0, true)),
            (false, _) => Some((send, true)),
        }
    }

    fn next_waiting(&mut self, index: u32) -> Option<Slot> {
        self.connections.get_mut(index)?.active.as_mut()?.waiting.pop_front()
    }

    /// One room's share of a send: whether nothing of it is left, and how many bytes it gave.
    fn take_room(
        &mut self,
        index: u32,
        slot: Slot,
        budget: usize,
        must: bool,
        out: &mut Outgoing,
        envelopes: &mut dyn Envelopes,
    ) -> (bool, usize) {
        let socket = self.connections.id(index);
        let Some(membership) = self.connections.membership(index, slot) else {
            return (true, 0);
        };
        let (key, group_index) = (membership.room, membership.group);
        let Some(room) = self.rooms.get(key) else {
            return (true, 0);
        };
        let Some(group) = room.groups.get(usize::from(group_index)) else {
            return (true, 0);
        };
        let Some(aside) = membership.aside().and_then(|key| self.asides.get_mut(key)) else {
            return (true, 0);
        };
        let voice = room.voice(group.key, socket, membership.tag);
        let before = out.len();
        let mut outlet = Outlet {
            batch: out,
            scratch: &mut self.scratch,
            encodings: &self.encodings,
            envelopes,
            copy_bytes_max: self.limits.copy_bytes_max,
            sealed_bytes: 0,
            frames: 0,
        };
        let done = aside.take(&group.tape, &voice, budget, must, &mut outlet);
        aside.waiting = !done;
        let (frames, taken) = (outlet.frames, outlet.len() - before);
        // A message that was sealed is counted when its frame is filled in.
        self.counts.frames_out += if group.key.is_sealed() { 0 } else { frames };
        if membership.is_counted && frames > 0 {
            self.notices.push(Notice::Delivered { socket, tag: membership.tag, frames });
        }
        self.account(index, slot);
        if let Some(group) = self.rooms.group_mut(key, group_index) {
            group.trim();
        }
        (done, taken)
    }

    /// A batch of its own for a member of `cut`. Returns where it got to if that is short of the
    /// end.
    pub(super) fn send_cut(
        &mut self,
        member: Member,
        at: GroupRef,
        cut: &Cut,
        driver: &mut impl Driver,
        envelopes: &mut dyn Envelopes,
    ) -> Option<Ordinal> {
        let room = self.rooms.get(at.room)?;
        let group = room.groups.get(usize::from(at.group))?;
        let voice = room.voice(group.key, member.socket, member.tag);
        let mut batch = Outgoing::default();
        batch.gather_in(&mut self.pool);
        let mut out = Outlet {
            batch: &mut batch,
            scratch: &mut self.scratch,
            encodings: &self.encodings,
            envelopes,
            copy_bytes_max: self.limits.copy_bytes_max,
            sealed_bytes: 0,
            frames: 0,
        };
        let reached = out.frames(&group.tape, &voice, cut.from, cut.to, self.limits.send_bytes_max);
        let frames = out.frames;
        self.counts.frames_out += frames;
        let membership = self.connections.membership(member.socket.index, member.slot);
        if frames > 0 && membership.is_some_and(|membership| membership.is_counted) {
            let (socket, tag) = (member.socket, member.tag);
            self.notices.push(Notice::Delivered { socket, tag, frames });
        }
        debug_assert!(self.scratch.sealing.iter().all(|_: &Unsealed| false), "plain members only");
        let batch = batch.finish(&mut self.pool);
        if !batch.is_empty() {
            self.submit(member.socket, batch, false, driver);
        }
        Some(reached).filter(|reached| *reached < cut.to)
    }

    /// Whether nothing is to be sent after what was just gathered: it ends with the close frame.
    fn is_last(&self, index: u32) -> bool {
        self.connections.get(index).is_some_and(|connection| {
            let rest = connection.active.as_ref().is_some_and(|active| active.has_output());
            connection.flags.has(CLOSING) && !rest
        })
    }

    /// Hands a batch to the driver; says whether it is done already.
    fn submit(
        &mut self,
        socket: SocketId,
        batch: SendBatch,
        is_last: bool,
        driver: &mut impl Driver,
    ) -> bool {
        let len = batch.len();
        self.counts.sends += 1;
        self.counts.bytes_out += len as u64;
        // The FIN shares a segment with the close frame.
        let sending = match is_last {
            true => driver.send_last(socket, batch),
            false => driver.send(socket, batch),
        };
        match sending {
            Sending::Done(batch) => {
                if let Some(buffer) = batch.into_buffer() {
                    self.pool.give_back(buffer);
                }
                if let Some(connection) = self.connections.of_mut(socket) {
                    connection.flags.set(PROBING, false);
                }
                true
            }
            Sending::Pending => {
                self.busy.set(socket.index);
                if let Some(Connection { active, .. }) = self.connections.of_mut(socket) {
                    self.pool.activate(active).in_flight = len;
                }
                false
            }
        }
    }
}

//! Serving groups: the pass over a room's members.
//!
//! Nothing here touches the connection of a member that is caught up and quiet: its entry and two
//! bits are all.

use fulmar_driver::{Driver, Piece, SocketId, Took};
use smallvec::SmallVec;

use crate::output::connection::{DEAD, OVER, PROBING};
use crate::output::encode::Envelopes;
use crate::output::group::{Group, Marking};
use crate::output::limits::Policy;
use crate::output::members::Cut;
use crate::output::{Ordinal, Slot, narrow};

use super::{GroupRef, Offer, Output, profile_of};

impl Output {
    /// Goes through groups whose tape grew, then serves groups by turns within the turn's budget.
    pub(super) fn serve_groups(&mut self, driver: &mut impl Driver, envelopes: &mut dyn Envelopes) {
        while let Some(group) = self.touched.pop_front() {
            self.go_through(group);
        }
        let mut budget = self.limits.turn_sends_max;
        for _ in 0..self.active.len() {
            if budget == 0 {
                break;
            }
            let Some(group) = self.active.pop_front() else {
                break;
            };
            budget -= self.serve(group, budget, driver, envelopes).min(budget);
            self.served.push(group);
        }
        self.settle_offers(driver);
        let mut served = std::mem::take(&mut self.served);
        for at in served.drain(..) {
            let Some(group) = self.group_mut(at) else {
                continue;
            };
            group.active = group.is_pending();
            group.trim();
            if group.active {
                self.active.push_back(at);
            }
        }
        self.served = served;
    }

    /// Enters a membership in its connection's round if it has something to send.
    pub(super) fn wait(&mut self, index: u32, slot: Slot) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let Some(membership) = connection.memberships.get(slot) else {
            return;
        };
        let Some(group) = self.rooms.group(membership.room, membership.group) else {
            return;
        };
        let Some(aside) = membership.aside().and_then(|key| self.asides.get_mut(key)) else {
            return;
        };
        if aside.is_pending(&group.tape) && !std::mem::replace(&mut aside.waiting, true) {
            self.pool.activate(&mut connection.active).waiting.push_back(slot);
        }
        if aside.waiting && !connection.is_in_flight() {
            self.mark(index);
        }
    }

    fn group_mut(&mut self, at: GroupRef) -> Option<&mut Group> {
        self.rooms
            .get_mut(at.room)
            .filter(|room| room.interest == at.interest)?
            .groups
            .get_mut(usize::from(at.group))
            .map(|group| &mut **group)
    }

    /// A tape grew: those aside lag more, or have something to send again; the policies act on
    /// those over the limit.
    fn go_through(&mut self, at: GroupRef) {
        self.mark_missing(at);
        let mut place = 0;
        while let Some((index, slot)) =
            self.group_mut(at).and_then(|group| group.aside.get(place).copied())
        {
            self.counts.scanned += 1;
            self.lags(index, slot);
            place += 1;
        }
        // Closing changes lists, so it waits until the list has been gone through.
        let mut doomed = std::mem::take(&mut self.doomed);
        for index in doomed.drain(..) {
            self.close_slow(self.connections.id(index));
        }
        self.doomed = doomed;
        let Some(group) = self.group_mut(at) else {
            return;
        };
        group.touched = false;
        group.scanned = group.tape.tail();
        group.trim();
        if group.is_pending() && !std::mem::replace(&mut group.active, true) {
            self.active.push_back(at);
        }
    }

    /// Puts the marker for what a group misses on its tape, if there is room for it now.
    fn mark_missing(&mut self, at: GroupRef) -> bool {
        let room = self.rooms.get_mut(at.room).filter(|room| room.interest == at.interest);
        let Some(room) = room else { return false };
        let Some(next) = room.position else {
            return false;
        };
        let Some(group) = room.groups.get_mut(usize::from(at.group)) else {
            return false;
        };
        let (encodings, limits) = (&self.encodings, &self.limits);
        let marking = Marking { room: &room.name, epoch: next.epoch, encodings, limits };
        group.mark_missing(next.number, marking)
    }

    /// One member aside whose tape grew.
    fn lags(&mut self, index: u32, slot: Slot) {
        let seen = self.seen(index, slot);
        self.account(index, slot);
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let limit = profile_of(&self.profiles, connection).backlog_bytes_max;
        let over = connection.backlog() > u64::from(limit);
        if over {
            connection.flags.set(OVER, true);
        }
        let Some(membership) = connection.memberships.get(slot) else {
            return;
        };
        let policy = membership.policy;
        let Some(group) = self.rooms.group_mut(membership.room, membership.group) else {
            return;
        };
        let Some(aside) = membership.aside().and_then(|key| self.asides.get_mut(key)) else {
            return;
        };
        let lag = group.tape.bytes_between(aside.cursor, group.tape.tail());
        let is_lost = lag > self.limits.retain_bytes_max; // off the tape's end, fence or no fence
        if is_lost || (over && lag > 0 && aside.fence.is_none()) {
            self.counts.policy += 1;
            group.tally.dropped += 1;
            match policy {
                Policy::DropNewest if !is_lost => aside.drop_from(seen, &group.tape),
                Policy::DropNewest | Policy::Skip => aside.skip_ahead(&group.tape),
                Policy::Close => self.doomed.push(index),
            }
            self.account(index, slot);
        }
        self.wait(index, slot);
    }

    /// The tail when this member's lag was last counted.
    fn seen(&self, index: u32, slot: Slot) -> Ordinal {
        self.aside(index, slot).map_or(0, |aside| aside.seen)
    }

    /// Serves one group within the budget. Returns how much of it was used.
    fn serve(
        &mut self,
        at: GroupRef,
        budget: usize,
        driver: &mut impl Driver,
        envelopes: &mut dyn Envelopes,
    ) -> usize {
        let budget = budget.max(self.limits.group_sends_min);
        let (mut left, runs_max) = (budget, self.limits.runs_max);
        while left > 0 {
            let Some(group) = self.group_mut(at) else {
                break;
            };
            let (tail, key) = (group.tape.tail(), group.key);
            let Some(cut) = group.members.cut(tail, narrow(left), runs_max) else {
                break;
            };
            let bytes = group.tape.bytes_between(cut.from, cut.to);
            let weight = self.limits.weight(bytes);
            let (cut, visited) = self.sift(at, cut, (left / weight).max(1));
            left -= (visited * weight).min(left);
            self.counts.visited += visited as u64;
            if key.is_castable() {
                self.cast(at, &cut, driver);
            } else if key.is_sealed() {
                self.set_aside(at, &cut);
            } else {
                self.send_each(at, &cut, driver, envelopes);
            }
            if cut.to < tail {
                break; // these members had their offer for this turn
            }
        }
        if self.mark_missing(at)
            && let Some(group) = self.group_mut(at).filter(|group| !group.touched)
        {
            group.touched = true;
            self.touched.push_back(at);
        }
        budget - left
    }

    /// Sets aside the members of a cut that must not be cast to. What is left of the cut can be.
    fn sift(&mut self, at: GroupRef, cut: Cut, max: usize) -> (Cut, usize) {
        let (mut place, mut end, mut visited) = (cut.start, cut.end, 0);
        while place < end && visited < max {
            let Some(group) = self.rooms.group(at.room, at.group) else {
                break;
            };
            let stop = end.min(place.saturating_add(narrow(max - visited)));
            let members = group.members.between(place, stop);
            // The hot loop: one entry and two bits per member.
            let free = members.iter().take_while(|m| !self.is_occupied(m.socket)).count();
            place += narrow(free);
            visited += free;
            let Some(member) = members.get(free).copied() else {
                break;
            };
            visited += 1;
            self.take_aside(member.socket.index, member.slot); // the run's last now stands here
            self.wait(member.socket.index, member.slot);
            let Some(group) = self.rooms.group(at.room, at.group) else {
                break;
            };
            let same_run = group.members.position(place) == Some(cut.from);
            end = end.min(if same_run { group.members.run_end(place) } else { place });
        }
        (Cut { end: place, ..cut }, visited.max(1))
    }

    /// Whether no cast may go there now.
    #[inline]
    fn is_occupied(&self, socket: SocketId) -> bool {
        self.busy.has(socket.index) || self.offered.has(socket.index)
    }

    /// Offers the same bytes to all members of the cut.
    fn cast(&mut self, at: GroupRef, cut: &Cut, driver: &mut impl Driver) {
        let room = self.rooms.get_mut(at.room);
        let Some(group) = room.and_then(|room| room.groups.get_mut(usize::from(at.group))) else {
            return;
        };
        let members = group.members.slice(cut);
        if members.is_empty() {
            return;
        }
        let count = members.len() as u64;
        let pieces = &mut self.scratch.pieces;
        pieces.clear();
        group.tape.span(cut.from, cut.to, usize::MAX, pieces);
        let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        group.tally.written += count;
        // A marker in a dialect without words for it has no bytes.
        if bytes > 0 {
            for member in members {
                self.offered.set(member.socket.index);
            }
            self.counts.offered += count;
            self.counts.frames_out += count * (cut.to - cut.from);
            self.counts.bytes_out += count * bytes;
            driver.offer(narrow(self.offers.len()), members, pieces);
            self.offers.push(Offer { group: at, from: cut.from, to: cut.to, bytes });
        }
        group.members.advance(cut);
        pieces.clear();
    }

    /// Sets every member of the cut aside: its messages go through its seal, one by one, in the
    /// order of its lane.
    fn set_aside(&mut self, at: GroupRef, cut: &Cut) {
        let Some(group) = self.rooms.group(at.room, at.group) else {
            return;
        };
        let members: SmallVec<[_; 64]> = group.members.slice(cut).into();
        for member in members {
            self.take_aside(member.socket.index, member.slot);
            self.wait(member.socket.index, member.slot);
        }
    }

    /// Gives each member of the cut a batch of its own; they keep their place in the run. What does
    /// not go into one send goes on aside.
    fn send_each(
        &mut self,
        at: GroupRef,
        cut: &Cut,
        driver: &mut impl Driver,
        envelopes: &mut dyn Envelopes,
    ) {
        let Some(group) = self.rooms.group_mut(at.room, at.group) else {
            return;
        };
        let members: SmallVec<[_; 64]> = group.members.slice(cut).into();
        group.members.advance(cut);
        group.tally.written += members.len() as u64;
        for member in members {
            // Busy since a moment ago if the connection is twice in the group, under two tags.
            let reached = match self.busy.has(member.socket.index) {
                true => Some(cut.from),
                false => self.send_cut(member, at, cut, driver, envelopes),
            };
            if reached.is_some() {
                self.take_aside_at(member.socket.index, member.slot, reached);
                self.wait(member.socket.index, member.slot);
            }
        }
    }

    /// Ends the offers; members that did not take all stand aside from now on.
    fn settle_offers(&mut self, driver: &mut impl Driver) {
        if self.offers.is_empty() {
            return;
        }
        let mut shorts = std::mem::take(&mut self.shorts);
        driver.settle(&mut shorts);
        self.counts.short += shorts.len() as u64;
        for short in &shorts {
            let Some(offer) = self.offers.get(short.offer as usize).copied() else {
                continue;
            };
            if let Took::Bytes(bytes) = short.took {
                self.fall_behind(offer, short.member.socket.index, short.member.slot, bytes);
            }
        }
        // The dead leave afterwards: leaving may free what another short still has to be found in.
        for short in shorts.drain(..).filter(|short| short.took == Took::Dead) {
            self.die(short.member.socket);
        }
        self.shorts = shorts;
        self.offers.clear();
        self.offered.clear();
    }

    /// A member took `bytes` of an offer: the frame begun belongs to the connection now, what
    /// follows to the cursor.
    fn fall_behind(&mut self, offer: Offer, index: u32, slot: Slot, bytes: u64) {
        let Some(group) = self.rooms.group(offer.group.room, offer.group.group) else {
            return;
        };
        let (mut cursor, gone) = group.tape.locate(offer.from, bytes);
        let rest: Option<Piece> = group.tape.rest_of(cursor, gone).filter(|_| gone > 0);
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        connection.flags.set(PROBING, true);
        if let Some(rest) = rest {
            self.pool.activate(&mut connection.active).begin_with(rest);
            cursor += 1;
        }
        self.counts.frames_out -= offer.to.saturating_sub(cursor);
        self.counts.bytes_out -= offer.bytes.saturating_sub(bytes);
        self.take_aside_at(index, slot, Some(cursor));
        self.wait(index, slot);
        self.mark(index);
    }

    /// The driver says the socket is dead: nothing is sent any more, `Closed` will follow.
    fn die(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.of_mut(socket) else {
            return;
        };
        connection.flags.set(DEAD, true);
        self.busy.set(socket.index);
        self.leave_all(socket.index);
    }
}

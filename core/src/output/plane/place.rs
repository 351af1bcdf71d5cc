//! Where memberships stand: into the runs, aside, out.

use fulmar_driver::Member;

use crate::output::aside::Aside;
use crate::output::connection::{Connection, Connections, DIRTY};
use crate::output::membership::Place;
use crate::output::{Ordinal, Slot, narrow};

use super::Output;

/// Follows a member that moved within its array.
fn follow<'a>(
    connections: &'a mut Connections,
    count: &'a mut u64,
) -> impl FnMut(Member, u32) + use<'a> {
    move |member, place| {
        *count += 1;
        let membership = connections.membership_mut(member.socket.index, member.slot);
        if let Some(membership) = membership {
            membership.stand(Place::InRun(place));
        }
    }
}

impl Output {
    /// Gives a member in a run its own cursor, where the run stands. Nothing if it has one already.
    pub(super) fn take_aside(&mut self, index: u32, slot: Slot) {
        self.take_aside_at(index, slot, None);
    }

    /// The same with the cursor at `at`, for a member that took more or less than its run.
    pub(super) fn take_aside_at(&mut self, index: u32, slot: Slot, at: Option<Ordinal>) {
        let Some(membership) = self.connections.membership_mut(index, slot) else {
            return;
        };
        let Place::InRun(place) = membership.place() else {
            return;
        };
        let (room, group) = (membership.room, membership.group);
        let Some(group) = self.rooms.group_mut(room, group) else {
            return;
        };
        let moved = follow(&mut self.connections, &mut self.counts.moved);
        let Some((_, stood)) = group.members.remove(place, moved) else {
            return;
        };
        group.tally.written -= u64::from(at.is_some()); // it was counted when its run moved on
        group.tally.queued += 1;
        let at = at.unwrap_or(stood);
        if let Some(membership) = self.connections.membership_mut(index, slot) {
            membership.stand(Place::Aside(self.asides.insert(Aside::at(at))));
        }
        self.counts.asides += 1;
        self.list(index, slot);
        self.account(index, slot);
    }

    /// The cursor of a membership that stands aside.
    pub(super) fn aside(&self, index: u32, slot: Slot) -> Option<&Aside> {
        self.asides.get(self.connections.membership(index, slot)?.aside()?)
    }

    /// The same to change.
    pub(super) fn aside_mut(&mut self, index: u32, slot: Slot) -> Option<&mut Aside> {
        self.asides.get_mut(self.connections.membership(index, slot)?.aside()?)
    }

    /// Enters a membership aside in its group's list.
    pub(super) fn list(&mut self, index: u32, slot: Slot) {
        let Some(membership) = self.connections.membership(index, slot) else {
            return;
        };
        let Some(group) = self.rooms.group_mut(membership.room, membership.group) else {
            return;
        };
        let Some(aside) = membership.aside().and_then(|key| self.asides.get_mut(key)) else {
            return;
        };
        aside.listed = narrow(group.aside.len());
        group.aside.push((index, slot));
    }

    /// Counts a membership's lag anew, and its cursor in the chunk where it stands.
    pub(super) fn account(&mut self, index: u32, slot: Slot) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let Connection { memberships, active, .. } = connection;
        let Some(membership) = memberships.get(slot) else {
            return;
        };
        let Some(group) = self.rooms.group_mut(membership.room, membership.group) else {
            return;
        };
        let Some(aside) = membership.aside().and_then(|key| self.asides.get_mut(key)) else {
            return;
        };
        let limit = aside.limit(&group.tape);
        let lag = group.tape.bytes_between(aside.cursor, limit);
        if lag != aside.lag {
            let active = self.pool.activate(active);
            active.lag = active.lag + lag - aside.lag;
            aside.lag = lag;
        }
        aside.seen = group.tape.tail();
        let cursor = Some(aside.cursor).filter(|cursor| *cursor < group.tape.tail());
        group.tape.move_reader(&mut aside.reader, cursor);
    }

    /// Puts a membership that has caught up back into the runs, if a run can take it.
    pub(super) fn settle_place(&mut self, index: u32, slot: Slot) {
        let Some(member) = self.member(index, slot) else {
            return;
        };
        let Some(membership) = self.connections.membership(index, slot) else {
            return;
        };
        let (room, group_index) = (membership.room, membership.group);
        let Some(group) = self.rooms.group_mut(room, group_index) else {
            return;
        };
        let Some(key) = membership.aside() else {
            return;
        };
        let Some(aside) = self.asides.get(key) else {
            return;
        };
        if aside.is_pending(&group.tape) || aside.waiting {
            return;
        }
        let (cursor, listed) = (aside.cursor, aside.listed);
        let moved = follow(&mut self.connections, &mut self.counts.moved);
        let Some(place) = group.members.insert(member, cursor, self.limits.runs_max, moved) else {
            return;
        };
        self.account(index, slot);
        self.unlist(room, group_index, listed);
        self.asides.remove(key);
        if let Some(membership) = self.connections.membership_mut(index, slot) {
            membership.stand(Place::InRun(place));
        }
    }

    /// Removes a membership from wherever it stands and returns its room.
    pub(super) fn remove_membership(&mut self, index: u32, slot: Slot) -> Option<u32> {
        self.displace(index, slot);
        let membership = self.connections.get_mut(index)?.memberships.take(slot)?;
        self.retire_if_idle(index);
        Some(membership.room)
    }

    /// Takes a membership out of its group; its place means nothing afterwards.
    pub(super) fn displace(&mut self, index: u32, slot: Slot) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let Connection { memberships, active, .. } = connection;
        let Some(membership) = memberships.get(slot) else {
            return;
        };
        let (room, group_index) = (membership.room, membership.group);
        let Some(group) = self.rooms.group_mut(room, group_index) else {
            return;
        };
        match membership.place() {
            Place::InRun(place) => {
                let moved = follow(&mut self.connections, &mut self.counts.moved);
                group.members.remove(place, moved);
            }
            Place::Aside(key) => {
                let Some(aside) = self.asides.get_mut(key) else {
                    return;
                };
                if let Some(active) = active {
                    active.lag -= aside.lag;
                    if aside.waiting {
                        active.waiting.retain(|waiting| *waiting != slot);
                    }
                }
                group.tape.move_reader(&mut aside.reader, None);
                let listed = aside.listed;
                self.asides.remove(key);
                self.unlist(room, group_index, listed);
            }
        }
        if let Some(group) = self.rooms.group_mut(room, group_index) {
            group.trim();
        }
        self.after_progress(index);
    }

    /// Gives back what a connection has only while it has output.
    pub(super) fn retire_if_idle(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index).filter(|c| !c.flags.has(DIRTY))
        else {
            return;
        };
        if let Some(active) = connection.active.take_if(|active| active.is_idle()) {
            self.pool.retire(active);
        }
    }

    /// Takes a membership out of its group's list of those aside.
    fn unlist(&mut self, room: u32, group: u8, listed: u32) {
        let Some(group) = self.rooms.group_mut(room, group) else {
            return;
        };
        if (listed as usize) < group.aside.len() {
            group.aside.swap_remove(listed as usize);
        }
        if group.aside.is_empty() && group.aside.capacity() > 64 {
            group.aside = Vec::new();
        }
        let Some((index, slot)) = group.aside.get(listed as usize).copied() else {
            return;
        };
        if let Some(aside) = self.aside_mut(index, slot) {
            aside.listed = listed;
        }
    }
}

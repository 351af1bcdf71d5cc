//! What tests ask an output about itself. Nothing here is called on the hot path.

use std::collections::BTreeMap;
use std::rc::Rc;

use fulmar_driver::{Part, SendBatch};

use crate::output::connection::{Active, Connection, DEAD, DIRTY, SEALED};
use crate::output::group::{Group, Tally};
use crate::output::membership::Place;

use super::Output;

impl Output {
    /// Checks every redundancy of the tables against its source.
    ///
    /// # Errors
    /// Says what does not agree.
    pub fn audit(&self) -> Result<(), String> {
        for (index, connection) in self.connections.iter() {
            self.audit_connection(index, connection)?;
        }
        let mut total = 0;
        for room in self.rooms.iter() {
            let in_groups = |group: &Group| group.members.len() + group.aside.len();
            let members: usize = room.groups.iter().map(|group| in_groups(group)).sum();
            check(members == room.members as usize, "count of a room's members")?;
            check(members > 0, "a room without members")?;
            room.groups.iter().try_for_each(|group| self.audit_group(group))?;
            total += members;
        }
        check(total == self.memberships, "count of memberships")
    }

    /// Holds the memory alive against what tapes hold and what `in_flight` pins: nothing else may
    /// keep a chunk.
    ///
    /// # Errors
    /// Says what does not agree.
    pub fn audit_memory<'a>(
        &self,
        in_flight: impl Iterator<Item = &'a SendBatch>,
    ) -> Result<(), String> {
        let mut pinned = BTreeMap::new();
        for part in in_flight.flat_map(SendBatch::parts) {
            if let Part::Shared(piece) = part {
                pinned.insert(Rc::as_ptr(&piece.block) as usize, piece.block.size());
            }
        }
        let groups = self.rooms.iter().flat_map(|room| &room.groups);
        let tapes: usize = groups.map(|group| group.tape.memory()).sum();
        let live = self.ledger.live();
        let pins: usize = pinned.values().sum();
        check(live <= tapes + pins, "memory that neither a tape nor a send in flight holds")?;
        check(live >= tapes, "a tape's memory is not counted")
    }

    /// Checks that nothing is left of anybody.
    ///
    /// # Errors
    /// Says what is left.
    pub fn audit_empty(&self) -> Result<(), String> {
        check(self.connections.is_empty(), "a connection is left")?;
        check(self.rooms.is_empty(), "a room is left")?;
        check(self.memberships == 0, "a membership is left")?;
        check(self.asides.is_empty(), "a cursor is left")?;
        check(self.home.is_empty(), "a home is left")?;
        check(!self.is_pending(), "work is left")?;
        check(self.ledger.live() == 0, "memory is left")
    }

    /// Members in runs, members aside, and bytes of tape, of all rooms.
    pub fn population(&self) -> (usize, usize, usize) {
        let groups = || self.rooms.iter().flat_map(|room| &room.groups);
        let in_runs = groups().map(|group| group.members.len()).sum();
        let aside = groups().map(|group| group.aside.len()).sum();
        (in_runs, aside, groups().map(|group| group.tape.memory()).sum())
    }

    /// Connections that hold more than their place in the table.
    pub fn active_count(&self) -> usize {
        self.connections.iter().filter(|(_, connection)| connection.active.is_some()).count()
    }

    /// What became of a room's messages on this shard, all groups together.
    pub fn tally(&self, room: &str) -> Tally {
        let mut sum = Tally::default();
        let room = self.rooms.key(room).and_then(|key| self.rooms.get(key));
        for tally in room.iter().flat_map(|room| &room.groups).map(|group| group.tally) {
            sum.messages += tally.messages;
            sum.bytes += tally.bytes;
            sum.written += tally.written;
            sum.queued += tally.queued;
            sum.dropped += tally.dropped;
            sum.missed += tally.missed;
        }
        sum
    }

    fn audit_connection(&self, index: u32, connection: &Connection) -> Result<(), String> {
        let idle = Active::default();
        let active = connection.active.as_deref().unwrap_or(&idle);
        let mut lag = 0;
        for (slot, membership) in connection.memberships.iter() {
            let group = self
                .rooms
                .group(membership.room, membership.group)
                .ok_or("membership without a group")?;
            check(
                group.key.is_sealed() == connection.flags.has(SEALED),
                "transport of a membership",
            )?;
            match membership.place() {
                Place::InRun(place) => {
                    let member = group.members.get(place).ok_or("index outside the array")?;
                    check(
                        (member.socket.index, member.slot) == (index, slot),
                        "a member's index leads to another member",
                    )?;
                }
                Place::Aside(key) => {
                    let aside = self.asides.get(key).ok_or("a key without a cursor")?;
                    let listed = group.aside.get(aside.listed as usize);
                    check(listed == Some(&(index, slot)), "list of those aside")?;
                    check(
                        aside.waiting == active.waiting.contains(&slot),
                        "round of the connection",
                    )?;
                    let counted = group.tape.bytes_between(aside.cursor, aside.limit(&group.tape));
                    check(group.touched || counted == aside.lag, "lag of a membership")?;
                    lag += aside.lag;
                }
            }
        }
        check(lag == active.lag, "lag of a connection")?;
        check(!active.has_rest(), "a begun frame waits instead of being in flight")?;
        let stirs = connection.is_in_flight() || connection.flags.has(DIRTY.or(DEAD));
        let quiet = !stirs && !active.is_blocked();
        check(!quiet || !active.has_output(), "output that nobody will send")?;
        check(self.busy.has(index) != quiet, "busy bit")?;
        check(!quiet || lag > 0 || connection.active.is_none(), "an idle connection costs memory")
    }

    fn audit_group(&self, group: &Group) -> Result<(), String> {
        check(group.members.runs() <= self.limits.runs_max + 1, "number of runs")?;
        check(
            !group.is_pending() || group.is_empty() || group.active || group.touched,
            "a pending group in no round",
        )?;
        let limits = &self.limits;
        // What a slowest cursor may lag, and what may come in one turn. Chunks are half full at
        // least, but for one of the first size beside each frame that stands by itself.
        let retained = usize::try_from(limits.retain_bytes_max).unwrap_or(usize::MAX / 8);
        let bytes = 2 * retained + limits.inline_bytes_max;
        let alone = limits.chunk_bytes_first / limits.inline_bytes_max + 1;
        let bound = bytes * (2 + alone) + 2 * limits.chunk_bytes_max;
        check(group.tape.memory() <= bound, "memory of a tape")?;
        let quiet = group.aside.is_empty() && !group.is_pending() && !group.touched;
        check(!quiet || group.tape.memory() == 0, "a tape that everybody has read holds memory")
    }
}

fn check(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

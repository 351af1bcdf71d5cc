//! Plain counters, bumped where things happen, copied out on request.

use std::ops::AddAssign;

use crate::output;
use crate::reason::Reason;

/// A shard's counters, or the sum of several. Never reset; rates are differences of two copies.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now, in any stage.
    pub connections: u64,
    /// Connections past their handshake now.
    pub open: u64,
    /// Handshakes completed.
    pub opened: u64,
    /// Connections ended after their handshake.
    pub closed: u64,
    /// Messages received, whole.
    pub messages_in: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Messages sent to single connections: echoes, answers, direct messages.
    pub messages_out: u64,
    /// Publications made here.
    pub published: u64,
    /// Pings received.
    pub pings_in: u64,
    /// Calls started.
    pub calls: u64,
    /// Calls answered with an error by their handlers. Protocols without words for it, such as
    /// `text`, tell their clients nothing.
    pub calls_failed: u64,
    /// Lanes of calls now: connections with handlers, and those gone whose calls still run.
    pub calls_now: u64,
    /// Times receiving from a connection was stopped because its calls were too many.
    pub paused: u64,
    /// Times the system had no descriptor or memory for a connection.
    pub accept_failures: u64,
    /// Backlogs that were over their limit and have drained.
    pub drained: u64,
    /// The most messages that were encrypted at a time.
    pub sealing_most: u64,
    /// Turns of the reactor.
    pub turns: u64,
    /// Rooms with members here, now.
    pub rooms: u64,
    /// Memberships now.
    pub memberships: u64,
    /// What became of output: see each field.
    pub output: output::Counts,
    /// Ends, refusals and drops, by [`Reason`].
    pub reasons: Reasons,
}

/// A counter per [`Reason`].
#[derive(Clone, Debug)]
pub struct Reasons([u64; Reason::COUNT]);

impl Default for Reasons {
    fn default() -> Self {
        Self([0; Reason::COUNT])
    }
}

impl Reasons {
    pub(crate) fn bump(&mut self, reason: Reason) {
        self.0[reason as usize] += 1;
    }

    /// How often.
    pub fn of(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// Those that happened.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.iter().map(|reason| (*reason, self.of(*reason))).filter(|(_, count)| *count > 0)
    }
}

impl AddAssign for Reasons {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
    }
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.connections += other.connections;
        self.open += other.open;
        self.opened += other.opened;
        self.closed += other.closed;
        self.messages_in += other.messages_in;
        self.bytes_in += other.bytes_in;
        self.messages_out += other.messages_out;
        self.published += other.published;
        self.pings_in += other.pings_in;
        self.calls += other.calls;
        self.calls_failed += other.calls_failed;
        self.calls_now += other.calls_now;
        self.paused += other.paused;
        self.accept_failures += other.accept_failures;
        self.drained += other.drained;
        self.sealing_most = self.sealing_most.max(other.sealing_most);
        self.turns += other.turns;
        self.rooms += other.rooms;
        self.memberships += other.memberships;
        self.output += other.output;
        self.reasons += other.reasons;
    }
}

//! When messages are due: an even rate, dealt to lanes (connections or rooms) in turn.
//!
//! Message `n` of lane `l` is due at `start + (l + n * lanes) * interval`, whatever happened to the
//! messages before. A message that waits behind a slow server keeps its time, so the latency
//! measured from it includes the wait: coordinated omission cannot hide it.

use crate::units::{SECOND, float, whole};

/// The schedule of one thread. Costs no memory per message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    start: u64,
    interval: f64,
    lanes: u32,
    /// Messages dealt so far over all lanes.
    dealt: u64,
}

impl Pace {
    /// `rate` messages a second over `lanes` lanes, the first at `start` nanoseconds.
    pub(crate) fn new(rate: f64, lanes: u32, start: u64) -> Self {
        Self { start, interval: float(SECOND) / rate, lanes: lanes.max(1), dealt: 0 }
    }

    /// When message `number` of `lane` is due, in nanoseconds.
    #[inline]
    pub(crate) fn time(&self, lane: u32, number: u64) -> u64 {
        self.at(u64::from(lane) + number * u64::from(self.lanes))
    }

    /// When the next message of any lane falls due, in nanoseconds.
    pub(crate) fn next(&self) -> u64 {
        self.at(self.dealt)
    }

    /// Names the lane of every message that has fallen due since the last call.
    #[inline]
    pub(crate) fn advance(&mut self, now: u64, mut on_due: impl FnMut(u32)) {
        while self.next() <= now {
            let lane = self.dealt % u64::from(self.lanes);
            on_due(u32::try_from(lane).unwrap_or(u32::MAX));
            self.dealt += 1;
        }
    }

    /// Messages dealt to `lane` so far.
    pub(crate) fn dealt_to(&self, lane: u32) -> u64 {
        let lanes = u64::from(self.lanes);
        self.dealt / lanes + u64::from(u64::from(lane) < self.dealt % lanes)
    }

    /// When the messages of `lane` were due that were dealt to it after the first `sent`, in
    /// nanoseconds.
    pub(crate) fn unsent(&self, lane: u32, sent: u64) -> impl Iterator<Item = u64> {
        (sent..self.dealt_to(lane)).map(move |number| self.time(lane, number))
    }

    fn at(&self, message: u64) -> u64 {
        self.start + whole(float(message) * self.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deals_messages_to_lanes_in_turn_at_an_even_rate() {
        let mut pace = Pace::new(1_000.0, 3, 500);
        let mut lanes = Vec::new();
        pace.advance(499, |lane| lanes.push(lane));
        assert!(lanes.is_empty());
        pace.advance(4_000_500, |lane| lanes.push(lane));
        assert_eq!(lanes, [0, 1, 2, 0, 1]);
        assert_eq!([0, 1, 2].map(|lane| pace.dealt_to(lane)), [2, 2, 1]);
        assert_eq!(pace.next(), 5_000_500);
        assert_eq!(pace.time(1, 1), 4_000_500);
        assert_eq!(pace.time(2, 1), pace.next());
        assert_eq!(pace.unsent(1, 0).collect::<Vec<_>>(), [1_000_500, 4_000_500]);
        assert_eq!(pace.unsent(2, 1).count(), 0);
    }

    #[test]
    fn a_late_call_does_not_move_the_schedule() {
        let mut pace = Pace::new(300.0, 1, 0);
        let mut due = 0_u64;
        pace.advance(10 * SECOND, |_| due += 1);
        assert_eq!(due, 3_001);
        assert_eq!(pace.time(0, 3_000), 10 * SECOND);
    }
}

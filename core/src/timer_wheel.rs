//! One timer per connection, in a hierarchical wheel over dense indexes.
//!
//! Four levels of 64 slots, a tick of 16 ms: 74 hours; what lies further is looked at again then.
//! Arming, disarming and firing are O(1), an idle timer costs 12 bytes, and a turn costs nothing
//! for timers that are not due: the next due slot is found by four bit scans.
#![expect(
    clippy::cast_possible_truncation,
    reason = "levels and slots are below 256; deadlines are the low halves of ticks"
)]

use crate::clock::Tick;
use crate::paged::Paged;

const LEVELS: usize = 4;
const SLOTS: usize = 64;
const SLOT_BITS: u32 = 6;
const NONE: u32 = u32::MAX;
/// Instead of a predecessor: the timer is not set.
const UNARMED: u32 = u32::MAX;
/// Instead of a predecessor, plus level and slot: the timer is the first of that list.
const HEAD: u32 = u32::MAX - (LEVELS * SLOTS) as u32;

/// Timers of indexes. A timer fires at or after its tick, never before.
#[derive(Debug)]
pub struct TimerWheel {
    nodes: Paged<Node>,
    heads: [[u32; SLOTS]; LEVELS],
    /// One bit per slot that holds something.
    occupied: [u64; LEVELS],
    now: u64,
    armed: usize,
}

/// A timer in its slot's list.
#[derive(Clone, Copy, Debug)]
struct Node {
    next: u32,
    /// An index, [`HEAD`] and the place, or [`UNARMED`].
    previous: u32,
    /// Low half of the deadline; within 2^31 ticks of now.
    due: u32,
}

const _: () = assert!(size_of::<Node>() == 12);

impl Default for Node {
    fn default() -> Self {
        Self { next: NONE, previous: UNARMED, due: 0 }
    }
}

impl TimerWheel {
    /// An empty wheel at `now`.
    pub fn new(now: Tick) -> Self {
        Self {
            nodes: Paged::default(),
            heads: [[NONE; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            now: now.0,
            armed: 0,
        }
    }

    /// Sets the timer of `index`, below 2^31, instead of what it was set to.
    pub fn arm(&mut self, index: u32, due: Tick) {
        if self.take(index).is_none() {
            self.armed += 1;
        }
        self.link(index, due.0.max(self.now + 1));
    }

    /// Stops the timer of `index`, if it is set.
    pub fn disarm(&mut self, index: u32) {
        if self.take(index).is_some() {
            self.armed -= 1;
        }
    }

    /// Whether the timer of `index` is set.
    pub fn is_armed(&self, index: u32) -> bool {
        self.nodes.get(index).is_some_and(|node| node.previous != UNARMED)
    }

    /// Timers set.
    pub fn len(&self) -> usize {
        self.armed
    }

    /// Whether no timer is set.
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// Moves to `now` and appends the indexes whose timers are due; they are unset then.
    pub fn advance(&mut self, now: Tick, fired: &mut Vec<u32>) {
        while self.now < now.0 {
            let Some(next) = self.next_stop() else {
                self.now = now.0;
                return;
            };
            if next > now.0 {
                self.now = now.0;
                return;
            }
            self.now = next;
            self.expire(fired);
        }
    }

    /// The earliest tick at which something may have to be done.
    pub fn next_due(&self) -> Option<Tick> {
        self.next_stop().map(Tick)
    }

    /// The next tick at which a slot fires or is spread over the level below.
    fn next_stop(&self) -> Option<u64> {
        (0..LEVELS).filter_map(|level| self.next_slot(level)).min()
    }

    /// When the next occupied slot of a level begins.
    fn next_slot(&self, level: usize) -> Option<u64> {
        let occupied = self.occupied[level];
        if occupied == 0 {
            return None;
        }
        let shift = SLOT_BITS * level as u32;
        let position = self.now >> shift;
        let current = (position % SLOTS as u64) as u32;
        // Slots after the current one come first; the current one only after a whole round.
        let ahead = occupied.rotate_right(current + 1).trailing_zeros() + 1;
        Some((position + u64::from(ahead)) << shift)
    }

    fn expire(&mut self, fired: &mut Vec<u32>) {
        // A higher level's slot begins where all lower ones are at their start, so it is spread
        // first; what it gives to level 0 fires in the same step.
        for level in (0..LEVELS).rev() {
            let shift = SLOT_BITS * level as u32;
            if self.now & ((1 << shift) - 1) != 0 {
                continue;
            }
            let slot = (self.now >> shift) as usize % SLOTS;
            // The whole list goes: none of it can come back to the slot that begins now.
            let mut index = std::mem::replace(&mut self.heads[level][slot], NONE);
            self.occupied[level] &= !(1 << slot);
            while let Some(place) = self.nodes.get_mut(index).filter(|_| index != NONE) {
                let node = std::mem::take(place);
                let due = self.due(node);
                if due <= self.now {
                    self.armed -= 1;
                    fired.push(index);
                } else {
                    self.link(index, due);
                }
                index = node.next;
            }
        }
    }

    fn due(&self, node: Node) -> u64 {
        let distance = node.due.wrapping_sub(self.now as u32).cast_signed();
        self.now.saturating_add_signed(i64::from(distance))
    }

    fn link(&mut self, index: u32, due: u64) {
        let due = due.min(self.now + (1 << 30));
        let distance = due.saturating_sub(self.now).max(1);
        let level = (distance.ilog2() / SLOT_BITS).min(LEVELS as u32 - 1) as usize;
        let shift = SLOT_BITS * level as u32;
        // Beyond the last level: the furthest slot, from where it is linked anew.
        let furthest = (self.now >> shift) + SLOTS as u64 - 1;
        let slot = (due >> shift).min(furthest) as usize % SLOTS;
        let head = std::mem::replace(&mut self.heads[level][slot], index);
        if head != NONE
            && let Some(after) = self.nodes.get_mut(head)
        {
            after.previous = index;
        }
        self.occupied[level] |= 1 << slot;
        let previous = HEAD + (level * SLOTS + slot) as u32;
        *self.nodes.grow(index) = Node { next: head, previous, due: due as u32 };
    }

    /// Takes a timer out of its list; `None` if it is in none.
    fn take(&mut self, index: u32) -> Option<Node> {
        let place = self.nodes.get_mut(index).filter(|node| node.previous != UNARMED)?;
        let node = std::mem::take(place);
        if node.next != NONE
            && let Some(next) = self.nodes.get_mut(node.next)
        {
            next.previous = node.previous;
        }
        if node.previous < HEAD {
            if let Some(previous) = self.nodes.get_mut(node.previous) {
                previous.next = node.next;
            }
            return Some(node);
        }
        let list = (node.previous - HEAD) as usize;
        let (level, slot) = (list / SLOTS, list % SLOTS);
        self.heads[level][slot] = node.next;
        if node.next == NONE {
            self.occupied[level] &= !(1 << slot);
        }
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, SeededEntropy};
    use std::collections::BTreeMap;

    #[test]
    fn behaves_like_a_sorted_map_of_deadlines() {
        for seed in 0..300 {
            let mut random = SeededEntropy::new(seed);
            let mut below = |bound: u64| {
                let mut bytes = [0; 8];
                random.fill(&mut bytes);
                u64::from_le_bytes(bytes) % bound
            };
            let start = below(1 << 40);
            let mut wheel = TimerWheel::new(Tick(start));
            let mut model = BTreeMap::new();
            let mut now = start;
            for _ in 0..400 {
                let index = below(40) as u32;
                match below(4) {
                    0 | 1 => {
                        let bits = below(27);
                        let due = now + 1 + below(1 << bits);
                        wheel.arm(index, Tick(due));
                        model.insert(index, due);
                    }
                    2 => {
                        wheel.disarm(index);
                        model.remove(&index);
                    }
                    _ => {
                        let bits = below(27);
                        now += below(1 << bits);
                        let mut fired = Vec::new();
                        wheel.advance(Tick(now), &mut fired);
                        fired.sort_unstable();
                        let due: Vec<u32> =
                            model.iter().filter(|(_, due)| **due <= now).map(|(i, _)| *i).collect();
                        assert_eq!(fired, due, "seed {seed}");
                        model.retain(|_, due| *due > now);
                    }
                }
                assert_eq!(wheel.len(), model.len(), "seed {seed}");
                let earliest = model.values().min().copied();
                let next = wheel.next_due().map(|tick| tick.0);
                assert_eq!(next.is_some(), earliest.is_some(), "seed {seed}");
                assert!(next <= earliest, "seed {seed}: woken in time");
            }
        }
    }

    #[test]
    fn a_turn_with_nothing_due_looks_at_no_timer() {
        let mut wheel = TimerWheel::new(Tick(0));
        (0..100_000).for_each(|index| wheel.arm(index, Tick(10_000 + u64::from(index % 50))));
        let mut fired = Vec::new();
        wheel.advance(Tick(9_000), &mut fired);
        assert!(fired.is_empty());
        wheel.advance(Tick(10_050), &mut fired);
        assert_eq!(fired.len(), 100_000);
        assert!(wheel.is_empty());
    }
}

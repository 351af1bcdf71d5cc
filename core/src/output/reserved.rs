//! Places in a connection's order that are filled later: for answers made elsewhere, and for
//! messages that pass through a seal.

use std::collections::VecDeque;

use super::narrow;

/// Bytes a reserved entry counts for beside its content.
pub const ENTRY_BYTES: usize = 32;

/// Entries of the reply lane that are filled later, in order.
#[derive(Debug, Default)]
pub struct Reserved {
    entries: VecDeque<Entry>,
    /// Ticket of the first entry.
    first: u32,
    /// Bytes of all entries, as far as known.
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    size: usize,
    frame: Option<Vec<u8>>,
}

impl Reserved {
    /// Adds an entry that will take about `size` bytes; returns its ticket.
    pub fn reserve(&mut self, size: usize) -> u32 {
        let size = size + ENTRY_BYTES;
        self.bytes += size;
        self.entries.push_back(Entry { size, frame: None });
        self.first.wrapping_add(narrow(self.entries.len() - 1))
    }

    /// Completes an entry; says whether it was waiting for that.
    pub fn fill(&mut self, ticket: u32, frame: Vec<u8>) -> bool {
        let index = ticket.wrapping_sub(self.first) as usize;
        let Some(entry) = self.entries.get_mut(index).filter(|entry| entry.frame.is_none()) else {
            return false;
        };
        self.bytes -= entry.size;
        entry.size = frame.len() + ENTRY_BYTES;
        self.bytes += entry.size;
        entry.frame = Some(frame);
        true
    }

    /// Takes the first entry if it is filled.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        let frame = self.entries.front_mut()?.frame.take()?;
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.size;
        self.first = self.first.wrapping_add(1);
        Some(frame)
    }

    /// Bytes of all entries, as far as known.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the first entry waits for its seal.
    pub fn is_blocked(&self) -> bool {
        self.entries.front().is_some_and(|entry| entry.frame.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_entries_leave_in_order_and_wait_for_the_first() {
        let mut reserved = Reserved { first: u32::MAX, ..Reserved::default() };
        let tickets = [reserved.reserve(5), reserved.reserve(5), reserved.reserve(5)];
        assert_eq!(tickets, [u32::MAX, 0, 1], "tickets wrap");
        assert!(reserved.fill(tickets[1], b"two".to_vec()));
        assert!(!reserved.fill(tickets[1], b"again".to_vec()));
        assert!(reserved.take().is_none() && reserved.is_blocked());
        assert!(reserved.fill(tickets[0], Vec::new()), "given up");
        assert_eq!(reserved.take(), Some(Vec::new()));
        assert_eq!(reserved.take(), Some(b"two".to_vec()));
        assert!(!reserved.fill(tickets[0], b"late".to_vec()));
        assert!(!reserved.fill(77, b"never reserved".to_vec()));
        assert_eq!(reserved.bytes(), 5 + ENTRY_BYTES);
        assert!(reserved.fill(tickets[2], b"three".to_vec()));
        assert!(reserved.take().is_some() && reserved.is_empty());
        assert_eq!(reserved.bytes(), 0);
    }
}

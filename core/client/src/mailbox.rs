//! Where the answers to a call are put and waited for.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::cancel::Abort;
use crate::clock;
use crate::error::ClientError;
use crate::options::StreamOverflow;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    pub(crate) items_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) overflow: StreamOverflow,
}

impl Capacity {
    /// Room for one answer.
    pub(crate) const ONE: Self =
        Self { items_max: 1, bytes_max: usize::MAX, overflow: StreamOverflow::Pause };
}

/// The answers to one call, and how it ended. One side puts, the other takes.
#[derive(Debug)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    changed: Condvar,
    capacity: Capacity,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Box<str>>,
    bytes: usize,
    dropped: u64,
    end: Option<Result<(), ClientError>>,
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Taken,
    /// There is no room; it was not put.
    Full,
    /// Nobody wants it.
    Unwanted,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Item(Box<str>),
    End(Result<(), ClientError>),
    /// Nothing until the deadline.
    Nothing,
}

impl Mailbox {
    pub(crate) fn new(capacity: Capacity) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), capacity }
    }

    pub(crate) fn put(&self, item: &str) -> Put {
        let mut state = self.lock();
        if state.end.is_some() {
            return Put::Unwanted;
        }
        while !state.items.is_empty() && !self.has_room(&state, item.len()) {
            if self.capacity.overflow == StreamOverflow::Pause {
                return Put::Full;
            }
            let oldest = state.items.pop_front().unwrap_or_default();
            state.bytes -= oldest.len();
            state.dropped += 1;
        }
        state.bytes += item.len();
        state.items.push_back(item.into());
        self.changed.notify_all();
        Put::Taken
    }

    /// The end, after what is here already. Says whether it is the first, which is the one that
    /// counts.
    pub(crate) fn end(&self, end: Result<(), ClientError>) -> bool {
        let mut state = self.lock();
        let is_first = state.end.is_none();
        state.end.get_or_insert(end);
        self.changed.notify_all();
        is_first
    }

    /// The end at once: what is here already is not wanted.
    pub(crate) fn abandon(&self, error: ClientError) {
        let mut state = self.lock();
        state.items = VecDeque::new();
        state.bytes = 0;
        state.end.get_or_insert(Err(error));
        self.changed.notify_all();
    }

    /// Waits for the next item or the end.
    pub(crate) fn take(&self, deadline: Option<Instant>) -> Found {
        let mut state = self.lock();
        loop {
            if let Some(item) = state.items.pop_front() {
                state.bytes -= item.len();
                self.changed.notify_all();
                return Found::Item(item);
            }
            if let Some(end) = &state.end {
                return Found::End(end.clone());
            }
            state = match deadline {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = clock::until(deadline);
                    if left.is_zero() {
                        return Found::Nothing;
                    }
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Waits until something has changed since it was full, but not for longer than `most`.
    pub(crate) fn wait_for_room(&self, bytes: usize, most: Duration) {
        let state = self.lock();
        let is_full = |state: &mut State| {
            state.end.is_none() && !state.items.is_empty() && !self.has_room(state, bytes)
        };
        drop(self.changed.wait_timeout_while(state, most, is_full));
    }

    /// How many items went because there was no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn has_room(&self, state: &State, bytes: usize) -> bool {
        state.items.len() < self.capacity.items_max
            && state.bytes.saturating_add(bytes) <= self.capacity.bytes_max
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Abort for Mailbox {
    fn abort(&self) {
        self.abandon(ClientError::Aborted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(overflow: StreamOverflow) -> Mailbox {
        Mailbox::new(Capacity { items_max: 2, bytes_max: 10, overflow })
    }

    fn item(text: &str) -> Found {
        Found::Item(text.into())
    }

    #[test]
    fn items_come_in_order_and_before_the_end() {
        let mailbox = stream(StreamOverflow::Pause);
        assert_eq!(mailbox.take(Some(clock::now())), Found::Nothing);
        assert_eq!((mailbox.put("a"), mailbox.put("b")), (Put::Taken, Put::Taken));
        mailbox.end(Ok(()));
        mailbox.end(Err(ClientError::Closed));
        assert_eq!(mailbox.put("c"), Put::Unwanted);
        assert_eq!((mailbox.take(None), mailbox.take(None)), (item("a"), item("b")));
        assert_eq!(mailbox.take(None), Found::End(Ok(())));
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let mailbox = stream(StreamOverflow::Pause);
        assert_eq!((mailbox.put("a"), mailbox.put("b"), mailbox.put("c")).2, Put::Full);
        assert_eq!(mailbox.take(None), item("a"));
        assert_eq!(mailbox.put("123456789."), Put::Full, "too many bytes");
        assert_eq!(mailbox.take(None), item("b"));
        assert_eq!(mailbox.put("longer than all the room"), Put::Taken, "it is alone");
    }

    #[test]
    fn the_oldest_go_if_they_may() {
        let mailbox = stream(StreamOverflow::DropOldest);
        for text in ["a", "b", "c", "d"] {
            assert_eq!(mailbox.put(text), Put::Taken);
        }
        assert_eq!((mailbox.dropped(), mailbox.take(None)), (2, item("c")));
    }

    #[test]
    fn what_is_abandoned_is_empty() {
        let mailbox = stream(StreamOverflow::Pause);
        mailbox.put("a");
        mailbox.abandon(ClientError::Aborted);
        assert_eq!(mailbox.take(None), Found::End(Err(ClientError::Aborted)));
    }

    #[test]
    fn who_waits_is_woken() {
        let mailbox = Mailbox::new(Capacity::ONE);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| (mailbox.take(None), mailbox.take(None)));
            mailbox.put("a");
            mailbox.wait_for_room(1, Duration::from_secs(10));
            assert_eq!(mailbox.put("b"), Put::Taken);
            assert_eq!(taker.join().unwrap(), (item("a"), item("b")));
        });
    }
}

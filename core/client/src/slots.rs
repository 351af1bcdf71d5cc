//! How many connections are being made at the same time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a connection that waits for its turn looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// Turns in connecting, to be shared by clients through
/// [`ClientOptions::reconnect_slots`](crate::ClientOptions::reconnect_slots): when a thousand of
/// them lose their server, they return a few at a time.
#[derive(Clone, Debug)]
pub struct ReconnectSlots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    free: Mutex<usize>,
    changed: Condvar,
}

/// A turn. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Shared>);

impl ReconnectSlots {
    /// As many turns at the same time; at least one.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Shared { free: Mutex::new(limit.max(1)), changed: Condvar::new() }))
    }

    /// Waits for a turn; `None` as soon as `is_unwanted` says so.
    pub(crate) fn acquire(&self, is_unwanted: impl Fn() -> bool) -> Option<Slot> {
        loop {
            if is_unwanted() {
                return None;
            }
            let mut free = self.0.lock();
            if *free == 0 {
                let waited = self.0.changed.wait_timeout(free, LOOK);
                free = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            if *free > 0 {
                *free -= 1;
                return Some(Slot(Arc::clone(&self.0)));
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.lock() += 1;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn turns_are_limited_and_return() {
        let slots = ReconnectSlots::new(2);
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _turn = slots.acquire(|| false).unwrap();
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 2);
    }

    #[test]
    fn who_is_unwanted_gives_up() {
        let slots = ReconnectSlots::new(0);
        let _turn = slots.acquire(|| false).unwrap();
        let looks = AtomicUsize::new(0);
        assert!(slots.acquire(|| looks.fetch_add(1, Ordering::SeqCst) == 2).is_none());
    }
}

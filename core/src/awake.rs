//! The flag that spares a system call: a shard that is awake will look at its mailbox anyway.
//!
//! The one shared-memory protocol of the server beside the channels. Checked with loom in
//! `tests/awake_loom.rs`: no order of steps leaves mail in a mailbox whose owner sleeps unwoken.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Whether a mailbox's owner is about to sleep.
#[derive(Debug, Default)]
pub(crate) struct AwakeFlag {
    sleeping: AtomicBool,
}

impl AwakeFlag {
    /// An owner that is awake.
    pub(crate) fn new() -> Self {
        Self { sleeping: AtomicBool::new(false) }
    }

    /// The owner: says that it is about to sleep. It must look at its mailbox once more *after*
    /// this and not sleep if something is there.
    pub(crate) fn about_to_sleep(&self) {
        self.sleeping.store(true, Ordering::SeqCst);
        // The look at the mailbox must not move before the store; pairs with the fence below.
        fence(Ordering::SeqCst);
    }

    /// The owner: says that it is awake.
    pub(crate) fn awake(&self) {
        // Whoever woke the owner has set it already.
        if self.sleeping.load(Ordering::Relaxed) {
            self.sleeping.store(false, Ordering::SeqCst);
        }
    }

    /// A poster, after its mail is in the mailbox: whether it has to wake the owner. Of several
    /// posters one is told to.
    #[must_use]
    pub(crate) fn must_wake(&self) -> bool {
        fence(Ordering::SeqCst);
        // A load first: while the owner is awake, posters do not fight for the cache line.
        // Not a swap: who loses the race must not write, or its `false` might pass for a later one.
        self.sleeping.load(Ordering::SeqCst)
            && self
                .sleeping
                .compare_exchange(true, false, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
    }
}

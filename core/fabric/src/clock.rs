//! The one place where this crate reads the time or sleeps.

#![expect(clippy::disallowed_methods, reason = "this is where they are allowed")]

use std::time::{Duration, Instant};

pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Blocks the calling thread: only the blocking [`Emitter`](crate::Emitter) may.
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

//! The one place where this crate reads the time.

#![expect(clippy::disallowed_methods, reason = "this is where it is allowed")]

use std::time::{Duration, Instant};

/// Monotonic time.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The moment `time` from now; `None` if that is beyond all clocks, so that nobody waits for it.
pub(crate) fn after(time: Duration) -> Option<Instant> {
    now().checked_add(time)
}

/// How long it is until `moment`; nothing if it has passed.
pub(crate) fn until(moment: Instant) -> Duration {
    moment.saturating_duration_since(now())
}

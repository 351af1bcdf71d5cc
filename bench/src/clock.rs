//! The one place that reads the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since the generator started; the same origin for all its threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts at 0 now.
    #[expect(clippy::disallowed_methods, reason = "this is the generator's clock")]
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Nanoseconds since the start.
    #[inline]
    pub(crate) fn now(self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Seconds since 1970, for the report.
#[expect(clippy::disallowed_methods, reason = "a report says when it was made")]
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

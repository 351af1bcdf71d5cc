//! The only place of this crate that reads a clock: ages of key sets, deadlines of callbacks.
//! Verification itself is handed its time.
use std::time::{Duration, Instant};

/// How long ago it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

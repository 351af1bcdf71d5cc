//! Time, and the only place that reads it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time since the clock was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

/// The unit of deadlines: 16 milliseconds since the clock was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u64);

/// Length of a [`Tick`].
pub const TICK: Duration = Duration::from_millis(16);

impl Time {
    /// The tick this moment lies in.
    pub fn tick(self) -> Tick {
        let ticks = self.0.as_nanos() / TICK.as_nanos();
        Tick(u64::try_from(ticks).unwrap_or(u64::MAX))
    }
}

impl Tick {
    /// The moment at which it begins.
    #[must_use]
    pub fn time(self) -> Duration {
        TICK.saturating_mul(u32::try_from(self.0).unwrap_or(u32::MAX))
    }

    /// Milliseconds from an earlier tick to this one.
    #[must_use]
    pub fn milliseconds_since(self, earlier: Self) -> u64 {
        let ticks = self.0.saturating_sub(earlier.0);
        ticks.saturating_mul(u64::try_from(TICK.as_millis()).unwrap_or(u64::MAX))
    }

    /// The first tick that lies wholly after `delay` from now on, so that nothing fires early.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        let ticks = delay.as_nanos().div_ceil(TICK.as_nanos());
        Self(self.0.saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX)).saturating_add(1))
    }
}

/// Where time comes from.
pub trait ReadClock: fmt::Debug + Send + 'static {
    /// Monotonic time.
    fn now(&self) -> Time;
    /// Wall clock, milliseconds since 1970.
    fn wall_milliseconds(&self) -> u64;
}

/// The system's clocks.
#[derive(Clone, Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// A clock that starts at zero now.
    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the clock")]
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl ReadClock for SystemClock {
    fn now(&self) -> Time {
        Time(self.0.elapsed())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the clock")]
    fn wall_milliseconds(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that a test moves. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct SimClock(Arc<AtomicU64>);

impl SimClock {
    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let nanoseconds = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_add(nanoseconds, Ordering::SeqCst);
    }
}

impl ReadClock for SimClock {
    fn now(&self) -> Time {
        Time(Duration::from_nanos(self.0.load(Ordering::SeqCst)))
    }

    fn wall_milliseconds(&self) -> u64 {
        1_700_000_000_000 + self.0.load(Ordering::SeqCst) / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early() {
        let clock = SimClock::default();
        for start in 0..40 {
            let now = Time(Duration::from_millis(start));
            let due = now.tick().after(Duration::from_millis(100));
            assert!(TICK * u32::try_from(due.0).unwrap() >= now.0 + Duration::from_millis(100));
        }
        clock.advance(Duration::from_millis(33));
        assert_eq!(clock.now().tick(), Tick(2));
    }
}

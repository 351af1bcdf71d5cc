//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// Doubles from `first` to `max`; each pause is drawn from its upper half, so that the nodes of a
/// cluster do not return all at once.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        let max = max.max(first);
        Self { first, max, next: first }
    }

    pub(crate) fn max(&self) -> Duration {
        self.max
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next pause, at most `max` and at least half of what is due; `random` is any number.
    pub(crate) fn pause(&mut self, random: u32) -> Duration {
        let due = self.next;
        self.next = due.saturating_mul(2).min(self.max);
        due / 2 + (due / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum_and_start_again_after_a_reset() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let longest: Vec<u128> = (0..7).map(|_| backoff.pause(u32::MAX).as_millis()).collect();
        assert_eq!(longest, [100, 200, 400, 800, 1600, 2000, 2000]);
        backoff.reset();
        assert_eq!(backoff.pause(0), Duration::from_millis(50));
        assert_eq!(backoff.pause(0), Duration::from_millis(100));
    }
}

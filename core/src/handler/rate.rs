//! Limits of how often a connection may call a route.
use std::{sync::Arc, time::Duration};

use fulmar_dialect::CallError;

use super::CallParts;
use crate::connection::Connection;

/// How often each connection may call a route. Calls beyond it are answered with code 429, `Rate
/// limit exceeded`, and in how many milliseconds there is room again (`retryAfter`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(Kind);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Window {
        calls: u32,
        per: Duration,
    },
    /// A bucket of `burst` tokens, one of which is made every so often.
    Bucket {
        burst: u32,
        every: Duration,
    },
}

impl Rate {
    /// So many calls in each window of this length; a window begins with its first call. Twice as
    /// many may come at the border of two windows.
    #[must_use]
    pub const fn window(calls: u32, per: Duration) -> Self {
        Self(Kind::Window { calls, per })
    }

    /// A bucket of `burst` tokens, full at first, of which every call takes one, and into which
    /// `per_second` tokens fall evenly. None fall if that is not above 0.
    #[must_use]
    pub fn bucket(burst: u32, per_second: f64) -> Self {
        let every = Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(Duration::MAX);
        Self(Kind::Bucket { burst, every: every.max(Duration::from_nanos(1)) })
    }

    /// Takes a call; how long to wait if there is no room for it.
    fn take(self, meter: &mut Meter, now: Duration) -> Result<(), Duration> {
        match self.0 {
            Kind::Window { calls, per } => {
                let since = meter.begun.filter(|begun| now.saturating_sub(*begun) < per);
                if since.is_none() {
                    *meter = Meter { begun: Some(now), calls: 0 };
                }
                let begun = since.unwrap_or(now);
                if meter.calls >= calls {
                    return Err(per.saturating_sub(now.saturating_sub(begun)));
                }
                meter.calls += 1;
                Ok(())
            }
            Kind::Bucket { burst, every } => {
                // `begun` is when the tokens that are missing began to be made.
                let begun = meter.begun.unwrap_or(now);
                let made = now.saturating_sub(begun).as_nanos() / every.as_nanos();
                let made = u32::try_from(made).unwrap_or(u32::MAX).min(meter.calls);
                meter.calls -= made;
                let begun = if meter.calls == 0 { now } else { begun + every * made };
                meter.begun = Some(begun);
                if meter.calls >= burst {
                    return Err((begun.saturating_add(every)).saturating_sub(now));
                }
                meter.calls += 1;
                Ok(())
            }
        }
    }
}

/// What one connection has used of one rate.
#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    begun: Option<Duration>,
    calls: u32,
}

/// A rate at its route.
#[derive(Debug)]
pub(super) struct Limiter(Arc<Rate>);

/// The meters of a connection, by their limiters' addresses, which stay.
#[derive(Debug, Default)]
struct Meters(Vec<(usize, Meter)>);

impl Limiter {
    pub(super) fn new(rate: Rate) -> Self {
        Self(Arc::new(rate))
    }

    /// Lets a call pass or not.
    pub(super) fn check<S>(&self, parts: &CallParts<'_, '_, S>) -> Result<(), CallError> {
        let meters = parts.connection()?;
        let meters = Connection::local::<Meters>(&meters).ok_or_else(CallError::closed)?;
        let mut meters = meters.lock()?;
        let name = Arc::as_ptr(&self.0).addr();
        let index = meters.0.iter().position(|(known, _)| *known == name);
        let index = index.unwrap_or_else(|| {
            meters.0.push((name, Meter::default()));
            meters.0.len() - 1
        });
        self.0.take(&mut meters.0[index].1, parts.at()).map_err(|wait| {
            let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            CallError::with_code(429, "Rate limit exceeded").field("retryAfter", wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the calls at these milliseconds pass.
    fn passed(rate: Rate, at: impl IntoIterator<Item = u64>) -> usize {
        let mut meter = Meter::default();
        let passes = |at: &u64| rate.take(&mut meter, Duration::from_millis(*at)).is_ok();
        at.into_iter().filter(passes).count()
    }

    #[test]
    fn a_window_takes_so_many_and_the_next_as_many_again() {
        let rate = Rate::window(100, Duration::from_secs(60));
        assert_eq!(passed(rate, 0..150), 100);
        assert_eq!(passed(rate, (0..150).chain(60_000..60_050)), 150);
        assert_eq!(passed(rate, (0..150).chain(59_999..60_000)), 100);
        let mut meter = Meter::default();
        let second = Duration::from_secs(1);
        assert!((0..100).all(|_| rate.take(&mut meter, second).is_ok()));
        assert_eq!(rate.take(&mut meter, 11 * second), Err(50 * second));
    }

    #[test]
    fn a_bucket_takes_a_burst_and_then_what_falls_into_it() {
        let rate = Rate::bucket(5, 10.0);
        assert_eq!(passed(rate, [0; 20]), 5);
        assert_eq!(passed(rate, (0..=1000).step_by(10)), 5 + 10);
        assert_eq!(passed(rate, [0, 0, 0, 0, 0, 0, 50, 100, 150, 200]), 7);
        assert_eq!(passed(rate, [[0; 10], [100_000; 10]].concat()), 10, "it does not overflow");
        let mut meter = Meter::default();
        let at = Duration::from_millis;
        assert!((0..5).all(|_| rate.take(&mut meter, at(0)).is_ok()));
        assert_eq!(rate.take(&mut meter, at(30)), Err(at(70)));
        for none in [0.0, -1.0, f64::NAN] {
            assert_eq!(passed(Rate::bucket(2, none), (0..1_000_000).step_by(1000)), 2, "{none}");
        }
        assert_eq!(passed(Rate::bucket(0, 1e30), 0..100), 0);
    }
}

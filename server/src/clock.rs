//! The wall clock, read here and nowhere else in this crate, and its RFC 3339 text form.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01T00:00:00Z; 0 where the clock stands before that.
#[expect(clippy::disallowed_methods, reason = "this is the clock of the binary")]
pub(crate) fn unix_milliseconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

/// A monotonic reading, for measuring how long something took.
#[expect(clippy::disallowed_methods, reason = "this is the clock of the binary")]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// Waits, for commands that have nothing else to do.
pub(crate) fn pause(time: std::time::Duration) {
    std::thread::park_timeout(time);
}

/// `2026-02-03T04:05:06.789Z`: RFC 3339, UTC, with milliseconds.
pub(crate) fn rfc3339(unix_milliseconds: u64) -> String {
    let seconds = unix_milliseconds / 1000;
    let (year, month, day) = civil_date(seconds / 86_400);
    let of_day = seconds % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60,
        unix_milliseconds % 1000
    )
}

/// The Gregorian date of a day number counted from 1970-01-01, by eras of 400 years that begin
/// on the first of March, so that the leap day is the last day of its year.
fn civil_date(days_since_1970: u64) -> (u64, u64, u64) {
    const DAYS_IN_ERA: u64 = 146_097;
    const DAYS_FROM_MARCH_0000_TO_1970: u64 = 719_468;
    let days = days_since_1970 + DAYS_FROM_MARCH_0000_TO_1970;
    let (era, day_of_era) = (days / DAYS_IN_ERA, days % DAYS_IN_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_known_moments() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_123), "2000-02-29T00:00:00.123Z");
        assert_eq!(rfc3339(1_709_251_199_999), "2024-02-29T23:59:59.999Z");
        assert_eq!(rfc3339(1_709_251_200_000), "2024-03-01T00:00:00.000Z");
        assert_eq!(rfc3339(4_102_444_800_000), "2100-01-01T00:00:00.000Z");
    }

    #[test]
    fn the_clock_stands_after_2020() {
        assert!(unix_milliseconds() > 1_577_836_800_000);
    }
}

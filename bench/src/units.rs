//! Numbers with units, as people write and read them.

use std::time::Duration;

/// Nanoseconds in a second.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// Parses a count such as `20`, `100k` or `1.5M` (powers of 1,000).
pub(crate) fn parse_count(text: &str) -> Result<u32, String> {
    let count = scaled(text, &[("k", 1e3), ("M", 1e6), ("", 1.0)])?;
    u32::try_from(whole(count)).map_err(|_| format!("`{text}` is too large"))
}

/// Parses a rate per second such as `500`, `50k` or `50k/s`; more than zero.
pub(crate) fn parse_rate(text: &str) -> Result<f64, String> {
    let bare = text.strip_suffix("/s").unwrap_or(text);
    let rate = scaled(bare, &[("k", 1e3), ("M", 1e6), ("", 1.0)])?;
    if rate > 0.0 { Ok(rate) } else { Err("a rate has to be more than 0".to_owned()) }
}

/// Parses a number of bytes such as `64`, `16k` or `1M` (powers of 1,024).
pub(crate) fn parse_bytes(text: &str) -> Result<usize, String> {
    let bytes = scaled(text, BYTES)?;
    usize::try_from(whole(bytes)).map_err(|_| format!("`{text}` is too large"))
}

/// Parses a time such as `10s`, `500ms` or `2m`; a bare number is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut units = TIMES.to_vec();
    units.extend([("h", 3.6e12), ("m", 6e10), ("", 1e9)]);
    // Longest suffix first, or `5ms` would be read with the suffix `s`.
    units.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
    Ok(Duration::from_nanos(whole(scaled(text, &units)?)))
}

/// Units of time, in nanoseconds.
pub(crate) const TIMES: &[(&str, f64)] =
    &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];

/// Units of bytes; a bare `k` means 1,024.
pub(crate) const BYTES: &[(&str, f64)] = &[
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("k", 1024.0),
    ("M", 1_048_576.0),
    ("B", 1.0),
    ("", 1.0),
];

/// Parses a non-negative number followed by the first unit that fits, and multiplies.
pub(crate) fn scaled(text: &str, units: &[(&str, f64)]) -> Result<f64, String> {
    let text = text.trim();
    for (suffix, factor) in units {
        let Some(number) = text.strip_suffix(suffix) else {
            continue;
        };
        if let Ok(number) = number.trim().replace('_', "").parse::<f64>()
            && number.is_finite()
            && number >= 0.0
        {
            return Ok(number * factor);
        }
    }
    Err(format!("`{text}` is not a number with a known unit"))
}

/// A non-negative float as a whole number.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what is wanted")]
#[expect(clippy::cast_sign_loss, reason = "`as` turns negative numbers into 0")]
pub(crate) fn whole(number: f64) -> u64 {
    number.round() as u64
}

/// A whole number as a float; exact up to 2^53.
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// `part / whole`, or 0 of nothing.
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { float(part) / float(whole) }
}

/// Nanoseconds of a duration.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A time for people: `850ns`, `12.3µs`, `4.56ms`, `1.20s`.
pub(crate) fn show_time(nanoseconds: u64) -> String {
    let value = float(nanoseconds);
    match nanoseconds {
        0..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => format!("{:.1}µs", value / 1e3),
        1_000_000..SECOND => format!("{:.2}ms", value / 1e6),
        _ => format!("{:.2}s", value / 1e9),
    }
}

/// A rate or count for people: `950`, `48.9k`, `3.21M`.
pub(crate) fn show_rate(value: f64) -> String {
    if value < 1e3 {
        format!("{value:.0}")
    } else if value < 1e6 {
        format!("{:.1}k", value / 1e3)
    } else {
        format!("{:.2}M", value / 1e6)
    }
}

/// A whole number with commas: `1,234,567`.
pub(crate) fn show_count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes for people: `512 B`, `4.1 KiB`, `41.0 MiB`.
pub(crate) fn show_bytes(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "" };
    let value = float(bytes.unsigned_abs());
    if value < 1024.0 {
        format!("{sign}{value:.0} B")
    } else if value < 1_048_576.0 {
        format!("{sign}{:.1} KiB", value / 1024.0)
    } else {
        format!("{sign}{:.1} MiB", value / 1_048_576.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_with_units() {
        assert_eq!(parse_count("100k"), Ok(100_000));
        assert_eq!(parse_count("1_000"), Ok(1_000));
        assert_eq!(parse_rate("1.5k/s"), Ok(1_500.0));
        assert_eq!(parse_bytes("16k"), Ok(16_384));
        assert_eq!(parse_bytes("2MiB"), Ok(2_097_152));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("10"), Ok(Duration::from_secs(10)));
    }

    #[test]
    fn refuses_what_is_no_number() {
        assert!(parse_count("many").is_err());
        assert!(parse_count("-1").is_err());
        assert!(parse_count("9999M").is_err());
        assert!(parse_rate("0").is_err());
        assert!(parse_duration("5 parsecs").is_err());
        assert!(parse_bytes("NaN").is_err());
    }

    #[test]
    fn shows_numbers_for_people() {
        assert_eq!(show_time(850), "850ns");
        assert_eq!(show_time(12_300), "12.3µs");
        assert_eq!(show_count(1_234_567), "1,234,567");
        assert_eq!(show_count(123), "123");
        assert_eq!(show_rate(48_900.0), "48.9k");
        assert_eq!(show_bytes(-4_198), "-4.1 KiB");
    }
}

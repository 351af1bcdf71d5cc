//! How bytes and dates are written as text.
use std::ops::Range;

use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};

/// Bytes as base64 (RFC 4648, 4), with or without `=` at the end.
#[must_use]
pub fn base64(bytes: &[u8], padded: bool) -> String {
    let mut text = STANDARD.encode(bytes);
    if !padded {
        text.truncate(text.trim_end_matches('=').len());
    }
    text
}

/// Bytes from base64; padding is optional, as JavaScript clients leave it away.
#[must_use]
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// A date as JavaScript's `toISOString` writes it: `2026-11-21T07:53:43.901Z`. `Invalid Date` for
/// what is none.
#[must_use]
pub fn iso(milliseconds: f64) -> String {
    // The range of JavaScript's dates.
    if milliseconds.is_nan() || milliseconds.abs() > 8.64e15 {
        return "Invalid Date".to_owned();
    }
    #[expect(clippy::cast_possible_truncation, reason = "in range; a fraction is dropped")]
    let milliseconds = milliseconds as i64;
    let (days, rest) = (milliseconds.div_euclid(DAY), milliseconds.rem_euclid(DAY));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, fraction) = (rest / 1000 % 60, rest % 1000);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{}{:06}", if year < 0 { '-' } else { '+' }, year.abs()),
    };
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z")
}

/// Milliseconds since 1970 from ISO text with a four-digit year: a date, or a date and a time in
/// UTC with optional seconds and fraction.
#[must_use]
pub fn from_iso(text: &str) -> Option<f64> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let days = days_from_text(date)?;
    let within = match time {
        Some(time) => milliseconds_from_text(time.strip_suffix('Z').unwrap_or(time))?,
        None => 0,
    };
    #[expect(clippy::cast_precision_loss, reason = "years of four digits are exact")]
    Some((days * DAY + within) as f64)
}

fn days_from_text(date: &str) -> Option<i64> {
    let bytes = date.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (year, month, day) = (number(date, 0..4)?, number(date, 5..7)?, number(date, 8..10)?);
    ((1..=12).contains(&month) && (1..=31).contains(&day))
        .then(|| days_from_civil(year, month, day))
}

/// `07:53`, `07:53:43` or `07:53:43.901`.
fn milliseconds_from_text(time: &str) -> Option<i64> {
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let bytes = clock.as_bytes();
    if !matches!(bytes.len(), 5 | 8) || bytes[2] != b':' || bytes.get(5).is_some_and(|b| *b != b':')
    {
        return None;
    }
    let second = if bytes.len() == 8 { number(clock, 6..8)? } else { 0 };
    let (hour, minute) = (number(clock, 0..2)?, number(clock, 3..5)?);
    if hour > 24 || minute > 59 || second > 59 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Three digits count; shorter fractions are filled up.
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    Some(hour * 3_600_000 + minute * 60_000 + second * 1000 + digits.parse::<i64>().ok()?)
}

fn number(text: &str, range: Range<usize>) -> Option<i64> {
    let digits = text.get(range)?;
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Howard Hinnant's `civil_from_days`: year, month and day of a day number.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

const DAY: i64 = 86_400_000;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_dates() {
        assert_eq!(iso(1_795_247_623_901.0), "2026-11-21T07:53:43.901Z");
        for milliseconds in
            [0.0, -1.0, 951_782_400_000.0, 1_795_247_623_901.0, -62_135_596_800_000.0]
        {
            assert_eq!(from_iso(&iso(milliseconds)), Some(milliseconds));
        }
        assert_eq!(iso(f64::NAN), "Invalid Date");
        assert_eq!(iso(f64::INFINITY), "Invalid Date");
        assert_eq!(iso(253_402_300_800_000.0), "+010000-01-01T00:00:00.000Z");
        assert_eq!(from_iso("1970-01-02"), Some(86_400_000.0));
        assert_eq!(from_iso("1970-01-01T00:01Z"), Some(60_000.0));
        assert_eq!(from_iso("1970-01-01T00:00:01.5Z"), Some(1500.0));
    }

    #[test]
    fn refuses_what_is_no_date() {
        let wrong = [
            "",
            "Invalid Date",
            "1970-13-01",
            "1970-01-00",
            "1970-01-01T",
            "1970/01/01",
            "1970-01-01T00:00:0",
            "1970-01-01T00:00:00.+1",
            "+970-01-01",
            "é970-01-01",
            "1970-01-01Té0:00",
        ];
        for text in wrong {
            assert_eq!(from_iso(text), None, "{text}");
        }
    }

    #[test]
    fn base64_needs_no_padding() {
        assert_eq!(base64(&[1], true), "AQ==");
        assert_eq!(base64(&[1], false), "AQ");
        assert_eq!(from_base64("AQ"), Some(vec![1]));
        assert_eq!(from_base64("AQ=="), Some(vec![1]));
        assert_eq!(from_base64("!"), None);
    }
}

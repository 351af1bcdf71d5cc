//! Durations (`30s`), sizes (`1MiB`) and addresses (`127.0.0.1:9000`) as people type them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Reads `500ms`, `30s`, `2m`, `1h` or a sum such as `1m30s`.
///
/// # Errors
/// What would be accepted, for the end of a message.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "expected a duration such as 500ms, 30s, 2m or 1h";
    let mut rest = text;
    let mut total = 0u64;
    if rest.is_empty() {
        return Err(EXPECTED);
    }
    while !rest.is_empty() {
        let (number, after) = leading_number(rest).ok_or(EXPECTED)?;
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, remaining) = after.split_at(letters);
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "" => return Err("a duration needs a unit: ms, s, m or h, such as 30s"),
            _ => return Err(EXPECTED),
        };
        let part = number.checked_mul(milliseconds).ok_or("this duration is too long")?;
        total = total.checked_add(part).ok_or("this duration is too long")?;
        rest = remaining;
    }
    Ok(Duration::from_millis(total))
}

/// Reads `100/60s`: so many of something in so much time.
///
/// # Errors
/// What would be accepted, for the end of a message.
pub(crate) fn parse_rate(text: &str) -> Result<(u32, Duration), &'static str> {
    const EXPECTED: &str = "expected a number of calls and a time, such as 100/60s";
    let (count, time) = text.split_once('/').ok_or(EXPECTED)?;
    let count = count.trim().parse().map_err(|_| EXPECTED)?;
    let time = parse_duration(time.trim())?;
    if count == 0 || time.is_zero() || time > Duration::from_hours(24) {
        return Err("expected at least one call, in 1ms to 24h");
    }
    Ok((count, time))
}

/// Reads `1024`, `64B`, `128KiB`, `1MiB`, `1GiB`, `64KB`, `1MB` or `1GB`, in bytes.
///
/// # Errors
/// What would be accepted, for the end of a message.
pub(crate) fn parse_size(text: &str) -> Result<u64, &'static str> {
    const EXPECTED: &str = "expected a size such as 4096, 128KiB or 1MiB";
    let (number, unit) = leading_number(text).ok_or(EXPECTED)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "k" | "K" | "m" | "M" | "g" | "G" => {
            return Err("this unit is ambiguous: write KiB, MiB or GiB");
        }
        _ => return Err(EXPECTED),
    };
    number.checked_mul(factor).ok_or("this size is too large")
}

/// Reads `127.0.0.1:9000`, `[::1]:9000`, `localhost:9000` or `:9000` (every IPv4 address).
///
/// # Errors
/// What would be accepted, for the end of a message.
pub(crate) fn parse_address(text: &str) -> Result<SocketAddr, &'static str> {
    const EXPECTED: &str = "expected an address and a port such as 127.0.0.1:9000, [::1]:9000, \
                            localhost:9000 or :9000";
    let with_host = |port: &str, host| {
        port.parse().map(|port| SocketAddr::new(host, port)).map_err(|_| EXPECTED)
    };
    if let Some(port) = text.strip_prefix("localhost:") {
        return with_host(port, Ipv4Addr::LOCALHOST.into());
    }
    match text.strip_prefix(':') {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            with_host(port, Ipv4Addr::UNSPECIFIED.into())
        }
        _ => text.parse().map_err(|_| EXPECTED),
    }
}

/// A duration in the shortest form that [`parse_duration`] reads back.
pub(crate) fn show_duration(duration: Duration) -> String {
    match u64::try_from(duration.as_millis()).unwrap_or(u64::MAX) {
        0 => "0s".to_owned(),
        total if total % 3_600_000 == 0 => format!("{}h", total / 3_600_000),
        total if total % 60_000 == 0 => format!("{}m", total / 60_000),
        total if total % 1000 == 0 => format!("{}s", total / 1000),
        total => format!("{total}ms"),
    }
}

/// A size in the largest whole binary unit.
pub(crate) fn show_size(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{}GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => bytes.to_string(),
    }
}

/// A number with thousands separators, for people: `1,048,576`.
pub(crate) fn show_count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        let milliseconds = |text| parse_duration(text).map(|duration| duration.as_millis());
        assert_eq!(milliseconds("500ms"), Ok(500));
        assert_eq!(milliseconds("30s"), Ok(30_000));
        assert_eq!(milliseconds("2m"), Ok(120_000));
        assert_eq!(milliseconds("1h"), Ok(3_600_000));
        assert_eq!(milliseconds("1m30s"), Ok(90_000));
        assert_eq!(milliseconds("0s"), Ok(0));
    }

    #[test]
    fn refuses_what_is_not_a_duration() {
        for text in ["", "30", "s", "1.5s", "-1s", "3 s", "1d", "30seconds", "1h30", "é"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("18446744073709551615h").is_err());
        assert!(parse_duration("99999999999999999999s").is_err());
        assert!(parse_duration("30").unwrap_err().contains("needs a unit"));
    }

    #[test]
    fn reads_sizes_in_binary_and_decimal_units() {
        assert_eq!(parse_size("1024"), Ok(1024));
        assert_eq!(parse_size("128KiB"), Ok(131_072));
        assert_eq!(parse_size("1MiB"), Ok(1_048_576));
        assert_eq!(parse_size("64KB"), Ok(64_000));
        assert_eq!(parse_size("2GiB"), Ok(2_147_483_648));
        for text in ["", "KiB", "1.5MiB", "-1", "1 MiB", "1mib", "1TiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert!(parse_size("64K").unwrap_err().contains("ambiguous"));
        assert!(parse_size("18446744073709551615KiB").is_err());
    }

    #[test]
    fn reads_addresses() {
        let shown = |text| parse_address(text).map(|address| address.to_string());
        assert_eq!(shown("127.0.0.1:9000").unwrap(), "127.0.0.1:9000");
        assert_eq!(shown("[::1]:0").unwrap(), "[::1]:0");
        assert_eq!(shown("localhost:80").unwrap(), "127.0.0.1:80");
        assert_eq!(shown(":8443").unwrap(), "0.0.0.0:8443");
        for text in ["", ":", "9000", "127.0.0.1", "::1", "127.0.0.1:70000", "host:1", ":+1"] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shows_what_it_reads() {
        for text in ["0s", "500ms", "30s", "2m", "1h"] {
            assert_eq!(show_duration(parse_duration(text).unwrap()), text);
        }
        for text in ["0", "1000", "128KiB", "1MiB", "3GiB"] {
            assert_eq!(show_size(parse_size(text).unwrap()), text);
        }
        assert_eq!(show_count(999), "999");
        assert_eq!(show_count(1_048_576), "1,048,576");
    }
}

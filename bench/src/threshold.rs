//! Conditions on the result, such as `p99<5ms`, that turn a run into a test.

use std::fmt;
use std::str::FromStr;

use crate::units::{BYTES, TIMES, scaled};

/// A parsed condition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Threshold {
    /// As it was written.
    pub(crate) text: String,
    /// What is compared; see [`METRICS`].
    pub(crate) metric: String,
    comparison: Comparison,
    /// The limit in the unit of the metric: nanoseconds, bytes, messages or per second.
    limit: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    Equal,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Time,
    Bytes,
    Number,
    Share,
}

/// Percentiles; alone they are of the first latency series, or `SERIES.p99` of another.
const PERCENTILES: &[&str] = &["p50", "p75", "p90", "p99", "p99.9", "p99.99", "max", "mean"];

/// The other metrics, with their units.
const METRICS: &[(&str, Unit)] = &[
    ("rate", Unit::Number),
    ("cpu_per_message", Unit::Time),
    ("rss_growth", Unit::Bytes),
    ("bytes_per_connection", Unit::Bytes),
    ("lost", Unit::Number),
    ("duplicated", Unit::Number),
    ("out_of_order", Unit::Number),
    ("misdelivered", Unit::Number),
    ("errors", Unit::Number),
    ("behind", Unit::Share),
];

impl Threshold {
    /// Whether `value` meets it.
    pub(crate) fn is_met_by(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::Less => value < self.limit,
            Comparison::LessOrEqual => value <= self.limit,
            Comparison::More => value > self.limit,
            Comparison::MoreOrEqual => value >= self.limit,
            Comparison::Equal => (value - self.limit).abs() < f64::EPSILON,
        }
    }

    /// Whether it needs to know the process of the server.
    pub(crate) fn needs_pid(&self) -> bool {
        ["cpu_per_message", "rss_growth", "bytes_per_connection"].contains(&self.metric.as_str())
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let operators = [
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::MoreOrEqual),
            ("==", Comparison::Equal),
            ("<", Comparison::Less),
            (">", Comparison::More),
            ("=", Comparison::Equal),
        ];
        let (metric, comparison, limit) = operators
            .into_iter()
            .find_map(|(sign, comparison)| {
                text.split_once(sign).map(|(metric, limit)| (metric.trim(), comparison, limit))
            })
            .ok_or("expected METRIC<LIMIT, with one of < <= > >= =")?;
        let limit = match unit(metric)? {
            Unit::Time => scaled(limit, TIMES)
                .map_err(|_| format!("`{limit}` needs a unit: ns, us, ms or s"))?,
            Unit::Bytes => scaled(limit, BYTES)?,
            Unit::Number => {
                let bare = limit.trim().trim_end_matches("/s");
                scaled(bare, &[("k", 1e3), ("M", 1e6), ("", 1.0)])?
            }
            Unit::Share => scaled(limit, &[("%", 0.01), ("", 1.0)])?,
        };
        Ok(Self { text: text.to_owned(), metric: metric.to_owned(), comparison, limit })
    }
}

fn unit(metric: &str) -> Result<Unit, String> {
    if let Some((_, unit)) = METRICS.iter().find(|(name, _)| *name == metric) {
        return Ok(*unit);
    }
    if PERCENTILES.contains(&metric) || split_series(metric).is_some() {
        return Ok(Unit::Time);
    }
    let mut known = PERCENTILES.to_vec();
    known.extend(METRICS.iter().map(|(name, _)| *name));
    Err(format!("unknown metric `{metric}`; known: {}, or SERIES.p99", known.join(", ")))
}

/// Splits `service.p99.9` into the series and the percentile.
pub(crate) fn split_series(metric: &str) -> Option<(&str, &str)> {
    let (series, percentile) = metric.split_once('.')?;
    (!PERCENTILES.contains(&metric) && PERCENTILES.contains(&percentile))
        .then_some((series, percentile))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Threshold {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn compares_in_the_unit_of_the_metric() {
        assert!(parse("p99<5ms").is_met_by(4_999_999.0));
        assert!(!parse("p99<5ms").is_met_by(5_000_000.0));
        assert!(parse("p99.9<=200us").is_met_by(200_000.0));
        assert!(parse("cpu_per_message<500ns").is_met_by(499.0));
        assert!(parse("lost=0").is_met_by(0.0));
        assert!(!parse("lost = 0").is_met_by(1.0));
        assert!(parse("rate>100k/s").is_met_by(100_001.0));
        assert!(parse("bytes_per_connection<2KiB").is_met_by(2_047.0));
        assert!(parse("behind<1%").is_met_by(0.009));
        assert!(parse("service.p99.9>=1s").is_met_by(1e9));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for text in ["p98<5ms", "p99<5", "p99", "speed>1", "lost=none", "p99.9.9<1s", ".p9<1s"] {
            assert!(text.parse::<Threshold>().is_err(), "{text}");
        }
    }

    #[test]
    fn knows_what_needs_the_process_of_the_server() {
        assert!(parse("cpu_per_message<1us").needs_pid());
        assert!(!parse("p99<1us").needs_pid());
    }

    #[test]
    fn splits_the_series_from_the_percentile() {
        assert_eq!(split_series("service.p99.9"), Some(("service", "p99.9")));
        assert_eq!(split_series("p99.9"), None);
    }
}

//! The same latency with and without something, side by side.

use serde::Serialize;

use super::Latency;

/// The series measured with what is in question, and without.
const SERIES: (&str, &str) = ("response", "alone");

/// One percentile of both, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Comparison {
    /// Which percentile.
    pub(crate) percentile: &'static str,
    /// Its value without.
    pub(crate) alone: u64,
    /// Its value with.
    pub(crate) beside: u64,
    /// How much that is more, or less if negative.
    pub(crate) difference: i64,
}

/// Compares the two phases of a run; empty if it had only one.
pub(super) fn compare(latency: &[Latency]) -> Vec<Comparison> {
    let find = |name| latency.iter().find(|latency| latency.name == name && latency.count > 0);
    let Some((beside, alone)) = find(SERIES.0).zip(find(SERIES.1)) else {
        return Vec::new();
    };
    let row = |percentile, alone: u64, beside: u64| Comparison {
        percentile,
        alone,
        beside,
        difference: beside.cast_signed() - alone.cast_signed(),
    };
    vec![
        row("p50", alone.p50, beside.p50),
        row("p90", alone.p90, beside.p90),
        row("p99", alone.p99, beside.p99),
        row("p99.9", alone.p99_9, beside.p99_9),
        row("max", alone.max, beside.max),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::latency;
    use super::*;
    use crate::measure::Series;

    fn series(name: &str, value: u64) -> Latency {
        let mut series = Series::new(name);
        series.record(value);
        series.settle();
        latency(&series)
    }

    #[test]
    fn two_phases_are_compared_and_one_is_not() {
        let response = series("response", 300);
        assert!(compare(std::slice::from_ref(&response)).is_empty());
        assert!(compare(&[response.clone(), latency(&Series::new("alone"))]).is_empty());
        let rows = compare(&[response, series("service", 1), series("alone", 500)]);
        let p50 = Comparison { percentile: "p50", alone: 500, beside: 300, difference: -200 };
        assert_eq!((rows.len(), &rows[0]), (5, &p50));
    }
}

//! A latency distribution in twelve rows of equal ratio.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::units::{float, whole};

/// Rows shown.
pub(super) const ROWS: u32 = 12;

/// Values above `from` up to `to`, in nanoseconds; the first row includes its beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// Lower bound.
    pub(crate) from: u64,
    /// Upper bound.
    pub(crate) to: u64,
    /// How many values.
    pub(crate) count: u64,
}

/// Cuts the span from the least to the greatest value into rows.
pub(super) fn rows(histogram: &Histogram<u64>) -> Vec<Row> {
    if histogram.is_empty() {
        return Vec::new();
    }
    let (least, most) = (histogram.min().max(1), histogram.max().max(1));
    let ratio = (float(most) / float(least)).max(1.0).powf(1.0 / f64::from(ROWS));
    let bound = |row: u32| whole(float(least) * ratio.powf(f64::from(row)));
    let mut rows: Vec<Row> = (0..ROWS)
        .map(|row| Row { from: bound(row), to: bound(row + 1), count: 0 })
        .filter(|row| row.from < row.to || least == most)
        .collect();
    rows.truncate(if least == most { 1 } else { rows.len() });
    for value in histogram.iter_recorded() {
        let at = rows.partition_point(|row| row.to < value.value_iterated_to());
        // The greatest value may lie above the last bound by rounding.
        let last = rows.len().saturating_sub(1);
        if let Some(row) = rows.get_mut(at.min(last)) {
            row.count += value.count_at_value();
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_row() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        for value in 1..=50_000_u64 {
            histogram.record(value * 37).unwrap();
        }
        let rows = rows(&histogram);
        assert_eq!(rows.len(), 12);
        assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), 50_000);
        assert!(rows.windows(2).all(|pair| pair[0].to == pair[1].from));
    }

    #[test]
    fn one_value_is_one_row() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        assert!(rows(&histogram).is_empty());
        histogram.record(500).unwrap();
        assert_eq!(rows(&histogram), [Row { from: 500, to: 500, count: 1 }]);
    }
}

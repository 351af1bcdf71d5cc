//! What a run adds up: latencies, errors, deliveries.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency told apart, in nanoseconds; longer ones count as this.
const LATENCY_MAX: u64 = 600_000_000_000;

/// A named histogram of nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// What was measured, such as `response`.
    pub(crate) name: String,
    /// The values, to three digits.
    pub(crate) histogram: Histogram<u64>,
    /// A value seen in succession and not recorded yet: replies that come in one read often share
    /// their latency, and recording a run costs as much as recording one.
    run: (u64, u64),
}

impl Series {
    /// An empty series.
    pub(crate) fn new(name: &str) -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MAX, 3)
            .expect("the bounds are constants that a histogram accepts");
        Self { name: name.to_owned(), histogram, run: (0, 0) }
    }

    /// Adds one value in nanoseconds.
    #[inline]
    pub(crate) fn record(&mut self, value: u64) {
        if value == self.run.0 {
            self.run.1 += 1;
        } else {
            self.settle();
            self.run = (value, 1);
        }
    }

    /// Puts the last run into the histogram; call it before reading.
    pub(crate) fn settle(&mut self) {
        if self.run.1 > 0 {
            self.histogram.saturating_record_n(self.run.0, self.run.1);
            self.run = (0, 0);
        }
    }

    /// Adds everything of `other`.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.settle();
        other.settle();
        self.histogram.add(&other.histogram).expect("all series have the same bounds");
    }
}

/// Errors by kind, each with the first example.
#[derive(Clone, Debug, Default)]
pub(crate) struct ErrorLog(BTreeMap<&'static str, (u64, String)>);

/// One kind of error in a report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ErrorLine {
    /// A stable word.
    pub(crate) kind: &'static str,
    /// How often it happened.
    pub(crate) count: u64,
    /// The first one in words.
    pub(crate) example: String,
}

impl ErrorLog {
    /// Counts an error; the example is only built for the first of its kind.
    pub(crate) fn add(&mut self, kind: &'static str, example: impl FnOnce() -> String) {
        self.0.entry(kind).or_insert_with(|| (0, example())).0 += 1;
    }

    /// Adds everything of `other`.
    pub(crate) fn merge(&mut self, other: Self) {
        for (kind, (count, example)) in other.0 {
            self.0.entry(kind).or_insert((0, example)).0 += count;
        }
    }

    /// Errors of all kinds.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().map(|(count, _)| count).sum()
    }

    /// The kinds in alphabetical order.
    pub(crate) fn lines(&self) -> Vec<ErrorLine> {
        let line = |(kind, (count, example)): (&&'static str, &(u64, String))| ErrorLine {
            kind,
            count: *count,
            example: example.clone(),
        };
        self.0.iter().map(line).collect()
    }
}

/// What became of the messages, from the first to the last of a run, warm-up included.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Delivery {
    /// Messages sent to the server.
    pub(crate) published: u64,
    /// Copies that should have come back.
    pub(crate) expected: u64,
    /// Copies that came back, each counted once.
    pub(crate) delivered: u64,
    /// Copies that never came.
    pub(crate) lost: u64,
    /// Copies that came again.
    pub(crate) duplicated: u64,
    /// Copies that came after a later message.
    pub(crate) out_of_order: u64,
    /// Copies that came to a member of another room.
    pub(crate) misdelivered: u64,
    /// Messages that are not ours, such as greetings.
    pub(crate) foreign: u64,
    /// Copies that came to a publisher and were not expected there.
    pub(crate) to_publishers: u64,
    /// Open loop: messages that were due but never sent, as the server did not keep up.
    pub(crate) unsent: u64,
}

impl Delivery {
    /// Adds everything of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.published += other.published;
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.misdelivered += other.misdelivered;
        self.foreign += other.foreign;
        self.to_publishers += other.to_publishers;
        self.unsent += other.unsent;
    }
}

/// Sums that only grow; two readings give a rate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Messages that count for the rate: echoes, deliveries, handshakes.
    pub(crate) messages: u64,
    /// Bytes of their payloads.
    pub(crate) bytes: u64,
    /// Messages sent.
    pub(crate) sent: u64,
    /// Open loop: messages sent more than [`BEHIND_AFTER`] late by the generator's own fault.
    pub(crate) behind: u64,
}

/// Lateness from which a message counts as behind, in nanoseconds.
pub(crate) const BEHIND_AFTER: u64 = 1_000_000;

impl Counts {
    /// What was added since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            messages: self.messages - earlier.messages,
            bytes: self.bytes - earlier.bytes,
            sent: self.sent - earlier.sent,
            behind: self.behind - earlier.behind,
        }
    }

    /// Adds everything of `other`.
    pub(crate) fn merge(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.sent += other.sent;
        self.behind += other.behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_value_are_recorded_in_full() {
        let mut series = Series::new("response");
        for value in [5, 5, 5, 9, 5] {
            series.record(value);
        }
        let mut other = Series::new("response");
        other.record(9);
        series.merge(other);
        assert_eq!(series.histogram.len(), 6);
        assert_eq!(series.histogram.count_at(5), 4);
        assert_eq!(series.histogram.count_at(9), 2);
    }

    #[test]
    fn the_first_error_of_a_kind_is_the_example() {
        let mut log = ErrorLog::default();
        log.add("reset", || "first".to_owned());
        log.add("reset", || "second".to_owned());
        let mut other = ErrorLog::default();
        other.add("reset", || "third".to_owned());
        log.merge(other);
        assert_eq!((log.total(), log.lines()[0].example.as_str()), (3, "first"));
    }
}

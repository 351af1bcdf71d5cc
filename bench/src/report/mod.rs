//! The result of a run as data; [`text`] and [`json`] show it.

mod comparison;
mod histogram;
pub(crate) mod json;
pub(crate) mod text;

use std::fs;

use serde::Serialize;

use self::comparison::Comparison;
use self::histogram::Row;
use crate::clock::unix_seconds;
use crate::measure::{Delivery, ErrorLine, Series};
use crate::scenario::{Context, Outcome};
use crate::server_usage::{Sample, open_files_max};
use crate::threshold::{Threshold, split_series};
use crate::units::{SECOND, float, share};

/// Version of the JSON form. A field may be added under the same number; a change of meaning or a
/// removal takes a new one.
pub(crate) const SCHEMA: &str = "fulmar-bench/1";

/// Share of messages sent late above which an open loop does not count.
const BEHIND_MAX: f64 = 0.01;
/// Share of time without anything to do below which a closed loop may be bound by the generator.
const IDLE_MIN: f64 = 0.05;
/// CPUs a server uses at least when it, not the generator, is the limit.
const SERVER_BUSY_MIN: f64 = 0.9;

/// What was run and on what. Sizes in bytes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Setup {
    /// The scenario's name.
    pub(crate) scenario: String,
    /// The command line.
    pub(crate) command: String,
    /// Connections opened.
    pub(crate) connections: u64,
    /// Threads of the generator.
    pub(crate) threads: u32,
    /// Length of the measured window in seconds.
    pub(crate) duration_seconds: f64,
    /// Length of the warm-up in seconds.
    pub(crate) warmup_seconds: f64,
    /// Whether messages left on a schedule instead of after replies.
    pub(crate) open_loop: bool,
    /// Version of this program.
    pub(crate) version: &'static str,
    /// The kernel.
    pub(crate) kernel: String,
    /// Name of the CPU.
    pub(crate) cpu: String,
    /// CPUs this process may use.
    pub(crate) cpus: usize,
    /// How many files this process may have open.
    pub(crate) open_files_max: Option<u64>,
    /// When the report was made, seconds since 1970.
    pub(crate) at: u64,
}

/// Rates over the measured window.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Throughput {
    /// What is counted: echoes, deliveries, handshakes, connections.
    pub(crate) unit: &'static str,
    /// How many.
    pub(crate) messages: u64,
    /// Messages sent.
    pub(crate) sent: u64,
    /// Seconds they took.
    pub(crate) seconds: f64,
    /// Messages per second.
    pub(crate) per_second: f64,
    /// Bytes of payload per second.
    pub(crate) bytes_per_second: f64,
}

/// One latency series, in nanoseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Latency {
    /// What was measured.
    pub(crate) name: String,
    /// How many values.
    pub(crate) count: u64,
    /// Mean.
    pub(crate) mean: f64,
    /// Percentiles and the maximum, by name.
    pub(crate) p50: u64,
    pub(crate) p75: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    #[serde(rename = "p99.9")]
    pub(crate) p99_9: u64,
    #[serde(rename = "p99.99")]
    pub(crate) p99_99: u64,
    pub(crate) max: u64,
}

/// The server over the measured window. Times in nanoseconds, memory in bytes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Server {
    /// CPU time, all threads and the soft interrupt thread if watched.
    pub(crate) cpu: u64,
    /// The part of the soft interrupt thread.
    pub(crate) softirq: Option<u64>,
    /// CPUs used on average.
    pub(crate) cpus_used: f64,
    /// CPU time per message, if there were any.
    pub(crate) cpu_per_message: Option<f64>,
    /// Resident memory at the end.
    pub(crate) rss: u64,
    /// Its growth over the window.
    pub(crate) rss_growth: i64,
}

/// Memory per connection, in bytes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Memory {
    /// What state the connections were in.
    pub(crate) name: &'static str,
    /// How many they were.
    pub(crate) connections: u64,
    /// Growth of the server's resident memory.
    pub(crate) growth: i64,
    /// The same for each connection.
    pub(crate) bytes_per_connection: f64,
}

/// How busy the generator was.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Generator {
    /// CPUs used on average over all threads, as a share of one per thread.
    pub(crate) cpu_share: f64,
    /// Share of time it was kept waiting for a CPU by others.
    pub(crate) waited_share: f64,
    /// Share of time in which there was nothing to do.
    pub(crate) idle_share: f64,
    /// Open loop: share of messages sent late by the generator's own fault.
    pub(crate) behind_share: f64,
    /// Whether the generator, not the server, set the limit.
    pub(crate) limited: bool,
}

/// A threshold and what became of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Checked {
    /// The condition.
    pub(crate) condition: String,
    /// What was measured, in the base unit; none if it was not.
    pub(crate) value: Option<f64>,
    /// Whether the condition holds.
    pub(crate) met: bool,
}

/// Everything about one run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// See [`SCHEMA`].
    pub(crate) schema: &'static str,
    /// `pass`, `fail` (a threshold is not met), `limited` or `done` (no thresholds).
    pub(crate) verdict: &'static str,
    /// What was run.
    pub(crate) setup: Setup,
    /// Rates.
    pub(crate) throughput: Throughput,
    /// Latencies, the one that counts first.
    pub(crate) latency: Vec<Latency>,
    /// The response time of both phases, in scenarios that have two.
    pub(crate) comparison: Vec<Comparison>,
    /// The first latency series, in 12 rows of equal ratio.
    pub(crate) histogram: Vec<Row>,
    /// Errors by kind.
    pub(crate) errors: Vec<ErrorLine>,
    /// What became of the messages.
    pub(crate) delivery: Option<Delivery>,
    /// The server's cost.
    pub(crate) server: Option<Server>,
    /// Memory per connection.
    pub(crate) memory: Vec<Memory>,
    /// The generator's effort.
    pub(crate) generator: Generator,
    /// Thresholds.
    pub(crate) thresholds: Vec<Checked>,
    /// What else the reader should know.
    pub(crate) notes: Vec<String>,
}

impl Report {
    /// Draws up the report of an outcome.
    pub(crate) fn new(
        context: &Context,
        scenario: &'static str,
        open_loop: bool,
        outcome: &Outcome,
    ) -> Self {
        let common = &context.common;
        let server = server(outcome);
        let generator = generator(outcome, open_loop, server.as_ref());
        let latency: Vec<_> = outcome.series.iter().map(latency).collect();
        let mut report = Self {
            schema: SCHEMA,
            verdict: "done",
            setup: Setup {
                scenario: scenario.to_owned(),
                command: std::env::args().collect::<Vec<_>>().join(" "),
                connections: outcome.connections,
                threads: outcome.threads.max(1),
                duration_seconds: common.duration.as_secs_f64(),
                warmup_seconds: common.warmup.as_secs_f64(),
                open_loop,
                version: env!("CARGO_PKG_VERSION"),
                kernel: first_line("/proc/sys/kernel/osrelease"),
                cpu: cpu_name(),
                cpus: std::thread::available_parallelism().map_or(0, usize::from),
                open_files_max: open_files_max(),
                at: unix_seconds(),
            },
            throughput: throughput(scenario, outcome),
            comparison: comparison::compare(&latency),
            latency,
            histogram: outcome
                .series
                .first()
                .map(|series| histogram::rows(&series.histogram))
                .unwrap_or_default(),
            errors: outcome.errors.lines(),
            delivery: outcome.delivery,
            server,
            memory: outcome.memory.iter().map(memory).collect(),
            generator,
            thresholds: Vec::new(),
            notes: outcome.notes.clone(),
        };
        report.thresholds = common.thresholds.iter().map(|t| report.check(t)).collect();
        report.verdict = report.judge();
        report
    }

    /// Whether the result must not be taken for the server's.
    pub(crate) fn is_void(&self) -> bool {
        self.setup.open_loop && self.generator.limited
    }

    /// Whether every threshold is met.
    pub(crate) fn passes(&self) -> bool {
        self.thresholds.iter().all(|threshold| threshold.met)
    }

    fn judge(&self) -> &'static str {
        if self.is_void() {
            "limited"
        } else if !self.passes() {
            "fail"
        } else if self.thresholds.is_empty() {
            "done"
        } else {
            "pass"
        }
    }

    fn check(&self, threshold: &Threshold) -> Checked {
        let value = self.value(&threshold.metric);
        let met = value.is_some_and(|value| threshold.is_met_by(value));
        Checked { condition: threshold.text.clone(), value, met }
    }

    fn value(&self, metric: &str) -> Option<f64> {
        let delivery = |pick: fn(&Delivery) -> u64| self.delivery.as_ref().map(|d| float(pick(d)));
        match metric {
            "rate" => Some(self.throughput.per_second),
            "cpu_per_message" => self.server.as_ref()?.cpu_per_message,
            "rss_growth" => Some(self.server.as_ref()?.rss_growth as f64),
            "bytes_per_connection" => {
                self.memory.iter().map(|m| m.bytes_per_connection).reduce(f64::max)
            }
            "lost" => delivery(|d| d.lost),
            "duplicated" => delivery(|d| d.duplicated),
            "out_of_order" => delivery(|d| d.out_of_order),
            "misdelivered" => delivery(|d| d.misdelivered),
            "errors" => Some(float(self.errors.iter().map(|line| line.count).sum())),
            "behind" => Some(self.generator.behind_share),
            _ => {
                let (latency, percentile) = match split_series(metric) {
                    Some((series, percentile)) => {
                        (self.latency.iter().find(|l| l.name == series)?, percentile)
                    }
                    None => (self.latency.first()?, metric),
                };
                latency.value(percentile)
            }
        }
    }
}

impl Latency {
    fn value(&self, percentile: &str) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        Some(match percentile {
            "p50" => float(self.p50),
            "p75" => float(self.p75),
            "p90" => float(self.p90),
            "p99" => float(self.p99),
            "p99.9" => float(self.p99_9),
            "p99.99" => float(self.p99_99),
            "max" => float(self.max),
            "mean" => self.mean,
            _ => return None,
        })
    }
}

fn latency(series: &Series) -> Latency {
    let at = |quantile| series.histogram.value_at_quantile(quantile);
    Latency {
        name: series.name.clone(),
        count: series.histogram.len(),
        mean: series.histogram.mean(),
        p50: at(0.5),
        p75: at(0.75),
        p90: at(0.9),
        p99: at(0.99),
        p99_9: at(0.999),
        p99_99: at(0.9999),
        max: series.histogram.max(),
    }
}

fn memory((name, connections, growth): &(&'static str, u64, i64)) -> Memory {
    let bytes_per_connection = *growth as f64 / float((*connections).max(1));
    Memory { name, connections: *connections, growth: *growth, bytes_per_connection }
}

fn throughput(scenario: &str, outcome: &Outcome) -> Throughput {
    let seconds = float(outcome.window.max(1)) / float(SECOND);
    let (unit, count) = match scenario {
        "echo" => ("echoes", outcome.counts.messages),
        "request" => ("answers", outcome.counts.messages),
        "beside" => ("messages", outcome.counts.messages),
        "churn" => ("handshakes", outcome.counts.messages),
        "idle" => ("connections", outcome.connections),
        _ => ("deliveries", outcome.counts.messages),
    };
    Throughput {
        unit,
        messages: count,
        sent: outcome.counts.sent,
        seconds,
        per_second: float(count) / seconds,
        bytes_per_second: float(outcome.counts.bytes) / seconds,
    }
}

fn server(outcome: &Outcome) -> Option<Server> {
    let (before, after): (Sample, Sample) = outcome.server?;
    // A thread that has ended takes its time with it, so a difference may be negative.
    let process = after.cpu.saturating_sub(before.cpu);
    let softirq = after.softirq.zip(before.softirq).map(|(after, before)| after - before);
    let cpu = process + softirq.unwrap_or(0);
    let messages = outcome.counts.messages;
    Some(Server {
        cpu,
        softirq,
        cpus_used: share(cpu, outcome.window),
        cpu_per_message: (messages > 0).then(|| share(cpu, messages)),
        rss: after.resident,
        rss_growth: after.resident.cast_signed() - before.resident.cast_signed(),
    })
}

fn generator(outcome: &Outcome, open_loop: bool, server: Option<&Server>) -> Generator {
    let effort = outcome.effort;
    let behind_share = share(outcome.counts.behind, outcome.counts.sent);
    let idle_share = share(effort.idle, effort.wall);
    let limited = if open_loop {
        behind_share > BEHIND_MAX
    } else {
        let server_busy = server.is_some_and(|server| server.cpus_used >= SERVER_BUSY_MIN);
        effort.wall > 0 && idle_share < IDLE_MIN && !server_busy
    };
    Generator {
        cpu_share: share(effort.cpu, effort.wall),
        waited_share: share(effort.waited, effort.wall),
        idle_share,
        behind_share,
        limited,
    }
}

fn first_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

fn cpu_name() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, name)| name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Counts;
    use crate::scenario::Effort;

    fn outcome(idle: u64, behind: u64, server_cpu: u64) -> Outcome {
        let after = Sample { cpu: server_cpu, softirq: None, resident: 0 };
        Outcome {
            counts: Counts { messages: 100, bytes: 0, sent: 100, behind },
            window: 1_000,
            effort: Effort { wall: 1_000, cpu: 1_000, waited: 0, idle },
            server: Some((Sample::default(), after)),
            ..Outcome::default()
        }
    }

    fn limited(outcome: &Outcome, open_loop: bool) -> bool {
        generator(outcome, open_loop, server(outcome).as_ref()).limited
    }

    #[test]
    fn a_closed_loop_is_limited_when_the_generator_never_rests_and_the_server_does() {
        assert!(limited(&outcome(10, 0, 700), false));
        assert!(!limited(&outcome(10, 0, 950), false), "the server is busy");
        assert!(!limited(&outcome(200, 0, 700), false), "the generator has time to spare");
    }

    #[test]
    fn an_open_loop_is_limited_when_more_than_one_percent_left_late() {
        assert!(!limited(&outcome(0, 1, 100), true));
        assert!(limited(&outcome(500, 2, 100), true));
    }

    #[test]
    fn cpu_per_message_is_the_servers_time_over_the_window() {
        let server = server(&outcome(0, 0, 25_000)).unwrap();
        assert_eq!(server.cpu_per_message, Some(250.0));
    }
}

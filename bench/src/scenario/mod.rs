//! What the scenarios have in common: threads, phases, and the outcome they add up to.

pub(crate) mod beside;
pub(crate) mod broadcast;
pub(crate) mod burst;
pub(crate) mod churn;
pub(crate) mod echo;
mod exchange;
pub(crate) mod idle;
pub(crate) mod request;
pub(crate) mod slow;
mod worker;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, OnceLock};

use crate::cli::{Common, Mask};
use crate::client::{Fleet, Route, Sink};
use crate::clock::Clock;
use crate::frames::Format;
use crate::measure::{Counts, Delivery, ErrorLog, Series};
use crate::progress::{Live, Progress, set};
use crate::server_usage::{Sample, Watched, open_files_max};
use crate::target::Target;
use crate::units::nanoseconds;
use crate::walker::START_BYTES;

/// Descriptors a run needs besides its connections.
const OTHER_FILES: u64 = 64;

/// What every scenario is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// The one clock.
    pub(crate) clock: Clock,
    /// Options that every scenario has.
    pub(crate) common: Common,
    /// The server's process, if known.
    pub(crate) watched: Option<Watched>,
    /// What is shown while it runs.
    pub(crate) live: Live,
}

/// One thread's part of the whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// Which thread.
    pub(crate) index: u32,
    /// Of how many.
    pub(crate) of: u32,
}

/// The time that counts, in nanoseconds of the clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    /// Its beginning.
    pub(crate) from: u64,
    /// Its end, not part of it.
    pub(crate) until: u64,
}

/// How a thread goes about its connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Sockets read before the load may send again: reading a thousand takes milliseconds, by which
    /// messages on a schedule would be late.
    pub(crate) events_per_poll: usize,
    /// Whether all threads run on one CPU, which each passes on after every poll.
    pub(crate) shares_cpu: bool,
    /// Whether an open loop polls without a rest as well, as a closed one does:
    /// a CPU that has slept takes tens of microseconds longer for the first things it does.
    pub(crate) never_sleeps: bool,
    /// Bytes of every message that the load is shown.
    pub(crate) shown_bytes: usize,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            events_per_poll: 64,
            shares_cpu: false,
            never_sleeps: false,
            shown_bytes: START_BYTES,
        }
    }
}

/// What one thread does to its connections.
pub(crate) trait Load: Sink {
    /// How it is to be run.
    fn manner(&self) -> Manner {
        Manner::default()
    }
    /// Connections to open before the start.
    fn routes(&self) -> Vec<Route>;
    /// All connections of all threads are open; the first message is due at `start`.
    fn begin(&mut self, start: u64, window: Window);
    /// Sends what is to be sent now.
    fn act(&mut self, fleet: &mut Fleet, now: u64);
    /// When [`act`](Self::act) has something to do without an event; `None` in a closed loop.
    fn next_due(&self) -> Option<u64> {
        None
    }
    /// Nothing new begins; what was due already still leaves.
    fn stop(&mut self);
    /// Messages under way or due.
    fn outstanding(&self) -> u64;
    /// Messages under way.
    fn under_way(&self) -> u64;
    /// Sums so far.
    fn counts(&self) -> Counts;
    /// The latencies by which the run is judged.
    fn latency(&self) -> &Series;
    /// Ends the run.
    fn finish(self, now: u64) -> Finished;
}

/// What a load has at its end.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    /// Latencies, the one that counts first.
    pub(crate) series: Vec<Series>,
    /// What became of the messages.
    pub(crate) delivery: Option<Delivery>,
    /// Errors of the load itself.
    pub(crate) errors: ErrorLog,
}

/// How busy the generator was, over all its threads, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Effort {
    /// Length of the window times threads.
    pub(crate) wall: u64,
    /// On a CPU.
    pub(crate) cpu: u64,
    /// Ready to run, but without a CPU.
    pub(crate) waited: u64,
    /// In polls that brought nothing.
    pub(crate) idle: u64,
}

/// What all threads together have measured.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Threads of the generator.
    pub(crate) threads: u32,
    /// Connections opened.
    pub(crate) connections: u64,
    /// Within the window.
    pub(crate) counts: Counts,
    /// Nanoseconds of the window.
    pub(crate) window: u64,
    /// Latencies, the one that counts first.
    pub(crate) series: Vec<Series>,
    /// What became of the messages, from first to last.
    pub(crate) delivery: Option<Delivery>,
    /// Errors from first to last.
    pub(crate) errors: ErrorLog,
    /// How busy the generator was in the window.
    pub(crate) effort: Effort,
    /// The server at the beginning and at the end of the window.
    pub(crate) server: Option<(Sample, Sample)>,
    /// Memory per connection: a name, connections, and growth of the server in bytes.
    pub(crate) memory: Vec<(&'static str, u64, i64)>,
    /// Sentences the reader of the report should know.
    pub(crate) notes: Vec<String>,
}

/// Holds threads together.
#[derive(Debug)]
struct Gate {
    ready: AtomicU32,
    start: OnceLock<u64>,
    failed: AtomicBool,
}

/// Runs `make`'s load on every thread and adds up what they measure.
///
/// # Errors
/// The first thread's failure, in words.
pub(crate) fn run<L: Load>(
    context: &Context,
    make: impl Fn(Share) -> L + Sync,
) -> Result<Outcome, String> {
    run_apart(context, context.common.threads, make).map(merge)
}

/// Runs `make`'s load on each of `of` threads; the outcomes are in the order of the threads.
///
/// # Errors
/// The first thread's failure, in words.
pub(crate) fn run_apart<L: Load>(
    context: &Context,
    of: u32,
    make: impl Fn(Share) -> L + Sync,
) -> Result<Vec<Outcome>, String> {
    let gate =
        Gate { ready: AtomicU32::new(0), start: OnceLock::new(), failed: AtomicBool::new(false) };
    context.reset_live();
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        for index in 0..of {
            let (sender, gate, make) = (sender.clone(), &gate, &make);
            scope.spawn(move || {
                let share = Share { index, of };
                let result = worker::work(context, share, gate, || make(share));
                if result.is_err() {
                    gate.failed.store(true, Ordering::Relaxed);
                }
                // The receiver outlives every thread of this scope.
                let _received = sender.send(result.map(|outcome| (index, outcome)));
            });
        }
        drop(sender);
        let mut progress = Progress::new(context.clock, context.common.no_progress);
        let mut outcomes = Vec::new();
        loop {
            match receiver.recv_timeout(progress.interval()) {
                Ok(outcome) => outcomes.push(outcome),
                Err(RecvTimeoutError::Timeout) => progress.show(&context.live),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        progress.clear();
        let mut outcomes = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
        outcomes.sort_by_key(|(index, _)| *index);
        Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
    })
}

/// Adds up what threads of the same load have measured.
pub(crate) fn merge(parts: Vec<Outcome>) -> Outcome {
    let mut whole = Outcome::default();
    for part in parts {
        whole.threads += part.threads;
        whole.connections += part.connections;
        whole.counts.merge(part.counts);
        whole.window = whole.window.max(part.window);
        for (at, series) in part.series.into_iter().enumerate() {
            match whole.series.get_mut(at) {
                Some(sum) => sum.merge(series),
                None => whole.series.push(series),
            }
        }
        if let Some(delivery) = part.delivery {
            whole.delivery.get_or_insert_default().merge(&delivery);
        }
        whole.errors.merge(part.errors);
        whole.effort.merge(part.effort);
        whole.server = whole.server.or(part.server);
    }
    whole.series.iter_mut().for_each(Series::settle);
    whole
}

impl Effort {
    fn merge(&mut self, other: Self) {
        self.wall += other.wall;
        self.cpu += other.cpu;
        self.waited += other.waited;
        self.idle += other.idle;
    }
}

impl Share {
    /// How many of `total` items numbered `index`, `index + of`, ... are this thread's.
    pub(crate) fn count(self, total: u32) -> u32 {
        total / self.of + u32::from(self.index < total % self.of)
    }

    /// The number of this thread's item `at` among all.
    pub(crate) fn number(self, at: u32) -> u32 {
        at * self.of + self.index
    }
}

impl Window {
    /// The window of a run that starts at `start`.
    fn of(common: &Common, start: u64) -> Self {
        let from = start + nanoseconds(common.warmup);
        Self { from, until: from + nanoseconds(common.duration) }
    }

    /// Whether `time` counts.
    #[inline]
    pub(crate) fn contains(self, time: u64) -> bool {
        self.from <= time && time < self.until
    }
}

impl Context {
    /// What messages of `size` bytes look like.
    pub(crate) fn format(&self, size: usize) -> Format {
        let random_mask = self.common.mask == Mask::Random;
        Format { binary: self.common.binary, size, random_mask }
    }

    /// The way to `target` of connection `number` of `total`.
    pub(crate) fn route(&self, target: &Arc<Target>, room: u32, number: u32, total: u32) -> Route {
        Route {
            target: target.clone(),
            room,
            source: self.common.source_ips.pick(target.address.ip(), number, total),
            subprotocol: self.common.subprotocol.as_deref().map(Arc::from),
            any_accept: self.common.any_accept,
            reads: true,
            nats: None,
        }
    }

    /// A seed of its own for everything that is numbered differently.
    pub(crate) fn seed(&self, number: u32) -> u64 {
        self.common.seed.wrapping_add(u64::from(number) << 32)
    }

    fn reset_live(&self) {
        let live = &self.live;
        for value in
            [&live.wanted, &live.open, &live.messages, &live.sent, &live.errors, &live.behind]
        {
            set(value, 0);
        }
    }
}

/// Checks that so many connections can be had at all.
///
/// # Errors
/// What to do about it, in words.
pub(crate) fn preflight(connections: u64) -> Result<(), String> {
    let Some(files) = open_files_max() else {
        return Ok(());
    };
    let needed = connections + OTHER_FILES;
    if needed <= files {
        return Ok(());
    }
    Err(format!(
        "{connections} connections need {needed} open files, the limit is {files}: \
         run `ulimit -n {needed}` first, here and for the server"
    ))
}

/// Names what the kernel says when a connection cannot even be begun.
fn connect_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            format!("{error}: no local port is left; give more addresses with --source-ips")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_everything_once() {
        let mut seen = Vec::new();
        for index in 0..3 {
            let share = Share { index, of: 3 };
            seen.extend((0..share.count(10)).map(|at| share.number(at)));
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn more_connections_than_open_files_are_refused_with_the_remedy() {
        assert!(preflight(1).is_ok());
        if let Some(files) = open_files_max().filter(|files| *files < u64::MAX - OTHER_FILES) {
            assert!(preflight(files).is_err_and(|why| why.contains("ulimit -n")));
        }
    }
}

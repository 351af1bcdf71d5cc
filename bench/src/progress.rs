//! What the person at the terminal sees while a run goes on.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::units::{SECOND, float, share, show_count, show_rate, show_time};

/// Sums of all threads, for display only.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Connections wanted.
    pub(crate) wanted: AtomicU64,
    /// Connections past their handshake.
    pub(crate) open: AtomicU64,
    /// Messages received.
    pub(crate) messages: AtomicU64,
    /// Messages sent.
    pub(crate) sent: AtomicU64,
    /// Errors.
    pub(crate) errors: AtomicU64,
    /// Messages sent late by the generator's fault.
    pub(crate) behind: AtomicU64,
    /// Median latency of the first thread so far, in nanoseconds.
    pub(crate) p50: AtomicU64,
    /// 99th percentile of the same.
    pub(crate) p99: AtomicU64,
}

/// Adds to a sum of [`Live`].
pub(crate) fn add(sum: &AtomicU64, count: u64) {
    sum.fetch_add(count, Ordering::Relaxed);
}

/// Sets a value of [`Live`].
pub(crate) fn set(value: &AtomicU64, to: u64) {
    value.store(to, Ordering::Relaxed);
}

/// Prints to stderr: one line refreshed four times a second on a terminal, else a line every five
/// seconds.
#[derive(Debug)]
pub(crate) struct Progress {
    terminal: bool,
    silent: bool,
    clock: Clock,
    last: (u64, u64, u64),
    shown: bool,
}

impl Progress {
    /// Shows nothing if `silent`.
    pub(crate) fn new(clock: Clock, silent: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { terminal, silent, clock, last: (clock.now(), 0, 0), shown: false }
    }

    /// How long to wait before the next [`show`](Self::show).
    pub(crate) fn interval(&self) -> Duration {
        if self.terminal { Duration::from_millis(250) } else { Duration::from_secs(5) }
    }

    /// Shows how things stand.
    pub(crate) fn show(&mut self, live: &Live) {
        if self.silent {
            return;
        }
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let (now, messages, sent) = (self.clock.now(), load(&live.messages), load(&live.sent));
        let (then, messages_then, sent_then) = self.last;
        self.last = (now, messages, sent);
        let seconds = float((now - then).max(1)) / float(SECOND);
        let line = format!(
            "open {}/{} · in {}/s · out {}/s · p50 {} p99 {} · errors {} · behind {:.1}%",
            show_count(load(&live.open)),
            show_count(load(&live.wanted)),
            show_rate(float(messages.saturating_sub(messages_then)) / seconds),
            show_rate(float(sent.saturating_sub(sent_then)) / seconds),
            show_time(load(&live.p50)),
            show_time(load(&live.p99)),
            show_count(load(&live.errors)),
            100.0 * share(load(&live.behind), sent),
        );
        let mut stderr = std::io::stderr().lock();
        // Progress that cannot be shown is not worth failing for.
        let _unseen = if self.terminal {
            write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush())
        } else {
            writeln!(stderr, "{line}")
        };
        self.shown = true;
    }

    /// Removes the line from a terminal.
    pub(crate) fn clear(&mut self) {
        if self.terminal && std::mem::take(&mut self.shown) {
            let _unseen = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

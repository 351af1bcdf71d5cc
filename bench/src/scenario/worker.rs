//! One thread of a run: connect, warm up, measure, drain.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Context, Effort, Gate, Load, Manner, Outcome, Share, Window, connect_error};
use crate::client::{Fleet, Route, Sink};
use crate::frames::Random;
use crate::measure::{Counts, ErrorLog, Series};
use crate::progress::{add, set};
use crate::server_usage::{Sample, own_thread};
use crate::units::{SECOND, nanoseconds};
use crate::walker::Message;

/// Without any news for so long, setting up has failed. Nanoseconds.
const SETUP_PATIENCE: u64 = 10 * SECOND;
/// Between two updates of what is shown. Nanoseconds.
const LIVE_EVERY: u64 = SECOND / 5;
/// Between the last handshake and the first message: a server may answer a handshake before the
/// member is in its room. Nanoseconds.
const SETTLE: u64 = SECOND / 10;
/// How long replies may take after the last message has left. Nanoseconds.
const COLLECT: u64 = SECOND / 2;
/// Longest sleep, so that a failure elsewhere is noticed. Nanoseconds.
const SLEEP_MAX: u64 = SECOND / 5;
/// The kernel's timeouts are whole milliseconds, so shorter waits are spent polling. Nanoseconds.
const SPIN_BELOW: u64 = 2_000_000;

/// Does one thread's share of a run.
pub(super) fn work<L: Load>(
    context: &Context,
    share: Share,
    gate: &Gate,
    make: impl FnOnce() -> L,
) -> Result<Outcome, String> {
    let mut load = make();
    let manner = load.manner();
    if let Some(first) = context.common.pin {
        let id = (first + if manner.shares_cpu { 0 } else { share.index }) as usize;
        if !core_affinity::set_for_current(core_affinity::CoreId { id }) {
            return Err(format!("cannot run on CPU {id}"));
        }
    }
    let fleet = Fleet::new(context.clock, manner.events_per_poll);
    let mut fleet = fleet.map_err(|error| error.to_string())?.show(manner.shown_bytes);
    let routes = load.routes();
    add(&context.live.wanted, routes.len() as u64);
    connect_all(context, share.index, &mut fleet, &routes)?;
    let start = wait_for_start(context, share, gate, &mut fleet)?;
    let window = Window::of(&context.common, start);
    load.begin(start, window);
    let mut thread = Thread::new(context, share, manner, window);
    thread.drive(&mut fleet, &mut load, gate)?;
    let finished = load.finish(context.clock.now());
    let mut errors = fleet.take_errors();
    errors.merge(finished.errors);
    Ok(Outcome {
        threads: 1,
        connections: routes.len() as u64,
        counts: thread.until.counts.since(thread.from.counts),
        window: thread.until.time - thread.from.time,
        series: finished.series,
        delivery: finished.delivery,
        errors,
        effort: Effort {
            wall: thread.until.time - thread.from.time,
            cpu: thread.until.cpu - thread.from.cpu,
            waited: thread.until.waited - thread.from.waited,
            idle: thread.until.idle - thread.from.idle,
        },
        server: thread.from.server.zip(thread.until.server),
        ..Outcome::default()
    })
}

/// Opens all connections, a bounded number at a time.
///
/// # Errors
/// The first refusal, in words: measuring something smaller than asked for would mislead.
pub(super) fn connect_all(
    context: &Context,
    index: u32,
    fleet: &mut Fleet,
    routes: &[Route],
) -> Result<(), String> {
    let mut random = Random::new(context.seed(index) ^ 0x6861_6e64);
    let mut begun = 0_usize;
    let (mut open, mut news) = (0_usize, context.clock.now());
    while open < routes.len() {
        while let Some(route) = routes.get(begun)
            && begun - open < context.common.connecting.max(1) as usize
        {
            let slot = u32::try_from(begun).map_err(|_| "too many connections")?;
            fleet
                .open(slot, route, &mut random)
                .map_err(|error| format!("connection {begun}: {}", connect_error(&error)))?;
            begun += 1;
        }
        fleet.poll(Duration::from_millis(20), &mut Deaf).map_err(|error| error.to_string())?;
        if fleet.errors().total() > 0 {
            return Err(refusal(fleet.errors(), open, routes.len()));
        }
        let now = context.clock.now();
        if fleet.open_count() as usize > open {
            add(&context.live.open, (fleet.open_count() as usize - open) as u64);
            (open, news) = (fleet.open_count() as usize, now);
        } else if now - news > SETUP_PATIENCE {
            return Err(format!("only {open} of {} connections came about", routes.len()));
        }
    }
    Ok(())
}

fn refusal(errors: &ErrorLog, open: usize, wanted: usize) -> String {
    let lines = errors.lines();
    let first =
        lines.first().map_or(String::new(), |line| format!("{}: {}", line.kind, line.example));
    format!("after {open} of {wanted} connections: {first}")
}

/// Before the start nothing counts, such as greetings.
struct Deaf;

impl Sink for Deaf {
    fn message(&mut self, _slot: u32, _message: Message<'_>, _now: u64) {}
}

fn wait_for_start(
    context: &Context,
    share: Share,
    gate: &Gate,
    fleet: &mut Fleet,
) -> Result<u64, String> {
    gate.ready.fetch_add(1, Ordering::Relaxed);
    loop {
        if gate.failed.load(Ordering::Relaxed) {
            return Err("another thread failed".to_owned());
        }
        if gate.ready.load(Ordering::Relaxed) == share.of {
            return Ok(*gate.start.get_or_init(|| context.clock.now() + SETTLE));
        }
        fleet.poll(Duration::from_millis(1), &mut Deaf).map_err(|error| error.to_string())?;
    }
}

/// Everything that is read at both ends of the window.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    time: u64,
    counts: Counts,
    cpu: u64,
    waited: u64,
    idle: u64,
    server: Option<Sample>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    WarmUp,
    Measure,
    /// Nothing new falls due, what is due still leaves.
    Drain,
    /// Nothing leaves any more; what is under way may still arrive.
    Collect,
}

impl Stage {
    /// Whether the window is over.
    fn is_after(self) -> bool {
        matches!(self, Self::Drain | Self::Collect)
    }
}

struct Thread<'a> {
    context: &'a Context,
    share: Share,
    manner: Manner,
    window: Window,
    idle: u64,
    from: Reading,
    until: Reading,
    shown: Counts,
    shown_errors: u64,
    show_at: u64,
}

impl<'a> Thread<'a> {
    fn new(context: &'a Context, share: Share, manner: Manner, window: Window) -> Self {
        Self {
            context,
            share,
            manner,
            window,
            idle: 0,
            from: Reading::default(),
            until: Reading::default(),
            shown: Counts::default(),
            shown_errors: 0,
            show_at: 0,
        }
    }

    fn drive<L: Load>(
        &mut self,
        fleet: &mut Fleet,
        load: &mut L,
        gate: &Gate,
    ) -> Result<(), String> {
        let had_connections = fleet.open_count() > 0;
        let mut stage = Stage::WarmUp;
        let mut idle_since = None;
        loop {
            let now = self.context.clock.now();
            if let Some(since) = idle_since.take() {
                self.idle += now - since;
            }
            match stage {
                Stage::WarmUp if now >= self.window.from => {
                    stage = Stage::Measure;
                    self.from = self.read(now, load)?;
                }
                Stage::Measure if now >= self.window.until => {
                    stage = Stage::Drain;
                    self.until = self.read(now, load)?;
                    load.stop();
                }
                Stage::Drain if load.outstanding() == 0 => return Ok(()),
                Stage::Drain if self.is_over(now) => stage = Stage::Collect,
                Stage::Collect if load.under_way() == 0 || self.is_over(now - COLLECT) => {
                    return Ok(());
                }
                _ => {}
            }
            if stage != Stage::Collect {
                load.act(fleet, now);
            }
            // With a reply on its way a sleep would add the time to wake up to its latency.
            let may_sleep = !self.manner.never_sleeps && load.outstanding() == 0;
            let due = load.next_due().filter(|_| may_sleep);
            let timeout = timeout(due, now, stage, self.window);
            let any = fleet.poll(timeout, load).map_err(|error| error.to_string())?;
            idle_since = (!any).then_some(now);
            if self.manner.shares_cpu && timeout.is_zero() {
                std::thread::yield_now();
            }
            if now >= self.show_at {
                self.show(fleet, load);
                self.show_at = now + LIVE_EVERY;
                if gate.failed.load(Ordering::Relaxed) {
                    return Err("another thread failed".to_owned());
                }
                if had_connections && fleet.open_count() == 0 && !stage.is_after() {
                    return Err(format!("all connections are gone: {}", all_lost(fleet.errors())));
                }
            }
        }
    }

    fn is_over(&self, now: u64) -> bool {
        now >= self.window.until + nanoseconds(self.context.common.drain)
    }

    fn read(&self, now: u64, load: &impl Load) -> Result<Reading, String> {
        let (cpu, waited) = own_thread();
        let watched = self.context.watched.as_ref().filter(|_| self.share.index == 0);
        let server = watched.map(crate::server_usage::Watched::sample).transpose()?;
        Ok(Reading { time: now, counts: load.counts(), cpu, waited, idle: self.idle, server })
    }

    fn show(&mut self, fleet: &Fleet, load: &impl Load) {
        let live = &self.context.live;
        let counts = load.counts();
        let new = counts.since(self.shown);
        self.shown = counts;
        add(&live.messages, new.messages);
        add(&live.sent, new.sent);
        add(&live.behind, new.behind);
        let errors = fleet.errors().total();
        add(&live.errors, errors - self.shown_errors);
        self.shown_errors = errors;
        if self.share.index == 0 && !self.context.common.no_progress {
            let Series { histogram, .. } = load.latency();
            set(&live.p50, histogram.value_at_quantile(0.5));
            set(&live.p99, histogram.value_at_quantile(0.99));
        }
    }
}

fn all_lost(errors: &ErrorLog) -> String {
    let lines = errors.lines();
    lines.first().map_or_else(|| "no reason known".to_owned(), |line| line.example.clone())
}

/// A closed loop polls without a rest; an open one sleeps while nothing is due for long.
fn timeout(due: Option<u64>, now: u64, stage: Stage, window: Window) -> Duration {
    let Some(due) = due.filter(|_| !stage.is_after()) else {
        return Duration::ZERO;
    };
    let end = if stage == Stage::WarmUp { window.from } else { window.until };
    let wait = due.min(end).saturating_sub(now).min(SLEEP_MAX);
    if wait < SPIN_BELOW {
        return Duration::ZERO;
    }
    Duration::from_millis((wait - SPIN_BELOW / 2) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_sleeps_past_what_is_due() {
        let window = Window { from: 10 * SECOND, until: 20 * SECOND };
        assert_eq!(timeout(None, 0, Stage::Measure, window), Duration::ZERO);
        assert_eq!(timeout(Some(1_000_000), 0, Stage::WarmUp, window), Duration::ZERO);
        let long = timeout(Some(50_000_000), 0, Stage::WarmUp, window);
        assert_eq!(long, Duration::from_millis(49));
        let never = timeout(Some(u64::MAX), 0, Stage::WarmUp, window);
        assert_eq!(never, Duration::from_millis(199));
        let end = timeout(Some(60 * SECOND), 19 * SECOND, Stage::Measure, window);
        assert!(end < Duration::from_secs(1));
    }
}

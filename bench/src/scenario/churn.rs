//! Connections that come and go: connect, handshake, close, again.

use std::sync::Arc;

use super::{Context, Finished, Load, Outcome, Share, Window, connect_error, preflight, run};
use crate::cli::{ChurnArgs, SourceIps};
use crate::client::{Fleet, Route, Sink};
use crate::frames::Random;
use crate::measure::{Counts, ErrorLog, Series};
use crate::pace::Pace;
use crate::target::Target;
use crate::walker::Message;

/// Local addresses in turn, as a closed connection keeps its port for a while.
const ADDRESSES: u32 = 16;

/// Runs the scenario.
///
/// # Errors
/// Why it could not be run, in words.
pub(crate) fn run_churn(context: &Context, args: &ChurnArgs) -> Result<Outcome, String> {
    let target = Arc::new(Target::parse(&args.url)?);
    if args.parallel == 0 || context.common.threads > args.parallel {
        return Err("every thread needs a connection at least (-c)".to_owned());
    }
    preflight(u64::from(args.parallel))?;
    let mut outcome = run(context, |share| Churn::new(context, args, &target, share))?;
    outcome.connections = u64::from(args.parallel);
    if outcome.counts.messages == 0 {
        let lines = outcome.errors.lines();
        let why = lines
            .first()
            .map_or("no connection ended after its close frame (see --abrupt)", |line| {
                line.example.as_str()
            });
        return Err(format!("not one connection was opened and closed: {why}"));
    }
    Ok(outcome)
}

struct Churn {
    sources: SourceIps,
    route: Route,
    abrupt: bool,
    say: Option<String>,
    /// For the share of this thread.
    rate: Option<f64>,
    pace: Option<Pace>,
    /// Connections that may be opened now.
    due: u64,
    random: Random,
    window: Window,
    stopping: bool,
    /// When the handshake of each slot began.
    since: Vec<u64>,
    to_open: Vec<u32>,
    to_close: Vec<u32>,
    under_way: u64,
    begun: u32,
    counts: Counts,
    handshake: Series,
    cycle: Series,
    errors: ErrorLog,
}

impl Churn {
    fn new(context: &Context, args: &ChurnArgs, target: &Arc<Target>, share: Share) -> Self {
        let slots = share.count(args.parallel);
        Self {
            sources: context.common.source_ips.clone(),
            route: context.route(target, share.index, 0, 1),
            abrupt: args.abrupt,
            say: args.say.clone(),
            rate: args.rate.map(|rate| rate / f64::from(share.of)),
            pace: None,
            due: 0,
            random: Random::new(context.seed(share.index)),
            window: Window::default(),
            stopping: false,
            since: vec![0; slots as usize],
            to_open: (0..slots).collect(),
            to_close: Vec::new(),
            under_way: 0,
            begun: share.index,
            counts: Counts::default(),
            handshake: Series::new("handshake"),
            cycle: Series::new("cycle"),
            errors: ErrorLog::default(),
        }
    }

    fn open(&mut self, fleet: &mut Fleet, slot: u32) {
        let total = ADDRESSES * SourceIps::PORTS_PER_ADDRESS;
        let address = self.route.target.address.ip();
        self.route.source = self.sources.pick(address, self.begun, total);
        self.begun = self.begun.wrapping_add(1);
        match fleet.open(slot, &self.route, &mut self.random) {
            Ok(()) => {
                self.under_way += 1;
                self.counts.sent += 1;
            }
            Err(error) => {
                self.errors.add("connect_failed", || connect_error(&error));
                self.to_open.push(slot);
            }
        }
    }
}

impl Sink for Churn {
    fn opened(&mut self, slot: u32, since: u64, now: u64) {
        if let Some(place) = self.since.get_mut(slot as usize) {
            *place = since;
        }
        if self.window.contains(since) {
            self.handshake.record(now.saturating_sub(since));
        }
        self.to_close.push(slot);
    }

    fn message(&mut self, _slot: u32, _message: Message<'_>, _now: u64) {}

    fn ended(&mut self, slot: u32, expected: bool, now: u64) {
        self.under_way -= 1;
        self.to_open.push(slot);
        if expected {
            self.counts.messages += 1;
            let since = self.since.get(slot as usize).copied().unwrap_or(now);
            if self.window.contains(since) {
                self.cycle.record(now.saturating_sub(since));
            }
        }
    }
}

impl Load for Churn {
    fn routes(&self) -> Vec<Route> {
        Vec::new()
    }

    fn begin(&mut self, start: u64, window: Window) {
        self.window = window;
        self.pace = self.rate.map(|rate| Pace::new(rate, 1, start));
    }

    fn act(&mut self, fleet: &mut Fleet, now: u64) {
        for slot in std::mem::take(&mut self.to_close) {
            match &self.say {
                Some(text) => fleet.say_last(slot, text),
                None if self.abrupt => fleet.close(slot),
                None => fleet.close_gracefully(slot),
            }
        }
        if self.stopping {
            return;
        }
        match &mut self.pace {
            Some(pace) => pace.advance(now, |_| self.due += 1),
            None => self.due = u64::MAX,
        }
        while self.due > 0 {
            let Some(slot) = self.to_open.pop() else { return };
            self.due -= 1;
            self.open(fleet, slot);
        }
    }

    fn next_due(&self) -> Option<u64> {
        self.pace.map(|pace| pace.next())
    }

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn outstanding(&self) -> u64 {
        self.under_way
    }

    fn under_way(&self) -> u64 {
        self.under_way
    }

    fn counts(&self) -> Counts {
        self.counts
    }

    fn latency(&self) -> &Series {
        &self.handshake
    }

    fn finish(self, _now: u64) -> Finished {
        let series = vec![self.handshake, self.cycle];
        Finished { series, delivery: None, errors: self.errors }
    }
}

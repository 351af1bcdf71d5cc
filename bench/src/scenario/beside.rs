//! A few echo connections beside a large room: how long does the room's traffic hold them up?
//!
//! Measured is the server: an echo that arrives while it writes to thousands of members waits until
//! it looks again. Not measured is the generator, which has the same problem on its side: one
//! thread would read thousands of copies before the reply. So echo connections have a thread of
//! their own that polls without ever sleeping and takes the time right after
//! the read; the members' thread reads a few sockets at a time. Both run on one CPU and pass it on
//! after every poll. What remains of the generator's part is the `blind` series: how long the echo
//! thread had not looked when a reply was read.
//!
//! Before the first phase all is quiet, so the server sleeps between echoes and has to be woken for
//! each. In the second it may be awake already, which makes some echoes quicker than in the first.

use std::sync::Arc;

use super::broadcast::{Broadcast, OPEN_LOOP_WINDOW, Plan, check};
use super::echo::Echo;
use super::{Context, Finished, Load, Manner, Outcome, Share, Window, merge, preflight, run_apart};
use crate::cli::{BesideArgs, ExchangeArgs, Refill};
use crate::client::{Fleet, Route, Sink};
use crate::measure::{Counts, Series};
use crate::target::Target;
use crate::walker::Message;

/// One for echo, one for the room.
const THREADS: u32 = 2;
/// Sockets that the members' thread reads before it passes the CPU on: some 20 microseconds.
const EVENTS_PER_TURN: usize = 8;
/// How much faster than asked the room's messages leave: at the same rate, or a divisor of it, they
/// would fall on the same moments of the echo's schedule every time.
const DRIFT: f64 = 1.001;
/// The only share of a load that is not split.
const WHOLE: Share = Share { index: 0, of: 1 };

/// Runs both phases, over fresh connections each time. The latencies beside the room come first,
/// those without its traffic follow as `alone` and so on, then the room's own.
///
/// # Errors
/// Why it could not be run, in words.
pub(crate) fn run_beside(context: &Context, args: &BesideArgs) -> Result<Outcome, String> {
    let echo_at = Arc::new(Target::parse(&args.url)?);
    if args.connections == 0 {
        return Err("there is nothing to compare without echo connections".to_owned());
    }
    if context.common.threads > 1 {
        return Err("this scenario has two threads of its own; leave --threads out".to_owned());
    }
    let manner = Manner { events_per_poll: EVENTS_PER_TURN, shares_cpu: true, ..Manner::default() };
    let room = Plan {
        members: args.members,
        window: OPEN_LOOP_WINDOW,
        rate: Some(args.room_rate * DRIFT),
        size: args.room_size,
        manner,
        ..Plan::one_room(&args.room_url, args.publish_url.as_deref())?
    };
    check(&room)?;
    preflight(u64::from(args.connections) + room.connections())?;
    let echo = ExchangeArgs {
        connections: args.connections,
        depth: None,
        refill: Refill::Window,
        rate: Some(args.rate),
        size: args.size,
    };
    let phase = |silent| {
        let room = Plan { silent, ..room.clone() };
        let sides = run_apart(context, THREADS, |share| match share.index {
            0 => {
                let echo = Echo::paced(context, &echo, &echo_at, WHOLE);
                let manner = Manner { never_sleeps: true, ..manner };
                Side::Echo(Box::new(echo.beside_another(manner)))
            }
            _ => Side::Room(Box::new(Broadcast::new(context, &room, WHOLE))),
        })?;
        Ok::<_, String>(sides)
    };
    let alone = phase(true)?;
    let beside = phase(false)?;
    Ok(conclude(alone, beside))
}

/// Puts the two phases together; everything but latencies and errors is of the second.
fn conclude(alone: Vec<Outcome>, beside: Vec<Outcome>) -> Outcome {
    let (mut alone, mut beside) = (named(alone), named(beside));
    let mut series: Vec<Series> = Vec::new();
    for part in &mut beside {
        series.append(&mut part.series);
    }
    if let Some(echo) = alone.first_mut() {
        series.extend(echo.series.drain(..).map(|mut series| {
            series.name = match series.name.as_str() {
                "response" => "alone".to_owned(),
                other => format!("alone_{other}"),
            };
            series
        }));
    }
    series.iter_mut().for_each(Series::settle);
    let mut whole = merge(beside);
    let alone = merge(alone.into_iter().map(without_series).collect());
    if alone.errors.total() > 0 {
        whole.notes.push(format!("{} errors in the phase without traffic", alone.errors.total()));
    }
    // The comparison is worth as much as the worse of its sides.
    whole.counts.behind = whole.counts.behind.max(alone.counts.behind);
    whole.errors.merge(alone.errors);
    Outcome { series, ..whole }
}

/// Names the room's latencies after it.
fn named(mut sides: Vec<Outcome>) -> Vec<Outcome> {
    for room in sides.iter_mut().skip(1) {
        for series in &mut room.series {
            series.name = format!("room_{}", series.name);
        }
    }
    sides
}

fn without_series(outcome: Outcome) -> Outcome {
    Outcome { series: Vec::new(), ..outcome }
}

/// The load of one of the two threads.
enum Side {
    Echo(Box<Echo>),
    Room(Box<Broadcast>),
}

/// Hands a call to the load that is there.
macro_rules! hand_on {
    ($side:expr, $load:ident => $call:expr) => {
        match $side {
            Side::Echo($load) => $call,
            Side::Room($load) => $call,
        }
    };
}

impl Sink for Side {
    #[inline]
    fn message(&mut self, slot: u32, message: Message<'_>, now: u64) {
        hand_on!(self, load => load.message(slot, message, now));
    }

    fn ended(&mut self, slot: u32, expected: bool, now: u64) {
        hand_on!(self, load => load.ended(slot, expected, now));
    }
}

impl Load for Side {
    fn manner(&self) -> Manner {
        hand_on!(self, load => load.manner())
    }

    fn routes(&self) -> Vec<Route> {
        hand_on!(self, load => load.routes())
    }

    fn begin(&mut self, start: u64, window: Window) {
        hand_on!(self, load => load.begin(start, window));
    }

    fn act(&mut self, fleet: &mut Fleet, now: u64) {
        hand_on!(self, load => load.act(fleet, now));
    }

    fn next_due(&self) -> Option<u64> {
        hand_on!(self, load => load.next_due())
    }

    fn stop(&mut self) {
        hand_on!(self, load => load.stop());
    }

    fn outstanding(&self) -> u64 {
        hand_on!(self, load => load.outstanding())
    }

    fn under_way(&self) -> u64 {
        hand_on!(self, load => load.under_way())
    }

    fn counts(&self) -> Counts {
        hand_on!(self, load => load.counts())
    }

    fn latency(&self) -> &Series {
        hand_on!(self, load => load.latency())
    }

    fn finish(self, now: u64) -> Finished {
        hand_on!(self, load => load.finish(now))
    }
}

//! Silent connections: what each costs the server in memory.

use std::sync::Arc;
use std::time::Duration;

use fulmar_driver::SendBatch;

use super::worker::connect_all;
use super::{Context, Manner, Outcome, preflight};
use crate::cli::IdleArgs;
use crate::client::{Fleet, Route, Sink};
use crate::frames::Encoder;
use crate::progress::{Progress, add};
use crate::server_usage::{Sample, Watched};
use crate::target::Target;
use crate::units::nanoseconds;
use crate::walker::Message;

/// Messages sent before the server's answers are looked at.
const BURST: u32 = 64;

/// Runs the scenario. It has one thread: memory does not depend on the speed of the client.
///
/// # Errors
/// Why it could not be run, in words.
pub(crate) fn run_idle(context: &Context, args: &IdleArgs) -> Result<Outcome, String> {
    let target = Arc::new(Target::parse(&args.url)?);
    let watched = context.watched.as_ref().ok_or("memory per connection needs --pid")?;
    if args.connections == 0 {
        return Err("there is nothing to measure with 0 connections".to_owned());
    }
    if context.common.threads > 1 {
        return Err("idle connections are held by one thread".to_owned());
    }
    preflight(u64::from(args.connections))?;
    let mut holder = Holder::new(context, args, watched)?;
    let before = watched.sample()?;
    let begun = context.clock.now();
    add(&context.live.wanted, u64::from(args.connections));
    connect_all(context, 0, &mut holder.fleet, &routes(context, args, &target))?;
    let connecting = context.clock.now() - begun;
    let silent = holder.hold()?;
    holder.one_message_each()?;
    let spoken = holder.hold()?;
    holder.progress.clear();
    let count = u64::from(args.connections);
    let growth = |after: Sample| after.resident.cast_signed() - before.resident.cast_signed();
    let mut outcome = Outcome {
        connections: count,
        window: connecting,
        memory: vec![("silent", count, growth(silent)), ("spoken", count, growth(spoken))],
        errors: holder.fleet.take_errors(),
        server: Some((before, spoken)),
        ..Outcome::default()
    };
    outcome.counts.messages = holder.replies.count;
    outcome.counts.bytes = holder.replies.bytes;
    outcome.counts.sent = count;
    outcome.notes.push(
        "memory is what the server's process has resident, without the kernel's socket buffers"
            .to_owned(),
    );
    Ok(outcome)
}

fn routes(context: &Context, args: &IdleArgs, target: &Arc<Target>) -> Vec<Route> {
    let route = |number| context.route(target, number, number, args.connections);
    (0..args.connections).map(route).collect()
}

struct Holder<'a> {
    context: &'a Context,
    args: &'a IdleArgs,
    watched: &'a Watched,
    fleet: Fleet,
    replies: Replies,
    progress: Progress,
    show_at: u64,
}

/// Counts what comes back, which may be nothing.
#[derive(Default)]
struct Replies {
    count: u64,
    bytes: u64,
}

impl Sink for Replies {
    fn message(&mut self, _slot: u32, message: Message<'_>, _now: u64) {
        self.count += 1;
        self.bytes += message.length;
    }
}

impl<'a> Holder<'a> {
    fn new(context: &'a Context, args: &'a IdleArgs, watched: &'a Watched) -> Result<Self, String> {
        let events = Manner::default().events_per_poll;
        let fleet = Fleet::new(context.clock, events).map_err(|error| error.to_string())?;
        let progress = Progress::new(context.clock, context.common.no_progress);
        let replies = Replies::default();
        Ok(Self { context, args, watched, fleet, replies, progress, show_at: 0 })
    }

    /// Answers pings for the time to hold, then reads the server's memory.
    fn hold(&mut self) -> Result<Sample, String> {
        let until = self.context.clock.now() + nanoseconds(self.args.hold);
        while self.context.clock.now() < until {
            self.poll(Duration::from_millis(20))?;
        }
        self.watched.sample()
    }

    fn one_message_each(&mut self) -> Result<(), String> {
        let format = self.context.format(self.args.size);
        let mut encoder = Encoder::new(format, self.context.seed(0));
        for slot in 0..self.args.connections {
            let mut frame = Vec::with_capacity(encoder.frame_bytes());
            encoder.append(&mut frame, [u64::from(slot), 0]);
            drop(self.fleet.send(slot, SendBatch::from_bytes(frame)));
            add(&self.context.live.sent, 1);
            if slot % BURST == 0 {
                self.poll(Duration::ZERO)?;
            }
        }
        Ok(())
    }

    fn poll(&mut self, timeout: Duration) -> Result<(), String> {
        let before = self.replies.count;
        self.fleet.poll(timeout, &mut self.replies).map_err(|error| error.to_string())?;
        add(&self.context.live.messages, self.replies.count - before);
        let now = self.context.clock.now();
        if now >= self.show_at {
            self.progress.show(&self.context.live);
            self.show_at = now + nanoseconds(self.progress.interval());
        }
        Ok(())
    }
}

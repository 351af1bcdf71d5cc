//! One large room and one message at a time: when has the first member it, when the last?
//!
//! Times are from just before the write of the publisher's frame, and each message carries its
//! number, so a copy is never taken for one of another message. The generator polls without ever
//! sleeping: its own part of the time to the first receiver is at most the
//! `blind` series. The last receiver is as the generator reads it: a server that is quicker than
//! one thread can read (about one microsecond per frame) shows that thread's time.

use super::broadcast::{OPEN_LOOP_WINDOW, Plan, run_plan};
use super::{Context, Manner, Outcome};
use crate::cli::BurstArgs;

/// Share of the interval between two messages above which they run into each other.
const CROWDED: f64 = 0.8;

/// Runs the scenario.
///
/// # Errors
/// Why it could not be run, in words.
pub(crate) fn run_burst(context: &Context, args: &BurstArgs) -> Result<Outcome, String> {
    let plan = Plan {
        members: args.members,
        window: OPEN_LOOP_WINDOW,
        publisher_hears: args.publisher_hears,
        rate: Some(args.rate),
        size: args.size,
        protocol: args.protocol,
        bursts: true,
        manner: Manner { never_sleeps: true, ..Manner::default() },
        ..Plan::one_room(&args.url, args.publish_url.as_deref())?
    };
    let mut outcome = run_plan(context, &plan)?;
    let last = outcome.series.iter().find(|series| series.name == "last");
    let slowest = last.map_or(0, |series| series.histogram.value_at_quantile(0.99));
    if crate::units::float(slowest) * args.rate
        > CROWDED * crate::units::float(crate::units::SECOND)
    {
        outcome.notes.push(
            "messages ran into each other, so the first receiver waited for the message before: \
             lower --rate"
                .to_owned(),
        );
    }
    Ok(outcome)
}

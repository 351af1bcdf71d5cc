//! Members that never read, and what they do to the others in their room.

use super::broadcast::{Plan, run_plan};
use super::{Context, Outcome};
use crate::cli::SlowArgs;
use crate::units::{float, show_bytes, whole};

/// Messages under way before the publisher waits for the slowest healthy member.
const WINDOW: u32 = 1 << 16;
/// What the kernel's buffers may take in before the server notices that a member is stuck.
const KERNEL_BYTES: u64 = 8 << 20;

/// Runs the room without and then with stuck members, over fresh connections each time. The second
/// phase's latencies come first, the first phase's follow as `alone` and so on.
///
/// # Errors
/// Why it could not be run, in words.
pub(crate) fn run_slow(context: &Context, args: &SlowArgs) -> Result<Outcome, String> {
    let room = Plan::one_room(&args.url, args.publish_url.as_deref())?;
    let plan = |stuck| Plan {
        members: args.members,
        stuck,
        window: WINDOW,
        publisher_hears: args.publisher_hears,
        rate: Some(args.rate),
        size: args.size,
        ..room.clone()
    };
    let alone = run_plan(context, &plan(0))?;
    let mut outcome = run_plan(context, &plan(args.stuck))?;
    if alone.errors.total() > 0 {
        outcome
            .notes
            .push(format!("{} errors in the phase without stuck members", alone.errors.total()));
    }
    outcome.errors.merge(alone.errors);
    for mut series in alone.series {
        series.name = match series.name.as_str() {
            "response" => "alone".to_owned(),
            other => format!("alone_{other}"),
        };
        outcome.series.push(series);
    }
    let seconds = (context.common.warmup + context.common.duration).as_secs_f64();
    let published = whole(args.rate * seconds * float(args.size as u64));
    if published < KERNEL_BYTES {
        outcome.notes.push(format!(
            "each stuck member was sent {}, which the kernel's buffers alone may hold: \
             raise --size, --rate or --duration",
            show_bytes(published.cast_signed())
        ));
    }
    if let (Some(before), Some(after)) = (alone.server, outcome.server) {
        // From the end of the healthy phase, so that what the stuck members hold is in it.
        let growth = after.1.resident.cast_signed() - before.1.resident.cast_signed();
        outcome.memory.push(("stuck members", u64::from(args.stuck.max(1)), growth));
    }
    Ok(outcome)
}

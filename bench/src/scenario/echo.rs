//! Messages that the server sends back on the same connection, in their order.

use std::sync::Arc;

use super::exchange::{Answer, Exchange, OPEN_LOOP_DEPTH, Reach, Wording, run_exchange};
use super::{Context, Outcome, Share};
use crate::cli::{EchoArgs, ExchangeArgs};
use crate::frames::{Encoder, Format, STAMP_BYTES};
use crate::measure::ErrorLog;
use crate::target::Target;
use crate::walker::{Message, START_BYTES};

/// Runs the scenario.
///
/// # Errors
/// Why it could not be run, in words.
pub(crate) fn run_echo(context: &Context, args: &EchoArgs) -> Result<Outcome, String> {
    let exchange = &args.exchange;
    run_exchange(context, &args.url, exchange, exchange.size, |share, reach| {
        Stamped::new(context, exchange.size, share, reach)
    })
}

/// The echo connections of one thread.
pub(super) type Echo = Exchange<Stamped>;

impl Echo {
    /// All connections, in an open loop.
    pub(super) fn paced(
        context: &Context,
        args: &ExchangeArgs,
        target: &Arc<Target>,
        share: Share,
    ) -> Self {
        let reach = Reach::of::<Stamped>(OPEN_LOOP_DEPTH);
        let wording = Stamped::new(context, args.size, share, reach);
        Self::new(context, args, target, reach, share, wording)
    }
}

/// Messages with their place at the beginning, if they are long enough.
pub(super) struct Stamped {
    format: Format,
    encoder: Encoder,
    ring: u64,
}

impl Stamped {
    fn new(context: &Context, size: usize, share: Share, reach: Reach) -> Self {
        let format = context.format(size);
        let encoder = Encoder::new(format, context.seed(share.index));
        Self { format, encoder, ring: reach.ring }
    }
}

impl Wording for Stamped {
    const IN_ORDER: bool = true;

    fn append(&mut self, place: u64, out: &mut Vec<u8>) {
        self.encoder.append(out, [place, 0]);
    }

    #[inline]
    fn read(&self, message: Message<'_>, next: u64, errors: &mut ErrorLog) -> Option<Answer> {
        let size = self.format.size;
        let mut is_next = true;
        if size >= STAMP_BYTES {
            let stamp = self.format.read_stamp(message.start).filter(|stamp| *stamp < self.ring)?;
            is_next = stamp == next;
        }
        if message.length != size as u64 {
            let length = message.length;
            errors.add("wrong_length", || format!("{length} bytes instead of {size}"));
        }
        Some(Answer { place: next, is_next, is_failure: false })
    }

    fn shown_bytes(&self) -> usize {
        START_BYTES
    }
}

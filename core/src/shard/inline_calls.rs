//! Calls of handlers that run on the shard, at once: nothing of them is copied, queued or noted
//! unless they go on.

use std::cell::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use fulmar_dialect::{Args, Call, CallId, End, Object, Order, Outcome};

use super::Shard;
use super::calls::Caller;
use crate::worker::{Control, Job, OwnedReply, ReplyTo, settle};

/// A call that may run at once.
#[derive(Debug)]
pub(super) struct Inline<'a> {
    pub(super) call: CallId,
    pub(super) target: Object,
    pub(super) member: &'a str,
    pub(super) get: bool,
    pub(super) args: Args<'a>,
    pub(super) order: Order,
    pub(super) object: Option<usize>,
}

impl Shard {
    /// Runs a call. Returns its reply, unless it goes on.
    pub(super) fn call_inline(&mut self, key: u32, inline: Inline<'_>) -> Option<OwnedReply> {
        let Inline { call, target, member, get, args, order, object } = inline;
        let lane = self.lanes.get(key as usize)?;
        self.stats.calls += 1;
        let cancelled = OnceCell::new();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let call = Call {
                args,
                form: lane.form,
                link: &lane.link,
                connection: &lane.connection,
                cancelled: &cancelled,
                at: self.now.time(),
            };
            let target = target.target();
            if get { target.get(member, call) } else { target.call(member, call) }
        }));
        let reply = match outcome {
            Ok(Outcome::Ready(Ok(payload))) => OwnedReply::Value(payload),
            Ok(Outcome::Ready(Err(error))) => OwnedReply::Error(error),
            Ok(Outcome::Missing) => OwnedReply::Missing,
            Ok(outcome) => {
                let control = Control::of(cancelled.into_inner().unwrap_or_default());
                self.go_on(key, call, outcome, &Arc::new(control), order, object);
                return None;
            }
            Err(_panic) => OwnedReply::Panicked,
        };
        let reply = self.counted(reply);
        let end = || match &reply {
            OwnedReply::Error(error) => End::Failed(error.clone()),
            _ => End::Done,
        };
        if let Some(work) = cancelled.get().and_then(|cancelled| cancelled.end(end)) {
            self.node.pool.submit(Job::Run(Box::new(move |_| work())));
        }
        Some(reply)
    }

    /// A handler on the shard has answered with what others work on.
    fn go_on(
        &mut self,
        key: u32,
        call: CallId,
        outcome: Outcome,
        control: &Arc<Control>,
        order: Order,
        object: Option<usize>,
    ) {
        let Some(lane) = self.lanes.get_mut(key as usize) else { return };
        let serial = lane.begin(Caller::Session(call), order, object, control.clone(), None);
        let to = ReplyTo { post: self.post.clone(), lane: key, serial };
        settle(outcome, lane.form, to, control, &self.node.pool);
    }
}

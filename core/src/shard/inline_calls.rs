//! Calls of handlers that run on the shard, at once: nothing of them is copied, queued or noted
//! unless they go on.

use std::cell::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use fulmar_dialect::{Answer, Args, Call, CallId, Cancelled, End, Object, Order, Outcome, Payload};

use super::Shard;
use super::calls::{Caller, Lane};
use crate::worker::{Control, Job, OwnedReply, ReplyTo, settle};

/// A call that may run at once.
#[derive(Debug)]
pub(super) struct Inline<'a> {
    pub(super) member: &'a str,
    pub(super) get: bool,
    pub(super) args: Args<'a>,
    pub(super) at: Duration,
    pub(super) known: Option<u32>,
}

/// What a handler did. The rest is rare and large, and would be moved with every value.
#[derive(Debug)]
pub(super) enum Done {
    Value(Payload<'static>),
    Rest(Box<Outcome>),
    Panicked,
}

/// A call that has run.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) call: CallId,
    pub(super) done: Done,
    pub(super) cancelled: OnceCell<Cancelled>,
    pub(super) order: Order,
    pub(super) object: Option<usize>,
}

impl Lane {
    /// Runs a call.
    pub(super) fn run_inline(
        &self,
        target: &Object,
        inline: Inline<'_>,
        cancelled: &OnceCell<Cancelled>,
    ) -> Done {
        let Inline { member, get, args, at, known } = inline;
        let (form, link, connection) = (self.form, &self.link, &self.connection);
        let run = AssertUnwindSafe(|| {
            let call = Call { args, form, link, connection, cancelled, at, known };
            let target = target.target();
            match if get { target.get(member, call) } else { target.call(member, call) } {
                Outcome::Ready(Ok(payload)) => Done::Value(payload),
                rest => Done::Rest(Box::new(rest)),
            }
        });
        catch_unwind(run).unwrap_or(Done::Panicked)
    }
}

impl Shard {
    /// Does what a call has left to be done. Returns its answer, unless it goes on.
    pub(super) fn after_inline(&mut self, key: u32, ran: Ran) -> Option<Answer> {
        let Ran { call, done, cancelled, order, object } = ran;
        let answer = match done {
            Done::Value(payload) => Answer::Value(payload),
            Done::Panicked => self.failed(OwnedReply::Panicked),
            Done::Rest(rest) => match *rest {
                Outcome::Ready(Err(error)) => self.failed(OwnedReply::Error(error)),
                Outcome::Missing => Answer::Missing,
                outcome => {
                    let control = Control::of(cancelled.into_inner().unwrap_or_default());
                    self.go_on(key, call, outcome, &Arc::new(control), order, object);
                    return None;
                }
            },
        };
        let end = || match &answer {
            Answer::Error(error) => End::Failed((**error).clone()),
            _ => End::Done,
        };
        if let Some(work) = cancelled.get().and_then(|cancelled| cancelled.end(end)) {
            self.node.pool.submit(Job::Run(Box::new(move |_| work())));
        }
        Some(answer)
    }

    fn failed(&mut self, reply: OwnedReply) -> Answer {
        match self.counted(reply) {
            OwnedReply::Error(error) => Answer::Error(error.into()),
            _ => Answer::Missing,
        }
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

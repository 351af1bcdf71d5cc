//! The worker pool: handlers, what they wait for, and streams of answers.
//!
//! A handler that waits holds no thread: its future is polled here when something woke it, by an
//! executor of a hundred lines without a runtime. A stream is polled only while its client keeps up
//! (it has *credit*) and its session's tap is open. Panics end one call.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};
use fulmar_dialect::{
    Answer, CallError, Cancelled, End, Form, Outcome, Payload, Source, Subscribed, Verdict,
};

use crate::mailbox::{Mail, Post};

/// Items of one stream on their way to its session.
const STREAM_CREDIT: u32 = 16;

/// Something to do on a worker.
pub(crate) enum Job {
    /// Runs once.
    Run(Box<dyn FnOnce(&Pool) + Send>),
    /// Polls what was woken.
    Task(Arc<Task>),
    /// Drops an embedder's values, whose `Drop` may do anything.
    Dispose(Box<dyn Any + Send>),
    /// Ends a worker.
    End,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job")
    }
}

/// The way to the workers. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    sender: Sender<Job>,
    receiver: Receiver<Job>,
}

impl Pool {
    /// A pool without threads: somebody has to run its jobs one by one.
    pub(crate) fn new() -> Self {
        let (sender, receiver) = crossbeam_channel::unbounded();
        Self { sender, receiver }
    }

    /// Starts `count` threads.
    ///
    /// # Errors
    /// If the system has no more threads.
    pub(crate) fn start(&self, count: usize) -> std::io::Result<Vec<JoinHandle<()>>> {
        (0..count)
            .map(|index| {
                let pool = self.clone();
                std::thread::Builder::new()
                    .name(format!("fulmar-worker-{index}"))
                    .spawn(move || while pool.next().is_some_and(|job| pool.work(job)) {})
            })
            .collect()
    }

    /// Puts a job in the queue. Bounded by connections times calls in flight.
    pub(crate) fn submit(&self, job: Job) {
        // The pool holds a receiver itself, so this cannot fail.
        let _held = self.sender.send(job);
    }

    /// Runs one job on this thread; `false` if there is none. For simulation.
    #[cfg(feature = "sim")]
    pub(crate) fn run_one(&self) -> bool {
        let job = self.receiver.try_recv().ok();
        job.is_some_and(|job| self.work(job))
    }

    fn next(&self) -> Option<Job> {
        self.receiver.recv().ok()
    }

    /// Whether to go on.
    fn work(&self, job: Job) -> bool {
        match job {
            Job::Run(run) => {
                // What it does to shared state it does through channels and locks that forgive.
                let _panicked = catch_unwind(AssertUnwindSafe(|| run(self)));
            }
            Job::Task(task) => task.run(),
            Job::Dispose(value) => {
                let _panicked = catch_unwind(AssertUnwindSafe(|| drop(value)));
            }
            Job::End => return false,
        }
        true
    }
}

/// A reply on its way to a session.
#[derive(Debug)]
pub(crate) enum OwnedReply {
    Value(Payload<'static>),
    Item(Payload<'static>),
    End,
    Room(Subscribed),
    Verdict(Verdict),
    Error(CallError),
    Missing,
    Panicked,
}

impl From<Answer> for OwnedReply {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Value(payload) => Self::Value(payload),
            Answer::Error(error) => Self::Error(*error),
            Answer::Missing => Self::Missing,
        }
    }
}

impl OwnedReply {
    /// Whether the call is over.
    pub(crate) fn is_last(&self) -> bool {
        !matches!(self, Self::Item(_) | Self::Room(_))
    }
}

/// Where a call's replies go.
#[derive(Clone, Debug)]
pub(crate) struct ReplyTo {
    pub(crate) post: Post,
    pub(crate) lane: u32,
    pub(crate) serial: u32,
}

impl ReplyTo {
    pub(crate) fn reply(&self, reply: OwnedReply) {
        // Replies are never refused; a shard that is gone misses nothing.
        let _gone = self.post.post(Mail::Reply { lane: self.lane, serial: self.serial, reply });
    }

    fn returned(&self) {
        let _gone = self.post.post(Mail::Returned { lane: self.lane, serial: self.serial });
    }
}

/// What the shard holds of a call that runs: to cancel it, and to let a stream go on.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// What the handler is told.
    pub(crate) cancelled: Cancelled,
    /// What becomes of what it left: 0 while somebody waits for it, [`OUTLIVES`], [`ENDS`].
    end: AtomicU8,
    /// Whether the session takes items.
    tap_closed: AtomicBool,
    /// Items that may be made before the session has handled some.
    spent: AtomicU32,
    /// What to wake; empty before the handler returned and when the call is over.
    task: Mutex<Option<Arc<Task>>>,
}

/// The connection has ended, but the call was to be handled anyway.
const OUTLIVES: u8 = 1;
/// Nobody wants it.
const ENDS: u8 = 2;

impl Control {
    /// Of a call whose handler was asked for this already.
    pub(crate) fn of(cancelled: Cancelled) -> Self {
        Self { cancelled, ..Self::default() }
    }

    /// What is to be done now that the call is over; nothing the second time.
    pub(crate) fn end_work(&self, end: End) -> Option<Box<dyn FnOnce() + Send>> {
        self.cancelled.end(|| end)
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_over(&self) -> bool {
        self.end.load(Ordering::Acquire) == ENDS
    }

    /// Nobody wants the answer: what waits is dropped, on a worker, and no reply follows.
    pub(crate) fn cancel(&self) {
        self.end(ENDS);
    }

    /// The connection has ended: what waits for something goes on, and what streams ends, each with
    /// a last reply.
    pub(crate) fn outlive(&self) {
        self.end(OUTLIVES);
    }

    fn end(&self, how: u8) {
        self.end.store(how, Ordering::Release);
        self.cancelled.cancel();
        self.wake();
    }

    /// The session handled an item and the client has taken what was sent: make another.
    pub(crate) fn give_credit(&self) {
        if self.spent.fetch_sub(1, Ordering::AcqRel) == STREAM_CREDIT {
            self.wake();
        }
    }

    /// Opens or closes the session's tap.
    pub(crate) fn flow(&self, open: bool) {
        self.tap_closed.store(!open, Ordering::Release);
        if open {
            self.wake();
        }
    }

    fn may_produce(&self) -> bool {
        self.spent.load(Ordering::Acquire) < STREAM_CREDIT
            && !self.tap_closed.load(Ordering::Acquire)
    }

    fn wake(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.schedule();
        }
    }
}

/// Handles what a target did: replies, or goes on with what is not settled.
pub(crate) fn settle(
    outcome: Outcome,
    form: Form,
    to: ReplyTo,
    control: &Arc<Control>,
    pool: &Pool,
) {
    let work = match outcome {
        Outcome::Ready(Ok(payload)) => return to.reply(OwnedReply::Value(payload)),
        Outcome::Ready(Err(error)) => return to.reply(OwnedReply::Error(error)),
        Outcome::Room(room) => return to.reply(OwnedReply::Room(room)),
        Outcome::Verdict(verdict) => return to.reply(OwnedReply::Verdict(verdict)),
        Outcome::Missing => return to.reply(OwnedReply::Missing),
        Outcome::Later(future) => Work::Later(future),
        Outcome::Stream(source) => Work::Stream(source),
    };
    to.returned();
    let task = Arc::new(Task {
        state: AtomicU8::new(IDLE),
        work: Mutex::new(Some(work)),
        form,
        to,
        control: control.clone(),
        pool: pool.clone(),
    });
    *control.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.clone());
    task.schedule();
}

enum Work {
    Later(Pin<Box<dyn Future<Output = Outcome> + Send>>),
    Stream(Box<dyn Source>),
}

/// A call that waits, or a stream.
pub(crate) struct Task {
    state: AtomicU8,
    work: Mutex<Option<Work>>,
    form: Form,
    to: ReplyTo,
    control: Arc<Control>,
    pool: Pool,
}

/// Nothing to do until something wakes it.
const IDLE: u8 = 0;
/// In the queue.
const QUEUED: u8 = 1;
/// Being polled.
const RUNNING: u8 = 2;
/// Woken while being polled: polled once more.
const WOKEN: u8 = 3;

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("to", &self.to).finish_non_exhaustive()
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.schedule();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.schedule();
    }
}

impl Task {
    fn schedule(self: &Arc<Self>) {
        let next = |state| match state {
            IDLE => Some(QUEUED),
            RUNNING => Some(WOKEN),
            _ => None,
        };
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        if before == Ok(IDLE) {
            self.pool.submit(Job::Task(self.clone()));
        }
    }

    fn run(self: Arc<Self>) {
        self.state.store(RUNNING, Ordering::Release);
        let mut slot = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let waker = Waker::from(self.clone());
        let polled = catch_unwind(AssertUnwindSafe(|| {
            self.poll(&mut slot, &mut Context::from_waker(&waker));
        }));
        if polled.is_err() {
            *slot = None;
            self.to.reply(OwnedReply::Panicked);
        }
        let is_over = slot.is_none();
        drop(slot);
        if is_over {
            // The control refers to the task and the task to the control.
            *self.control.task.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        let idle = self.state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire);
        if idle.is_err() && !is_over {
            self.state.store(QUEUED, Ordering::Release);
            self.pool.submit(Job::Task(self.clone()));
        }
    }

    /// Empties the slot when the call is over.
    fn poll(&self, slot: &mut Option<Work>, context: &mut Context<'_>) {
        match self.control.end.load(Ordering::Acquire) {
            ENDS => return *slot = None,
            OUTLIVES if matches!(slot, Some(Work::Stream(_))) => {
                *slot = None;
                return self.to.reply(OwnedReply::End);
            }
            _ => {}
        }
        match slot {
            None => {}
            Some(Work::Later(future)) => {
                let Poll::Ready(outcome) = future.as_mut().poll(context) else { return };
                *slot = self.outcome(outcome);
                if slot.is_some() {
                    context.waker().wake_by_ref();
                }
            }
            Some(Work::Stream(source)) => {
                let is_over = self.produce(&mut **source, context);
                if is_over {
                    *slot = None;
                }
            }
        }
    }

    /// A future's outcome: replied, or more to poll.
    fn outcome(&self, outcome: Outcome) -> Option<Work> {
        self.to.reply(match outcome {
            Outcome::Later(future) => return Some(Work::Later(future)),
            Outcome::Stream(source) => return Some(Work::Stream(source)),
            Outcome::Ready(Ok(payload)) => OwnedReply::Value(payload),
            Outcome::Ready(Err(error)) => OwnedReply::Error(error),
            Outcome::Room(room) => OwnedReply::Room(room),
            Outcome::Verdict(verdict) => OwnedReply::Verdict(verdict),
            Outcome::Missing => OwnedReply::Missing,
        });
        None
    }

    /// Makes items while there is credit; whether the stream is over.
    fn produce(&self, source: &mut dyn Source, context: &mut Context<'_>) -> bool {
        while self.control.may_produce() {
            let reply = match source.poll_next(self.form, context) {
                Poll::Pending => return false,
                Poll::Ready(Some(Ok(item))) => OwnedReply::Item(item),
                Poll::Ready(Some(Err(error))) => OwnedReply::Error(error),
                Poll::Ready(None) => OwnedReply::End,
            };
            let is_over = reply.is_last();
            self.control.spent.fetch_add(1, Ordering::AcqRel);
            self.to.reply(reply);
            if is_over {
                return true;
            }
        }
        false
    }
}

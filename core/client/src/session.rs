//! What is known of one connection: which calls wait for an answer, and when something is due.
//!
//! Pure: it is told what happens and what time it is, and says what is to be done.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::error::RequestError;
use crate::wire::Reply;

/// How often per idle timeout a busy connection looks whether it has become idle. Calls are given
/// up on other threads than the one that waits for the time to come.
const IDLE_LOOKS: u32 = 8;
const IDLE_LOOK_MIN: Duration = Duration::from_millis(10);

/// When something is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) pong_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
}

/// What kind of answer a call has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One result.
    Request,
    /// Items and an end.
    Subscription,
}

/// What a reply means for a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivery<'a, S> {
    /// Nobody waits for it.
    Nothing,
    /// One of many; the call goes on.
    Item(S, Cow<'a, str>),
    /// The one; the call is over.
    Answer(S, Cow<'a, str>),
    /// The end without more.
    End(S),
    /// The end with an error.
    Failure(S, RequestError),
}

/// What the time has come for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A ping has to go out.
    Ping,
    /// The server has not answered a ping: the connection is lost.
    PongMissing,
    /// Nothing was called for long enough: the connection is to be closed.
    Idle,
}

/// The calls and the timers of one connection, made or to be made. `S` is who waits for answers.
#[derive(Debug)]
pub(crate) struct Session<S> {
    timing: Timing,
    /// How many ids were given away.
    used_ids: u64,
    pending: HashMap<u64, (Shape, S)>,
    open: Option<Open>,
}

/// The timers of a connection that is made.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// The last thing that was said by either side.
    active: Instant,
    /// When a ping went out that has no answer yet.
    pinged: Option<Instant>,
    /// When the last call ended, or the last notification was sent.
    idle: Instant,
    /// Nothing is being read, so that no answer can be expected.
    paused: bool,
}

impl<S: Clone> Session<S> {
    pub(crate) fn new(timing: Timing) -> Self {
        Self { timing, used_ids: 0, pending: HashMap::new(), open: None }
    }

    /// The connection is made: the clocks run from now.
    pub(crate) fn open(&mut self, now: Instant) {
        self.open = Some(Open { active: now, pinged: None, idle: now, paused: false });
    }

    /// A call begins. Its id is one more than that of the call before; the first is 1.
    pub(crate) fn begin(&mut self, shape: Shape, sink: S) -> u64 {
        self.used_ids += 1;
        self.pending.insert(self.used_ids, (shape, sink));
        self.used_ids
    }

    /// A call is given up. Says whether the server has not ended it before.
    pub(crate) fn forget(&mut self, id: u64, now: Instant) -> bool {
        let was_pending = self.pending.remove(&id).is_some();
        self.note_end(now);
        was_pending
    }

    /// Calls that wait.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Something was sent other than a ping.
    pub(crate) fn note_sent(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            open.active = now;
            open.idle = now;
        }
    }

    /// Something came, whatever it is.
    pub(crate) fn note_received(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            open.active = now;
            open.pinged = None;
        }
    }

    /// Reading is paused, or goes on.
    pub(crate) fn note_paused(&mut self, paused: bool, now: Instant) {
        if let Some(open) = &mut self.open {
            if open.paused && !paused {
                // What may have been answered in the meantime is yet to be read.
                open.pinged = open.pinged.map(|_| now);
            }
            open.paused = paused;
        }
    }

    /// Finds out who a reply is for.
    pub(crate) fn reply<'a>(&mut self, id: u64, reply: Reply<'a>, now: Instant) -> Delivery<'a, S> {
        let Some((shape, sink)) = self.pending.get(&id) else { return Delivery::Nothing };
        let (shape, sink) = (*shape, sink.clone());
        let delivery = match (reply, shape) {
            (Reply::Result(json), Shape::Subscription) => return Delivery::Item(sink, json),
            (Reply::Result(json), Shape::Request) => Delivery::Answer(sink, json),
            // A stream without items, asked for as if it had one result.
            (Reply::End, Shape::Request) => Delivery::Answer(sink, Cow::Borrowed("null")),
            (Reply::End, Shape::Subscription) => Delivery::End(sink),
            (Reply::Failure(error), _) => Delivery::Failure(sink, error),
        };
        self.pending.remove(&id);
        self.note_end(now);
        delivery
    }

    /// What the time has come for. A ping that is due counts as sent.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Due> {
        let idle_at = self.idle_at();
        let ping_at = self.ping_at();
        let pong_at = self.pong_at();
        let open = self.open.as_mut()?;
        let has_come = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if has_come(pong_at) {
            return Some(Due::PongMissing);
        }
        if has_come(idle_at) {
            return Some(Due::Idle);
        }
        if has_come(ping_at) {
            open.active = now;
            open.pinged = Some(now);
            return Some(Due::Ping);
        }
        None
    }

    /// When to ask again what is due.
    pub(crate) fn next_look(&self, now: Instant) -> Option<Instant> {
        let look_at = self
            .timing
            .idle_timeout
            .and_then(|timeout| now.checked_add((timeout / IDLE_LOOKS).max(IDLE_LOOK_MIN)));
        let idle_at = if self.pending.is_empty() { self.idle_at() } else { look_at };
        [self.ping_at(), self.pong_at(), idle_at].into_iter().flatten().min()
    }

    /// The connection is gone: everybody who still waits. The next one starts anew.
    pub(crate) fn drain(&mut self) -> Vec<S> {
        let pending = std::mem::take(&mut self.pending);
        *self = Self::new(self.timing);
        pending.into_values().map(|(_, sink)| sink).collect()
    }

    fn note_end(&mut self, now: Instant) {
        if let Some(open) = &mut self.open
            && self.pending.is_empty()
        {
            open.idle = now;
        }
    }

    /// Only after silence, and not again while one has no answer.
    fn ping_at(&self) -> Option<Instant> {
        let open = self.open.filter(|open| open.pinged.is_none())?;
        open.active.checked_add(self.timing.ping_interval?)
    }

    fn pong_at(&self) -> Option<Instant> {
        let open = self.open.filter(|open| !open.paused)?;
        open.pinged?.checked_add(self.timing.pong_timeout)
    }

    fn idle_at(&self) -> Option<Instant> {
        let open = self.open.filter(|_| self.pending.is_empty())?;
        open.idle.checked_add(self.timing.idle_timeout?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);

    fn session(idle: Option<u32>) -> (Session<&'static str>, Instant) {
        let timing = Timing {
            ping_interval: Some(20 * SECOND),
            pong_timeout: 10 * SECOND,
            idle_timeout: idle.map(|seconds| seconds * SECOND),
        };
        let (mut session, now) = (Session::new(timing), clock::now());
        session.open(now);
        (session, now)
    }

    fn result(json: &str) -> Reply<'_> {
        Reply::Result(Cow::Borrowed(json))
    }

    #[test]
    fn ids_count_from_one_on_every_connection() {
        let (mut session, now) = session(None);
        assert_eq!(session.begin(Shape::Request, "a"), 1);
        assert_eq!(session.begin(Shape::Subscription, "b"), 2);
        let mut waiting = session.drain();
        waiting.sort_unstable();
        assert_eq!(waiting, ["a", "b"]);
        assert_eq!(session.reply(2, result("1"), now), Delivery::Nothing);
        assert_eq!(session.begin(Shape::Request, "c"), 1);
    }

    #[test]
    fn a_request_has_one_answer() {
        let (mut session, now) = session(None);
        let id = session.begin(Shape::Request, "a");
        assert_eq!(session.reply(9, result("1"), now), Delivery::Nothing);
        assert_eq!(session.reply(id, result("1"), now), Delivery::Answer("a", "1".into()));
        assert_eq!(session.reply(id, result("2"), now), Delivery::Nothing);
        let id = session.begin(Shape::Request, "b");
        assert_eq!(session.reply(id, Reply::End, now), Delivery::Answer("b", "null".into()));
    }

    #[test]
    fn a_subscription_has_items_and_an_end() {
        let (mut session, now) = session(None);
        let id = session.begin(Shape::Subscription, "a");
        for _ in 0..3 {
            assert_eq!(session.reply(id, result("1"), now), Delivery::Item("a", "1".into()));
        }
        assert_eq!(session.reply(id, Reply::End, now), Delivery::End("a"));
        assert_eq!(session.reply(id, result("2"), now), Delivery::Nothing);
        let id = session.begin(Shape::Subscription, "b");
        let error = RequestError { code: 1, message: String::new(), data: None, stack: None };
        let failure = session.reply(id, Reply::Failure(error.clone()), now);
        assert_eq!((failure, session.pending()), (Delivery::Failure("b", error), 0));
    }

    #[test]
    fn what_is_given_up_is_given_up_once() {
        let (mut session, now) = session(None);
        let id = session.begin(Shape::Request, "a");
        assert!(session.forget(id, now));
        assert!(!session.forget(id, now));
        assert_eq!(session.reply(id, result("1"), now), Delivery::Nothing);
    }

    #[test]
    fn a_ping_follows_silence_only() {
        let (mut session, start) = session(None);
        for second in (5..100).step_by(5) {
            let now = start + second * SECOND;
            assert_eq!(session.due(now), None);
            if second % 2 == 0 { session.note_sent(now) } else { session.note_received(now) }
        }
        let last = start + 95 * SECOND;
        assert_eq!(session.next_look(last), Some(last + 20 * SECOND));
        assert_eq!(session.due(last + 19 * SECOND), None);
        assert_eq!(session.due(last + 20 * SECOND), Some(Due::Ping));
        assert_eq!(session.due(last + 20 * SECOND), None);
    }

    #[test]
    fn a_ping_without_an_answer_is_the_end() {
        let (mut session, start) = session(None);
        let pinged = start + 20 * SECOND;
        assert_eq!(session.due(pinged), Some(Due::Ping));
        session.note_sent(pinged + 5 * SECOND);
        assert_eq!(session.next_look(pinged), Some(pinged + 10 * SECOND));
        assert_eq!(session.due(pinged + 9 * SECOND), None);
        assert_eq!(session.due(pinged + 10 * SECOND), Some(Due::PongMissing));
        session.note_received(pinged + 10 * SECOND);
        assert_eq!(session.due(pinged + 10 * SECOND), None);
        assert_eq!(session.due(pinged + 30 * SECOND), Some(Due::Ping));
    }

    #[test]
    fn no_answer_is_missed_while_nothing_is_read() {
        let (mut session, start) = session(None);
        session.note_paused(true, start);
        assert_eq!(session.due(start + 20 * SECOND), Some(Due::Ping));
        assert_eq!(session.due(start + 90 * SECOND), None);
        session.note_paused(false, start + 90 * SECOND);
        assert_eq!(session.due(start + 99 * SECOND), None);
        assert_eq!(session.due(start + 100 * SECOND), Some(Due::PongMissing));
    }

    #[test]
    fn idleness_counts_from_the_last_call() {
        let (mut session, start) = session(Some(2));
        let id = session.begin(Shape::Request, "a");
        assert_eq!(session.due(start + 9 * SECOND), None);
        assert_eq!(session.next_look(start), Some(start + SECOND / 4));
        session.forget(id, start + 9 * SECOND);
        assert_eq!(session.due(start + 10 * SECOND), None);
        session.note_sent(start + 10 * SECOND);
        assert_eq!(session.next_look(start), Some(start + 12 * SECOND));
        assert_eq!(session.due(start + 12 * SECOND), Some(Due::Idle));
    }

    #[test]
    fn nothing_is_due_without_a_connection() {
        let (mut session, start) = session(Some(2));
        session.drain();
        assert_eq!(session.due(start + 1000 * SECOND), None);
        assert_eq!(session.next_look(start), None);
    }
}

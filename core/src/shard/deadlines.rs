//! A connection's deadlines: one table, of which the earliest is in the wheel.
//!
//! Receiving only notes the time. The wheel's entry is looked at when it fires and armed anew, so a
//! busy connection costs no wheel operation.
#![expect(clippy::cast_possible_truncation, reason = "marks are the low halves of ticks")]

use crate::clock::Tick;

/// What every connection may be waiting for, in 8 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// When something was last received.
    last_received: Mark,
    /// While the connection is open: an answer to our ping. Before: its request's head. After: the
    /// end of closing.
    awaited: Mark,
}

const _: () = assert!(size_of::<Deadlines>() == 8);

/// The low half of a tick; 0 for none. Marks are within 2^31 ticks of now, that is 397 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark(u32);

impl Mark {
    /// The mark of a tick.
    pub(crate) fn at(tick: Tick) -> Self {
        Self((tick.0 as u32).max(1))
    }

    fn tick(self, now: Tick) -> Option<Tick> {
        let distance = self.0.wrapping_sub(now.0 as u32).cast_signed();
        (self.0 != 0).then(|| Tick(now.0.saturating_add_signed(i64::from(distance))))
    }

    fn is_due(self, now: Tick) -> bool {
        self.tick(now).is_some_and(|tick| tick <= now)
    }
}

/// Deadlines that few connections have.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    /// When the session wants to be called.
    pub(crate) session: Mark,
    /// When what the client proved itself with expires.
    pub(crate) expiry: Mark,
    /// When the first of its calls must have been answered.
    pub(crate) calls: Mark,
}

/// How long an endpoint lets an open connection be silent, in ticks; `None`: for ever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silence {
    pub(crate) idle: Option<u64>,
    pub(crate) ping: Option<u64>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Stage,
    Pong,
    Idle,
    Ping,
    Session,
    Expiry,
    Calls,
}

impl Deadlines {
    /// A connection that has `stage` left for its request.
    pub(crate) fn new(now: Tick, stage: Tick) -> Self {
        Self { last_received: Mark::at(now), awaited: Mark::at(stage) }
    }

    /// Something was received on an open connection, or it opened: it is neither silent nor owes a
    /// pong.
    pub(crate) fn received(&mut self, now: Tick) {
        *self = Self { last_received: Mark::at(now), awaited: Mark::default() };
    }

    /// Sets or stops the deadline of a stage in which the connection is not open.
    pub(crate) fn set_stage(&mut self, due: Option<Tick>) {
        self.awaited = due.map_or_else(Mark::default, Mark::at);
    }

    /// A ping was sent.
    pub(crate) fn set_pong(&mut self, due: Tick) {
        self.awaited = Mark::at(due);
    }

    /// How long nothing has been received, in milliseconds.
    pub(crate) fn silent_for(&self, now: Tick) -> u64 {
        let last = self.last_received.tick(now).unwrap_or(now);
        now.milliseconds_since(last)
    }

    /// The first thing that is due, for an open connection with its `silence` and what its session
    /// asked for, or for another one.
    pub(crate) fn due(&self, now: Tick, silence: Option<Silence>, wanted: Wanted) -> Option<Due> {
        let Some(silence) = silence else {
            return self.awaited.is_due(now).then_some(Due::Stage);
        };
        if self.awaited.is_due(now) {
            return Some(Due::Pong);
        }
        let silent = now.0.saturating_sub(self.last_received.tick(now).unwrap_or(now).0);
        if silence.idle.is_some_and(|most| silent >= most) {
            return Some(Due::Idle);
        }
        if wanted.expiry.is_due(now) {
            return Some(Due::Expiry);
        }
        if wanted.calls.is_due(now) {
            return Some(Due::Calls);
        }
        if wanted.session.is_due(now) {
            return Some(Due::Session);
        }
        let must_ping =
            self.awaited == Mark::default() && silence.ping.is_some_and(|p| silent >= p);
        must_ping.then_some(Due::Ping)
    }

    /// When to look again.
    pub(crate) fn next(&self, now: Tick, silence: Option<Silence>, wanted: Wanted) -> Option<Tick> {
        let last = self.last_received.tick(now).unwrap_or(now);
        let silence = silence.unwrap_or(Silence { idle: None, ping: None });
        let ping = silence.ping.filter(|_| self.awaited == Mark::default());
        let silent = [silence.idle, ping].into_iter().flatten().min();
        let marks = [self.awaited, wanted.session, wanted.expiry, wanted.calls];
        let marked = marks.into_iter().filter_map(|mark| mark.tick(now)).min();
        marked.into_iter().chain(silent.map(|ticks| Tick(last.0 + ticks))).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Option<Silence> = Some(Silence { idle: Some(100), ping: Some(30) });

    const NO_MARK: Wanted = Wanted { session: Mark(0), expiry: Mark(0), calls: Mark(0) };

    #[test]
    fn a_silent_connection_is_pinged_then_given_up() {
        let mut deadlines = Deadlines::new(Tick(1000), Tick(1050));
        assert_eq!(deadlines.next(Tick(1000), None, NO_MARK), Some(Tick(1050)));
        deadlines.received(Tick(1010));
        assert_eq!(deadlines.next(Tick(1010), SILENCE, NO_MARK), Some(Tick(1040)));
        assert_eq!(deadlines.due(Tick(1039), SILENCE, NO_MARK), None);
        assert_eq!(deadlines.due(Tick(1040), SILENCE, NO_MARK), Some(Due::Ping));
        deadlines.set_pong(Tick(1060));
        assert_eq!(deadlines.due(Tick(1059), SILENCE, NO_MARK), None);
        assert_eq!(deadlines.due(Tick(1060), SILENCE, NO_MARK), Some(Due::Pong));
        deadlines.received(Tick(1059));
        assert_eq!(deadlines.due(Tick(1060), SILENCE, NO_MARK), None);
        assert_eq!(deadlines.due(Tick(1159), SILENCE, NO_MARK), Some(Due::Idle));
    }

    #[test]
    fn marks_survive_the_wrap_of_their_half() {
        let now = Tick((1 << 32) - 5);
        let mut deadlines = Deadlines::new(now, Tick(now.0 + 10));
        assert_eq!(deadlines.due(Tick(now.0 + 9), None, NO_MARK), None);
        assert_eq!(deadlines.due(Tick(now.0 + 10), None, NO_MARK), Some(Due::Stage));
        deadlines.received(now);
        assert_eq!(deadlines.next(Tick(now.0 + 50), SILENCE, NO_MARK), Some(Tick(now.0 + 30)));
    }
}

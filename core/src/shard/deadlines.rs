//! A connection's deadlines: one table, of which the earliest is in the wheel.
//!
//! Receiving only notes the time. The wheel's entry is looked at when it fires and armed anew, so a
//! busy connection costs no wheel operation.
#![expect(clippy::cast_possible_truncation, reason = "marks are the low halves of ticks")]

use crate::clock::Tick;

/// What a connection may be waiting for. 16 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// When something was last received.
    last_received: Mark,
    /// The request's head, or the end of closing.
    stage: Mark,
    /// An answer to our ping.
    pong: Mark,
    /// What the session asked for.
    session: Mark,
}

/// The low half of a tick; 0 for none. Marks are within 2^31 ticks of now, that is 397 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark(u32);

impl Mark {
    fn at(tick: Tick) -> Self {
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

/// How long an endpoint lets a connection be silent, in ticks; `None`: for ever.
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
}

impl Deadlines {
    /// A connection that has `stage` left for its request.
    pub(crate) fn new(now: Tick, stage: Tick) -> Self {
        Self {
            last_received: Mark::at(now),
            stage: Mark::at(stage),
            pong: Mark::default(),
            session: Mark::default(),
        }
    }

    /// Something was received: it is neither silent nor owes a pong.
    pub(crate) fn received(&mut self, now: Tick) {
        self.last_received = Mark::at(now);
        self.pong = Mark::default();
    }

    /// Sets or stops the deadline of the stage.
    pub(crate) fn set_stage(&mut self, due: Option<Tick>) {
        self.stage = due.map_or_else(Mark::default, Mark::at);
    }

    /// A ping was sent.
    pub(crate) fn set_pong(&mut self, due: Tick) {
        self.pong = Mark::at(due);
    }

    /// Sets or stops the session's timer.
    pub(crate) fn set_session(&mut self, due: Option<Tick>) {
        self.session = due.map_or_else(Mark::default, Mark::at);
    }

    /// The most pressing thing that is due. `silence` is `None` where silence is no matter: before
    /// the handshake, and when the connection closes.
    pub(crate) fn due(&self, now: Tick, silence: Option<Silence>) -> Option<Due> {
        if self.stage.is_due(now) {
            return Some(Due::Stage);
        }
        if self.pong.is_due(now) {
            return Some(Due::Pong);
        }
        let silent = now.0.saturating_sub(self.last_received.tick(now).unwrap_or(now).0);
        let silence = silence.unwrap_or(Silence { idle: None, ping: None });
        if silence.idle.is_some_and(|most| silent >= most) {
            return Some(Due::Idle);
        }
        if self.session.is_due(now) {
            return Some(Due::Session);
        }
        let must_ping = self.pong == Mark::default() && silence.ping.is_some_and(|p| silent >= p);
        must_ping.then_some(Due::Ping)
    }

    /// When to look again.
    pub(crate) fn next(&self, now: Tick, silence: Option<Silence>) -> Option<Tick> {
        let last = self.last_received.tick(now).unwrap_or(now);
        let silence = silence.unwrap_or(Silence { idle: None, ping: None });
        let ping = silence.ping.filter(|_| self.pong == Mark::default());
        let silent = [silence.idle, ping].into_iter().flatten().min();
        let marks = [self.stage, self.pong, self.session];
        let marked = marks.into_iter().filter_map(|mark| mark.tick(now)).min();
        marked.into_iter().chain(silent.map(|ticks| Tick(last.0 + ticks))).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Option<Silence> = Some(Silence { idle: Some(100), ping: Some(30) });

    #[test]
    fn a_silent_connection_is_pinged_then_given_up() {
        let mut deadlines = Deadlines::new(Tick(1000), Tick(1050));
        assert_eq!(deadlines.next(Tick(1000), None), Some(Tick(1050)));
        deadlines.set_stage(None);
        deadlines.received(Tick(1010));
        assert_eq!(deadlines.next(Tick(1010), SILENCE), Some(Tick(1040)));
        assert_eq!(deadlines.due(Tick(1039), SILENCE), None);
        assert_eq!(deadlines.due(Tick(1040), SILENCE), Some(Due::Ping));
        deadlines.set_pong(Tick(1060));
        assert_eq!(deadlines.due(Tick(1059), SILENCE), None);
        assert_eq!(deadlines.due(Tick(1060), SILENCE), Some(Due::Pong));
        deadlines.received(Tick(1059));
        assert_eq!(deadlines.due(Tick(1060), SILENCE), None);
        assert_eq!(deadlines.due(Tick(1159), SILENCE), Some(Due::Idle));
    }

    #[test]
    fn marks_survive_the_wrap_of_their_half() {
        let now = Tick((1 << 32) - 5);
        let mut deadlines = Deadlines::new(now, Tick(now.0 + 10));
        assert_eq!(deadlines.due(Tick(now.0 + 9), None), None);
        assert_eq!(deadlines.due(Tick(now.0 + 10), None), Some(Due::Stage));
        deadlines.set_stage(None);
        assert_eq!(deadlines.next(Tick(now.0 + 50), SILENCE), Some(Tick(now.0 + 30)));
    }
}

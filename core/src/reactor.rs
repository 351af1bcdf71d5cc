//! The loop that feeds a shard: events, mail, time; then mail out and output.

use std::io;
use std::time::Duration;

use fulmar_driver::Driver;

use crate::clock::{ReadClock, TICK, Tick, Time};
use crate::mailbox::Mailbox;
use crate::shard::Shard;

/// Letters handled in one turn.
const MAIL_MAX: usize = 4096;

/// One shard with its driver, mailbox and clock.
#[derive(Debug)]
pub(crate) struct Reactor<D, C> {
    pub(crate) driver: D,
    pub(crate) shard: Shard,
    mailbox: Mailbox,
    clock: C,
    /// Whether the last turn left mail for the next one.
    has_mail: bool,
    /// How long to look for work before sleeping.
    busy_poll: Duration,
    /// When there was work last.
    worked_at: Time,
}

impl<D: Driver, C: ReadClock> Reactor<D, C> {
    /// A loop that has not begun.
    pub(crate) fn new(driver: D, shard: Shard, mailbox: Mailbox, clock: C) -> Self {
        let worked_at = clock.now();
        let busy_poll = Duration::ZERO;
        Self { driver, shard, mailbox, clock, has_mail: false, busy_poll, worked_at }
    }

    /// Looks for work so long before it sleeps.
    pub(crate) fn busy_poll(mut self, most: Duration) -> Self {
        self.busy_poll = most;
        self
    }

    /// Turns until the shard has stopped.
    ///
    /// # Errors
    /// What makes the driver unusable.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        while !self.shard.is_stopped() {
            self.turn()?;
        }
        Ok(())
    }

    /// One turn.
    ///
    /// # Errors
    /// What makes the driver unusable.
    pub(crate) fn turn(&mut self) -> io::Result<()> {
        self.shard.begin_turn();
        let timeout = self.timeout(self.clock.now());
        self.driver.poll(timeout, &mut self.shard)?; // 1 events: state, effects on own connection
        self.mailbox.awake();
        let shard = &mut self.shard;
        let mut has_worked = shard.is_awake();
        let drained = self.mailbox.drain(MAIL_MAX, |mail| {
            has_worked = true;
            shard.on_mail(mail); // 2 mail
        });
        self.has_mail = !drained;
        let now = self.clock.now();
        if has_worked {
            self.worked_at = now;
        }
        self.shard.on_tick(now); // 3 timers
        self.shard.post_mail(drained); // 4 mail out, one wake for each addressee
        self.shard.flush(&mut self.driver); // 5 sends and everything else for the driver
        Ok(())
    }

    /// How long the poll may wait; says that the shard is about to sleep if it may.
    fn timeout(&self, now: Time) -> Option<Duration> {
        if self.has_mail {
            return Some(Duration::ZERO);
        }
        let wake = self.shard.next_wake();
        let looks = now.0.saturating_sub(self.worked_at.0) < self.busy_poll;
        // Mail is looked for either way; only who says that it sleeps is woken for it.
        if looks || wake.is_some_and(|due| due <= now.tick()) || !self.mailbox.may_sleep() {
            return Some(Duration::ZERO);
        }
        wake.map(|due| until(due, now))
    }
}

fn until(due: Tick, now: Time) -> Duration {
    let at = TICK.saturating_mul(u32::try_from(due.0).unwrap_or(u32::MAX));
    at.saturating_sub(now.0)
}

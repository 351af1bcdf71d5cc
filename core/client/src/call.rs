//! One call, with all its attempts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::cancel::{Abort, CancelToken, Registration};
use crate::clock;
use crate::entropy;
use crate::error::{ClientError, ConnectionError};
use crate::lane::{Lane, Settings, Ticket};
use crate::mailbox::{Capacity, Found, Mailbox};
use crate::options::Retry;
use crate::session::Shape;

/// A client's connections.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) settings: Arc<Settings>,
    pub(crate) lanes: Vec<Arc<Lane>>,
    /// How often it was closed. A call does not wait for its next attempt beyond that.
    pub(crate) closes: AtomicU64,
}

/// What is called, and how often it may still be tried.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) pool: Arc<Pool>,
    pub(crate) method: String,
    pub(crate) arguments: String,
    pub(crate) token: Option<CancelToken>,
    pub(crate) retry: Retry,
    pub(crate) retries: u32,
    pub(crate) closes: u64,
}

/// One attempt under way. Dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Attempt {
    call: Arc<Call>,
    _registration: Option<Registration>,
}

#[derive(Debug)]
struct Call {
    lane: Arc<Lane>,
    ticket: Ticket,
    mailbox: Arc<Mailbox>,
}

impl Plan {
    /// Makes an attempt.
    pub(crate) fn begin(&self, shape: Shape, capacity: Capacity) -> Result<Attempt, ClientError> {
        self.check()?;
        let mailbox = Arc::new(Mailbox::new(capacity));
        let lane = self.lane()?;
        let ticket = lane.call(&self.method, &self.arguments, shape, &mailbox)?;
        let call = Arc::new(Call { lane: Arc::clone(lane), ticket, mailbox });
        let weak: Weak<Call> = Arc::downgrade(&call);
        let registration = self.token.as_ref().map(|token| token.register(weak));
        Ok(Attempt { call, _registration: registration })
    }

    /// Sends it as a notification, in one attempt.
    pub(crate) fn notify(&self, deadline: Option<Instant>) -> Result<(), ClientError> {
        self.check()?;
        let mailbox = Arc::new(Mailbox::new(Capacity::ONE));
        self.lane()?.notify(&self.method, &self.arguments, &mailbox)?;
        let weak: Weak<Mailbox> = Arc::downgrade(&mailbox);
        let _registration = self.token.as_ref().map(|token| token.register(weak));
        match mailbox.take(deadline) {
            Found::End(end) => end,
            Found::Item(_) => Ok(()),
            Found::Nothing => {
                // The first end counts: it has been sent after all, or never will be.
                mailbox.abandon(ClientError::Timeout);
                match mailbox.take(None) {
                    Found::End(end) => end,
                    Found::Item(_) | Found::Nothing => Ok(()),
                }
            }
        }
    }

    /// After an attempt has failed for want of a connection: waits for the time of the next one,
    /// if there is to be one.
    pub(crate) fn wait(
        &mut self,
        error: ConnectionError,
        deadline: Option<Instant>,
    ) -> Result<(), ClientError> {
        if self.retries >= self.retry.limit {
            return Err(ClientError::Connection(error));
        }
        let time = self.retry.delay_before(self.retries, entropy::fraction());
        self.retries += 1;
        let next = clock::after(time);
        let until = [next, deadline].into_iter().flatten().min();
        let mailbox = Arc::new(Mailbox::new(Capacity::ONE));
        let weak: Weak<Mailbox> = Arc::downgrade(&mailbox);
        let _registration = self.token.as_ref().map(|token| token.register(weak));
        if let Found::End(Err(error)) = mailbox.take(until) {
            return Err(error);
        }
        if deadline.is_some_and(|deadline| clock::until(deadline).is_zero()) {
            return Err(ClientError::Timeout);
        }
        self.check()
    }

    fn check(&self) -> Result<(), ClientError> {
        if self.token.as_ref().is_some_and(CancelToken::is_cancelled) {
            return Err(ClientError::Aborted);
        }
        let closes = self.pool.closes.load(Ordering::SeqCst);
        if closes == self.closes { Ok(()) } else { Err(ClientError::Closed) }
    }

    /// The connection with the fewest calls.
    fn lane(&self) -> Result<&Arc<Lane>, ClientError> {
        self.pool.lanes.iter().min_by_key(|lane| lane.load()).ok_or(ClientError::Closed)
    }
}

impl Attempt {
    /// Waits for the next answer.
    pub(crate) fn take(&self, deadline: Option<Instant>) -> Found {
        self.call.mailbox.take(deadline)
    }

    /// How many answers went because there was no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.call.mailbox.dropped()
    }
}

impl Call {
    fn give_up(&self) {
        // Who waits returns first: telling the server may take time.
        self.mailbox.abandon(ClientError::Aborted);
        self.lane.cancel(self.ticket);
    }
}

impl Abort for Call {
    fn abort(&self) {
        self.give_up();
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // Nothing happens if it is over.
        self.call.give_up();
    }
}

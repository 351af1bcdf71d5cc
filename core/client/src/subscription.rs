//! Streams of items.

use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::call::{Attempt, Plan};
use crate::clock;
use crate::error::ClientError;
use crate::mailbox::{Capacity, Found};
use crate::session::Shape;
use crate::wire;

/// The items of a subscription: an iterator whose `next` waits for one. Dropping it cancels the
/// subscription.
///
/// An item that is not of the type is a [`ClientError::Decode`], after which more can follow; any
/// other error is the last item. When the connection is lost and may be made again, the
/// subscription begins from scratch, and its items follow those that came before; the retries of
/// all its losses count together.
///
/// A subscription to a method that has one result instead of a stream gets it as its first item,
/// and no end.
#[derive(Debug)]
pub struct Subscription<T> {
    plan: Plan,
    capacity: Capacity,
    timeout: Option<Duration>,
    attempt: Option<Attempt>,
    dropped_before: u64,
    is_over: bool,
    items: PhantomData<fn() -> T>,
}

impl<T> Subscription<T> {
    pub(crate) fn begin(
        plan: Plan,
        capacity: Capacity,
        timeout: Option<Duration>,
    ) -> Result<Self, ClientError> {
        let attempt = match plan.begin(Shape::Subscription, capacity) {
            Ok(attempt) => Some(attempt),
            // `next` tries again, or says so.
            Err(ClientError::Connection(_)) => None,
            Err(error) => return Err(error),
        };
        let (dropped_before, is_over, items) = (0, false, PhantomData);
        Ok(Self { plan, capacity, timeout, attempt, dropped_before, is_over, items })
    }

    /// Ends it: there are no more items, and the server is told.
    pub fn cancel(&mut self) {
        self.dropped_before = self.dropped();
        self.is_over = true;
        self.attempt = None;
    }

    /// How many items went untaken, with
    /// [`StreamOverflow::DropOldest`](crate::StreamOverflow::DropOldest).
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped_before + self.attempt.as_ref().map_or(0, Attempt::dropped)
    }
}

impl<T: DeserializeOwned> Iterator for Subscription<T> {
    type Item = Result<T, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        let deadline = self.timeout.and_then(clock::after);
        while !self.is_over {
            let found = match &self.attempt {
                Some(attempt) => attempt.take(deadline),
                None => match self.plan.begin(Shape::Subscription, self.capacity) {
                    Ok(attempt) => {
                        self.attempt = Some(attempt);
                        continue;
                    }
                    Err(error) => Found::End(Err(error)),
                },
            };
            let error = match found {
                Found::Item(json) => return Some(wire::decode(&json)),
                Found::End(Ok(())) => {
                    self.cancel();
                    return None;
                }
                Found::End(Err(ClientError::Connection(error))) => {
                    self.dropped_before = self.dropped();
                    self.attempt = None;
                    match self.plan.wait(error, deadline) {
                        Ok(()) => continue,
                        Err(error) => error,
                    }
                }
                Found::End(Err(error)) => error,
                Found::Nothing => ClientError::Timeout,
            };
            self.cancel();
            return Some(Err(error));
        }
        None
    }
}

impl<T: DeserializeOwned> FusedIterator for Subscription<T> {}

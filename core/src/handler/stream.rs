//! Streaming answers. Pulled: not being polled is backpressure, being dropped is cancellation.
use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use fulmar_dialect::{CallError, Form, Payload, Source};
use serde::Serialize;

/// Answers a call with a stream of items; polled only while the client keeps up, dropped when it
/// cancels or is gone.
pub struct Stream<T>(Next<T>);

type Next<T> = Box<dyn FnMut(&mut Context<'_>) -> Poll<Option<Result<T, CallError>>> + Send>;

impl<T: Send + 'static> Stream<T> {
    /// The items of an iterator, which may block: it runs on workers.
    pub fn iter(items: impl IntoIterator<Item = T, IntoIter: Send + 'static>) -> Self {
        let mut items = items.into_iter();
        Self(Box::new(move |_| Poll::Ready(items.next().map(Ok))))
    }

    /// What a function says when it is polled, with the contract of a future's `poll`. It is not
    /// polled again after `None` or an error.
    pub fn poll_fn(
        next: impl FnMut(&mut Context<'_>) -> Poll<Option<Result<T, CallError>>> + Send + 'static,
    ) -> Self {
        Self(Box::new(next))
    }

    /// A producer that sends at its own pace: [`Emitter::send`] returns when the item is on its way
    /// and the next one is wanted. Returning ends the stream.
    pub fn produce<F>(producer: impl FnOnce(Emitter<T>) -> F) -> Self
    where
        F: Future<Output = Result<(), CallError>> + Send + 'static,
    {
        let slot = Arc::new(Slot { state: Mutex::new(SlotState { item: None, full: Vec::new() }) });
        let mut production = Production {
            running: Some(Box::pin(producer(Emitter(slot.clone())))),
            result: None,
            slot,
        };
        Self(Box::new(move |context| production.poll_next(context)))
    }
}

impl<T: Serialize> Source for Stream<T> {
    fn poll_next(
        &mut self,
        form: Form,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Payload<'static>, CallError>>> {
        (self.0)(context).map(|item| item.map(|item| Payload::from(&item?, form)))
    }
}

impl<T> fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

/// What the producer of a stream sends with. Holds one item at most.
pub struct Emitter<T>(Arc<Slot<T>>);

impl<T> Emitter<T> {
    /// Sends an item; returns when it was taken.
    ///
    /// # Errors
    ///
    /// None at present: a producer whose client is gone is dropped where it waits.
    pub async fn send(&self, item: T) -> Result<(), CallError> {
        let mut item = Some(item);
        poll_fn(|context| {
            let mut state = self.0.lock();
            if state.item.is_some() {
                // Ours, or that of another branch of the producer.
                state.full.push(context.waker().clone());
                return Poll::Pending;
            }
            match item.take() {
                Some(item) => {
                    state.item = Some(item);
                    state.full.push(context.waker().clone());
                    Poll::Pending
                }
                None => Poll::Ready(()),
            }
        })
        .await;
        Ok(())
    }
}

impl<T> Clone for Emitter<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Emitter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Emitter")
    }
}

struct Slot<T> {
    state: Mutex<SlotState<T>>,
}

struct SlotState<T> {
    item: Option<T>,
    /// Whom to wake when it is empty again: as many as there are concurrent `send`s, one as a rule.
    full: Vec<Waker>,
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, SlotState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<T> {
        let mut state = self.lock();
        let item = state.item.take()?;
        let wakers = std::mem::take(&mut state.full);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Some(item)
    }
}

type Producer = dyn Future<Output = Result<(), CallError>> + Send;

struct Production<T> {
    running: Option<Pin<Box<Producer>>>,
    /// How it ended, while its last item is still to be taken.
    result: Option<Result<(), CallError>>,
    slot: Arc<Slot<T>>,
}

impl<T> Production<T> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, CallError>>> {
        if let Some(running) = &mut self.running
            && let Poll::Ready(result) = running.as_mut().poll(context)
        {
            self.running = None;
            self.result = Some(result);
        }
        if let Some(item) = self.slot.take() {
            return Poll::Ready(Some(Ok(item)));
        }
        if self.running.is_some() {
            return Poll::Pending;
        }
        match self.result.take() {
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            Some(Ok(())) | None => Poll::Ready(None),
        }
    }
}

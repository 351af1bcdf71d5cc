//! An answer that may come later, from another thread: what a hook or a route waits for without
//! blocking one.

use fulmar_auth::{Refusal, Unanswered};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A result that is there or comes later. If whoever should give it is dropped, it is
/// [`Lost::LOST`].
pub(crate) struct Answer<T, E = Refusal>(Arc<Cell<T, E>>);

/// The other end: gives the result, once.
pub(crate) struct Settler<T, E: Lost = Refusal>(Option<Arc<Cell<T, E>>>);

/// An error that has words for an answer which nobody gives any more.
pub(crate) trait Lost {
    /// Those.
    const LOST: Self;
}

impl Lost for Refusal {
    const LOST: Self = Self::Unavailable;
}

impl Lost for Unanswered {
    const LOST: Self = Self::Closing;
}

struct Cell<T, E>(Mutex<State<T, E>>);

struct State<T, E> {
    result: Option<Result<T, E>>,
    waker: Option<Waker>,
}

impl<T, E: Lost> Answer<T, E> {
    /// An answer that is there.
    pub(crate) fn ready(result: Result<T, E>) -> Self {
        Self(Arc::new(Cell(Mutex::new(State { result: Some(result), waker: None }))))
    }

    /// An answer that comes later, and what gives it.
    pub(crate) fn pair() -> (Settler<T, E>, Self) {
        let cell = Arc::new(Cell(Mutex::new(State { result: None, waker: None })));
        (Settler(Some(cell.clone())), Self(cell))
    }
}

impl<T, E> Answer<T, E> {
    /// Blocks until it is there: for commands, never for hooks.
    pub(crate) fn wait(mut self) -> Result<T, E> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            match Pin::new(&mut self).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(result) => return result,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl<T, E> Future for Answer<T, E> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock();
        match state.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T, E: Lost> Settler<T, E> {
    /// What tells, from any thread, whether somebody still waits for the result.
    pub(crate) fn is_awaited(&self) -> impl Fn() -> bool + Send + 'static
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let cell = self.0.as_ref().map(Arc::downgrade).unwrap_or_default();
        // Its two ends are all that holds it.
        move || cell.strong_count() > 1
    }

    /// Gives the result.
    pub(crate) fn settle(mut self, result: Result<T, E>) {
        self.put(result);
    }

    fn put(&mut self, result: Result<T, E>) {
        let Some(cell) = self.0.take() else { return };
        let mut state = cell.lock();
        state.result = Some(result);
        let waker = state.waker.take();
        // Whoever is woken may poll at once.
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T, E: Lost> Drop for Settler<T, E> {
    fn drop(&mut self) {
        self.put(Err(E::LOST));
    }
}

impl<T, E> Cell<T, E> {
    fn lock(&self) -> MutexGuard<'_, State<T, E>> {
        // Nothing panics while it is held, so a poisoned state is a whole one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll<T>(answer: &mut Answer<T>) -> Poll<Result<T, Refusal>> {
        Pin::new(answer).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_answer_is_there_or_comes_later() {
        assert_eq!(poll(&mut Answer::ready(Ok(1))), Poll::Ready(Ok(1)));
        let (settler, mut answer) = Answer::pair();
        assert!(poll::<u8>(&mut answer).is_pending());
        settler.settle(Ok(2));
        assert_eq!(poll(&mut answer), Poll::Ready(Ok(2)));
    }

    #[test]
    fn whoever_gives_none_is_unavailable() {
        let (settler, mut answer) = Answer::<u8>::pair();
        drop(settler);
        assert_eq!(poll(&mut answer), Poll::Ready(Err(Refusal::Unavailable)));
    }

    #[test]
    fn it_is_known_whether_anybody_waits() {
        let (settler, answer) = Answer::<u8>::pair();
        let is_awaited = settler.is_awaited();
        assert!(is_awaited());
        drop(answer);
        assert!(!is_awaited());
        settler.settle(Ok(1));
        assert!(!is_awaited());
    }

    #[test]
    fn a_thread_that_waits_is_woken() {
        let (settler, answer) = Answer::<u8>::pair();
        let waiting = std::thread::spawn(move || answer.wait());
        settler.settle(Ok(3));
        assert_eq!(waiting.join().unwrap(), Ok(3));
    }
}

//! An answer that may come later, from another thread: what a hook waits for without blocking one.

use fulmar_auth::Refusal;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A result that is there or comes later. If whoever should give it is dropped, it is
/// [`Refusal::Unavailable`].
pub(crate) struct Answer<T>(Arc<Cell<T>>);

/// The other end: gives the result, once.
pub(crate) struct Settler<T>(Option<Arc<Cell<T>>>);

struct Cell<T>(Mutex<State<T>>);

struct State<T> {
    result: Option<Result<T, Refusal>>,
    waker: Option<Waker>,
}

impl<T> Answer<T> {
    /// An answer that is there.
    pub(crate) fn ready(result: Result<T, Refusal>) -> Self {
        Self(Arc::new(Cell(Mutex::new(State { result: Some(result), waker: None }))))
    }

    /// An answer that comes later, and what gives it.
    pub(crate) fn pair() -> (Settler<T>, Self) {
        let cell = Arc::new(Cell(Mutex::new(State { result: None, waker: None })));
        (Settler(Some(cell.clone())), Self(cell))
    }
}

impl<T> Answer<T> {
    /// Blocks until it is there: for commands, never for hooks.
    pub(crate) fn wait(mut self) -> Result<T, Refusal> {
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

impl<T> Future for Answer<T> {
    type Output = Result<T, Refusal>;

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

impl<T> Settler<T> {
    /// Gives the result.
    pub(crate) fn settle(mut self, result: Result<T, Refusal>) {
        self.put(result);
    }

    fn put(&mut self, result: Result<T, Refusal>) {
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

impl<T> Drop for Settler<T> {
    fn drop(&mut self) {
        self.put(Err(Refusal::Unavailable));
    }
}

impl<T> Cell<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
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
    fn a_thread_that_waits_is_woken() {
        let (settler, answer) = Answer::<u8>::pair();
        let waiting = std::thread::spawn(move || answer.wait());
        settler.settle(Ok(3));
        assert_eq!(waiting.join().unwrap(), Ok(3));
    }
}

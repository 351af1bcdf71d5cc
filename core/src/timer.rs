//! Delays for handlers: one thread for all of them, or none in simulation.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fulmar_dialect::CallError;

use crate::clock::ReadClock;
use crate::handler::{CallParts, FromCall};

/// Lets handlers wait without holding a thread. An argument of handlers; clones are the same.
///
/// ```
/// use fulmar::{Args, Stream, Timer};
/// use std::time::Duration;
///
/// async fn slow(timer: Timer, Args((ms,)): Args<(u64,)>) -> String {
///     timer.sleep(Duration::from_millis(ms)).await;
///     format!("slept {ms}")
/// }
///
/// fn count(timer: Timer, Args((to,)): Args<(u64,)>) -> Stream<u64> {
///     Stream::produce(move |items| async move {
///         for number in 0..to {
///             items.send(number).await?;
///             timer.sleep(Duration::from_secs(1)).await;
///         }
///         Ok(())
///     })
/// }
/// ```
#[derive(Clone)]
pub struct Timer(Arc<Shared>);

struct Shared {
    clock: Mutex<Box<dyn ReadClock>>,
    state: Mutex<State>,
    changed: Condvar,
    /// Whether somebody else looks for what is due.
    is_simulated: bool,
}

#[derive(Default)]
struct State {
    /// Who waits until when; the second number tells those of one moment apart.
    waiting: BTreeMap<(Duration, u64), Waker>,
    last: u64,
    has_thread: bool,
    is_ended: bool,
}

impl Timer {
    /// On this clock, with a thread of its own once somebody waits.
    pub(crate) fn new(clock: impl ReadClock) -> Self {
        Self::on(clock, false)
    }

    /// On a clock of a simulation, which calls [`fire`](Self::fire).
    #[cfg(feature = "sim")]
    pub(crate) fn simulated(clock: impl ReadClock) -> Self {
        Self::on(clock, true)
    }

    fn on(clock: impl ReadClock, is_simulated: bool) -> Self {
        Self(Arc::new(Shared {
            clock: Mutex::new(Box::new(clock)),
            state: Mutex::default(),
            changed: Condvar::new(),
            is_simulated,
        }))
    }

    /// Waits for this long; not less. Dropped, it is forgotten.
    ///
    /// # Panics
    /// Where it is waited for, if the system has no thread for timers and there is none yet.
    pub fn sleep(&self, time: Duration) -> Sleep {
        Sleep { timer: self.clone(), due: self.now().saturating_add(time), key: None }
    }

    fn now(&self) -> Duration {
        self.0.clock.lock().unwrap_or_else(PoisonError::into_inner).now().0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes who has waited long enough.
    pub(crate) fn fire(&self) {
        let now = self.now();
        let mut state = self.state();
        let mut due = Vec::new();
        while let Some(first) = state.waiting.first_entry() {
            if first.key().0 > now {
                break;
            }
            due.push(first.remove());
        }
        drop(state);
        due.into_iter().for_each(Waker::wake);
    }

    /// Ends the thread; nobody is woken any more.
    pub(crate) fn end(&self) {
        self.state().is_ended = true;
        self.0.changed.notify_all();
    }

    fn keep(&self) {
        loop {
            self.fire();
            let state = self.state();
            if state.is_ended {
                return;
            }
            // Asked for anew: somebody may have come while nothing was locked.
            match state.waiting.first_key_value().map(|((due, _), _)| *due) {
                None => drop(self.0.changed.wait(state)),
                Some(due) => {
                    let wait = due.saturating_sub(self.now());
                    drop(self.0.changed.wait_timeout(state, wait));
                }
            }
        }
    }

    /// Starts the thread if there is none yet.
    fn attend(&self, state: &mut State) {
        if self.0.is_simulated || state.has_thread {
            return;
        }
        let timer = self.clone();
        let thread = std::thread::Builder::new().name("fulmar-timer".to_owned());
        state.has_thread = thread.spawn(move || timer.keep()).is_ok();
        // Whoever waits next tries again.
        assert!(state.has_thread, "the system has no thread for timers");
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timer")
    }
}

impl<S> FromCall<S> for Timer {
    fn from_call(parts: &mut CallParts<'_, '_, S>) -> Result<Self, CallError> {
        let connection = parts.connection()?;
        let hub = connection.hub().ok_or_else(CallError::closed)?;
        Ok(hub.timer())
    }
}

/// What [`Timer::sleep`] makes.
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Sleep {
    timer: Timer,
    due: Duration,
    /// Under which it waits.
    key: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.timer.now() >= self.due {
            return Poll::Ready(());
        }
        let timer = self.timer.clone();
        let mut state = timer.state();
        let key = match self.key {
            Some(key) => key,
            None => {
                state.last += 1;
                (self.due, state.last)
            }
        };
        self.key = Some(key);
        state.waiting.insert(key, context.waker().clone());
        timer.attend(&mut state);
        let is_first = state.waiting.first_key_value().is_some_and(|(first, _)| *first == key);
        drop(state);
        if is_first {
            timer.0.changed.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.timer.state().waiting.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::clock::{SimClock, SystemClock};

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn sleepers_wake_in_time_and_those_that_are_dropped_do_not() {
        let clock = SimClock::default();
        let timer = Timer::on(clock.clone(), true);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        let second = Duration::from_secs(1);
        let mut sleeps: Vec<_> = (1..=3).map(|n| Box::pin(timer.sleep(n * second))).collect();
        assert!(sleeps.iter_mut().all(|sleep| sleep.as_mut().poll(&mut context).is_pending()));
        drop(sleeps.remove(1));
        timer.fire();
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        clock.advance(second);
        timer.fire();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(sleeps[0].as_mut().poll(&mut context).is_ready());
        clock.advance(2 * second);
        timer.fire();
        assert_eq!(woken.0.load(Ordering::SeqCst), 2);
        assert!(sleeps[1].as_mut().poll(&mut context).is_ready());
        drop(sleeps);
        assert!(timer.state().waiting.is_empty());
    }

    #[test]
    fn a_thread_keeps_time_until_it_is_ended() {
        struct Unpark(std::thread::Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let timer = Timer::new(SystemClock::new());
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        let before = timer.now();
        for ms in [20, 5, 1] {
            let mut sleep = Box::pin(timer.sleep(Duration::from_millis(ms)));
            while sleep.as_mut().poll(&mut context).is_pending() {
                std::thread::park_timeout(Duration::from_secs(10));
            }
        }
        let took = timer.now() - before;
        assert!((26..10_000).contains(&took.as_millis()), "{took:?}");
        timer.end();
        while Arc::strong_count(&timer.0) > 1 {
            std::thread::yield_now();
        }
    }
}

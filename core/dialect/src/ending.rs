//! The end of a call: whether it was cancelled, and what is to be done when it is over.
use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::CallError;

/// Whether a call was cancelled: by its client, by its timeout, or because the connection ended.
/// For handlers that work for long without waiting; one that waits is dropped, unless it handles an
/// event or message ([`crate::Order::Strict`]) that was said before the end: that one has as long
/// as a graceful stop. Clones tell the same.
#[derive(Clone, Default)]
pub struct Cancelled(Arc<Inner>);

#[derive(Default)]
struct Inner {
    is_cancelled: AtomicBool,
    deferred: Mutex<Deferred>,
}

#[derive(Default)]
struct Deferred {
    /// Once the call is over.
    end: Option<End>,
    work: Vec<Work>,
}

type Work = Box<dyn FnOnce(&End) + Send>;

/// How a call ended.
#[derive(Clone, Debug)]
pub enum End {
    /// It was answered, and what it streamed is at its end.
    Done,
    /// With this error.
    Failed(CallError),
    /// Its client no longer wanted it.
    Cancelled,
    /// It took longer than its route allows.
    TimedOut,
    /// The connection ended first.
    Disconnected,
}

impl Cancelled {
    /// Nobody wants the answer any more. For the host.
    pub fn cancel(&self) {
        // Publishes nothing else: a late reader only works a little longer.
        self.0.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether nobody wants the answer any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(Ordering::Relaxed)
    }

    /// Does this when the call is over, on a worker; at once if it is. Several are done in the
    /// order in which they were asked for.
    pub fn defer(&self, work: impl FnOnce(&End) + Send + 'static) {
        let mut deferred = self.0.deferred.lock().unwrap_or_else(PoisonError::into_inner);
        match deferred.end.clone() {
            None => deferred.work.push(Box::new(work)),
            Some(end) => {
                drop(deferred);
                work(&end);
            }
        }
    }

    /// The call is over; what is to be done now, on a worker. Once. For the host.
    #[must_use]
    pub fn end(&self, end: impl FnOnce() -> End) -> Option<Box<dyn FnOnce() + Send>> {
        let mut deferred = self.0.deferred.lock().unwrap_or_else(PoisonError::into_inner);
        if deferred.end.is_some() {
            return None;
        }
        let end = deferred.end.insert(end()).clone();
        let work = std::mem::take(&mut deferred.work);
        drop(deferred);
        if work.is_empty() {
            return None;
        }
        Some(Box::new(move || work.into_iter().for_each(|work| work(&end))))
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancelled").field(&self.is_cancelled()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deferred_work_is_done_once_and_in_order_and_late_work_at_once() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let say = |what: &'static str| {
            let said = said.clone();
            move |end: &End| said.lock().unwrap().push(format!("{what} {end:?}"))
        };
        let cancelled = Cancelled::default();
        cancelled.defer(say("one"));
        let clone = cancelled.clone();
        clone.defer(say("two"));
        let work = cancelled.end(|| End::Done).expect("there is work");
        assert!(said.lock().unwrap().is_empty());
        assert!(cancelled.end(|| End::Cancelled).is_none());
        work();
        cancelled.defer(say("late"));
        assert_eq!(*said.lock().unwrap(), ["one Done", "two Done", "late Done"]);
    }
}

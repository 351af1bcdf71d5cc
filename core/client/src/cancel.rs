//! Giving calls up from another thread.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Gives up what waits. All clones are one token; a cancelled one stays cancelled.
///
/// ```
/// let token = fulmar_client::CancelToken::new();
/// token.clone().cancel();
/// assert!(token.is_cancelled());
/// ```
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    is_cancelled: bool,
    used_keys: u64,
    calls: HashMap<u64, Weak<dyn Abort>>,
}

/// What can be given up.
pub(crate) trait Abort: Send + Sync {
    fn abort(&self);
}

/// As long as this lives, a token knows of a call.
pub(crate) struct Registration {
    token: CancelToken,
    key: u64,
}

impl CancelToken {
    /// A token that nothing waits on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives up all calls that were made with this token: they return
    /// [`ClientError::Aborted`](crate::ClientError::Aborted) at once, and the server is told.
    pub fn cancel(&self) {
        let calls = {
            let mut waiting = self.lock();
            waiting.is_cancelled = true;
            std::mem::take(&mut waiting.calls)
        };
        for call in calls.into_values().filter_map(|call| call.upgrade()) {
            call.abort();
        }
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.lock().is_cancelled
    }

    /// Makes a call known, or gives it up if it is too late.
    pub(crate) fn register(&self, call: Weak<dyn Abort>) -> Registration {
        let mut waiting = self.lock();
        waiting.used_keys += 1;
        let key = waiting.used_keys;
        if waiting.is_cancelled {
            drop(waiting);
            if let Some(call) = call.upgrade() {
                call.abort();
            }
        } else {
            waiting.calls.insert(key, call);
        }
        Registration { token: self.clone(), key }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_cancelled = self.is_cancelled();
        formatter.debug_struct("CancelToken").field("is_cancelled", &is_cancelled).finish()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let forgotten = self.token.lock().calls.remove(&self.key);
        // Outside the lock, in case it is the last of a call.
        drop(forgotten);
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Registration").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Abort for Count {
        fn abort(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn weak(call: &Arc<Count>) -> Weak<dyn Abort> {
        let weak: Weak<Count> = Arc::downgrade(call);
        weak
    }

    #[test]
    fn calls_are_given_up_once_and_late_ones_at_once() {
        let (token, early, late) = (CancelToken::new(), Arc::default(), Arc::default());
        let _early = token.register(weak(&early));
        token.cancel();
        token.cancel();
        let _late = token.register(weak(&late));
        assert_eq!((early.0.load(Ordering::SeqCst), late.0.load(Ordering::SeqCst)), (1, 1));
    }

    #[test]
    fn calls_that_are_over_leave_nothing_behind() {
        let (token, call) = (CancelToken::new(), Arc::default());
        for _ in 0..10_000 {
            drop(token.register(weak(&call)));
        }
        assert!(token.lock().calls.is_empty());
        token.cancel();
        assert_eq!(call.0.load(Ordering::SeqCst), 0);
    }
}

//! Helpers for the tests of this directory: servers, clients that may break every rule, memory.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![expect(
    clippy::disallowed_methods,
    reason = "clients live in real time; only the server's time comes from a clock of its own"
)]

pub mod client;
pub mod conformance;
pub mod event_client;
pub mod memory;
pub mod redis;
pub mod rpc_client;
pub mod server;

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// How long anything may take that is bound to happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds.
///
/// # Panics
/// If it does not within [`PATIENCE`].
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(PATIENCE, condition), "{what}: not within {PATIENCE:?}");
}

/// Whether `condition` comes to hold within `most`.
pub fn holds_within(most: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + most;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// How a process has ended, if it does within `most`.
pub(crate) fn ended_within(process: &mut Child, most: Duration) -> Option<ExitStatus> {
    let mut status = None;
    holds_within(most, || {
        status = process.try_wait().unwrap();
        status.is_some()
    });
    status
}

/// What a function returns, and how long it took.
pub fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let result = what();
    (result, began.elapsed())
}

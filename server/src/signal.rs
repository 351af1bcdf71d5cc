//! Signals become requests: a graceful stop, an immediate one, a reload.
//!
//! `SIGPIPE` needs nothing here: the Rust runtime ignores it from the start, so that a peer that
//! is gone is an error of the write and not the end of the process.

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::io;
use std::thread::{Builder, JoinHandle};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Request {
    /// Stop accepting, close connections within `timeouts.stop`, then exit.
    Stop,
    /// Exit now: the operator is in a hurry.
    StopNow,
    /// `SIGHUP`: look at the configuration again.
    Reload,
}

/// The thread that waits for signals; dropping it ends the thread and waits for it.
#[derive(Debug)]
pub(crate) struct Listener {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // The callback may itself be what drops the listener; a thread cannot join itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

/// Calls `on_request` on a thread of its own for each signal that asks for something.
///
/// # Errors
/// Where the handlers cannot be installed or the thread cannot be started.
pub(crate) fn listen(mut on_request: impl FnMut(Request) + Send + 'static) -> io::Result<Listener> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    let handle = signals.handle();
    let thread = Builder::new().name("fulmar-signals".to_owned()).spawn(move || {
        let mut decider = Decider::default();
        for signal in signals.forever() {
            if let Some(request) = decider.decide(signal) {
                on_request(request);
            }
        }
    })?;
    Ok(Listener { handle, thread: Some(thread) })
}

/// Remembers whether a stop was asked for, so that the second `SIGINT` means now.
#[derive(Debug, Default)]
struct Decider {
    stopping: bool,
}

impl Decider {
    fn decide(&mut self, signal: i32) -> Option<Request> {
        match signal {
            SIGHUP => Some(Request::Reload),
            SIGQUIT => Some(Request::StopNow),
            SIGINT if self.stopping => Some(Request::StopNow),
            SIGINT | SIGTERM => {
                let first = !std::mem::replace(&mut self.stopping, true);
                // Supervisors repeat SIGTERM; a repeated one must not cut the drain short.
                first.then_some(Request::Stop)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn the_second_interrupt_stops_now() {
        let mut decider = Decider::default();
        assert_eq!(decider.decide(SIGINT), Some(Request::Stop));
        assert_eq!(decider.decide(SIGINT), Some(Request::StopNow));
    }

    #[test]
    fn a_repeated_terminate_changes_nothing() {
        let mut decider = Decider::default();
        assert_eq!(decider.decide(SIGTERM), Some(Request::Stop));
        assert_eq!(decider.decide(SIGTERM), None);
        assert_eq!(decider.decide(SIGINT), Some(Request::StopNow));
    }

    #[test]
    fn a_raised_hangup_arrives_as_a_reload() {
        let (sender, receiver) = mpsc::channel();
        let listener = listen(move |request| sender.send(request).unwrap()).unwrap();
        signal_hook::low_level::raise(SIGHUP).unwrap();
        assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok(Request::Reload));
        drop(listener);
        assert!(receiver.recv().is_err());
    }
}

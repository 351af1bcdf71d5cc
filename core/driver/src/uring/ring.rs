//! The ring: set-up, submission that finds a way out when the queue is full, completions.

use std::io;
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Submitter, squeue};

/// Entries of the submission queue: two for each member of a batch of offers, and some.
const SUBMISSIONS: u32 = 512;
/// Entries of the completion queue. What does not fit the kernel keeps until there is room.
const COMPLETIONS: u32 = 8192;
/// Attempts to submit before the ring counts as broken.
const ATTEMPTS_MAX: usize = 1000;

/// What the kernel says of one operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) tag: u64,
    pub(super) result: i32,
    pub(super) flags: u32,
}

pub(super) struct Ring {
    ring: IoUring,
    /// What made the ring unusable, until the next poll tells of it.
    failure: Option<io::Error>,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("failure", &self.failure).finish_non_exhaustive()
    }
}

impl Ring {
    /// Must be called on the thread that will use the ring: with a single issuer and deferred task
    /// work the kernel refuses every other.
    pub(super) fn new() -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .dontfork()
            .build(SUBMISSIONS)?;
        Ok(Self { ring, failure: None })
    }

    pub(super) fn submitter(&self) -> Submitter<'_> {
        self.ring.submitter()
    }

    /// Whether the kernel keeps what does not fit the completion queue, and leaves out completions
    /// that were not asked for.
    pub(super) fn has_what_is_needed(&self) -> bool {
        let parameters = self.ring.params();
        parameters.is_feature_nodrop()
            && parameters.is_feature_ext_arg()
            && parameters.is_feature_skip_cqe_on_success()
    }

    /// Queues an operation. A full queue is submitted first.
    ///
    /// # Safety
    /// What the entry points at must stay valid until the operation has completed.
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) {
        if self.failure.is_some() {
            return;
        }
        // SAFETY: the caller keeps what the entry points at.
        if unsafe { self.ring.submission().push(entry) }.is_ok() {
            return;
        }
        self.submit();
        // SAFETY: the caller keeps what the entry points at.
        if unsafe { self.ring.submission().push(entry) }.is_err() {
            self.failure.get_or_insert_with(|| io::ErrorKind::ResourceBusy.into());
        }
    }

    /// Makes the kernel take everything queued, and run what can be run at once. Completions of
    /// other operations wait for [`wait`](Self::wait).
    pub(super) fn submit(&mut self) {
        for _ in 0..ATTEMPTS_MAX {
            let queued = self.ring.submission().len();
            if queued == 0 || self.failure.is_some() {
                return;
            }
            let count = u32::try_from(queued).unwrap_or(u32::MAX);
            // SAFETY: no argument is passed, and no flag that would need one.
            let result =
                unsafe { self.ring.submitter().enter::<libc::sigset_t>(count, 0, 0, None) };
            match result.map_err(|error| (error.raw_os_error(), error)) {
                Ok(_) | Err((Some(libc::EINTR), _)) => {}
                // Short of memory, or completions overflow: running what is deferred helps.
                Err((Some(libc::EAGAIN | libc::EBUSY), _)) => self.run_deferred(),
                Err((_, error)) => self.failure = Some(error),
            }
        }
        if !self.ring.submission().is_empty() {
            self.failure.get_or_insert_with(|| io::ErrorKind::ResourceBusy.into());
        }
    }

    fn run_deferred(&mut self) {
        let flags = EnterFlags::GETEVENTS.bits();
        // SAFETY: no argument is passed, and no flag that would need one.
        let result = unsafe { self.ring.submitter().enter::<libc::sigset_t>(0, 0, flags, None) };
        // The next attempt to submit tells whether it helped.
        let _tried_again = result;
    }

    /// Submits, then waits for a completion, at most `timeout`; `None` waits for ever.
    ///
    /// # Errors
    /// What makes the ring unusable.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let has_completions = !self.ring.completion().is_empty();
        let result = match timeout {
            _ if has_completions => self.look(),
            Some(Duration::ZERO) => self.look(),
            Some(timeout) => {
                let timeout = Timespec::from(timeout);
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
            }
            None => self.ring.submit_and_wait(1),
        };
        match result.map_err(|error| (error.raw_os_error(), error)) {
            Ok(_) | Err((Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY), _)) => {
                Ok(())
            }
            Err((_, error)) => Err(error),
        }
    }

    /// Submits and runs what is deferred, without waiting; no call if there is neither.
    fn look(&mut self) -> io::Result<usize> {
        let submission = self.ring.submission();
        let idle = submission.is_empty() && !submission.taskrun() && !submission.cq_overflow();
        drop(submission);
        if idle {
            return Ok(0);
        }
        self.ring.submit()
    }

    /// Moves what has completed to the end of `completions`.
    pub(super) fn take_completions(&mut self, completions: &mut Vec<Completion>) {
        completions.extend(self.ring.completion().map(|entry| Completion {
            tag: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
    }
}

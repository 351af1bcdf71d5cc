//! Interrupting a ring from another thread: an eventfd that the ring watches.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use crate::Wake;

/// Interrupts a [`UringDriver`](super::UringDriver).
#[derive(Clone, Debug)]
pub struct UringWaker(Arc<File>);

impl UringWaker {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self(Arc::new(fd.into())))
    }

    pub(super) fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Wake for UringWaker {
    fn wake(&self) {
        // The counter is never read, so it would be full after 2^64 wakes; each write wakes.
        let _written = (&*self.0).write(&1_u64.to_ne_bytes());
    }
}

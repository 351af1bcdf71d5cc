//! One socket of the io_uring driver: what the kernel was asked to do for it.

use std::os::fd::OwnedFd;

use crate::CloseCause;
use crate::stream::Stream;

/// No place in the table of registered files.
const NONE: u32 = u32::MAX;

/// 32 bytes in the table.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: Stream,
    pub(super) generation: u32,
    file: u32,
    cause: Option<CloseCause>,
    pub(super) reading: Reading,
    /// Whether the kernel was asked to tell of writability.
    pub(super) awaits_writable: bool,
    /// Whether the kernel was asked to tell of the end.
    pub(super) is_watched: bool,
    /// Whether it is in the list of those that may need a watch.
    pub(super) is_unwatched: bool,
    /// The poll in which it last received something.
    pub(super) fed: u8,
}

const _: () = assert!(size_of::<Socket>() <= 32);

/// The receive operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// There is none.
    Idle,
    /// The kernel has it.
    Armed,
    /// The kernel has it and was asked to give it up.
    Cancelled,
}

impl Socket {
    pub(super) fn new(descriptor: OwnedFd, generation: u32) -> Self {
        Self {
            stream: Stream::new(descriptor),
            generation,
            file: NONE,
            cause: None,
            reading: Reading::Idle,
            awaits_writable: false,
            is_watched: false,
            is_unwatched: false,
            fed: 0,
        }
    }

    /// Its place in the table of registered files.
    pub(super) fn file(&self) -> Option<u32> {
        (self.file != NONE).then_some(self.file)
    }

    pub(super) fn register(&mut self, file: u32) {
        self.file = file;
    }

    pub(super) fn take_file(&mut self) -> Option<u32> {
        let file = self.file();
        self.file = NONE;
        file
    }

    /// Why it is being closed, if it is.
    pub(super) fn cause(&self) -> Option<CloseCause> {
        self.cause
    }

    /// The descriptor stays until the kernel has given back every operation on it.
    pub(super) fn begin_closing(&mut self, cause: CloseCause) {
        self.cause = Some(cause);
        self.stream.forget();
    }

    /// Whether the kernel has an operation of this socket that will complete.
    pub(super) fn has_operations(&self) -> bool {
        self.reading != Reading::Idle || self.awaits_writable || self.is_watched
    }
}

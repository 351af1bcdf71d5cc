//! One socket of the io_uring driver: what was asked of the kernel for it, and the batch that
//! waits for room.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::system::{self, Wrote};
use crate::{CloseCause, SendBatch};

/// No place in the table of registered files.
const NONE: u32 = u32::MAX;

/// 32 bytes in the table; the box exists only while a batch is stuck.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Option<OwnedFd>,
    pub(super) generation: u32,
    in_flight: Option<Box<InFlight>>,
    file: u32,
    cause: Option<CloseCause>,
    pub(super) reading: Reading,
    /// Whether the owner wants to receive.
    pub(super) receiving: bool,
    /// Whether the FIN has been reported.
    pub(super) ended: bool,
    writable: bool,
    /// Whether the kernel was asked to tell of writability.
    pub(super) awaits_writable: bool,
    /// Whether the kernel was asked to tell of the end.
    pub(super) is_watched: bool,
    /// Whether it is in the list of those that may need a watch.
    pub(super) is_unwatched: bool,
    /// Whether our FIN follows what is in flight, or has left.
    fin_follows: bool,
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

#[derive(Debug)]
struct InFlight {
    batch: SendBatch,
    done: usize,
}

/// How far a batch got.
pub(super) enum Advance {
    Done(SendBatch),
    Full,
    Failed(io::Error),
}

impl Socket {
    pub(super) fn new(stream: OwnedFd, generation: u32) -> Self {
        Self {
            stream: Some(stream),
            generation,
            in_flight: None,
            file: NONE,
            cause: None,
            reading: Reading::Idle,
            receiving: false,
            ended: false,
            writable: true,
            awaits_writable: false,
            is_watched: false,
            is_unwatched: false,
            fin_follows: false,
            fed: 0,
        }
    }

    pub(super) fn raw(&self) -> RawFd {
        self.stream.as_ref().map_or(-1, AsRawFd::as_raw_fd)
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

    pub(super) fn take_stream(&mut self) -> Option<OwnedFd> {
        self.stream.take()
    }

    /// Why it is being closed, if it is.
    pub(super) fn cause(&self) -> Option<CloseCause> {
        self.cause
    }

    pub(super) fn close(&mut self, cause: CloseCause) {
        self.cause = Some(cause);
        self.in_flight = None;
        self.receiving = false;
    }

    /// Whether the kernel has an operation of this socket that will complete.
    pub(super) fn has_operations(&self) -> bool {
        self.reading != Reading::Idle || self.awaits_writable || self.is_watched
    }

    pub(super) fn is_sending(&self) -> bool {
        self.in_flight.is_some()
    }

    pub(super) fn is_writable(&self) -> bool {
        self.writable
    }

    pub(super) fn set_full(&mut self) {
        // What follows goes through `send`, which asks to be told of writability.
        self.writable = false;
    }

    pub(super) fn begin(&mut self, batch: SendBatch) -> Advance {
        if self.writable {
            return self.write_from(batch, 0);
        }
        self.in_flight = Some(Box::new(InFlight { batch, done: 0 }));
        Advance::Full
    }

    /// Goes on with the batch in flight now that there is room.
    pub(super) fn advance(&mut self) -> Advance {
        self.writable = true;
        match self.in_flight.take() {
            Some(in_flight) => self.write_from(in_flight.batch, in_flight.done),
            None => Advance::Full,
        }
    }

    fn write_from(&mut self, batch: SendBatch, done: usize) -> Advance {
        match system::write(self.raw(), batch, done, self.fin_follows) {
            Wrote::All(batch) => match self.finish_shutting_down() {
                Ok(()) => Advance::Done(batch),
                Err(error) => Advance::Failed(error),
            },
            Wrote::Some(batch, done) => {
                self.writable = false;
                self.in_flight = Some(Box::new(InFlight { batch, done }));
                Advance::Full
            }
            Wrote::Failed(error) => Advance::Failed(error),
        }
    }

    fn finish_shutting_down(&self) -> io::Result<()> {
        if !self.fin_follows {
            return Ok(());
        }
        system::shutdown(self.raw(), Shutdown::Write)
    }

    /// The FIN is to follow the next batch.
    pub(super) fn end_with_next(&mut self) {
        self.fin_follows = true;
    }

    pub(super) fn shutdown(&mut self) -> io::Result<()> {
        // Once is enough: it has left, or it leaves after the batch in flight.
        if std::mem::replace(&mut self.fin_follows, true) || self.is_sending() {
            return Ok(());
        }
        system::shutdown(self.raw(), Shutdown::Write)
    }
}

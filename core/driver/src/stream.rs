//! The half of a socket that every real driver shares: the descriptor, the batch that waits for
//! room, and the end of our side.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::SendBatch;
use crate::system::{self, Span, Wrote};

/// 16 bytes of a driver's table; the box exists only while a batch is stuck.
#[derive(Debug)]
pub(crate) struct Stream {
    descriptor: Option<OwnedFd>,
    in_flight: Option<Box<InFlight>>,
    writable: bool,
    /// Whether our FIN follows what is in flight, or has left.
    fin_follows: bool,
    /// Whether the owner wants to receive.
    pub(crate) receiving: bool,
    /// Whether the peer's FIN has been reported.
    pub(crate) ended: bool,
}

const _: () = assert!(size_of::<Stream>() == 16);

#[derive(Debug)]
struct InFlight {
    batch: SendBatch,
    done: usize,
}

/// How far a batch got.
pub(crate) enum Advance {
    Done(SendBatch),
    Full,
    Failed(io::Error),
}

impl Stream {
    pub(crate) fn new(descriptor: OwnedFd) -> Self {
        Self {
            descriptor: Some(descriptor),
            in_flight: None,
            writable: true,
            fin_follows: false,
            receiving: false,
            ended: false,
        }
    }

    /// The descriptor; -1 once it was taken.
    pub(crate) fn raw(&self) -> RawFd {
        self.descriptor.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.descriptor.is_none()
    }

    /// Takes the descriptor away: dropping it closes the socket.
    pub(crate) fn take(&mut self) -> Option<OwnedFd> {
        self.forget();
        self.descriptor.take()
    }

    /// Nothing more is to be sent or received.
    pub(crate) fn forget(&mut self) {
        self.in_flight = None;
        self.receiving = false;
    }

    pub(crate) fn is_sending(&self) -> bool {
        self.in_flight.is_some()
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    /// There is room again.
    pub(crate) fn set_writable(&mut self) {
        self.writable = true;
    }

    /// There is none. What follows goes through `send`, which asks to be told of it.
    pub(crate) fn set_full(&mut self) {
        self.writable = false;
    }

    pub(crate) fn begin(&mut self, batch: SendBatch) -> Advance {
        if self.writable {
            return self.write_from(batch, 0);
        }
        self.in_flight = Some(Box::new(InFlight { batch, done: 0 }));
        Advance::Full
    }

    /// Goes on with the batch in flight.
    pub(crate) fn advance(&mut self) -> Advance {
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
                self.set_full();
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

    /// `None` if the socket took all of the span, else how much.
    pub(crate) fn offer(&mut self, span: &Span<'_>) -> io::Result<Option<u64>> {
        use io::ErrorKind::{Interrupted, WouldBlock};
        if !self.writable {
            return Ok(Some(0));
        }
        let sent = match span.send(self.raw()) {
            Ok(sent) if sent == span.len() => return Ok(None),
            Ok(sent) => sent,
            Err(error) if matches!(error.kind(), WouldBlock | Interrupted) => 0,
            Err(error) => return Err(error),
        };
        self.set_full();
        Ok(Some(sent as u64))
    }

    /// The FIN is to follow the next batch.
    pub(crate) fn end_with_next(&mut self) {
        self.fin_follows = true;
    }

    pub(crate) fn shutdown(&mut self) -> io::Result<()> {
        // Once is enough: it has left, or it leaves after the batch in flight.
        if std::mem::replace(&mut self.fin_follows, true) || self.is_sending() {
            return Ok(());
        }
        system::shutdown(self.raw(), Shutdown::Write)
    }
}

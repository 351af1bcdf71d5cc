//! One socket of the epoll driver: what is known of its readiness, and the batch in flight.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use mio::event::Event;

use crate::SendBatch;
use crate::system::{self, Span, Wrote};

/// 32 bytes in the table; the box exists only while a batch is stuck.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Option<OwnedFd>,
    pub(super) generation: u32,
    in_flight: Option<Box<InFlight>>,
    pub(super) receiving: bool,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// Whether the kernel was asked to tell of writability.
    pub(super) wants_writable: bool,
    /// Whether an event said that the peer's FIN is here.
    pub(super) hung_up: bool,
    /// Whether an event told of an error.
    pub(super) broken: bool,
    /// Whether the FIN has been reported.
    pub(super) ended: bool,
    pub(super) connecting: bool,
    /// Whether it is in the list of sockets to go on with.
    pub(super) runnable: bool,
    /// Whether our FIN follows what is in flight, or has left.
    fin_follows: bool,
}

const _: () = assert!(size_of::<Socket>() <= 32);

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
            receiving: false,
            readable: false,
            writable: true,
            wants_writable: false,
            hung_up: false,
            broken: false,
            ended: false,
            connecting: false,
            runnable: false,
            fin_follows: false,
        }
    }

    pub(super) fn raw(&self) -> RawFd {
        self.stream.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.stream.is_none()
    }

    pub(super) fn is_sending(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Takes over what an event says.
    pub(super) fn note(&mut self, event: &Event) {
        self.hung_up |= event.is_read_closed();
        self.broken |= event.is_error();
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable();
    }

    pub(super) fn close(&mut self) {
        self.stream = None;
        self.in_flight = None;
    }

    pub(super) fn begin(&mut self, batch: SendBatch) -> Advance {
        if !self.writable {
            self.in_flight = Some(Box::new(InFlight { batch, done: 0 }));
            return Advance::Full;
        }
        self.write_from(batch, 0)
    }

    /// Goes on with the batch in flight.
    pub(super) fn advance(&mut self) -> Advance {
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

    /// `None` if the socket took all of the span, else how much.
    pub(super) fn offer(&mut self, span: &Span<'_>) -> io::Result<Option<u64>> {
        if !self.writable {
            return Ok(Some(0));
        }
        match span.send(self.raw()) {
            Ok(n) if n == span.len() => Ok(None),
            Ok(n) => {
                self.writable = false;
                // What follows goes through `send`, which asks to be told of writability.
                Ok(Some(n as u64))
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                self.writable = false;
                Ok(Some(0))
            }
            Err(error) => Err(error),
        }
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

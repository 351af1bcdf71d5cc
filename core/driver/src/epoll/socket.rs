//! One socket of the epoll driver: what is known of its readiness.

use std::os::fd::OwnedFd;

use mio::event::Event;

use crate::stream::Stream;

/// 32 bytes in the table.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: Stream,
    pub(super) generation: u32,
    pub(super) readable: bool,
    /// Whether the kernel was asked to tell of writability.
    pub(super) wants_writable: bool,
    /// Whether an event said that the peer's FIN is here.
    pub(super) hung_up: bool,
    /// Whether an event told of an error.
    pub(super) broken: bool,
    pub(super) connecting: bool,
    /// Whether it is in the list of sockets to go on with.
    pub(super) runnable: bool,
}

const _: () = assert!(size_of::<Socket>() <= 32);

impl Socket {
    pub(super) fn new(descriptor: OwnedFd, generation: u32) -> Self {
        Self {
            stream: Stream::new(descriptor),
            generation,
            readable: false,
            wants_writable: false,
            hung_up: false,
            broken: false,
            connecting: false,
            runnable: false,
        }
    }

    /// Takes over what an event says.
    pub(super) fn note(&mut self, event: &Event) {
        self.hung_up |= event.is_read_closed();
        self.broken |= event.is_error();
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        if event.is_writable() {
            self.stream.set_writable();
        }
    }
}

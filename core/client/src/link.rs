//! The sending side of a connection, shared by all who call.
//!
//! Frames are added to a buffer; whoever finds nobody writing writes it, with everything that is
//! added meanwhile. So a slow server holds up one thread, and the frames of the others travel
//! together.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fulmar_proto::ws::{self, Opcode};

use crate::clock;
use crate::entropy::Pool;
use crate::socket::Socket;

/// A connection that is open.
#[derive(Debug)]
pub(crate) struct Link {
    socket: Arc<dyn Socket>,
    outlet: Mutex<Outlet>,
    /// The buffer has been written.
    written: Condvar,
    buffer_bytes_max: usize,
    send_timeout: Duration,
}

#[derive(Debug, Default)]
struct Outlet {
    buffer: Vec<u8>,
    masks: Pool,
    is_writing: bool,
    /// Nothing may follow a close, and nothing can follow a failure.
    is_ended: bool,
}

impl Link {
    /// # Errors
    /// The socket knows no timeout for writing.
    pub(crate) fn new(
        socket: Arc<dyn Socket>,
        buffer_bytes_max: usize,
        send_timeout: Duration,
    ) -> io::Result<Self> {
        socket.set_write_timeout(send_timeout.max(Duration::from_millis(1)))?;
        let (outlet, written) = (Mutex::default(), Condvar::new());
        Ok(Self { socket, outlet, written, buffer_bytes_max, send_timeout })
    }

    pub(crate) fn socket(&self) -> &dyn Socket {
        &*self.socket
    }

    /// Waits while too much waits to be written. Says whether it was worth it.
    pub(crate) fn wait_for_room(&self) -> bool {
        let outlet = self.lock();
        let is_full =
            |outlet: &mut Outlet| !outlet.is_ended && outlet.buffer.len() > self.buffer_bytes_max;
        let waited = self.written.wait_timeout_while(outlet, self.send_timeout, is_full);
        let (outlet, _) = waited.unwrap_or_else(PoisonError::into_inner);
        outlet.buffer.len() <= self.buffer_bytes_max
    }

    /// Adds a frame. It is sent by the next [`flush`](Self::flush), of whomever.
    pub(crate) fn enqueue(&self, opcode: Opcode, payload: &[u8]) {
        let mut outlet = self.lock();
        if outlet.is_ended {
            return;
        }
        let mask = outlet.masks.mask();
        ws::write_masked_frame(&mut outlet.buffer, true, false, opcode, payload, mask);
        outlet.is_ended = opcode == Opcode::Close;
    }

    /// Adds an answer to what the server said, unless it says more than it reads.
    pub(crate) fn enqueue_answer(&self, opcode: Opcode, payload: &[u8]) {
        if self.lock().buffer.len() <= self.buffer_bytes_max {
            self.enqueue(opcode, payload);
        }
    }

    /// Writes what waits, unless somebody is at it. A failure cuts the connection, which its
    /// reader notices.
    ///
    /// # Errors
    /// The connection is lost.
    pub(crate) fn flush(&self) -> io::Result<()> {
        loop {
            let bytes = {
                let mut outlet = self.lock();
                if outlet.is_writing || outlet.buffer.is_empty() {
                    return Ok(());
                }
                outlet.is_writing = true;
                std::mem::take(&mut outlet.buffer)
            };
            let result = self.write_all(&bytes);
            let mut outlet = self.lock();
            outlet.is_writing = false;
            if result.is_err() {
                outlet.is_ended = true;
                outlet.buffer = Vec::new();
            }
            drop(outlet);
            self.written.notify_all();
            if result.is_err() {
                self.socket.shutdown();
                return result;
            }
        }
    }

    pub(crate) fn shutdown(&self) {
        self.socket.shutdown();
    }

    fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        let deadline = clock::after(self.send_timeout);
        while !bytes.is_empty() {
            match self.socket.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if !bytes.is_empty() && deadline.is_some_and(|at| clock::until(at).is_zero()) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Outlet> {
        self.outlet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time, then nothing.
    #[derive(Debug, Default)]
    struct Slow {
        written: Mutex<Vec<u8>>,
        bytes_max: usize,
    }

    impl Socket for Slow {
        fn read(&self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }

        fn write(&self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.written.lock().unwrap();
            if written.len() >= self.bytes_max {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(3);
            written.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn set_read_timeout(&self, _: Duration) -> io::Result<()> {
            Ok(())
        }

        fn set_write_timeout(&self, _: Duration) -> io::Result<()> {
            Ok(())
        }

        fn shutdown(&self) {}
    }

    fn link(bytes_max: usize) -> (Arc<Slow>, Link) {
        let socket = Arc::new(Slow { bytes_max, ..Slow::default() });
        let link = Link::new(Arc::clone(&socket) as _, 10, Duration::from_millis(20)).unwrap();
        (socket, link)
    }

    #[test]
    fn frames_are_masked_whole_and_none_follows_a_close() {
        let (socket, link) = link(usize::MAX);
        link.enqueue(Opcode::Text, b"hello");
        link.enqueue(Opcode::Close, b"\x03\xe8");
        link.enqueue(Opcode::Text, b"lost");
        link.flush().unwrap();
        let written = socket.written.lock().unwrap();
        assert_eq!(written.len(), 6 + 5 + 6 + 2);
        let mut payload = written[6..11].to_vec();
        ws::mask(&mut payload, [written[2], written[3], written[4], written[5]]);
        assert_eq!((&written[..2], &*payload), (&b"\x81\x85"[..], &b"hello"[..]));
    }

    #[test]
    fn what_cannot_be_sent_is_neither_kept_nor_waited_for() {
        let (_socket, link) = link(4);
        link.enqueue(Opcode::Text, b"longer than that");
        assert!(!link.wait_for_room(), "nobody writes");
        link.enqueue_answer(Opcode::Pong, b"");
        assert_eq!(link.lock().buffer.len(), 6 + 16);
        assert!(link.flush().is_err());
        link.enqueue(Opcode::Text, b"more");
        assert!(link.lock().buffer.is_empty());
        assert!(link.wait_for_room(), "there is nothing to wait for");
    }
}

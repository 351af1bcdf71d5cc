//! Sockets, and what opens them: the system's TCP, or one's own.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::url::Target;

/// Opens sockets: a proxy, TLS, a Unix socket, or a pipe in a test.
pub trait Connector: fmt::Debug + Send + Sync {
    /// Opens a socket to a server, ready for the WebSocket's handshake. Encrypts if
    /// [`Target::is_secure`] says so. It is called on the thread of the connection, and may block
    /// for `timeout`.
    ///
    /// # Errors
    /// Why there is none; callers see it in their
    /// [`ConnectionError`](crate::ConnectionError).
    fn connect(&self, target: &Target, timeout: Duration) -> io::Result<Arc<dyn Socket>>;

    /// Whether it can reach `https` and `wss` URLs; if not, [`Client::new`](crate::Client::new)
    /// refuses them.
    fn speaks_tls(&self) -> bool {
        true
    }
}

/// A stream of bytes both ways. One thread reads while others write and shut down; nobody writes
/// while another does.
pub trait Socket: fmt::Debug + Send + Sync {
    /// Reads some bytes; 0 at the end.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] or [`io::ErrorKind::TimedOut`] after the read timeout; any
    /// other ends the connection.
    fn read(&self, into: &mut [u8]) -> io::Result<usize>;

    /// Writes some bytes and says how many.
    ///
    /// # Errors
    /// Any ends the connection.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// How long the next reads may block.
    ///
    /// # Errors
    /// Any ends the connection.
    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()>;

    /// How long the next writes may block.
    ///
    /// # Errors
    /// Any ends the connection.
    fn set_write_timeout(&self, timeout: Duration) -> io::Result<()>;

    /// Ends both directions. A read that is under way returns; twice does no harm.
    fn shutdown(&self);
}

/// Plain TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnector;

impl Connector for TcpConnector {
    fn connect(&self, target: &Target, timeout: Duration) -> io::Result<Arc<dyn Socket>> {
        let deadline = clock::after(timeout);
        let mut error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in (target.host(), target.port()).to_socket_addrs()? {
            let left = deadline.map_or(timeout, clock::until);
            // Zero is refused by the system.
            match TcpStream::connect_timeout(&address, left.max(Duration::from_millis(1))) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(Arc::new(stream));
                }
                Err(failure) => error = failure,
            }
        }
        Err(error)
    }

    fn speaks_tls(&self) -> bool {
        false
    }
}

macro_rules! stream_socket {
    ($stream:ty) => {
        impl Socket for $stream {
            fn read(&self, into: &mut [u8]) -> io::Result<usize> {
                let mut stream: &$stream = self;
                Read::read(&mut stream, into)
            }

            fn write(&self, bytes: &[u8]) -> io::Result<usize> {
                let mut stream: &$stream = self;
                Write::write(&mut stream, bytes)
            }

            fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
                Self::set_read_timeout(self, Some(timeout))
            }

            fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
                Self::set_write_timeout(self, Some(timeout))
            }

            fn shutdown(&self) {
                // One that is not connected any more is as good as shut down.
                let _ = Self::shutdown(self, Shutdown::Both);
            }
        }
    };
}

stream_socket!(TcpStream);
#[cfg(unix)]
stream_socket!(std::os::unix::net::UnixStream);

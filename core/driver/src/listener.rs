//! Listening sockets: every shard binds its own on the same port, the kernel spreads connections.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// How a listener is set up.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Connections the kernel holds until they are accepted. Default 4,096; the kernel caps it at
    /// `net.core.somaxconn`.
    pub backlog: u32,
    /// Whether several listeners share the port (`SO_REUSEPORT`). Default true.
    pub reuse_port: bool,
    /// Whether small writes leave at once (`TCP_NODELAY`); accepted sockets inherit it. Default
    /// true.
    pub nodelay: bool,
    /// Bytes of the kernel's send buffer per socket; `None` leaves the system's own tuning.
    pub send_buffer_bytes: Option<usize>,
    /// Bytes of the kernel's receive buffer per socket; `None` leaves the system's own tuning.
    pub receive_buffer_bytes: Option<usize>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 4096,
            reuse_port: true,
            nodelay: true,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
        }
    }
}

/// Binds and listens. Port 0 takes a free one; ask the result for it.
///
/// # Errors
/// What the kernel says: the address is in use, not ours, or needs a permission.
pub fn listen(address: SocketAddr, options: &ListenOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    // Inherited by accepted sockets on Linux, which saves a system call for each.
    socket.set_tcp_nodelay(options.nodelay)?;
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

//! Names of sockets, and how they end.

use std::io;

/// Index and generation of a socket owned by one driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId {
    /// Place in the driver's table; dense and used again.
    pub index: u32,
    /// Tells this socket from an earlier one with the same index.
    pub generation: u32,
}

/// A socket with two words of the caller's own: what a room's member array holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Member {
    /// Where to send.
    pub socket: SocketId,
    /// Which membership of the connection this is: the way back when the member moves.
    pub slot: u32,
    /// What the member's envelope needs, if it has one.
    pub tag: u32,
}

// The pass over a room touches one entry per member: four to a cache line.
const _: () = assert!(size_of::<Member>() == 16);

/// Why a socket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// [`close`](crate::Driver::close) was called.
    Requested,
    /// The peer reset the connection, or it broke.
    Reset,
    /// Another error of the kernel.
    Error(io::ErrorKind),
}

impl From<io::Error> for CloseCause {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Reset,
            kind => Self::Error(kind),
        }
    }
}

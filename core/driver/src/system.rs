//! The system calls that both drivers make on sockets.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use smallvec::SmallVec;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::{Piece, SendBatch};

/// Parts handed to the kernel in one call; more go in the next.
const PARTS_MAX: usize = 64;

pub(crate) fn accept(listener: &TcpListener) -> io::Result<(OwnedFd, SocketAddr)> {
    // One accept4. The socket stays in blocking mode: every call here says `MSG_DONTWAIT` itself,
    // which saves the two calls that would change the mode.
    let (socket, peer) = SockRef::from(listener).accept()?;
    let peer = peer.as_socket().ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((socket.into(), peer))
}

pub(crate) fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&address.into()) {
        Err(error)
            if error.raw_os_error() == Some(libc::EINPROGRESS)
                || error.kind() == io::ErrorKind::WouldBlock => {}
        other => other?,
    }
    Ok(socket)
}

pub(crate) fn take_error(fd: RawFd) -> Option<io::Error> {
    with_fd(fd, |fd| SockRef::from(&fd).take_error()).ok().flatten()
}

pub(crate) fn shutdown(fd: RawFd, how: Shutdown) -> io::Result<()> {
    with_fd(fd, |fd| SockRef::from(&fd).shutdown(how))
}

fn with_fd<R>(fd: RawFd, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
    if fd < 0 {
        return Err(io::ErrorKind::NotConnected.into());
    }
    // SAFETY: descriptors come from `Socket::raw`, whose `OwnedFd` is open for as long as the
    // socket is borrowed by the caller; -1 was ruled out.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    call(fd.as_fd())
}

pub(crate) fn receive(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is valid for writes of its length during the call.
    let n = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// How far a batch got in one go.
pub(crate) enum Wrote {
    /// The kernel has all of it.
    All(SendBatch),
    /// The socket is full; so many bytes of the batch are gone.
    Some(SendBatch, usize),
    /// The socket is dead.
    Failed(io::Error),
}

/// Writes a batch from `done` on until all is gone or the socket is full. With `then_fin` the
/// kernel holds the end back for the FIN that the caller sends next.
pub(crate) fn write(fd: RawFd, batch: SendBatch, mut done: usize, then_fin: bool) -> Wrote {
    let flags = if then_fin { SEND_FLAGS | libc::MSG_MORE } else { SEND_FLAGS };
    while done < batch.len() {
        match send_batch(fd, &batch, done, flags) {
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Wrote::Some(batch, done);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Wrote::Failed(error),
        }
    }
    Wrote::All(batch)
}

/// Sends what follows the first `done` bytes of a batch, up to [`PARTS_MAX`] parts.
fn send_batch(fd: RawFd, batch: &SendBatch, done: usize, flags: i32) -> io::Result<usize> {
    if let [only] = batch.parts() {
        return send(fd, only.bytes().get(done..).unwrap_or(&[]), flags);
    }
    let mut skip = done;
    let mut vectors: SmallVec<[libc::iovec; PARTS_MAX]> = SmallVec::new();
    for part in batch.parts() {
        let bytes = part.bytes();
        if skip >= bytes.len() {
            skip -= bytes.len();
            continue;
        }
        vectors.push(vector(bytes.get(skip..).unwrap_or(&[])));
        skip = 0;
        if vectors.len() == PARTS_MAX {
            break;
        }
    }
    send_vectors(fd, &vectors, flags)
}

/// The bytes of an offer, laid out once for all its members.
pub(crate) struct Span<'a> {
    pieces: &'a [Piece],
    vectors: SmallVec<[libc::iovec; 4]>,
    len: usize,
}

impl<'a> Span<'a> {
    pub(crate) fn new(pieces: &'a [Piece]) -> Self {
        // More pieces than the kernel takes at once are short offers; the rest goes on by `send`.
        let vectors = pieces.iter().take(1024).map(|piece| vector(piece.bytes())).collect();
        Self { pieces, vectors, len: pieces.iter().map(Piece::len).sum() }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn send(&self, fd: RawFd) -> io::Result<usize> {
        match self.pieces {
            [only] => send(fd, only.bytes(), SEND_FLAGS),
            _ => send_vectors(fd, &self.vectors, SEND_FLAGS),
        }
    }
}

fn vector(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

const SEND_FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

fn send(fd: RawFd, bytes: &[u8], flags: i32) -> io::Result<usize> {
    // SAFETY: the bytes are valid for reads of their length during the call.
    let n = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

fn send_vectors(fd: RawFd, vectors: &[libc::iovec], flags: i32) -> io::Result<usize> {
    // SAFETY: an all-zero `msghdr` is a valid one: null pointers with zero lengths.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = vectors.as_ptr().cast_mut();
    message.msg_iovlen = vectors.len() as _;
    // SAFETY: the vectors point at bytes borrowed from a batch or from pieces that the caller holds
    // during the call, and the kernel only reads them.
    let n = unsafe { libc::sendmsg(fd, &raw const message, flags) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

//! A WebSocket client over plain TCP that sends whatever it is told to, right or wrong, and sees
//! everything that comes back: frames as they are, the end of the stream, resets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use fulmar_proto::ws::{self, Opcode};
use socket2::{Domain, Protocol, Socket, Type};

use crate::PATIENCE;

/// A valid key; its answer is [`ACCEPT`].
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a server answers to [`KEY`] (RFC 6455, 1.3).
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// The mask of every frame: a test may choose it freely.
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// A frame as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whether it is the last of its message.
    pub fin: bool,
    /// Whether it is marked as compressed.
    pub rsv1: bool,
    /// Its opcode's number.
    pub opcode: u8,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = String::from_utf8_lossy(&self.payload[..self.payload.len().min(80)]);
        let length = self.payload.len();
        write!(f, "Frame(fin {} rsv1 {} opcode {} ", self.fin, self.rsv1, self.opcode)?;
        write!(f, "{length} bytes {shown:?})")
    }
}

/// What comes next from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A frame.
    Frame(Frame),
    /// The server's FIN.
    Fin,
    /// A reset.
    Reset,
    /// Nothing within the time.
    Nothing,
}

/// An HTTP response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Status line and fields, without the blank line.
    pub head: String,
    /// As long as `Content-Length` says.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a field.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A client.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were handed out.
    start: usize,
}

impl Client {
    /// Only the TCP connection.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        Self::over(stream)
    }

    /// Only the TCP connection, with so small a receive buffer that hardly anything gets to a
    /// client which does not read.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn small(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffer: Vec::new(), start: 0 }
    }

    /// An open WebSocket.
    ///
    /// # Panics
    /// If the handshake fails.
    #[must_use]
    pub fn open(address: SocketAddr, target: &str) -> Self {
        let mut client = Self::tcp(address);
        client.upgrade(target, "");
        client
    }

    /// The handshake with further fields, each ended by CRLF; the server's answer.
    ///
    /// # Panics
    /// If it is not accepted.
    pub fn upgrade(&mut self, target: &str, fields: &str) -> Response {
        self.send(request(target, fields).as_bytes());
        let response = self.response();
        assert_eq!(response.status, 101, "{}", response.head);
        assert_eq!(response.header("sec-websocket-accept"), Some(ACCEPT), "{}", response.head);
        response
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// If the server does not take them.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// If the server does not take them.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends as much as the server takes within so long; how much that was.
    ///
    /// # Panics
    /// If the connection fails in another way.
    pub fn push(&mut self, bytes: &[u8], most: Duration) -> usize {
        self.stream.set_write_timeout(Some(most)).unwrap();
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(n) => sent += n,
                Err(error) if is_timeout(error.kind()) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}"),
            }
        }
        self.stream.set_write_timeout(Some(PATIENCE)).unwrap();
        sent
    }

    /// Sends a masked frame.
    ///
    /// # Panics
    /// If the server does not take it.
    pub fn frame(&mut self, fin: bool, opcode: Opcode, payload: &[u8]) {
        self.send(&frame(fin, false, opcode, payload));
    }

    /// Sends a text message.
    ///
    /// # Panics
    /// If the server does not take it.
    pub fn text(&mut self, text: &str) {
        self.frame(true, Opcode::Text, text.as_bytes());
    }

    /// Sends a binary message.
    ///
    /// # Panics
    /// If the server does not take it.
    pub fn binary(&mut self, bytes: &[u8]) {
        self.frame(true, Opcode::Binary, bytes);
    }

    /// Sends a ping.
    ///
    /// # Panics
    /// If the server does not take it.
    pub fn ping(&mut self, payload: &[u8]) {
        self.frame(true, Opcode::Ping, payload);
    }

    /// Sends a close frame.
    ///
    /// # Panics
    /// If the server does not take it.
    pub fn close(&mut self, code: u16, reason: &str) {
        let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
        self.frame(true, Opcode::Close, &payload);
    }

    /// Sends our FIN.
    ///
    /// # Panics
    /// If there is no connection any more.
    pub fn shutdown(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends with a reset instead of a FIN.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn reset(self) {
        let socket = Socket::from(self.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Another handle to the socket, to send with while this one receives.
    ///
    /// # Panics
    /// If the system refuses.
    #[must_use]
    pub fn stream(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    /// What comes next, at most so long from now.
    pub fn next(&mut self, most: Duration) -> Next {
        let end = Instant::now() + most;
        loop {
            if let Some(frame) = self.buffered_frame() {
                return Next::Frame(frame);
            }
            match self.fill(end) {
                Filled::Some => {}
                Filled::Nothing => return Next::Nothing,
                Filled::Fin => return Next::Fin,
                Filled::Reset => return Next::Reset,
            }
        }
    }

    /// The next frame.
    ///
    /// # Panics
    /// If none comes.
    pub fn expect_frame(&mut self) -> Frame {
        match self.next(PATIENCE) {
            Next::Frame(frame) => frame,
            other => panic!("{other:?} instead of a frame"),
        }
    }

    /// The next frame, which is a whole text message.
    ///
    /// # Panics
    /// If something else comes.
    pub fn expect_text(&mut self) -> String {
        let frame = self.expect_frame();
        assert!(frame.fin && frame.opcode == Opcode::Text.bits(), "{frame:?}");
        String::from_utf8(frame.payload).unwrap()
    }

    /// The next frame, which is a whole binary message.
    ///
    /// # Panics
    /// If something else comes.
    pub fn expect_binary(&mut self) -> Vec<u8> {
        let frame = self.expect_frame();
        assert!(frame.fin && frame.opcode == Opcode::Binary.bits(), "{frame:?}");
        frame.payload
    }

    /// The next frame, which is a pong.
    ///
    /// # Panics
    /// If something else comes.
    pub fn expect_pong(&mut self) -> Vec<u8> {
        let frame = self.expect_frame();
        assert!(frame.fin && frame.opcode == Opcode::Pong.bits(), "{frame:?}");
        frame.payload
    }

    /// The next close frame: its code, 1005 for none, and reason. Skips data before it.
    ///
    /// # Panics
    /// If none comes, or it is malformed.
    pub fn expect_close(&mut self) -> (u16, String) {
        loop {
            let frame = self.expect_frame();
            if frame.opcode != Opcode::Close.bits() {
                continue;
            }
            assert!(frame.fin && !frame.rsv1 && frame.payload.len() <= 125, "{frame:?}");
            let Some((code, reason)) = frame.payload.split_first_chunk::<2>() else {
                assert!(frame.payload.is_empty(), "{frame:?}");
                return (1005, String::new());
            };
            return (u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).unwrap());
        }
    }

    /// The server's FIN: not a reset, and no frame before it.
    ///
    /// # Panics
    /// If something else comes.
    pub fn expect_fin(&mut self) {
        assert_eq!(self.next(PATIENCE), Next::Fin);
    }

    /// The end of the connection, whichever way; frames before it are skipped.
    ///
    /// # Panics
    /// If there is none.
    pub fn expect_end(&mut self) {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.next(end.saturating_duration_since(Instant::now())) {
                Next::Frame(_) => {}
                Next::Fin | Next::Reset => return,
                Next::Nothing => panic!("the connection did not end"),
            }
        }
    }

    /// Asserts that nothing comes for so long.
    ///
    /// # Panics
    /// If something does.
    pub fn expect_silence(&mut self, long: Duration) {
        assert_eq!(self.next(long), Next::Nothing);
    }

    /// Waits so many milliseconds, or until something arrives; whether it did.
    pub fn next_is_ready(&mut self, milliseconds: u64) -> bool {
        let end = Instant::now() + Duration::from_millis(milliseconds);
        self.start < self.buffer.len() || !matches!(self.fill(end), Filled::Nothing)
    }

    /// An HTTP response with the body that it announces; a switch of protocols has none.
    ///
    /// # Panics
    /// If none comes.
    pub fn response(&mut self) -> Response {
        let mut response = self.response_head();
        let length = response.header("content-length").map_or(0, |text| text.parse().unwrap());
        self.fill_to(length);
        response.body = self.take(length);
        response
    }

    /// The head of an HTTP response only, as `HEAD` is answered.
    ///
    /// # Panics
    /// If none comes.
    pub fn response_head(&mut self) -> Response {
        let end = Instant::now() + PATIENCE;
        let head = loop {
            let bytes = &self.buffer[self.start..];
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.take(at);
                let _blank = self.take(4);
                break String::from_utf8(head).unwrap();
            }
            match self.fill(end) {
                Filled::Some => {}
                Filled::Nothing => panic!("no response"),
                Filled::Fin => panic!("FIN instead of a response"),
                Filled::Reset => panic!("a reset instead of a response"),
            }
        };
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Response { status, head, body: Vec::new() }
    }

    fn fill_to(&mut self, length: usize) {
        let end = Instant::now() + PATIENCE;
        while self.buffer.len() - self.start < length {
            assert!(matches!(self.fill(end), Filled::Some), "the response is cut short");
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let bytes = self.buffer[self.start..self.start + length].to_vec();
        self.start += length;
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        bytes
    }

    fn buffered_frame(&mut self) -> Option<Frame> {
        let bytes = &self.buffer[self.start..];
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        assert_eq!(second & 0x80, 0, "a server's frames are not masked");
        assert_eq!(first & 0x30, 0, "reserved bits");
        let (head, length) = match second & 0x7f {
            126 => (4, u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
            short => (2, u64::from(short)),
        };
        let length = usize::try_from(length).unwrap();
        bytes.get(..head + length)?;
        let _head = self.take(head);
        let payload = self.take(length);
        Some(Frame {
            fin: first & 0x80 != 0,
            rsv1: first & 0x40 != 0,
            opcode: first & 0x0f,
            payload,
        })
    }

    fn fill(&mut self, end: Instant) -> Filled {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).unwrap();
        if self.start > 1 << 20 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let mut bytes = vec![0; 64 << 10];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Filled::Fin,
                Ok(n) => {
                    self.buffer.extend_from_slice(&bytes[..n]);
                    return Filled::Some;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(error.kind()) => return Filled::Nothing,
                Err(_) => return Filled::Reset,
            }
        }
    }
}

enum Filled {
    Some,
    Nothing,
    Fin,
    Reset,
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A request for a WebSocket, with further fields, each ended by CRLF.
#[must_use]
pub fn request(target: &str, fields: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: fulmar.test\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
         {fields}\r\n"
    )
}

/// A masked frame.
#[must_use]
pub fn frame(fin: bool, rsv1: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ws::write_masked_frame(&mut out, fin, rsv1, opcode, payload, MASK);
    out
}

//! WebSocket frames as the output plane makes them, and the making of a send.

use fulmar_driver::{Piece, SendBatch};
use fulmar_proto::ws::{self, Opcode};

use super::pool::Pool;

/// Longest head of a frame a server sends: two bytes and a 64-bit length.
pub const HEAD_BYTES_MAX: usize = 10;

/// Bytes of a buffer that are rather copied behind others than sent as a part of their own.
const COPY_BYTES_MAX: usize = 4 << 10;

/// The opcode of a data frame.
pub fn data_opcode(is_binary: bool) -> Opcode {
    if is_binary { Opcode::Binary } else { Opcode::Text }
}

/// Appends the head of a final, unmasked frame with `len` bytes of payload (RFC 6455 section 5.2).
pub fn head(opcode: Opcode, len: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&ws::head(true, false, opcode, len));
}

/// A close frame. The reason is cut to the 123 bytes that fit (RFC 6455 section 5.5).
pub fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + reason.len());
    ws::write_close(&mut out, code, reason);
    out
}

/// A send in the making: small things are gathered in one buffer, large ones become parts.
#[derive(Debug, Default)]
pub struct Outgoing {
    batch: SendBatch,
    bytes: Vec<u8>,
}

impl Outgoing {
    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.batch.len() + self.bytes.len()
    }

    /// Whether there is nothing to send yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a buffer to gather in, if it has none.
    pub fn gather_in(&mut self, pool: &mut Pool) {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.buffer();
        }
    }

    /// Appends private bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends the head of a frame.
    pub fn push_head(&mut self, opcode: Opcode, len: usize) {
        head(opcode, len, &mut self.bytes);
    }

    /// Appends a whole buffer: moved if it is the first or large, copied otherwise.
    pub fn push_buffer(&mut self, buffer: Vec<u8>, pool: &mut Pool) {
        if self.is_empty() && !buffer.is_empty() {
            pool.give_back(std::mem::replace(&mut self.bytes, buffer));
        } else if buffer.len() <= COPY_BYTES_MAX {
            self.push(&buffer);
            pool.give_back(buffer);
        } else {
            self.cut();
            self.batch.push_owned(buffer);
        }
    }

    /// Appends a piece: copied if it is small, pinned otherwise.
    pub fn push_piece(&mut self, piece: Piece, copy_bytes_max: usize) {
        if piece.len() <= copy_bytes_max {
            self.push(piece.bytes());
        } else {
            self.cut();
            self.batch.push_piece(piece, 0);
        }
    }

    /// The send.
    pub fn finish(mut self, pool: &mut Pool) -> SendBatch {
        if self.batch.is_empty() && !self.bytes.is_empty() {
            return SendBatch::from_bytes(self.bytes);
        }
        if self.bytes.is_empty() {
            pool.give_back(self.bytes);
        } else {
            self.batch.push_owned(self.bytes);
        }
        self.batch
    }

    /// Ends the buffer gathered in: what follows is a part of its own.
    fn cut(&mut self) {
        if !self.bytes.is_empty() {
            self.batch.push_owned(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        let made = |len| {
            let mut out = Vec::new();
            head(Opcode::Text, len, &mut out);
            out
        };
        assert_eq!(made(0), [0x81, 0]);
        assert_eq!(made(125), [0x81, 125]);
        assert_eq!(made(126), [0x81, 126, 0, 126]);
        assert_eq!(made(65_535), [0x81, 126, 255, 255]);
        assert_eq!(made(65_536), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_close_frame_never_exceeds_a_control_frame() {
        let frame = close_frame(1013, &"é".repeat(100));
        assert_eq!((frame[0], frame[1], frame.len()), (0x88, 124, 126));
        assert!(std::str::from_utf8(&frame[4..]).is_ok(), "cut between characters");
    }

    #[test]
    fn a_single_buffer_is_moved_and_not_copied() {
        let mut pool = Pool::default();
        // Room for what is merged behind it, or the allocator might move it.
        let mut buffer = Vec::with_capacity(256);
        buffer.resize(100, 7);
        let place = buffer.as_ptr();
        let mut out = Outgoing::default();
        out.push_buffer(buffer, &mut pool);
        out.push_buffer(vec![8; 10], &mut pool);
        out.push_buffer(vec![9; 10_000], &mut pool);
        let batch = out.finish(&mut pool);
        assert_eq!((batch.len(), batch.parts().len()), (10_110, 2));
        assert!(batch.into_buffer().is_some_and(|first| first.as_ptr() == place));
    }
}

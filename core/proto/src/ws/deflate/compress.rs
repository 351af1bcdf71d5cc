//! Compression of one message at a time (RFC 7692, 7.2.1).

use std::fmt;

use flate2::{Compress, Compression, FlushCompress};

/// What every flushed stream ends with, and what does not travel (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Compresses messages. One that forgets between messages can serve any number of connections, and
/// what it makes of a message suits all whose negotiated window is at least as large; one that
/// keeps its window belongs to one connection. It takes some 270 KiB.
pub struct Compressor {
    stream: Compress,
    keeps_window: bool,
}

impl Compressor {
    /// A compressor with a window of `2^window_bits` bytes and zlib's level 0 (none) to 9 (slow),
    /// that with `context_takeover` keeps its window from message to message. Bits outside 9 to 15
    /// and levels above 9 are taken as the nearest that is possible.
    #[must_use]
    pub fn new(window_bits: u8, level: u8, context_takeover: bool) -> Self {
        let level = Compression::new(u32::from(level.min(9)));
        let stream = Compress::new_with_window_bits(level, false, window_bits.clamp(9, 15));
        Self { stream, keeps_window: context_takeover }
    }

    /// Appends the compressed message, without the tail that does not travel. An empty message
    /// becomes one byte of zero (RFC 7692, 7.2.3.6). What comes out can be a little longer than
    /// what went in.
    ///
    /// Returns `false` if it could not, which only a fault in the compressor can bring about. `out`
    /// is then as it was, and the message can go as it is.
    pub fn compress(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        if payload.is_empty() {
            out.push(0);
            return true;
        }
        let start = out.len();
        let done = self.flush_through(payload, out) && out[start..].ends_with(&TAIL);
        if done {
            out.truncate(out.len() - TAIL.len());
        } else {
            out.truncate(start);
        }
        if !done || !self.keeps_window {
            self.stream.reset();
        }
        done
    }

    fn flush_through(&mut self, mut rest: &[u8], out: &mut Vec<u8>) -> bool {
        loop {
            // Enough for one call, whatever the data: noise grows by an eighth at the fastest
            // level.
            out.reserve(rest.len() + rest.len() / 8 + 64);
            let (before, length) = (self.stream.total_in(), out.len());
            if self.stream.compress_vec(rest, out, FlushCompress::Sync).is_err() {
                return false;
            }
            let consumed = usize::try_from(self.stream.total_in() - before).unwrap_or(usize::MAX);
            let Some(unread) = rest.get(consumed..) else { return false };
            rest = unread;
            if rest.is_empty() && out.len() < out.capacity() {
                return true;
            }
            if consumed == 0 && out.len() == length {
                return rest.is_empty();
            }
        }
    }
}

impl Default for Compressor {
    /// A shared compressor with the largest window at the fastest level, which forgets between
    /// messages.
    fn default() -> Self {
        Self::new(15, 1, false)
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Compressor")
            .field("keeps_window", &self.keeps_window)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::deflate::{Deflate, Inflater};
    use crate::ws::frame::Role;

    #[test]
    fn an_empty_message_is_one_zero_byte_however_often() {
        for mut compressor in [Compressor::default(), Compressor::new(15, 6, true)] {
            for _ in 0..3 {
                let mut out = Vec::new();
                assert!(compressor.compress(b"", &mut out));
                assert_eq!(out, [0]);
            }
        }
    }

    #[test]
    fn a_shared_compressor_makes_the_same_of_the_same_message() {
        let mut compressor = Compressor::default();
        let (mut one, mut two) = (Vec::new(), Vec::new());
        assert!(compressor.compress(b"the same message", &mut one));
        assert!(compressor.compress(b"something in between", &mut Vec::new()));
        assert!(compressor.compress(b"the same message", &mut two));
        assert_eq!(one, two);
    }

    #[test]
    fn a_kept_window_makes_repetition_cheap() {
        let mut compressor = Deflate::default().compressor(Role::Server, 6);
        let (mut one, mut two) = (Vec::new(), Vec::new());
        let message = b"a message with no repetition: 0123456789 abcdefgh";
        assert!(compressor.compress(message, &mut one));
        assert!(compressor.compress(message, &mut two));
        assert!(two.len() < one.len() / 2);
    }

    #[test]
    fn every_window_and_level_comes_back_whole() {
        let mut noise = 1_u32;
        let mut message = Vec::new();
        for index in 0_usize..70_000 {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            message.push(if index % 3_000 < 1_500 { noise.to_be_bytes()[0] } else { b'x' });
        }
        for level in 0..=9 {
            for window_bits in 9..=15 {
                let mut compressor = Compressor::new(window_bits, level, true);
                let mut inflater = Inflater::new(window_bits);
                let mut output = Vec::new();
                for part in [&message[..], &message[..1000], b"", &message[500..]] {
                    let mut compressed = Vec::new();
                    assert!(compressor.compress(part, &mut compressed));
                    let length = inflater.inflate(&compressed, &mut output, 1 << 20).unwrap();
                    assert!(output[..length] == *part, "level {level}, window {window_bits}");
                }
            }
        }
    }
}

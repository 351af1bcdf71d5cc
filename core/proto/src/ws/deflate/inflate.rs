//! Inflation of one message at a time, with a limit on what comes out (RFC 7692, 7.2.2).

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

use crate::ProtocolError;

/// What the sender took off the end of the compressed message (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// Most final blocks in one message. A sender makes one for every flush if it cannot flush
/// otherwise. The stream begins anew after each, which makes these two bytes the dearest that a
/// peer can send.
const FINAL_BLOCKS_MAX: u32 = 1024;
/// Room for the first bytes of a message.
const FIRST_BYTES: usize = 4 << 10;

/// Inflates the messages of one peer, or of many that keep no window, with a reset between them.
pub(in crate::ws) struct Inflater {
    stream: Decompress,
    /// Seen in the message that is being inflated.
    final_blocks: u32,
}

impl Inflater {
    /// With a window of `2^window_bits` bytes, 8 to 15.
    pub(in crate::ws) fn new(window_bits: u8) -> Self {
        // The library takes no 8, and a larger window reads a smaller one's data.
        let stream = Decompress::new_with_window_bits(false, window_bits.clamp(9, 15));
        Self { stream, final_blocks: 0 }
    }

    /// Forgets all earlier messages.
    pub(in crate::ws) fn reset(&mut self) {
        self.stream.reset(false);
    }

    /// Inflates one message into the start of `output`, which grows as bytes come out and never
    /// beyond `bytes_max` + 1, and returns the message's length.
    pub(in crate::ws) fn inflate(
        &mut self,
        payload: &[u8],
        output: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<usize, ProtocolError> {
        if payload.is_empty() {
            // Nothing at all is not a block, but its meaning is plain.
            return Ok(0);
        }
        // The bytes of the last message lie in the buffer; only their number is forgotten.
        let whole = output.capacity().min(bytes_max.saturating_add(1));
        output.resize(whole, 0);
        self.final_blocks = 0;
        let filled = self.feed(payload, output, 0, bytes_max)?;
        self.feed(&TAIL, output, filled, bytes_max)
    }

    fn feed(
        &mut self,
        mut input: &[u8],
        output: &mut Vec<u8>,
        mut filled: usize,
        bytes_max: usize,
    ) -> Result<usize, ProtocolError> {
        loop {
            if filled == output.len() {
                grow(output, bytes_max);
            }
            let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
            let status = self
                .stream
                .decompress(input, &mut output[filled..], FlushDecompress::None)
                .map_err(|_| ProtocolError::InvalidCompression)?;
            let consumed = difference(before_in, self.stream.total_in());
            let produced = difference(before_out, self.stream.total_out());
            input = &input[consumed..];
            filled += produced;
            // The buffer has room for one byte too many, which is how the excess shows.
            if filled > bytes_max {
                return Err(ProtocolError::MessageTooBig);
            }
            if status == Status::StreamEnd {
                // A final block ends the stream, not the message (RFC 7692, 7.2.3.4).
                self.stream.reset(false);
                self.final_blocks += 1;
                if self.final_blocks > FINAL_BLOCKS_MAX {
                    return Err(ProtocolError::InvalidCompression);
                }
            }
            if input.is_empty() && (filled < output.len() || status == Status::StreamEnd) {
                return Ok(filled);
            }
            if consumed == 0 && produced == 0 {
                return Err(ProtocolError::InvalidCompression);
            }
        }
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Inflater").finish_non_exhaustive()
    }
}

fn grow(output: &mut Vec<u8>, bytes_max: usize) {
    let target = output.len().saturating_mul(2).max(FIRST_BYTES).min(bytes_max.saturating_add(1));
    output.reserve_exact(target.saturating_sub(output.len()));
    output.resize(target, 0);
}

fn difference(before: u64, after: u64) -> usize {
    usize::try_from(after - before).expect("one call moves no more than its slices hold")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::deflate::Compressor;

    fn compressed(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(Compressor::default().compress(payload, &mut out));
        out
    }

    fn inflated(payload: &[u8], bytes_max: usize) -> Result<Vec<u8>, ProtocolError> {
        let mut output = Vec::new();
        let length = Inflater::new(15).inflate(payload, &mut output, bytes_max)?;
        output.truncate(length);
        Ok(output)
    }

    #[test]
    fn inflates_the_examples_of_the_standard() {
        let hello = |bytes: &[u8]| assert_eq!(inflated(bytes, 100).unwrap(), b"Hello");
        hello(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
        // Stored, with BFINAL, and in two blocks (RFC 7692, 7.2.3.3 to 7.2.3.5).
        hello(&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]);
        hello(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]);
        hello(&[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00]);
        assert_eq!(inflated(&[0x00], 100).unwrap(), b"");
        assert_eq!(inflated(&[], 100).unwrap(), b"");
    }

    #[test]
    fn the_window_lasts_from_message_to_message() {
        let mut inflater = Inflater::new(15);
        let mut output = Vec::new();
        let first = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let second = [0xf2, 0x00, 0x11, 0x00, 0x00];
        for message in [&first[..], &second] {
            let length = inflater.inflate(message, &mut output, 100).unwrap();
            assert_eq!(&output[..length], b"Hello");
        }
        assert_eq!(inflated(&second, 100), Err(ProtocolError::InvalidCompression));
    }

    #[test]
    fn the_limit_holds_to_the_byte() {
        for length in [1, 2, 4095, 4096, 4097, 8192, 100_000] {
            let message = vec![b'a'; length];
            let compressed = compressed(&message);
            assert_eq!(inflated(&compressed, length).unwrap(), message);
            assert_eq!(inflated(&compressed, length - 1), Err(ProtocolError::MessageTooBig));
        }
    }

    #[test]
    fn a_bomb_takes_no_more_than_the_limit() {
        let bomb = compressed(&vec![0; 64 << 20]);
        let mut output = Vec::new();
        let result = Inflater::new(15).inflate(&bomb, &mut output, 1 << 20);
        assert_eq!(result, Err(ProtocolError::MessageTooBig));
        assert!(output.capacity() <= (1 << 20) + 1);
    }

    #[test]
    fn garbage_and_endless_final_blocks_end() {
        assert_eq!(inflated(&[0xff; 50], 100), Err(ProtocolError::InvalidCompression));
        assert_eq!(inflated(&[0x03, 0x00].repeat(1024), 100).unwrap(), b"");
        let endless = [0x03, 0x00].repeat(1025);
        assert_eq!(inflated(&endless, 100), Err(ProtocolError::InvalidCompression));
    }
}

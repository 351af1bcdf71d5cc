//! Frames to send, and the stamp by which a message is known again when it comes back.
//!
//! A stamp is 8 bytes: 48 bits as a little-endian number in binary messages, as 8 printable
//! characters (no quote, no backslash) in text messages.

use std::ops::Range;

use fulmar_proto::ws::{self, Opcode};

/// Bytes of one stamp.
pub(crate) const STAMP_BYTES: usize = 8;
/// The bits a stamp carries.
pub(crate) const STAMP_MASK: u64 = (1 << 48) - 1;

/// What messages look like on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    /// Binary instead of text messages.
    pub(crate) binary: bool,
    /// Bytes of payload.
    pub(crate) size: usize,
    /// A fresh random masking key per frame instead of the key 0, which leaves payloads as they
    /// are and is as legal (RFC 6455, 5.3) but for its lack of surprise.
    pub(crate) random_mask: bool,
}

/// Encodes stamped messages of one format.
#[derive(Debug)]
pub(crate) struct Encoder {
    format: Format,
    opcode: Opcode,
    /// The payload of a frame: a message and what is wrapped around it.
    payload: Vec<u8>,
    /// Where in it the message is.
    message: Range<usize>,
    /// A whole frame with the key 0, whose stamps are overwritten.
    template: Vec<u8>,
    random: Random,
}

impl Encoder {
    /// An encoder whose masking keys follow from `seed`.
    pub(crate) fn new(format: Format, seed: u64) -> Self {
        Self::build(format, format.opcode(), &[], &[], seed)
    }

    /// The same, with every message wrapped into a command of another protocol in a binary frame.
    pub(crate) fn wrapped(format: Format, before: &[u8], after: &[u8], seed: u64) -> Self {
        Self::build(format, Opcode::Binary, before, after, seed)
    }

    fn build(format: Format, opcode: Opcode, before: &[u8], after: &[u8], seed: u64) -> Self {
        let mut payload = before.to_vec();
        payload.extend((b'a'..=b'z').cycle().take(format.size));
        let message = before.len()..payload.len();
        payload.extend_from_slice(after);
        let mut template = Vec::new();
        ws::write_masked_frame(&mut template, true, false, opcode, &payload, [0; 4]);
        Self { format, opcode, payload, message, template, random: Random::new(seed) }
    }

    /// Bytes of every frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.template.len()
    }

    /// Appends a frame whose message begins with as many of the stamps as fit.
    pub(crate) fn append(&mut self, out: &mut Vec<u8>, stamps: [u64; 2]) {
        let begin = out.len();
        if self.format.random_mask {
            if let Some(message) = self.payload.get_mut(self.message.clone()) {
                self.format.stamp(message, stamps);
            }
            let key = self.random.next().to_le_bytes();
            let key = [key[0], key[1], key[2], key[3]];
            ws::write_masked_frame(out, true, false, self.opcode, &self.payload, key);
        } else {
            out.extend_from_slice(&self.template);
            let payload_at = begin + self.template.len() - self.payload.len();
            let message = payload_at + self.message.start..payload_at + self.message.end;
            if let Some(message) = out.get_mut(message) {
                self.format.stamp(message, stamps);
            }
        }
    }
}

impl Format {
    /// The opcode of a message's frame.
    pub(crate) fn opcode(self) -> Opcode {
        if self.binary { Opcode::Binary } else { Opcode::Text }
    }

    fn stamp(self, payload: &mut [u8], stamps: [u64; 2]) {
        for (place, stamp) in payload.chunks_exact_mut(STAMP_BYTES).zip(stamps) {
            let stamp = stamp & STAMP_MASK;
            let bytes = if self.binary { stamp } else { to_text(stamp) }.to_le_bytes();
            place.copy_from_slice(&bytes);
        }
    }

    /// The first stamp of a payload, if it has one.
    #[inline]
    pub(crate) fn read_stamp(self, start: &[u8]) -> Option<u64> {
        let number = u64::from_le_bytes(*start.first_chunk()?);
        if self.binary { Some(number) } else { from_text(number) }
    }
}

/// Spreads 48 bits over the characters `0`..`o`, with `|` for the backslash among them.
fn to_text(stamp: u64) -> u64 {
    let lanes = (stamp & 0x00ff_ffff) | ((stamp & 0xffff_ff00_0000) << 8);
    let lanes = (lanes & 0x0000_0fff_0000_0fff) | ((lanes & 0x00ff_f000_00ff_f000) << 4);
    let lanes = (lanes & 0x003f_003f_003f_003f) | ((lanes & 0x0fc0_0fc0_0fc0_0fc0) << 2);
    let mut bytes = (lanes + 0x3030_3030_3030_3030).to_le_bytes();
    for byte in &mut bytes {
        if *byte == b'\\' {
            *byte = b'|';
        }
    }
    u64::from_le_bytes(bytes)
}

/// The inverse of [`to_text`], a few operations on all eight characters at once.
#[inline]
fn from_text(text: u64) -> Option<u64> {
    // `|` is the only stamp character from 0x70 up: clear its bit 5 and it is a backslash again.
    let bars = (text >> 6) & (text >> 5) & (text >> 4) & 0x0101_0101_0101_0101;
    let lanes = (text - (bars << 5)).wrapping_sub(0x3030_3030_3030_3030);
    if lanes & 0xc0c0_c0c0_c0c0_c0c0 != 0 {
        return None;
    }
    let lanes = (lanes & 0x003f_003f_003f_003f) | ((lanes & 0x3f00_3f00_3f00_3f00) >> 2);
    let lanes = (lanes & 0x0000_0fff_0000_0fff) | ((lanes & 0x0fff_0000_0fff_0000) >> 4);
    Some((lanes & 0x00ff_ffff) | ((lanes & 0x00ff_ffff_0000_0000) >> 8))
}

/// SplitMix64: small, fast, seeded; not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stamps_are_printable_and_read_back() {
        let mut random = Random::new(1);
        for round in 0..10_000_u64 {
            let stamp = if round < 5_000 { round } else { random.next() & STAMP_MASK };
            let text = to_text(stamp);
            assert_eq!(from_text(text), Some(stamp));
            for byte in text.to_le_bytes() {
                assert!(byte.is_ascii_graphic() && byte != b'\\' && byte != b'"');
            }
        }
        for foreign in [*b"{\"room\":", *b"        ", [0; 8], [0xff; 8]] {
            assert_eq!(from_text(u64::from_le_bytes(foreign)), None, "{foreign:?}");
        }
    }

    #[test]
    fn frames_carry_their_stamps_with_and_without_a_mask() {
        for (binary, random_mask) in [(false, false), (false, true), (true, false), (true, true)] {
            for size in [0, 7, 8, 20, 200] {
                let format = Format { binary, size, random_mask };
                let mut encoder = Encoder::new(format, 3);
                let mut out = vec![0xee];
                encoder.append(&mut out, [77, 78]);
                assert_eq!(out.len(), 1 + encoder.frame_bytes());
                let head_bytes = encoder.frame_bytes() - size;
                let key: [u8; 4] = out[1 + head_bytes - 4..][..4].try_into().unwrap();
                let mut payload = out.split_off(1 + head_bytes);
                ws::mask(&mut payload, key);
                assert_eq!(format.read_stamp(&payload), (size >= 8).then_some(77));
                assert_eq!(random_mask, key != [0; 4]);
            }
        }
    }
}

//! Outgoing frames: a server's heads, and whole frames of either side.

use std::ops::Deref;

use super::close;
use super::frame::Opcode;
use super::mask::mask;

/// The head of a server's frame: 2, 4 or 10 bytes, to be followed by the payload as it is.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    bytes: [u8; 10],
    length: u8,
}

impl Deref for Head {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl AsRef<[u8]> for Head {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// The head of an unmasked frame with `payload_len` bytes of payload (RFC 6455, 5.2). `rsv1` marks
/// a compressed message and belongs on its first frame only (RFC 7692, 6).
#[inline]
#[must_use]
pub fn head(fin: bool, rsv1: bool, opcode: Opcode, payload_len: usize) -> Head {
    let first = (u8::from(fin) << 7) | (u8::from(rsv1) << 6) | opcode.bits();
    let mut bytes = [0; 10];
    bytes[0] = first;
    let length = match (u8::try_from(payload_len), u16::try_from(payload_len)) {
        (Ok(short @ 0..=125), _) => {
            bytes[1] = short;
            2
        }
        (_, Ok(medium)) => {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&medium.to_be_bytes());
            4
        }
        _ => {
            bytes[1] = 127;
            bytes[2..].copy_from_slice(&(payload_len as u64).to_be_bytes());
            10
        }
    };
    Head { bytes, length }
}

/// Appends a whole unmasked frame.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let head = head(true, false, opcode, payload.len());
    out.reserve(head.len() + payload.len());
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
}

/// Appends a whole unmasked frame whose payload is written in place: `write` appends `len` bytes.
/// If it appends more or less, the frame has that.
pub fn write_frame_with(
    out: &mut Vec<u8>,
    opcode: Opcode,
    len: usize,
    write: &dyn Fn(&mut Vec<u8>),
) {
    let start = out.len();
    let head_of_len = head(true, false, opcode, len);
    out.reserve(head_of_len.len() + len);
    out.extend_from_slice(&head_of_len);
    write(out);
    if out.len() != start + head_of_len.len() + len {
        let payload = out.split_off(start + head_of_len.len());
        out.truncate(start);
        write_frame(out, opcode, &payload);
    }
}

/// Appends a whole masked frame, as a client sends it (RFC 6455, 5.3). The mask has to be
/// unpredictable where a script may choose the payload; a load generator may use any.
pub fn write_masked_frame(
    out: &mut Vec<u8>,
    fin: bool,
    rsv1: bool,
    opcode: Opcode,
    payload: &[u8],
    mask_key: [u8; 4],
) {
    let mut head = head(fin, rsv1, opcode, payload.len());
    head.bytes[1] |= 0x80;
    out.reserve(head.len() + mask_key.len() + payload.len());
    out.extend_from_slice(&head);
    out.extend_from_slice(&mask_key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[start..], mask_key);
}

/// Appends an unmasked close frame. The reason is cut to [`close::REASON_BYTES_MAX`] bytes between
/// two characters.
///
/// A code that may not travel (see [`close::is_valid`]) is written as a close without a payload,
/// which is what 1005 means and the best that can be said of the others.
pub fn write_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    if !close::is_valid(code) {
        return write_frame(out, Opcode::Close, &[]);
    }
    let reason = close::truncate_reason(reason);
    out.extend_from_slice(&head(true, false, Opcode::Close, 2 + reason.len()));
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_use_the_fewest_bytes() {
        assert_eq!(&*head(true, false, Opcode::Text, 0), [0x81, 0]);
        assert_eq!(&*head(true, true, Opcode::Binary, 125), [0xc2, 125]);
        assert_eq!(&*head(false, false, Opcode::Text, 126), [0x01, 126, 0, 126]);
        assert_eq!(&*head(true, false, Opcode::Continuation, 255), [0x80, 126, 0, 255]);
        assert_eq!(&*head(true, false, Opcode::Ping, 65_535), [0x89, 126, 255, 255]);
        let long = head(true, false, Opcode::Binary, 65_536);
        assert_eq!(&*long, [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_frame_has_what_was_written_into_it() {
        for len in [0, 5, 125, 126, 70_000] {
            for said in [0, 5, 126, 70_000] {
                let payload = vec![b'x'; len];
                let mut out = b"before".to_vec();
                write_frame_with(&mut out, Opcode::Text, said, &|out| {
                    out.extend_from_slice(&payload);
                });
                let mut expected = b"before".to_vec();
                write_frame(&mut expected, Opcode::Text, &payload);
                assert_eq!(out, expected, "{len} bytes instead of {said}");
            }
        }
    }

    #[test]
    fn writes_the_examples_of_the_standard() {
        let mut out = Vec::new();
        write_frame(&mut out, Opcode::Text, b"Hello");
        assert_eq!(out, b"\x81\x05Hello");
        out.clear();
        let key = [0x37, 0xfa, 0x21, 0x3d];
        write_masked_frame(&mut out, true, false, Opcode::Text, b"Hello", key);
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn a_close_says_its_code_and_as_much_reason_as_fits() {
        let mut out = Vec::new();
        write_close(&mut out, 1001, "bye");
        assert_eq!(out, b"\x88\x05\x03\xe9bye");
        out.clear();
        write_close(&mut out, 4000, &"x".repeat(300));
        assert_eq!((out[1], out.len()), (125, 127));
        out.clear();
        write_close(&mut out, 1006, "never travels");
        assert_eq!(out, [0x88, 0]);
    }
}

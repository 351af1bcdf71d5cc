//! Frame heads: opcodes, flags and lengths (RFC 6455, 5.2).

use crate::ProtocolError;

/// Longest head of a frame, in bytes: two, a length of eight, a key of four.
pub(super) const HEAD_BYTES_MAX: usize = 14;
/// Longest payload of a control frame, in bytes (RFC 6455, 5.5).
pub(super) const CONTROL_BYTES_MAX: usize = 125;

/// What a frame is (RFC 6455, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// A later fragment of a message.
    Continuation = 0,
    /// Text in UTF-8, or its first fragment.
    Text = 1,
    /// Bytes, or the first fragment of them.
    Binary = 2,
    /// The end of the connection.
    Close = 8,
    /// A question whether the peer is there.
    Ping = 9,
    /// The answer to a ping.
    Pong = 10,
}

impl Opcode {
    /// The opcode with this number, if it is defined.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Continuation),
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    /// The number of this opcode on the wire.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// Whether this is a close, ping or pong.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// Which side of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Our frames are plain; the peer's must be masked.
    Server,
    /// Our frames are masked; the peer's must be plain.
    Client,
}

/// What the connection allows in a head, besides RFC 6455.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadRules {
    pub(super) role: Role,
    /// permessage-deflate is in use, so that RSV1 means "compressed" (RFC 7692, 6).
    pub(super) compression: bool,
}

/// A frame's head, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) fin: bool,
    pub(super) compressed: bool,
    pub(super) opcode: Opcode,
    /// All zeros where the frame is not masked.
    pub(super) key: [u8; 4],
    pub(super) payload_bytes: u64,
}

impl FrameHead {
    /// Reads the head at the start of `bytes`, and how long it is; `None` while it is incomplete.
    /// What is wrong already in an incomplete head is refused at once.
    #[inline]
    pub(super) fn parse(
        bytes: &[u8],
        rules: HeadRules,
    ) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        let (fin, compressed, opcode) = parse_first(first, rules)?;
        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        let masked = second & 0x80 != 0;
        match (masked, rules.role) {
            (false, Role::Server) => return Err(ProtocolError::UnmaskedFrame),
            (true, Role::Client) => return Err(ProtocolError::MaskedFrame),
            (true, Role::Server) | (false, Role::Client) => {}
        }
        let short = second & 0x7f;
        if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
            return Err(ProtocolError::ControlTooLong);
        }
        let Some((payload_bytes, rest)) = parse_length(short, rest)? else { return Ok(None) };
        let (key, rest) = if masked {
            let Some((key, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
            (*key, rest)
        } else {
            ([0; 4], rest)
        };
        let head = Self { fin, compressed, opcode, key, payload_bytes };
        Ok(Some((head, bytes.len() - rest.len())))
    }
}

fn parse_first(first: u8, rules: HeadRules) -> Result<(bool, bool, Opcode), ProtocolError> {
    let fin = first & 0x80 != 0;
    let compressed = first & 0x40 != 0;
    if first & 0x30 != 0 || (compressed && !rules.compression) {
        return Err(ProtocolError::ReservedBits);
    }
    let opcode = Opcode::from_bits(first & 0x0f).ok_or(ProtocolError::ReservedOpcode)?;
    if compressed && !matches!(opcode, Opcode::Text | Opcode::Binary) {
        return Err(ProtocolError::ReservedBits);
    }
    if opcode.is_control() && !fin {
        return Err(ProtocolError::ControlFragmented);
    }
    Ok((fin, compressed, opcode))
}

fn parse_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, ProtocolError> {
    match short {
        126 => {
            let Some((length, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
            let length = u16::from_be_bytes(*length);
            if length < 126 {
                return Err(ProtocolError::LengthNotMinimal);
            }
            Ok(Some((u64::from(length), rest)))
        }
        127 => {
            let Some((length, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
            let length = u64::from_be_bytes(*length);
            if length >> 63 != 0 {
                return Err(ProtocolError::LengthOutOfRange);
            }
            if length <= u64::from(u16::MAX) {
                return Err(ProtocolError::LengthNotMinimal);
            }
            Ok(Some((length, rest)))
        }
        _ => Ok(Some((u64::from(short), rest))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: HeadRules = HeadRules { role: Role::Client, compression: false };
    const SERVER: HeadRules = HeadRules { role: Role::Server, compression: false };
    const DEFLATE: HeadRules = HeadRules { role: Role::Client, compression: true };

    fn refused(bytes: &[u8], rules: HeadRules) -> ProtocolError {
        FrameHead::parse(bytes, rules).expect_err("a refusal")
    }

    #[test]
    fn reads_the_three_forms_of_a_length() {
        let length = |bytes: &[u8]| {
            let (head, used) = FrameHead::parse(bytes, CLIENT).unwrap().unwrap();
            (head.payload_bytes, used)
        };
        assert_eq!(length(&[0x82, 125]), (125, 2));
        assert_eq!(length(&[0x82, 126, 0, 126]), (126, 4));
        assert_eq!(length(&[0x82, 126, 255, 255]), (65535, 4));
        assert_eq!(length(&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]), (65536, 10));
    }

    #[test]
    fn refuses_lengths_that_are_not_minimal_or_have_the_top_bit() {
        assert_eq!(refused(&[0x82, 126, 0, 125], CLIENT), ProtocolError::LengthNotMinimal);
        let long = [0x82, 127, 0, 0, 0, 0, 0, 0, 255, 255];
        assert_eq!(refused(&long, CLIENT), ProtocolError::LengthNotMinimal);
        let top = [0x82, 127, 128, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(refused(&top, CLIENT), ProtocolError::LengthOutOfRange);
    }

    #[test]
    fn refuses_what_is_wrong_in_the_first_byte_before_the_second_comes() {
        assert_eq!(refused(&[0xa1], CLIENT), ProtocolError::ReservedBits);
        assert_eq!(refused(&[0xc1], CLIENT), ProtocolError::ReservedBits);
        assert_eq!(refused(&[0x83], CLIENT), ProtocolError::ReservedOpcode);
        assert_eq!(refused(&[0x8b], CLIENT), ProtocolError::ReservedOpcode);
        assert_eq!(refused(&[0x09], CLIENT), ProtocolError::ControlFragmented);
        assert_eq!(refused(&[0xc9], DEFLATE), ProtocolError::ReservedBits);
        assert_eq!(refused(&[0x40], DEFLATE), ProtocolError::ReservedBits);
    }

    #[test]
    fn refuses_the_wrong_mask_and_long_control_frames() {
        assert_eq!(refused(&[0x81, 5], SERVER), ProtocolError::UnmaskedFrame);
        assert_eq!(refused(&[0x81, 0x85], CLIENT), ProtocolError::MaskedFrame);
        assert_eq!(refused(&[0x89, 126], CLIENT), ProtocolError::ControlTooLong);
    }

    #[test]
    fn an_incomplete_head_is_none() {
        let whole = [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4];
        for length in 0..whole.len() {
            assert_eq!(FrameHead::parse(&whole[..length], SERVER), Ok(None));
        }
        let (head, used) = FrameHead::parse(&whole, SERVER).unwrap().unwrap();
        assert_eq!((head.key, used), ([1, 2, 3, 4], HEAD_BYTES_MAX));
    }
}

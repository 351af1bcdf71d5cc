//! What a WebSocket peer can do wrong, and the close code that tells it so.

use std::fmt;

use crate::ws::close;

/// Why a WebSocket connection has to end. Every variant is the peer's doing: either it broke the
/// protocol, or it sent more than this server takes.
///
/// The [`Display`](fmt::Display) text is short enough for a close frame's reason (123 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The peer set a reserved bit that no negotiated extension defines, or RSV1 on a frame that
    /// may not carry it (RFC 6455, 5.2; RFC 7692, 6).
    ReservedBits,
    /// The peer used an opcode nobody defined (RFC 6455, 5.2).
    ReservedOpcode,
    /// A client sent a frame without a mask (RFC 6455, 5.1).
    UnmaskedFrame,
    /// A server sent a frame with a mask (RFC 6455, 5.1).
    MaskedFrame,
    /// The peer sent a ping, pong or close of more than 125 bytes (RFC 6455, 5.5).
    ControlTooLong,
    /// The peer fragmented a ping, pong or close (RFC 6455, 5.5).
    ControlFragmented,
    /// The peer wrote a length in more bytes than it needs (RFC 6455, 5.2).
    LengthNotMinimal,
    /// The peer announced a length with the top bit set (RFC 6455, 5.2).
    LengthOutOfRange,
    /// The peer continued a message that it had not begun (RFC 6455, 5.4).
    UnexpectedContinuation,
    /// The peer began a message inside another (RFC 6455, 5.4).
    InterleavedMessage,
    /// A text message or a close reason is not UTF-8 (RFC 6455, 8.1).
    InvalidUtf8,
    /// A compressed message does not inflate (RFC 7692, 7.2.2).
    InvalidCompression,
    /// The payload of a close is one byte long, which holds no code (RFC 6455, 5.5.1).
    CloseTruncated,
    /// The peer closed with a code that may not be sent (RFC 6455, 7.4).
    InvalidCloseCode,
    /// The message, inflated, is over this server's limit.
    MessageTooBig,
    /// The frame is over this server's limit.
    FrameTooBig,
    /// The message has more fragments than this server takes.
    TooManyFragments,
}

impl ProtocolError {
    /// The code to close the connection with (RFC 6455, 7.4.1).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::InvalidUtf8 | Self::InvalidCompression => close::INVALID_PAYLOAD,
            Self::MessageTooBig | Self::FrameTooBig => close::TOO_BIG,
            Self::TooManyFragments => close::POLICY,
            Self::ReservedBits
            | Self::ReservedOpcode
            | Self::UnmaskedFrame
            | Self::MaskedFrame
            | Self::ControlTooLong
            | Self::ControlFragmented
            | Self::LengthNotMinimal
            | Self::LengthOutOfRange
            | Self::UnexpectedContinuation
            | Self::InterleavedMessage
            | Self::CloseTruncated
            | Self::InvalidCloseCode => close::PROTOCOL_ERROR,
        }
    }

    /// A stable code in snake case, for logs and metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved_bits",
            Self::ReservedOpcode => "reserved_opcode",
            Self::UnmaskedFrame => "unmasked_frame",
            Self::MaskedFrame => "masked_frame",
            Self::ControlTooLong => "control_too_long",
            Self::ControlFragmented => "control_fragmented",
            Self::LengthNotMinimal => "length_not_minimal",
            Self::LengthOutOfRange => "length_out_of_range",
            Self::UnexpectedContinuation => "unexpected_continuation",
            Self::InterleavedMessage => "interleaved_message",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::InvalidCompression => "invalid_compression",
            Self::CloseTruncated => "close_truncated",
            Self::InvalidCloseCode => "invalid_close_code",
            Self::MessageTooBig => "message_too_big",
            Self::FrameTooBig => "frame_too_big",
            Self::TooManyFragments => "too_many_fragments",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::ReservedBits => "a reserved bit is set that no extension defines here",
            Self::ReservedOpcode => "the opcode is reserved",
            Self::UnmaskedFrame => "a client's frames must be masked",
            Self::MaskedFrame => "a server's frames must not be masked",
            Self::ControlTooLong => "a control frame takes at most 125 bytes",
            Self::ControlFragmented => "a control frame must not be fragmented",
            Self::LengthNotMinimal => "the length is not written in the fewest bytes",
            Self::LengthOutOfRange => "the length has its top bit set",
            Self::UnexpectedContinuation => "there is no message to continue",
            Self::InterleavedMessage => "the message before this one has not ended",
            Self::InvalidUtf8 => "the text is not UTF-8",
            Self::InvalidCompression => "the compressed message does not inflate",
            Self::CloseTruncated => "a close has no payload, or a code of two bytes",
            Self::InvalidCloseCode => "the close code may not be sent",
            Self::MessageTooBig => "the message is over the size limit",
            Self::FrameTooBig => "the frame is over the size limit",
            Self::TooManyFragments => "the message has too many fragments",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_fits_a_close_frame_and_has_a_code_of_its_own() {
        let all = [
            ProtocolError::ReservedBits,
            ProtocolError::ReservedOpcode,
            ProtocolError::UnmaskedFrame,
            ProtocolError::MaskedFrame,
            ProtocolError::ControlTooLong,
            ProtocolError::ControlFragmented,
            ProtocolError::LengthNotMinimal,
            ProtocolError::LengthOutOfRange,
            ProtocolError::UnexpectedContinuation,
            ProtocolError::InterleavedMessage,
            ProtocolError::InvalidUtf8,
            ProtocolError::InvalidCompression,
            ProtocolError::CloseTruncated,
            ProtocolError::InvalidCloseCode,
            ProtocolError::MessageTooBig,
            ProtocolError::FrameTooBig,
            ProtocolError::TooManyFragments,
        ];
        let mut reasons = std::collections::HashSet::new();
        for error in all {
            assert!(error.to_string().len() <= close::REASON_BYTES_MAX);
            assert!(close::is_valid(error.close_code()));
            assert!(reasons.insert(error.reason()));
            assert!(
                error.reason().bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'8')
            );
        }
    }
}

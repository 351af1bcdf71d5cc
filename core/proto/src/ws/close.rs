//! Close codes (RFC 6455, 7.4, and the registry it founded) and close payloads.

use crate::ProtocolError;

use super::message::CloseFrame;

/// The purpose of the connection is fulfilled.
pub const NORMAL: u16 = 1000;
/// The server goes down or the browser leaves the page.
pub const GOING_AWAY: u16 = 1001;
/// The peer broke the protocol.
pub const PROTOCOL_ERROR: u16 = 1002;
/// The kind of data is not taken, such as binary where only text is.
pub const UNSUPPORTED: u16 = 1003;
/// The data is not what its type says, such as text that is not UTF-8.
pub const INVALID_PAYLOAD: u16 = 1007;
/// The peer broke a rule of this server's.
pub const POLICY: u16 = 1008;
/// The message is too long.
pub const TOO_BIG: u16 = 1009;
/// The server failed.
pub const INTERNAL: u16 = 1011;
/// The server restarts; connect again.
pub const SERVICE_RESTART: u16 = 1012;
/// The server is overloaded; connect again later.
pub const TRY_AGAIN_LATER: u16 = 1013;

/// Longest reason of a close, in bytes: a control frame's 125 less the code (RFC 6455, 5.5).
pub const REASON_BYTES_MAX: usize = 123;

/// Whether a code may be sent in a close frame: 1000 to 1003, 1007 to 1014 and 3000 to 4999. The
/// others are unassigned, or reserved for reports that never travel (1005, 1006 and 1015).
#[must_use]
pub const fn is_valid(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// As much of a reason as fits a close frame, ending between two characters.
#[must_use]
pub fn truncate_reason(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}

/// Reads the payload of a received close (RFC 6455, 5.5.1).
///
/// # Errors
/// [`ProtocolError::CloseTruncated`], [`ProtocolError::InvalidCloseCode`] or
/// [`ProtocolError::InvalidUtf8`].
pub fn parse(payload: &[u8]) -> Result<Option<CloseFrame<'_>>, ProtocolError> {
    let (code, reason) = match payload.split_first_chunk::<2>() {
        Some((code, reason)) => (u16::from_be_bytes(*code), reason),
        None if payload.is_empty() => return Ok(None),
        None => return Err(ProtocolError::CloseTruncated),
    };
    if !is_valid(code) {
        return Err(ProtocolError::InvalidCloseCode);
    }
    let reason = simdutf8::basic::from_utf8(reason).map_err(|_| ProtocolError::InvalidUtf8)?;
    Ok(Some(CloseFrame { code, reason }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_that_may_travel_are_valid() {
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
            assert!(is_valid(code), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert!(!is_valid(code), "{code}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(truncate_reason("short"), "short");
        assert_eq!(truncate_reason(&"a".repeat(200)).len(), 123);
        let cut = truncate_reason("é".repeat(100).leak());
        assert_eq!(cut.len(), 122);
    }

    #[test]
    fn a_close_has_no_payload_or_a_code_and_a_reason() {
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"\x03"), Err(ProtocolError::CloseTruncated));
        assert_eq!(parse(b"\x03\xe8ok"), Ok(Some(CloseFrame { code: 1000, reason: "ok" })));
        assert_eq!(parse(b"\x03\xed"), Err(ProtocolError::InvalidCloseCode));
        assert_eq!(parse(b"\x03\xe8\xff"), Err(ProtocolError::InvalidUtf8));
    }
}

//! Randomness, and the only place it comes from.

use std::fmt::Write;

/// A random UUID (RFC 9562, version 4) in its usual text form, for a node's `serverId`.
///
/// # Panics
/// If the system has no random numbers, which Linux rules out after boot.
#[must_use]
pub fn server_id() -> String {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

pub(crate) fn random() -> u32 {
    let mut bytes = [0; 4];
    fill(&mut bytes);
    u32::from_le_bytes(bytes)
}

fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system has random numbers");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_id_is_a_version_4_uuid_and_new_each_time() {
        let id = server_id();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
        assert!(id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()));
        assert_ne!(id, server_id());
    }
}

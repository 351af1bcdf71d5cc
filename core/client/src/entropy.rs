//! Randomness, and the only place it comes from.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Random bytes, fetched from the system many at a time.
pub(crate) struct Pool {
    bytes: [u8; 256],
    used: usize,
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pool") // never the bytes
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self { bytes: [0; 256], used: 256 }
    }
}

impl Pool {
    /// The mask of one frame: not to be foreseen by whoever chose the payload (RFC 6455, 10.3).
    pub(crate) fn mask(&mut self) -> [u8; 4] {
        if self.used + 4 > self.bytes.len() {
            fill(&mut self.bytes);
            self.used = 0;
        }
        let mut mask = [0; 4];
        mask.copy_from_slice(&self.bytes[self.used..self.used + 4]);
        self.used += 4;
        mask
    }
}

/// A `Sec-WebSocket-Key`: 16 random bytes in Base64 (RFC 6455, 4.1).
pub(crate) fn websocket_key() -> String {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    BASE64_STANDARD.encode(bytes)
}

/// A number from 0 to below 1.
pub(crate) fn fraction() -> f64 {
    let mut bytes = [0; 4];
    fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("a system that is up has random numbers");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_keys_and_fractions_differ() {
        let mut pool = Pool::default();
        let masks: std::collections::HashSet<[u8; 4]> = (0..200).map(|_| pool.mask()).collect();
        assert!(masks.len() > 195, "{}", masks.len());
        assert_ne!(websocket_key(), websocket_key());
        assert_eq!(websocket_key().len(), 24);
        assert!((0..100).map(|_| fraction()).all(|number| (0.0..1.0).contains(&number)));
    }
}

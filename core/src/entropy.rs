//! Randomness, and the only place it comes from.

use std::fmt;

use ahash::RandomState;

/// Where a shard's random bytes and hash seeds come from.
pub trait Entropy: fmt::Debug + Send + 'static {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);

    /// A hasher of its own, so that no peer can choose names that collide.
    fn hasher(&mut self) -> RandomState {
        let mut seeds = [[0; 8]; 4];
        seeds.iter_mut().for_each(|seed| self.fill(seed));
        let [a, b, c, d] = seeds.map(u64::from_le_bytes);
        RandomState::with_seeds(a, b, c, d)
    }

    /// A random UUID's 128 bits (RFC 9562, version 4).
    fn uuid(&mut self) -> u128 {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        let random = u128::from_be_bytes(bytes);
        random & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62
    }
}

/// The system's random numbers, fetched a page at a time.
pub struct SystemEntropy {
    pool: Box<[u8; 1024]>,
    used: usize,
}

impl fmt::Debug for SystemEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemEntropy") // never the pool
    }
}

impl Default for SystemEntropy {
    fn default() -> Self {
        Self { pool: Box::new([0; 1024]), used: 1024 }
    }
}

impl Entropy for SystemEntropy {
    /// # Panics
    /// If the system has no random numbers, which Linux rules out after boot.
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.used == self.pool.len() {
                getrandom::fill(&mut *self.pool).expect("the system has random numbers");
                self.used = 0;
            }
            // Each byte is handed out once and not kept.
            *byte = std::mem::take(&mut self.pool[self.used]);
            self.used += 1;
        }
    }
}

/// Numbers decided by a seed, for simulation.
#[derive(Clone, Debug)]
pub struct SeededEntropy(u64);

impl SeededEntropy {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            // SplitMix64.
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.0;
            word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^= word >> 31;
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_its_version_and_variant() {
        let uuid = SeededEntropy::new(1).uuid();
        assert_eq!((uuid >> 76 & 0xf, uuid >> 62 & 0b11), (4, 0b10));
        assert_ne!(SystemEntropy::default().uuid(), SystemEntropy::default().uuid());
    }
}

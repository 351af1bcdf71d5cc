//! One bit per socket, dense: what the hot pass asks instead of touching a connection.

/// A growable set of socket indexes. 10,000 sockets take 1,250 bytes, so the pass over a room stays
/// in the first-level cache.
#[derive(Debug, Default)]
pub struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// Puts `socket` in the set; says whether it is the first of its word.
    pub fn set(&mut self, socket: u32) -> bool {
        let word = (socket / 64) as usize;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let Some(word) = self.words.get_mut(word) else {
            return false;
        };
        let is_first = *word == 0;
        *word |= 1 << (socket % 64);
        is_first
    }

    /// Takes `socket` out.
    pub fn clear(&mut self, socket: u32) {
        if let Some(word) = self.words.get_mut((socket / 64) as usize) {
            *word &= !(1 << (socket % 64));
        }
    }

    /// Whether `socket` is in the set.
    #[inline]
    pub fn has(&self, socket: u32) -> bool {
        self.words.get((socket / 64) as usize).is_some_and(|word| word & (1 << (socket % 64)) != 0)
    }
}

/// A set that is emptied every turn, at the cost of what was put in and not of its range.
#[derive(Debug, Default)]
pub struct Marks {
    bits: Bits,
    words: Vec<u32>,
}

impl Marks {
    /// Puts `socket` in the set.
    pub fn set(&mut self, socket: u32) {
        if self.bits.set(socket) {
            self.words.push(socket / 64);
        }
    }

    /// Whether `socket` is in the set.
    #[inline]
    pub fn has(&self, socket: u32) -> bool {
        self.bits.has(socket)
    }

    /// Empties the set.
    pub fn clear(&mut self) {
        for word in self.words.drain(..) {
            if let Some(word) = self.bits.words.get_mut(word as usize) {
                *word = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_forget_everything_that_was_set_and_can_be_set_again() {
        let mut marks = Marks::default();
        for _ in 0..3 {
            for socket in [0, 1, 63, 64, 100_000] {
                marks.set(socket);
                assert!(marks.has(socket));
            }
            assert!(!marks.has(2) && !marks.has(1 << 20));
            marks.clear();
            assert!([0, 1, 63, 64, 100_000].iter().all(|socket| !marks.has(*socket)));
        }
    }
}

//! Buffers and boxes that come back: what makes the steady state free of allocations.

use super::connection::Active;

/// Buffers kept at most.
const BUFFERS_MAX: usize = 64;
/// A buffer that grew beyond this is given back to the allocator instead.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Bytes of a fresh buffer.
const BUFFER_BYTES_FIRST: usize = 512;
/// States of active connections kept at most.
const ACTIVES_MAX: usize = 64;

/// A bounded stock of buffers and of connections' active states.
#[derive(Debug, Default)]
pub struct Pool {
    buffers: Vec<Vec<u8>>,
    #[expect(clippy::vec_box, reason = "the boxes are what is pooled")]
    actives: Vec<Box<Active>>,
}

impl Pool {
    /// An empty buffer with some capacity.
    pub fn buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES_FIRST))
    }

    /// Takes a buffer back.
    pub fn give_back(&mut self, mut buffer: Vec<u8>) {
        let is_worth_keeping = (1..=BUFFER_BYTES_MAX).contains(&buffer.capacity());
        if is_worth_keeping && self.buffers.len() < BUFFERS_MAX {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }

    /// The active state in `place`, made if there is none.
    pub fn activate<'a>(&mut self, place: &'a mut Option<Box<Active>>) -> &'a mut Active {
        place.get_or_insert_with(|| self.actives.pop().unwrap_or_default())
    }

    /// Takes back the active state of a connection that came to rest or went away.
    pub fn retire(&mut self, mut active: Box<Active>) {
        let (control, replies) = active.reset();
        self.give_back(control);
        self.give_back(replies);
        if self.actives.len() < ACTIVES_MAX {
            self.actives.push(active);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_keeps_neither_many_buffers_nor_huge_ones() {
        let mut pool = Pool::default();
        pool.give_back(Vec::new());
        pool.give_back(Vec::with_capacity(BUFFER_BYTES_MAX + 1));
        assert_eq!(pool.buffers.len(), 0);
        for _ in 0..2 * BUFFERS_MAX {
            pool.give_back(Vec::with_capacity(100));
        }
        assert_eq!(pool.buffers.len(), BUFFERS_MAX);
        assert!(pool.buffer().is_empty());
    }
}

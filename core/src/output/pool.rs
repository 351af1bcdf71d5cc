//! Buffers and boxes that come back: what makes the steady state free of allocations.

use super::connection::Active;

/// Buffers kept at most.
const BUFFERS_MAX: usize = 64;
/// A buffer that grew beyond this is one of the large ones.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Large buffers kept at most: as many as one turn fills and sends at once.
const LARGE_MAX: usize = 4;
/// A buffer that grew beyond this is given back to the allocator instead.
const LARGE_BYTES_MAX: usize = 1 << 20;
/// Bytes of a fresh large buffer.
const LARGE_BYTES_FIRST: usize = 256 << 10;
/// Bytes of a fresh buffer.
const BUFFER_BYTES_FIRST: usize = 256;
/// States of active connections kept at most.
const ACTIVES_MAX: usize = 64;

/// A bounded stock of buffers and of connections' active states.
#[derive(Debug, Default)]
pub struct Pool {
    buffers: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
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
        let (stock, most) = match buffer.capacity() {
            0 => return,
            capacity if capacity <= BUFFER_BYTES_MAX => (&mut self.buffers, BUFFERS_MAX),
            capacity if capacity <= LARGE_BYTES_MAX => (&mut self.large, LARGE_MAX),
            _ => return,
        };
        if stock.len() < most {
            buffer.clear();
            stock.push(buffer);
        }
    }

    /// Moves a buffer that is about to outgrow the ordinary ones into a large one. Left to the
    /// allocator, every such buffer would be fresh pages from the kernel, and few bytes of a stuck
    /// connection could sit in much memory.
    pub fn make_room(&mut self, buffer: &mut Vec<u8>) {
        let capacity = buffer.capacity();
        if buffer.len() < BUFFER_BYTES_MAX / 2 || capacity > BUFFER_BYTES_MAX {
            return;
        }
        let fresh = || Vec::with_capacity(LARGE_BYTES_FIRST);
        let mut large = self.large.pop().unwrap_or_else(fresh);
        large.extend_from_slice(buffer);
        self.give_back(std::mem::replace(buffer, large));
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
        pool.give_back(Vec::with_capacity(LARGE_BYTES_MAX + 1));
        assert_eq!((pool.buffers.len(), pool.large.len()), (0, 0));
        for _ in 0..2 * LARGE_MAX {
            pool.give_back(Vec::with_capacity(BUFFER_BYTES_MAX + 1));
        }
        assert_eq!((pool.buffers.len(), pool.large.len()), (0, LARGE_MAX));
        for _ in 0..2 * BUFFERS_MAX {
            pool.give_back(Vec::with_capacity(100));
        }
        assert_eq!(pool.buffers.len(), BUFFERS_MAX);
        assert!(pool.buffer().is_empty());
    }

    #[test]
    fn a_buffer_moves_into_a_large_one_when_it_is_half_full_and_keeps_its_bytes() {
        let mut pool = Pool::default();
        let mut buffer = vec![7; BUFFER_BYTES_MAX / 2 - 1];
        pool.make_room(&mut buffer);
        assert!(buffer.capacity() <= BUFFER_BYTES_MAX);
        buffer.push(7);
        pool.make_room(&mut buffer);
        assert!(buffer.capacity() >= LARGE_BYTES_FIRST && buffer == [7; BUFFER_BYTES_MAX / 2]);
        let before = buffer.as_ptr();
        pool.make_room(&mut buffer);
        assert_eq!((buffer.as_ptr(), pool.buffers.len()), (before, 1));
    }
}

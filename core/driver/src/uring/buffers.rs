//! Buffers that the kernel chooses from when bytes arrive, so that an idle socket owns none.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// The only group of buffers of a ring.
pub(super) const GROUP: u16 = 1;
const PAGE: usize = 4096;

/// Lets the kernel use a buffer bit by bit (Linux 6.12), a few bytes for a short message. Before
/// that, every read takes a whole buffer.
const INCREMENTAL: u16 = 2; // IOU_PBUF_RING_INC

/// How the memory is divided where reads take whole buffers.
const WHOLE_BUFFER_BYTES: u32 = 16 << 10;

/// A ring of buffers registered with the kernel.
///
/// Memory is reserved, not touched: a page of a buffer is resident once something has reached it.
#[derive(Debug)]
pub(super) struct Buffers {
    entries: NonNull<BufRingEntry>,
    entries_layout: Layout,
    memory: NonNull<u8>,
    memory_layout: Layout,
    count: u16,
    size: u32,
    tail: u16,
    /// How much of each buffer the kernel has used.
    used: Box<[u32]>,
}

impl Buffers {
    /// Registers `count` buffers (a power of two) of `size` bytes each, or as many bytes in
    /// smaller ones if the kernel cannot use them bit by bit.
    ///
    /// # Errors
    /// If the kernel refuses, or the sizes cannot be.
    pub(super) fn new(count: u16, size: u32, submitter: &Submitter<'_>) -> io::Result<Self> {
        if !count.is_power_of_two() || size == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match Self::register(count, size, INCREMENTAL, submitter) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                let parts = (size / WHOLE_BUFFER_BYTES).max(1).next_power_of_two();
                let more = u16::try_from(parts).ok().and_then(|parts| count.checked_mul(parts));
                Self::register(more.unwrap_or(count), size / parts, 0, submitter)
            }
            result => result,
        }
    }

    fn register(count: u16, size: u32, flags: u16, submitter: &Submitter<'_>) -> io::Result<Self> {
        let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let entries_layout =
            Layout::from_size_align(usize::from(count) * size_of::<BufRingEntry>(), PAGE)
                .map_err(invalid)?;
        let memory_layout =
            Layout::from_size_align(usize::from(count) * size as usize, PAGE).map_err(invalid)?;
        let mut buffers = Self {
            entries: allocate(entries_layout).cast(),
            entries_layout,
            memory: allocate(memory_layout),
            memory_layout,
            count,
            size,
            tail: 0,
            used: vec![0; usize::from(count)].into(),
        };
        let entries = buffers.entries.as_ptr() as u64;
        // SAFETY: the entries are page-aligned, zeroed, `count` long, and freed only by `drop`,
        // before which `unregister` has been called by the driver that owns ring and buffers.
        unsafe { submitter.register_buf_ring_with_flags(entries, count, GROUP, flags)? };
        (0..count).for_each(|buffer| buffers.recycle(buffer));
        Ok(buffers)
    }

    /// Takes the buffers back from the kernel; after this none is chosen any more.
    pub(super) fn unregister(&self, submitter: &Submitter<'_>) {
        // It can only fail if they were never registered.
        let _never_registered = submitter.unregister_buf_ring(GROUP);
    }

    /// The next `len` bytes of a buffer, which the kernel has filled. Completions must be asked for
    /// in the order in which they came.
    pub(super) fn filled(&mut self, buffer: u16, len: usize) -> &mut [u8] {
        let buffer = usize::from(buffer % self.count);
        let Some(used) = self.used.get_mut(buffer) else {
            return &mut [];
        };
        let start = *used as usize;
        let len = len.min(self.size as usize - start);
        *used += u32::try_from(len).unwrap_or(0);
        let start = self.memory.as_ptr().wrapping_add(buffer * self.size as usize + start);
        // SAFETY: the range lies inside the allocation, which is initialised (zeroed, then written
        // by the kernel). The kernel has handed these bytes out with a completion and writes there
        // again only after `recycle`, which needs `self` and so ends this borrow first.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }

    /// Gives a buffer back to the kernel, once it has used all of it.
    pub(super) fn recycle(&mut self, buffer: u16) {
        let buffer = buffer % self.count;
        let place = usize::from(self.tail & (self.count - 1));
        if let Some(used) = self.used.get_mut(usize::from(buffer)) {
            *used = 0;
        }
        let start = self.memory.as_ptr().wrapping_add(usize::from(buffer) * self.size as usize);
        let entry = self.entries.as_ptr().wrapping_add(place);
        // SAFETY: `place < count`, the length of the entries; the kernel reads entries below the
        // tail only, and this one is above it until the store below.
        let entry = unsafe { &mut *entry };
        entry.set_addr(start as u64);
        entry.set_len(self.size);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the address is that of the first entry, as the interface demands.
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) }.cast_mut();
        // SAFETY: the tail lies in the first entry's reserved field, aligned; only this thread
        // writes it, and the kernel expects a store with release semantics.
        let tail = unsafe { AtomicU16::from_ptr(tail) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; `unregister` came first.
        unsafe { dealloc(self.entries.as_ptr().cast(), self.entries_layout) };
        // SAFETY: as above.
        unsafe { dealloc(self.memory.as_ptr(), self.memory_layout) };
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: the callers' layouts are not empty.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}

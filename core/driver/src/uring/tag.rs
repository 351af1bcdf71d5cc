//! What an operation carries through the kernel: its kind, and whom it is for.

use crate::SocketId;

/// The kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Connections of a listener; the index is the listener's.
    Accept,
    /// Bytes of a socket.
    Receive,
    /// Room in a full socket.
    Writable,
    /// The end of a socket that nobody reads.
    Watch,
    /// Another thread's wake.
    Wake,
    /// One member's share of a batch of offers; the index is its place in the batch.
    Offer,
    /// The time after which a listener that failed is tried again; the index is the listener's.
    Retry,
    /// Nobody waits for it.
    Quiet,
}

impl Operation {
    const ALL: [Self; 8] = [
        Self::Accept,
        Self::Receive,
        Self::Writable,
        Self::Watch,
        Self::Wake,
        Self::Offer,
        Self::Retry,
        Self::Quiet,
    ];
}

const INDEX_BITS: u32 = 28;

/// Sockets of one driver at most: what an index in a tag can tell apart.
pub(super) const SOCKETS_MAX: usize = 1 << INDEX_BITS;

/// Operation (4 bits), index (28), generation (32).
pub(super) fn tag(operation: Operation, id: SocketId) -> u64 {
    let index = u64::from(id.index) & ((1 << INDEX_BITS) - 1);
    ((operation as u64) << 60) | (index << 32) | u64::from(id.generation)
}

/// The same for what has no generation.
pub(super) fn tag_of(operation: Operation, index: usize) -> u64 {
    tag(operation, SocketId { index: u32::try_from(index).unwrap_or(u32::MAX), generation: 0 })
}

/// The reverse.
pub(super) fn parse(tag: u64) -> (Operation, SocketId) {
    let operation = Operation::ALL.get((tag >> 60) as usize).copied();
    let index = (tag >> 32) & ((1 << INDEX_BITS) - 1);
    let id = SocketId {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        generation: u32::try_from(tag & u64::from(u32::MAX)).unwrap_or(0),
    };
    (operation.unwrap_or(Operation::Quiet), id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_brings_back_what_it_was_made_of() {
        for operation in Operation::ALL {
            for id in [
                SocketId { index: 0, generation: 1 },
                SocketId { index: (1 << 28) - 1, generation: u32::MAX },
            ] {
                assert_eq!(parse(tag(operation, id)), (operation, id));
            }
        }
    }
}

//! permessage-deflate on the way out (RFC 7692).
//!
//! Without context takeover, which is the default, the connections of a shard share one compressor
//! per window size, and an idle connection holds nothing. A connection that negotiated takeover has
//! a compressor of its own, from its first compressed message to its end.

use std::collections::HashMap;

use ahash::RandomState;
use fulmar_driver::SocketId;
use fulmar_proto::ws::deflate::{Compressor, Deflate, DeflateOptions};

/// The compressors of a shard.
pub(super) struct Compressors {
    /// By window bits, 8 to 15.
    shared: [Option<Box<Compressor>>; 8],
    own: HashMap<SocketId, Box<Compressor>, RandomState>,
}

impl Compressors {
    pub(super) fn new(hasher: RandomState) -> Self {
        Self { shared: [const { None }; 8], own: HashMap::with_hasher(hasher) }
    }

    /// The compressor for a connection's next message.
    pub(super) fn of(
        &mut self,
        socket: SocketId,
        deflate: Deflate,
        options: &DeflateOptions,
    ) -> Option<&mut Compressor> {
        let bits = deflate.server_max_window_bits;
        if deflate.server_no_context_takeover {
            let place = self.shared.get_mut(usize::from(bits.checked_sub(8)?))?;
            let make = || Box::new(Compressor::new(bits, options.level, false));
            return Some(place.get_or_insert_with(make));
        }
        let make = || Box::new(Compressor::new(bits, options.level, true));
        Some(self.own.entry(socket).or_insert_with(make))
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, socket: SocketId) {
        if !self.own.is_empty() {
            self.own.remove(&socket);
        }
    }
}

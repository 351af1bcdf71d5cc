//! permessage-deflate (RFC 7692): what is negotiated, and the [`Compressor`].
//!
//! Without the crate's feature `deflate` everything here still exists, but nothing is ever
//! negotiated and a [`Compressor`] never compresses, so that callers need not ask which it is.

#[cfg(feature = "deflate")]
mod compress;
#[cfg(feature = "deflate")]
mod inflate;
mod negotiate;
#[cfg(not(feature = "deflate"))]
mod without;

#[cfg(feature = "deflate")]
pub use compress::Compressor;
pub use negotiate::{EXTENSION, NotAnAnswer, accept_response, negotiate, offer};
#[cfg(not(feature = "deflate"))]
pub use without::Compressor;

#[cfg(feature = "deflate")]
pub(in crate::ws) use inflate::Inflater;
#[cfg(not(feature = "deflate"))]
pub(in crate::ws) use without::Inflater;

use super::frame::Role;

/// The smallest window our compressor can use, in bits. The standard has an 8 as well, for which no
/// zlib makes raw streams.
const OWN_WINDOW_BITS_MIN: u8 = 9;
const WINDOW_BITS_MAX: u8 = 15;

/// What both sides agreed on (RFC 7692, 7.1). As a default: context takeover and the largest
/// windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// The server forgets between messages.
    pub server_no_context_takeover: bool,
    /// The client forgets between messages.
    pub client_no_context_takeover: bool,
    /// The server's window is at most 2 to this power, 9 to 15.
    pub server_max_window_bits: u8,
    /// The client's window is at most 2 to this power, 8 to 15.
    pub client_max_window_bits: u8,
}

impl Default for Deflate {
    fn default() -> Self {
        Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: WINDOW_BITS_MAX,
            client_max_window_bits: WINDOW_BITS_MAX,
        }
    }
}

impl Deflate {
    /// The compressor for our side of this connection, with zlib's level 0 (none) to 9 (slow).
    #[must_use]
    pub fn compressor(&self, role: Role, level: u8) -> Compressor {
        let (keeps_window, window_bits) = match role {
            Role::Server => (!self.server_no_context_takeover, self.server_max_window_bits),
            Role::Client => (!self.client_no_context_takeover, self.client_max_window_bits),
        };
        Compressor::new(window_bits, level, keeps_window)
    }

    /// Whether our peer keeps its window between messages, and the window's bits.
    pub(super) fn peer_window(&self, own_role: Role) -> (bool, u8) {
        match own_role {
            Role::Server => (!self.client_no_context_takeover, self.client_max_window_bits),
            Role::Client => (!self.server_no_context_takeover, self.server_max_window_bits),
        }
    }
}

/// What our side is ready to agree on, and when it compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateOptions {
    /// Whether the client may keep its window between messages, for up to 40 KiB a connection.
    /// `false` unless told.
    pub client_context_takeover: bool,
    /// Whether the server may keep its window between messages: smaller messages for some 270 KiB a
    /// connection, and no sharing of compressed messages. `false` unless told.
    pub server_context_takeover: bool,
    /// The largest window of either side, as a power of two: 9 to 15, other numbers being taken as
    /// the nearest of these. 15 unless told.
    pub window_bits: u8,
    /// zlib's level, 1 (fast) to 9 (small). 3 unless told.
    pub level: u8,
    /// Messages shorter than this are sent as they are, in bytes. 512 unless told.
    pub min_bytes: usize,
}

impl Default for DeflateOptions {
    fn default() -> Self {
        Self {
            client_context_takeover: false,
            server_context_takeover: false,
            window_bits: WINDOW_BITS_MAX,
            level: 3,
            min_bytes: 512,
        }
    }
}

impl DeflateOptions {
    fn own_window_bits(&self) -> u8 {
        self.window_bits.clamp(OWN_WINDOW_BITS_MIN, WINDOW_BITS_MAX)
    }
}

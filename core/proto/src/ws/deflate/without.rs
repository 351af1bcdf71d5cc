//! What stands in for compression where the crate is built without its feature `deflate`. No
//! connection negotiates it then, so nothing here is ever reached.

use crate::ProtocolError;

/// Compresses nothing: the crate is built without its feature `deflate`.
#[derive(Debug, Default)]
pub struct Compressor;

impl Compressor {
    /// A compressor that never compresses.
    #[must_use]
    pub fn new(_window_bits: u8, _level: u8, _context_takeover: bool) -> Self {
        Self
    }

    /// Leaves `out` as it was and returns `false`.
    pub fn compress(&mut self, _payload: &[u8], _out: &mut Vec<u8>) -> bool {
        false
    }
}

#[derive(Debug)]
pub(in crate::ws) struct Inflater;

impl Inflater {
    pub(in crate::ws) fn new(_window_bits: u8) -> Self {
        Self
    }

    #[expect(clippy::needless_pass_by_ref_mut, reason = "as the inflater with the feature")]
    pub(in crate::ws) fn reset(&mut self) {}

    #[expect(clippy::needless_pass_by_ref_mut, reason = "as the inflater with the feature")]
    pub(in crate::ws) fn inflate(
        &mut self,
        _payload: &[u8],
        _output: &mut Vec<u8>,
        _bytes_max: usize,
    ) -> Result<usize, ProtocolError> {
        Err(ProtocolError::InvalidCompression)
    }
}

//! How a dialect's words become the frames of a room.

use std::sync::{Arc, Mutex, PoisonError};

use fulmar_dialect::{Dialect, Payload, Said, Value};
use fulmar_proto::ws::deflate::{Compressor, DeflateOptions};

use crate::output::{Encode, Encoded, Gap, PayloadBytes, Position, Publication};

/// A dialect's way of wording publications, plain or compressed.
pub(crate) struct DialectEncoding {
    dialect: Arc<dyn Dialect>,
    deflate: Option<Deflating>,
}

/// What compresses a node's publications: each once, whatever the number of members.
struct Deflating {
    min_bytes: usize,
    /// Taken once per publication that is compressed, never for delivering it.
    at_work: Mutex<(Compressor, Vec<u8>)>,
}

impl DialectEncoding {
    pub(crate) fn new(dialect: Arc<dyn Dialect>) -> Self {
        Self { dialect, deflate: None }
    }

    /// For members that take messages compressed without reference to earlier ones, in a window of
    /// `options.window_bits`.
    pub(crate) fn deflated(dialect: Arc<dyn Dialect>, options: &DeflateOptions) -> Self {
        let compressor = Compressor::new(options.window_bits, options.level, false);
        let at_work = Mutex::new((compressor, Vec::new()));
        Self { dialect, deflate: Some(Deflating { min_bytes: options.min_bytes, at_work }) }
    }
}

impl Encode for DialectEncoding {
    fn encode(&self, publication: &Publication, at: Position, out: &mut Vec<u8>) -> Encoded {
        let payload = lent(&publication.payload);
        let said = Said {
            room: &publication.room,
            event: &publication.event,
            payload: &payload,
            position: fulmar_dialect::Position { epoch: u64::from(at.epoch), number: at.number },
        };
        let encoded = self.dialect.encode(&said, out);
        Encoded { is_binary: encoded.binary, data: encoded.data }
    }

    fn compress(&self, out: &mut Vec<u8>, start: usize) -> bool {
        let Some(deflate) = &self.deflate else { return false };
        let message = out.get(start..).unwrap_or_default();
        if message.len() < deflate.min_bytes {
            return false;
        }
        let mut at_work = deflate.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        let (compressor, smaller) = &mut *at_work;
        smaller.clear();
        let is_worth_it = compressor.compress(message, smaller) && smaller.len() < message.len();
        if is_worth_it {
            out.truncate(start);
            out.extend_from_slice(smaller);
        }
        is_worth_it
    }

    fn gap(&self, gap: &Gap<'_>, out: &mut Vec<u8>) -> Option<bool> {
        let gap = fulmar_dialect::Gap {
            room: gap.room,
            epoch: u64::from(gap.epoch),
            from: gap.from,
            to: gap.to,
        };
        self.dialect.gap(&gap, out).map(|encoded| encoded.binary)
    }
}

/// As dialects see it.
pub(crate) fn lent(payload: &PayloadBytes) -> Payload<'_> {
    match payload {
        PayloadBytes::Undefined => Payload::Undefined,
        PayloadBytes::Text(text) => Payload::Text((&**text).into()),
        PayloadBytes::Json(text) => Payload::Json((&**text).into()),
        PayloadBytes::Binary(bytes) => Payload::Binary((&**bytes).into()),
        PayloadBytes::Opaque(value) => value
            .downcast_ref::<Value>()
            .map_or(Payload::Undefined, |value| Payload::Rich(value.clone())),
    }
}

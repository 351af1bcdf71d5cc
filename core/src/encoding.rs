//! How a dialect's words become the frames of a room.

use std::sync::Arc;

use fulmar_dialect::{Dialect, Payload, Said, Value};

use crate::output::{Encode, Encoded, Gap, PayloadBytes, Position, Publication};

/// A dialect's way of wording publications.
pub(crate) struct DialectEncoding {
    dialect: Arc<dyn Dialect>,
}

impl DialectEncoding {
    pub(crate) fn new(dialect: Arc<dyn Dialect>) -> Self {
        Self { dialect }
    }
}

impl Encode for DialectEncoding {
    fn encode(&self, publication: &Publication, _: Position, out: &mut Vec<u8>) -> Encoded {
        let payload = lent(&publication.payload);
        let said = Said { room: &publication.room, event: &publication.event, payload: &payload };
        let encoded = self.dialect.encode(&said, out);
        Encoded { is_binary: encoded.binary, data: encoded.data }
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

fn lent(payload: &PayloadBytes) -> Payload<'_> {
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

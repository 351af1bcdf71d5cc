//! How publications become bytes: encodings are supplied from outside, forms are made here.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use fulmar_driver::SocketId;
use fulmar_proto::ws;

use super::group::GroupKey;
use super::mail::{Position, Publication};
use super::wire;

/// Set in the first byte of a body on a tape if the message is binary.
pub const BODY_BINARY: u8 = 1;

/// What became of a publication in an encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Whether the message is binary.
    pub is_binary: bool,
    /// Where the bare data lies within the bytes appended, for envelopes of data alone.
    pub data: Range<usize>,
}

/// Messages that members do not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap<'a> {
    /// Of which room.
    pub room: &'a str,
    /// In which life of the room the numbers count.
    pub epoch: u32,
    /// The first missing number.
    pub from: u64,
    /// One past the last missing number.
    pub to: u64,
}

/// How a publication becomes bytes, per encoding; supplied by the shard. A pure function: what it
/// says of a publication is shared by all members on the node.
pub trait Encode: Send + Sync {
    /// Appends the dialect's words for a publication: one WebSocket message, without its frame.
    fn encode(&self, publication: &Publication, position: Position, out: &mut Vec<u8>) -> Encoded;

    /// Replaces what lies from `start` on, one message, by its compressed form (RFC 7692), if the
    /// members of this encoding can take that and it is worth it; says whether it did. Only asked
    /// for whole frames. Nothing may refer to an earlier message.
    fn compress(&self, _out: &mut Vec<u8>, _start: usize) -> bool {
        false
    }

    /// Appends the dialect's words for a gap and says whether they are binary. `None`, with nothing
    /// appended, if it has none: the member is told nothing on the wire, counters tell.
    fn gap(&self, gap: &Gap<'_>, out: &mut Vec<u8>) -> Option<bool>;
}

/// What an enveloped member's frames are made of; asked while its messages are handed over.
pub trait Envelopes {
    /// Appends what goes before and after a body of `body_len` bytes. Must depend on nothing else
    /// than the membership's tag and what was handed over before.
    fn envelope(
        &mut self,
        socket: SocketId,
        tag: u32,
        body_len: usize,
        head: &mut Vec<u8>,
        tail: &mut Vec<u8>,
    );
}

/// For shards whose members are never enveloped.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEnvelopes;

impl Envelopes for NoEnvelopes {
    fn envelope(&mut self, _: SocketId, _: u32, _: usize, _: &mut Vec<u8>, _: &mut Vec<u8>) {}
}

/// Index of an encoding in the node's table, below 16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encoding(pub u8);

/// Which part of a body an envelope goes around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyPart {
    /// All of it.
    Whole,
    /// The bare data.
    Data,
}

/// What a tape holds for a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A WebSocket frame, ready for every member.
    Frame,
    /// One byte of kind ([`BODY_BINARY`]), then a body for envelopes or seals.
    Body(BodyPart),
}

/// The node's encodings, the same on every shard.
#[derive(Clone, Default)]
pub struct Encodings(Arc<[Arc<dyn Encode>]>);

impl Encodings {
    /// Encodings at most.
    pub const MAX: usize = 16;

    /// A table; the place of an encoding is its [`Encoding`]. `None` if there are more than
    /// [`MAX`](Self::MAX).
    pub fn new(encodings: Vec<Arc<dyn Encode>>) -> Option<Self> {
        (encodings.len() <= Self::MAX).then(|| Self(encodings.into()))
    }

    /// Makes a publication's bytes in `out`, whose content is replaced. They begin at the returned
    /// offset. An encoding that is not in the table gives none.
    pub fn render(
        &self,
        encoding: Encoding,
        form: Form,
        publication: &Publication,
        position: Position,
        out: &mut Vec<u8>,
    ) -> usize {
        out.clear();
        let Some(encode) = self.0.get(usize::from(encoding.0)) else {
            return 0;
        };
        let start = reserve(form, out);
        let Encoded { is_binary, data } = encode.encode(publication, position, out);
        if form == Form::Body(BodyPart::Data) {
            let end = (start + data.end).min(out.len());
            let begin = (start + data.start).min(end);
            out.copy_within(begin..end, start);
            out.truncate(start + end - begin);
        }
        let is_compressed = form == Form::Frame && encode.compress(out, start);
        complete(form, is_binary, is_compressed, start, out)
    }

    /// The same for a gap; nothing at all if the dialect has no words for it.
    pub fn render_gap(&self, key: GroupKey, gap: &Gap<'_>, out: &mut Vec<u8>) -> usize {
        out.clear();
        let form = key.form();
        let start = reserve(form, out);
        let encode = self.0.get(usize::from(key.encoding.0));
        let Some(is_binary) = encode.and_then(|encode| encode.gap(gap, out)) else {
            out.clear();
            return 0;
        };
        complete(form, is_binary, false, start, out)
    }

    /// Appends the bare words of a gap to `out`; says whether they are binary.
    pub fn gap(&self, encoding: Encoding, gap: &Gap<'_>, out: &mut Vec<u8>) -> Option<bool> {
        self.0.get(usize::from(encoding.0))?.gap(gap, out)
    }
}

/// Leaves room before the body for what is known after it.
fn reserve(form: Form, out: &mut Vec<u8>) -> usize {
    let start = if form == Form::Frame { wire::HEAD_BYTES_MAX } else { 1 };
    out.resize(start, 0);
    start
}

/// Fills that room, from its end; returns where it begins.
fn complete(
    form: Form,
    is_binary: bool,
    is_compressed: bool,
    start: usize,
    out: &mut [u8],
) -> usize {
    let body_len = out.len() - start;
    match form {
        Form::Frame => {
            let opcode = wire::data_opcode(is_binary);
            let head = ws::head(true, is_compressed, opcode, body_len);
            let at = start - head.len();
            out[at..start].copy_from_slice(&head);
            at
        }
        Form::Body(_) => {
            out[start - 1] = u8::from(is_binary) * BODY_BINARY;
            start - 1
        }
    }
}

impl fmt::Debug for Encodings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Encodings").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::mail::{Exclude, PayloadBytes, Reach};

    struct Bracketed;

    impl Encode for Bracketed {
        fn encode(&self, publication: &Publication, _: Position, out: &mut Vec<u8>) -> Encoded {
            let PayloadBytes::Text(text) = &publication.payload else {
                return Encoded { is_binary: true, data: 0..0 };
            };
            out.push(b'[');
            out.extend_from_slice(text.as_bytes());
            out.push(b']');
            Encoded { is_binary: false, data: 1..1 + text.len() }
        }

        fn gap(&self, _: &Gap<'_>, _: &mut Vec<u8>) -> Option<bool> {
            None
        }
    }

    #[test]
    fn a_publication_is_rendered_as_frame_body_and_data() {
        let encodings = Encodings::new(vec![Arc::new(Bracketed)]).unwrap();
        let text = |text: &str| Publication {
            room: "r".into(),
            event: "e".into(),
            payload: PayloadBytes::Text(text.into()),
            exclude: Exclude::Nobody,
            reach: Reach::Node,
        };
        let made = |form, publication: &Publication| {
            let mut out = vec![1, 2, 3];
            let at =
                encodings.render(Encoding(0), form, publication, Position::default(), &mut out);
            out.split_off(at)
        };
        assert_eq!(made(Form::Frame, &text("hi")), b"\x81\x04[hi]");
        assert_eq!(made(Form::Body(BodyPart::Whole), &text("hi")), b"\0[hi]");
        assert_eq!(made(Form::Body(BodyPart::Data), &text("hi")), b"\0hi");
        let long = made(Form::Frame, &text(&"x".repeat(200)));
        assert_eq!((&long[..5], long.len()), (&b"\x81\x7e\x00\xca["[..], 206));
        let undefined = Publication { payload: PayloadBytes::Undefined, ..text("") };
        assert_eq!(made(Form::Body(BodyPart::Whole), &undefined), [BODY_BINARY]);
        assert!(Encodings::new(vec![Arc::new(Bracketed) as Arc<dyn Encode>; 17]).is_none());
    }
}

//! A toy dialect: words a client can parse, so that every byte can be held against what was said.

use std::sync::Arc;

use fulmar::output::{
    Encode, Encoded, Encodings, Envelopes, Gap, PayloadBytes, Position, Publication, wire,
};
use fulmar_driver::SocketId;
use fulmar_proto::ws::Opcode;

pub const REPLY: u8 = b'R';
pub const DATA: u8 = b'X';
pub const JOINED: u8 = b'J';
pub const LEFT: u8 = b'L';
pub const MESSAGE: u8 = b'M';
pub const MESSAGE_END: u8 = b'm';
pub const ENVELOPED: u8 = b'E';
pub const SEALED: u8 = b'S';
/// Set in the epoch of a marker, whose number is the first missing one and whose identity is one
/// past the last.
pub const GAP_BIT: u32 = 1 << 31;
/// Bytes of a message's core before its payload.
pub const CORE: usize = 24;
/// The encoding without words for gaps.
pub const WORDLESS: u8 = 2;
pub const ENCODINGS: u8 = 3;

pub fn room_name(room: u32) -> Arc<str> {
    format!("room-{room}").into()
}

fn room_number(name: &str) -> u32 {
    name.strip_prefix("room-").and_then(|number| number.parse().ok()).unwrap_or(u32::MAX)
}

pub struct Masked(pub u8);

impl Masked {
    fn core(&self, words: (&str, u32, u64, u64), payload: &[u8], out: &mut Vec<u8>) {
        let (room, epoch, number, identity) = words;
        let start = out.len();
        out.extend_from_slice(&room_number(room).to_le_bytes());
        out.extend_from_slice(&epoch.to_le_bytes());
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&identity.to_le_bytes());
        out.extend_from_slice(payload);
        out[start..].iter_mut().for_each(|byte| *byte ^= self.0);
    }
}

impl Encode for Masked {
    fn encode(&self, publication: &Publication, position: Position, out: &mut Vec<u8>) -> Encoded {
        let PayloadBytes::Binary(payload) = &publication.payload else { unreachable!() };
        let identity: u64 = publication.event.parse().unwrap();
        let start = out.len();
        out.push(MESSAGE);
        let words = (&*publication.room, position.epoch, position.number, identity);
        self.core(words, payload, out);
        out.push(MESSAGE_END);
        Encoded { is_binary: identity.is_multiple_of(2), data: 1..out.len() - start - 1 }
    }

    fn gap(&self, gap: &Gap<'_>, out: &mut Vec<u8>) -> Option<bool> {
        if self.0 == WORDLESS {
            return None;
        }
        out.push(MESSAGE);
        self.core((gap.room, gap.epoch | GAP_BIT, gap.from, gap.to), &[], out);
        out.push(MESSAGE_END);
        Some(true)
    }
}

pub fn encodings() -> Encodings {
    let table = (0..ENCODINGS).map(|mask| Arc::new(Masked(mask)) as Arc<dyn Encode>);
    Encodings::new(table.collect()).unwrap()
}

/// Writes the tag before and its complement after the body.
pub struct Tagged;

impl Envelopes for Tagged {
    fn envelope(
        &mut self,
        _: SocketId,
        tag: u32,
        _: usize,
        head: &mut Vec<u8>,
        tail: &mut Vec<u8>,
    ) {
        head.push(ENVELOPED);
        head.extend_from_slice(&tag.to_le_bytes());
        tail.extend_from_slice(&(!tag).to_le_bytes());
    }
}

/// A message of little-endian words.
pub fn words(kind: u8, words: &[u64]) -> Vec<u8> {
    let mut out = vec![kind];
    words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    out
}

/// A data frame.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::head(Opcode::Binary, message.len(), &mut out);
    out.extend_from_slice(message);
    out
}

/// Stands for encryption.
pub fn seal(message: &[u8]) -> Vec<u8> {
    let mut sealed = vec![SEALED];
    sealed.extend(message.iter().map(|byte| byte ^ 0x5a));
    frame(&sealed)
}

pub fn unseal(sealed: &[u8]) -> Vec<u8> {
    sealed[1..].iter().map(|byte| byte ^ 0x5a).collect()
}

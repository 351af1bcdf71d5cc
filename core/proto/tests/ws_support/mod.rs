//! What the tests of the WebSocket half share: seeded noise, owned messages, a decoder fed in
//! pieces.
#![allow(dead_code, reason = "no test uses all of it")]

use fulmar_proto::ProtocolError;
use fulmar_proto::ws::{Decoder, Incoming, MessageLimits, Scratch};

/// A small generator of noise, the same for the same seed.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| u8::try_from(self.below(256)).expect("below 256")).collect()
    }

    pub(crate) fn key(&mut self) -> [u8; 4] {
        self.bytes(4).try_into().expect("four bytes")
    }

    /// Characters of one to four bytes.
    pub(crate) fn text(&mut self, characters: usize) -> String {
        (0..characters).map(|_| ['a', 'b', '"', 'é', '漢', '🦀'][self.below(6)]).collect()
    }

    /// A length around those at which a frame's form changes; mostly short.
    pub(crate) fn length(&mut self) -> usize {
        match self.below(12) {
            0 => 120 + self.below(12),
            1 => 65_530 + self.below(12),
            2 => self.below(3000),
            _ => self.below(40),
        }
    }
}

/// An [`Incoming`] of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Incoming<'_>> for Owned {
    fn from(message: Incoming<'_>) -> Self {
        match message {
            Incoming::Text(text) => Self::Text(text.to_owned()),
            Incoming::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Incoming::Ping(bytes) => Self::Ping(bytes.to_vec()),
            Incoming::Pong(bytes) => Self::Pong(bytes.to_vec()),
            Incoming::Close(frame) => {
                Self::Close(frame.map(|frame| (frame.code, frame.reason.to_owned())))
            }
        }
    }
}

/// Feeds one piece to a decoder and adds what comes of it.
pub(crate) fn feed(
    decoder: &mut Decoder,
    scratch: &mut Scratch,
    limits: &MessageLimits,
    piece: &[u8],
    messages: &mut Vec<Owned>,
) -> Result<(), ProtocolError> {
    let mut piece = piece.to_vec();
    let mut input = piece.as_mut_slice();
    while let Some(message) = decoder.next(&mut input, scratch, limits)? {
        messages.push(message.into());
    }
    assert!(input.is_empty(), "what is not remembered would be lost");
    Ok(())
}

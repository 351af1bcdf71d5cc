//! The payloads of data frames as one stream, in pieces as they come. Where messages begin and end
//! does not matter to it.

use fulmar_proto::ws::Opcode;

use crate::walker::{FrameHead, Item, Malformed};

/// A piece of the stream, or what came between.
pub(super) enum Part<'a> {
    /// Bytes of data frames, never empty.
    Data(&'a [u8]),
    /// A control frame.
    Control(Item<'a>),
}

/// The place in one connection's frames.
#[derive(Debug, Default)]
pub(super) struct Payloads {
    /// Bytes of the current data frame still to come.
    left: u64,
    /// The beginning of a head or of a control frame that was cut by the end of a read.
    held: Vec<u8>,
}

impl Payloads {
    /// Hands every piece in `bytes` to `on_part`.
    ///
    /// # Errors
    /// The frames are not those of a WebSocket server (RFC 6455, 5.2), or `on_part` refuses.
    #[inline]
    pub(super) fn walk(
        &mut self,
        mut bytes: &[u8],
        mut on_part: impl FnMut(Part<'_>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        loop {
            if self.left > 0 {
                let take = usize::try_from(self.left).map_or(bytes.len(), |l| l.min(bytes.len()));
                let (data, rest) = bytes.split_at(take);
                self.left -= take as u64;
                bytes = rest;
                if !data.is_empty() {
                    on_part(Part::Data(data))?;
                }
            }
            if bytes.is_empty() {
                return Ok(());
            }
            if self.held.is_empty()
                && let Some(head) = FrameHead::parse(bytes)?.filter(|head| !head.is_control())
            {
                bytes = bytes.get(head.size..).unwrap_or(&[]);
                self.left = head.payload;
                continue;
            }
            bytes = self.hold(bytes, &mut on_part)?;
        }
    }

    /// Collects a head that was cut, or a whole control frame, byte by byte: both are rare, and at
    /// most 131 bytes long.
    fn hold<'b>(
        &mut self,
        bytes: &'b [u8],
        on_part: &mut impl FnMut(Part<'_>) -> Result<(), Malformed>,
    ) -> Result<&'b [u8], Malformed> {
        for (at, byte) in bytes.iter().enumerate() {
            self.held.push(*byte);
            let Some(head) = FrameHead::parse(&self.held)? else {
                continue;
            };
            let rest = bytes.get(at + 1..).unwrap_or(&[]);
            if !head.is_control() {
                self.left = head.payload;
                self.held.clear();
                return Ok(rest);
            }
            let payload = self.held.get(head.size..).unwrap_or(&[]);
            if payload.len() as u64 == head.payload {
                let result = on_part(Part::Control(control(head.opcode, payload)));
                self.held.clear();
                return result.map(|()| rest);
            }
        }
        Ok(&[])
    }
}

fn control(opcode: Opcode, payload: &[u8]) -> Item<'_> {
    match opcode {
        Opcode::Ping => Item::Ping(payload),
        Opcode::Close => Item::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
        _ => Item::Pong,
    }
}

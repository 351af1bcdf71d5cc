//! Counts messages by walking frame heads; payloads are skipped but for their first bytes.
//!
//! Cost model: one head per frame and a copy of nothing as long as the start of a frame lies in one
//! read. A generator that unmasked, validated and copied would be slower than the server it is
//! to load. What the walker skips (UTF-8, the minimal length form) is for conformance tests.

use fulmar_proto::ws::Opcode;

/// Bytes of a message that are shown to the scenario, unless it wants more.
pub(crate) const START_BYTES: usize = 16;

/// What the peer sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// A whole message.
    Message(Message<'a>),
    /// A ping to be answered with the same payload.
    Ping(&'a [u8]),
    /// A pong.
    Pong,
    /// A close frame with its code, if any.
    Close(Option<u16>),
}

/// A message whose last byte has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// Bytes of payload over all its fragments.
    pub(crate) length: u64,
    /// The first bytes of the payload, as many as the walker shows.
    pub(crate) start: &'a [u8],
}

/// A frame that no client can make sense of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// The place in one connection's stream of frames.
#[derive(Debug)]
pub(crate) struct Walker {
    /// How many bytes of a message are shown.
    shown: usize,
    /// Payload bytes of the current data frame still to come.
    skip: u64,
    /// The beginning of a frame that was cut by the end of a read.
    held: Vec<u8>,
    message: Progress,
}

#[derive(Debug, Default)]
struct Progress {
    length: u64,
    start: Vec<u8>,
    fin: bool,
    fragmented: bool,
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameHead {
    fin: bool,
    /// What kind of frame it is.
    pub(crate) opcode: Opcode,
    /// Bytes before the payload.
    pub(crate) size: usize,
    /// Bytes of payload.
    pub(crate) payload: u64,
}

impl Default for Walker {
    fn default() -> Self {
        Self::showing(START_BYTES)
    }
}

impl Walker {
    /// A walker that shows so many bytes of every message. What it shows of a frame that is cut by
    /// the end of a read is copied.
    pub(crate) fn showing(shown: usize) -> Self {
        Self { shown, skip: 0, held: Vec::new(), message: Progress::default() }
    }

    /// Walks over what was read and reports every item that ends in it.
    ///
    /// # Errors
    /// The stream is not one of a WebSocket server (RFC 6455, 5.2); the walker is of no use after.
    #[inline]
    pub(crate) fn walk(
        &mut self,
        mut bytes: &[u8],
        mut on_item: impl FnMut(Item<'_>),
    ) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                bytes = self.skip_payload(bytes, &mut on_item);
                continue;
            }
            if !self.held.is_empty() {
                bytes = self.complete_held(bytes, &mut on_item)?;
                continue;
            }
            let Some(head) =
                FrameHead::parse(bytes)?.filter(|head| bytes.len() >= head.shown(self.shown))
            else {
                self.held.extend_from_slice(bytes);
                return Ok(());
            };
            let (shown, rest) = bytes.split_at(head.shown(self.shown));
            // The common case: an unfragmented message wholly inside this read.
            let left = head.payload - (shown.len() - head.size) as u64;
            if head.fin
                && matches!(head.opcode, Opcode::Text | Opcode::Binary)
                && !self.message.fragmented
                && let Some(rest) = usize::try_from(left).ok().and_then(|left| rest.get(left..))
            {
                let start = shown.get(head.size..).unwrap_or(&[]);
                on_item(Item::Message(Message { length: head.payload, start }));
                bytes = rest;
                continue;
            }
            self.begin(head, shown.get(head.size..).unwrap_or(&[]), &mut on_item)?;
            bytes = rest;
        }
        Ok(())
    }

    fn skip_payload<'b>(
        &mut self,
        bytes: &'b [u8],
        on_item: &mut impl FnMut(Item<'_>),
    ) -> &'b [u8] {
        let take = usize::try_from(self.skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        self.skip -= take as u64;
        if self.skip == 0 {
            self.end_frame(on_item);
        }
        bytes.get(take..).unwrap_or(&[])
    }

    /// Feeds the frame whose beginning is held until its shown part is complete.
    fn complete_held<'b>(
        &mut self,
        mut bytes: &'b [u8],
        on_item: &mut impl FnMut(Item<'_>),
    ) -> Result<&'b [u8], Malformed> {
        loop {
            let head = FrameHead::parse(&self.held)?;
            let wanted = head.map_or(self.held.len() + 1, |head| head.shown(self.shown));
            if let Some(head) = head
                && self.held.len() >= wanted
            {
                let held = std::mem::take(&mut self.held);
                let result = self.begin(head, held.get(head.size..).unwrap_or(&[]), on_item);
                self.held = held;
                self.held.clear();
                return result.map(|()| bytes);
            }
            let take = (wanted - self.held.len()).min(bytes.len());
            if take == 0 {
                return Ok(bytes);
            }
            let (now, rest) = bytes.split_at(take);
            self.held.extend_from_slice(now);
            bytes = rest;
        }
    }

    /// Takes the start of a frame whose head and shown payload are known.
    fn begin(
        &mut self,
        head: FrameHead,
        shown: &[u8],
        on_item: &mut impl FnMut(Item<'_>),
    ) -> Result<(), Malformed> {
        match head.opcode {
            Opcode::Ping => on_item(Item::Ping(shown)),
            Opcode::Pong => on_item(Item::Pong),
            Opcode::Close => {
                let code = shown.first_chunk().map(|code| u16::from_be_bytes(*code));
                on_item(Item::Close(code));
            }
            Opcode::Continuation if !self.message.fragmented => {
                return Err(Malformed("a continuation of nothing"));
            }
            Opcode::Text | Opcode::Binary if self.message.fragmented => {
                return Err(Malformed("a message inside a message"));
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                self.message.add(head, shown, self.shown);
                self.skip = head.payload - shown.len() as u64;
                if self.skip == 0 {
                    self.end_frame(on_item);
                }
            }
        }
        Ok(())
    }

    fn end_frame(&mut self, on_item: &mut impl FnMut(Item<'_>)) {
        if self.message.fin {
            let Progress { length, mut start, .. } = std::mem::take(&mut self.message);
            on_item(Item::Message(Message { length, start: &start }));
            start.clear();
            self.message.start = start;
        }
    }
}

impl Progress {
    fn add(&mut self, head: FrameHead, shown: &[u8], limit: usize) {
        let take = shown.len().min(limit.saturating_sub(self.start.len()));
        self.start.extend_from_slice(shown.get(..take).unwrap_or(&[]));
        self.length = self.length.saturating_add(head.payload);
        self.fin = head.fin;
        self.fragmented = true;
    }
}

impl FrameHead {
    /// Parses a head; `None` if more bytes are needed.
    ///
    /// # Errors
    /// No server may send it (RFC 6455, 5.2 and 5.5).
    #[inline]
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let &[first, second, ref rest @ ..] = bytes else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(Malformed("a reserved bit is set, but no extension was offered"));
        }
        if second & 0x80 != 0 {
            return Err(Malformed("a masked frame from a server"));
        }
        let opcode = match first & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(Malformed("an unknown opcode")),
        };
        let fin = first & 0x80 != 0;
        let (size, payload) = match second {
            126 => match rest.first_chunk() {
                Some(length) => (4, u64::from(u16::from_be_bytes(*length))),
                None => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(length) => (10, u64::from_be_bytes(*length)),
                None => return Ok(None),
            },
            length => (2, u64::from(length)),
        };
        let head = Self { fin, opcode, size, payload };
        if head.is_control() && (payload > 125 || !fin) {
            return Err(Malformed("a control frame that is too long or fragmented"));
        }
        if payload > i64::MAX.cast_unsigned() {
            return Err(Malformed("a length with its top bit set"));
        }
        Ok(Some(head))
    }

    /// Whether it is of a close, ping or pong (RFC 6455, 5.5).
    pub(crate) fn is_control(self) -> bool {
        matches!(self.opcode, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }

    /// Bytes that have to lie in one piece: the head and what is shown of the payload.
    #[inline]
    fn shown(self, limit: usize) -> usize {
        let payload = usize::try_from(self.payload).unwrap_or(usize::MAX);
        self.size + if self.is_control() { payload } else { payload.min(limit) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages as (length, start), controls as (opcode, payload).
    fn walk_in_pieces(stream: &[u8], piece: usize) -> Result<Vec<String>, Malformed> {
        walk(Walker::default(), stream, piece)
    }

    fn walk(mut walker: Walker, stream: &[u8], piece: usize) -> Result<Vec<String>, Malformed> {
        let mut seen = Vec::new();
        for bytes in stream.chunks(piece) {
            walker.walk(bytes, |item| {
                seen.push(match item {
                    Item::Message(m) => {
                        format!("{} {}", m.length, String::from_utf8_lossy(m.start))
                    }
                    Item::Ping(payload) => format!("ping {}", String::from_utf8_lossy(payload)),
                    Item::Pong => "pong".to_owned(),
                    Item::Close(code) => format!("close {code:?}"),
                });
            })?;
        }
        Ok(seen)
    }

    fn stream() -> Vec<u8> {
        let mut stream = b"\x81\x02hi\x81\x00".to_vec();
        stream.extend(b"\x82\x7e\x01\x00");
        stream.extend([b'x'; 256]);
        stream.extend(b"\x01\x03abc\x89\x04ping\x00\x00\x80\x12defghijklmnopqrstu\x8a\x00");
        stream.extend(b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00");
        stream.extend(vec![b'y'; 65_536]);
        stream.extend(b"\x88\x02\x03\xe8");
        stream
    }

    #[test]
    fn sees_the_same_items_wherever_the_stream_is_cut() {
        let whole = walk_in_pieces(&stream(), usize::MAX).unwrap();
        let sixteen = |letter: &str| letter.repeat(16);
        let expected = [
            "2 hi".to_owned(),
            "0 ".to_owned(),
            format!("256 {}", sixteen("x")),
            "ping ping".to_owned(),
            "21 abcdefghijklmnop".to_owned(),
            "pong".to_owned(),
            format!("65536 {}", sixteen("y")),
            "close Some(1000)".to_owned(),
        ];
        assert_eq!(whole, expected);
        for piece in 1..300 {
            assert_eq!(walk_in_pieces(&stream(), piece).unwrap(), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn shows_whole_messages_if_asked_to() {
        let mut whole: Vec<String> = Vec::new();
        for piece in 1..300 {
            let seen = walk(Walker::showing(1000), &stream(), piece).unwrap();
            assert_eq!(seen[2], format!("256 {}", "x".repeat(256)), "pieces of {piece}");
            assert_eq!(seen[4], "21 abcdefghijklmnopqrstu", "pieces of {piece}");
            assert_eq!(seen[6], format!("65536 {}", "y".repeat(1000)), "pieces of {piece}");
            assert!(whole.is_empty() || whole == seen, "pieces of {piece}");
            whole = seen;
        }
    }

    #[test]
    fn refuses_streams_that_no_server_sends() {
        for stream in [
            &b"\x81\x82abcdhi"[..],
            b"\xc1\x01x",
            b"\x83\x00",
            b"\x09\x00",
            b"\x89\x7e\x00\x7e",
            b"\x80\x00",
            b"\x01\x01a\x81\x01b",
            b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            for piece in [1, usize::MAX] {
                assert!(walk_in_pieces(stream, piece).is_err(), "{stream:02x?}");
            }
        }
    }
}

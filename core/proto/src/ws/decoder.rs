//! The decoder: received bytes in, whole messages out.

use std::mem;

use crate::ProtocolError;

use super::close;
use super::deflate::{Deflate, Inflater};
use super::frame::{CONTROL_BYTES_MAX, FrameHead, HeadRules, Opcode, Role};
use super::mask::mask;
use super::message::{Incoming, MessageLimits, OpenFrame, Partial, admit};

/// How much of its buffers a [`Scratch`] keeps between two reads, in bytes.
const SCRATCH_BYTES_KEPT: usize = 64 << 10;

/// Reads the frames of one peer. While no frame and no message is half received it owns no memory
/// beside itself, except for the window of a connection whose peer compresses with context
/// takeover.
///
/// After an error and after a close everything else the peer sends is swallowed (RFC 6455, 1.4 and
/// 7.1.7).
#[derive(Debug)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
    /// The peer's window, once it has sent a compressed message, if it keeps one between messages.
    window: Option<Box<Inflater>>,
    deflate: Option<Deflate>,
    role: Role,
    finished: bool,
}

/// What the decoders of one thread share between two calls: an inflater for connections without
/// context takeover, and room for messages that cannot be lent out of the received bytes.
#[derive(Debug, Default)]
pub struct Scratch {
    inflater: Option<Box<Inflater>>,
    inflated: Vec<u8>,
    assembled: Vec<u8>,
}

/// One step of reading.
enum Step<'b> {
    /// All input is used up.
    Starved,
    /// A frame was taken that completes nothing.
    Taken,
    /// A message or a control frame is complete.
    Ready { opcode: Opcode, compressed: bool, payload: Payload<'b> },
}

enum Payload<'b> {
    Lent(&'b [u8]),
    Assembled(Vec<u8>),
}

impl Decoder {
    /// A decoder for our side of a connection, and the compression that was negotiated, if any.
    /// Without the crate's feature `deflate` compressed messages are refused whatever was
    /// negotiated.
    #[must_use]
    pub fn new(role: Role, deflate: Option<Deflate>) -> Self {
        let deflate = deflate.filter(|_| cfg!(feature = "deflate"));
        Self { partial: None, window: None, deflate, role, finished: false }
    }

    /// The next message or control frame; `None` when the input is used up. `input` is advanced
    /// past what was read, and unmasked where it lies.
    ///
    /// Call it until it returns `None` or an error: bytes left in `input` are not remembered.
    ///
    /// # Errors
    /// What the peer did wrong. The connection is to be closed with the error's code; the decoder
    /// is finished and swallows all further input.
    #[inline]
    pub fn next<'s, 'b: 's>(
        &mut self,
        input: &mut &'b mut [u8],
        scratch: &'s mut Scratch,
        limits: &MessageLimits,
    ) -> Result<Option<Incoming<'s>>, ProtocolError> {
        if let Some((is_text, payload)) = self.take_short(input, limits) {
            if !is_text {
                return Ok(Some(Incoming::Binary(payload)));
            }
            if let Ok(text) = simdutf8::basic::from_utf8(payload) {
                return Ok(Some(Incoming::Text(text)));
            }
            self.finish();
            return Err(ProtocolError::InvalidUtf8);
        }
        self.next_in_full(input, scratch, limits)
    }

    /// The commonest frame by far is a whole masked message of at most 125 bytes with nothing
    /// before it. It takes this shortcut; `None` leaves all other frames, and all faults, to the
    /// long way.
    #[inline]
    fn take_short<'b>(
        &self,
        input: &mut &'b mut [u8],
        limits: &MessageLimits,
    ) -> Option<(bool, &'b [u8])> {
        let [first @ (0x81 | 0x82), second, k0, k1, k2, k3, rest @ ..] = &**input else {
            return None;
        };
        let (is_text, key) = (*first == 0x81, [*k0, *k1, *k2, *k3]);
        // Without the mask bit this is over 125.
        let length = usize::from(second ^ 0x80);
        let is_short = length <= CONTROL_BYTES_MAX && length <= rest.len();
        let is_admitted = length <= limits.message_bytes_max.min(limits.frame_bytes_max)
            && limits.fragments_max != 0;
        let is_expected = self.partial.is_none() && !self.finished && self.role == Role::Server;
        if !(is_short && is_admitted && is_expected) {
            return None;
        }
        split_off(input, 6);
        let payload = split_off(input, length);
        mask(payload, key);
        Some((is_text, payload))
    }

    fn next_in_full<'s, 'b: 's>(
        &mut self,
        input: &mut &'b mut [u8],
        scratch: &'s mut Scratch,
        limits: &MessageLimits,
    ) -> Result<Option<Incoming<'s>>, ProtocolError> {
        if self.finished {
            *input = &mut [];
        }
        if input.is_empty() {
            scratch.release();
            return Ok(None);
        }
        let result = match self.advance(input, limits) {
            Ok(Some((opcode, compressed, payload))) => {
                self.deliver(opcode, compressed, payload, scratch, limits).map(Some)
            }
            Ok(None) => {
                scratch.release();
                return Ok(None);
            }
            Err(error) => Err(error),
        };
        if matches!(result, Err(_) | Ok(Some(Incoming::Close(_)))) {
            self.finish();
        }
        result
    }

    /// Whether no head, frame or message is half received.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// Heap memory held for what is half received, in bytes; at most about twice what came. A
    /// window kept for compression is not counted.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.heap_bytes())
    }

    /// What was negotiated about compression.
    #[must_use]
    pub fn deflate(&self) -> Option<&Deflate> {
        self.deflate.as_ref()
    }

    /// Whether the peer has closed or failed, so that everything further is swallowed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    fn finish(&mut self) {
        self.finished = true;
        self.partial = None;
        self.window = None;
    }

    fn advance<'b>(
        &mut self,
        input: &mut &'b mut [u8],
        limits: &MessageLimits,
    ) -> Result<Option<(Opcode, bool, Payload<'b>)>, ProtocolError> {
        loop {
            let step = match self.partial.as_ref().and_then(|partial| partial.missing()) {
                None => self.begin_frame(input, limits)?,
                Some(missing) => self.continue_frame(input, missing)?,
            };
            match step {
                Step::Starved => return Ok(None),
                Step::Taken => {}
                Step::Ready { opcode, compressed, payload } => {
                    return Ok(Some((opcode, compressed, payload)));
                }
            }
        }
    }

    /// Reads a head and as much of its payload as is there.
    #[inline]
    fn begin_frame<'b>(
        &mut self,
        input: &mut &'b mut [u8],
        limits: &MessageLimits,
    ) -> Result<Step<'b>, ProtocolError> {
        let Some(head) = self.take_head(input)? else { return Ok(Step::Starved) };
        let begun = self.partial.as_ref().and_then(|partial| partial.message());
        let length = admit(&head, begun, limits)?;
        let FrameHead { fin, compressed, opcode, key, .. } = head;
        let frame = OpenFrame { fin, opcode, compressed, key, missing: length };
        if input.len() < length {
            self.partial.get_or_insert_default().open(frame);
            return self.continue_frame(input, length);
        }
        let payload = split_off(input, length);
        mask(payload, key);
        if opcode.is_control() || (fin && opcode != Opcode::Continuation) {
            self.drop_empty_partial();
            return Ok(Step::Ready { opcode, compressed, payload: Payload::Lent(payload) });
        }
        self.partial.get_or_insert_default().append(&frame, payload)?;
        Ok(self.end_frame(&frame))
    }

    /// Reads more of a frame whose head is known.
    fn continue_frame<'b>(
        &mut self,
        input: &mut &'b mut [u8],
        missing: usize,
    ) -> Result<Step<'b>, ProtocolError> {
        let bytes = split_off(input, missing.min(input.len()));
        let Some(partial) = &mut self.partial else { return Ok(Step::Starved) };
        if bytes.is_empty() {
            return Ok(Step::Starved);
        }
        let Some(frame) = partial.fill(bytes)? else { return Ok(Step::Starved) };
        if frame.opcode.is_control() {
            let payload = Payload::Assembled(partial.take_control());
            self.drop_empty_partial();
            return Ok(Step::Ready { opcode: frame.opcode, compressed: false, payload });
        }
        Ok(self.end_frame(&frame))
    }

    /// After the last byte of a data frame that went into the buffer.
    fn end_frame<'b>(&mut self, frame: &OpenFrame) -> Step<'b> {
        let Some(partial) = &mut self.partial else { return Step::Taken };
        partial.count_frame();
        if !frame.fin {
            return Step::Taken;
        }
        let Some(message) = partial.take_message() else { return Step::Taken };
        self.drop_empty_partial();
        let payload = Payload::Assembled(message.bytes);
        Step::Ready { opcode: message.opcode, compressed: message.compressed, payload }
    }

    /// The next head; `None` once the input is used up, with an incomplete head put by.
    #[inline]
    fn take_head(&mut self, input: &mut &mut [u8]) -> Result<Option<FrameHead>, ProtocolError> {
        let rules = HeadRules { role: self.role, compression: self.deflate.is_some() };
        let put_by = self.partial.as_ref().is_some_and(|partial| partial.has_head());
        if !put_by {
            if input.is_empty() {
                return Ok(None);
            }
            if let Some((head, length)) = FrameHead::parse(input, rules)? {
                split_off(input, length);
                return Ok(Some(head));
            }
        }
        let partial = self.partial.get_or_insert_default();
        while !input.is_empty() {
            let Some(&byte) = split_off(input, 1).first() else { break };
            if let Some((head, _)) = FrameHead::parse(partial.push_head(byte), rules)? {
                partial.clear_head();
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    fn drop_empty_partial(&mut self) {
        if self.partial.as_ref().is_some_and(|partial| partial.is_empty()) {
            self.partial = None;
        }
    }

    #[inline]
    fn deliver<'s, 'b: 's>(
        &mut self,
        opcode: Opcode,
        compressed: bool,
        payload: Payload<'b>,
        scratch: &'s mut Scratch,
        limits: &MessageLimits,
    ) -> Result<Incoming<'s>, ProtocolError> {
        let Scratch { inflater, inflated, assembled } = scratch;
        let mut payload: &'s [u8] = match payload {
            Payload::Lent(bytes) => bytes,
            Payload::Assembled(bytes) => {
                *assembled = bytes;
                assembled
            }
        };
        if compressed {
            payload = self.inflate(payload, inflater, inflated, limits.message_bytes_max)?;
        }
        match opcode {
            Opcode::Text => match simdutf8::basic::from_utf8(payload) {
                Ok(text) => Ok(Incoming::Text(text)),
                Err(_) => Err(ProtocolError::InvalidUtf8),
            },
            Opcode::Binary => Ok(Incoming::Binary(payload)),
            Opcode::Ping => Ok(Incoming::Ping(payload)),
            Opcode::Pong => Ok(Incoming::Pong(payload)),
            Opcode::Close => close::parse(payload).map(Incoming::Close),
            Opcode::Continuation => Err(ProtocolError::UnexpectedContinuation),
        }
    }

    fn inflate<'s>(
        &mut self,
        payload: &[u8],
        shared: &mut Option<Box<Inflater>>,
        inflated: &'s mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<&'s [u8], ProtocolError> {
        let Some(deflate) = &self.deflate else { return Err(ProtocolError::ReservedBits) };
        let (keeps_window, window_bits) = deflate.peer_window(self.role);
        let inflater = if keeps_window {
            self.window.get_or_insert_with(|| Box::new(Inflater::new(window_bits)))
        } else {
            let inflater = shared.get_or_insert_with(|| Box::new(Inflater::new(15)));
            inflater.reset();
            inflater
        };
        let length = inflater.inflate(payload, inflated, bytes_max)?;
        Ok(&inflated[..length])
    }
}

impl Scratch {
    /// Gives back what a huge message took.
    #[inline]
    fn release(&mut self) {
        if self.assembled.capacity() > SCRATCH_BYTES_KEPT {
            self.assembled = Vec::new();
        }
        if self.inflated.capacity() > SCRATCH_BYTES_KEPT {
            self.inflated = Vec::new();
        }
    }
}

fn split_off<'b>(input: &mut &'b mut [u8], length: usize) -> &'b mut [u8] {
    let (taken, rest) = mem::take(input).split_at_mut(length);
    *input = rest;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_decoder_is_three_words() {
        assert!(size_of::<Decoder>() <= 24);
    }
}

//! Messages: what a decoder delivers, how large they may be, and the pieces of one still on its
//! way.

use crate::ProtocolError;

use super::frame::{FrameHead, HEAD_BYTES_MAX, Opcode};
use super::mask::{mask, rotate};

/// What a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimits {
    /// Longest message in bytes, after inflation. 16 MiB unless told.
    pub message_bytes_max: usize,
    /// Longest payload of one data frame in bytes, as it travels. 16 MiB unless told.
    pub frame_bytes_max: usize,
    /// Most frames of one message, empty ones too. 1,048,576 unless told.
    pub fragments_max: u32,
}

impl Default for MessageLimits {
    fn default() -> Self {
        Self { message_bytes_max: 16 << 20, frame_bytes_max: 16 << 20, fragments_max: 1 << 20 }
    }
}

impl MessageLimits {
    /// Longest payload of a message as it travels. Compression makes noise a little longer: by five
    /// bytes in every stored block, and more where the sender flushes often.
    fn wire_bytes_max(&self, compressed: bool) -> usize {
        if compressed {
            self.message_bytes_max.saturating_add(self.message_bytes_max >> 6).saturating_add(1024)
        } else {
            self.message_bytes_max
        }
    }
}

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A ping, to be answered with a pong of the same payload (RFC 6455, 5.5.2).
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The peer closes; nothing it sends after this counts.
    Close(Option<CloseFrame<'a>>),
}

/// The payload of a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// A code that may travel, see [`close::is_valid`](super::close::is_valid).
    pub code: u16,
    /// Why, at most 123 bytes.
    pub reason: &'a str,
}

/// What one connection holds while a head, a frame or a message is incomplete.
#[derive(Debug, Default)]
pub(super) struct Partial {
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: u8,
    frame: Option<OpenFrame>,
    control: Vec<u8>,
    message: Option<Fragments>,
}

/// A frame with its head read and a part of its payload missing.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenFrame {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) compressed: bool,
    /// As the next byte meets it.
    pub(super) key: [u8; 4],
    pub(super) missing: usize,
}

/// The beginning of a message.
#[derive(Debug)]
pub(super) struct Fragments {
    pub(super) opcode: Opcode,
    pub(super) compressed: bool,
    pub(super) bytes: Vec<u8>,
    frames: u32,
    /// How many bytes at the start of a text are known to be whole characters.
    checked: usize,
}

impl Partial {
    pub(super) fn is_empty(&self) -> bool {
        self.head_bytes == 0 && self.frame.is_none() && self.message.is_none()
    }

    pub(super) fn has_head(&self) -> bool {
        self.head_bytes != 0
    }

    /// Heap memory in bytes, this structure included.
    pub(super) fn heap_bytes(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |message| message.bytes.capacity());
        size_of::<Self>() + self.control.capacity() + message
    }

    /// Adds one byte to the incomplete head and lends it.
    pub(super) fn push_head(&mut self, byte: u8) -> &[u8] {
        let index = usize::from(self.head_bytes);
        if let Some(place) = self.head.get_mut(index) {
            *place = byte;
            self.head_bytes += 1;
        }
        &self.head[..usize::from(self.head_bytes)]
    }

    pub(super) fn clear_head(&mut self) {
        self.head_bytes = 0;
    }

    pub(super) fn message(&self) -> Option<&Fragments> {
        self.message.as_ref()
    }

    pub(super) fn open(&mut self, frame: OpenFrame) {
        self.control.clear();
        self.frame = Some(frame);
    }

    /// How much the open frame lacks; `None` without an open frame.
    pub(super) fn missing(&self) -> Option<usize> {
        self.frame.map(|frame| frame.missing)
    }

    /// Takes the next bytes of the open frame, at most as many as it lacks, and unmasks them where
    /// they lie. Hands back the frame once it is complete.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) -> Result<Option<OpenFrame>, ProtocolError> {
        let Some(mut frame) = self.frame else { return Ok(None) };
        mask(bytes, frame.key);
        frame.key = rotate(frame.key, bytes.len());
        if frame.opcode.is_control() {
            self.control.extend_from_slice(bytes);
            frame.missing = frame.missing.saturating_sub(bytes.len());
        } else {
            self.append(&frame, bytes)?;
            frame.missing = frame.missing.saturating_sub(bytes.len());
        }
        if frame.missing == 0 {
            self.frame = None;
            return Ok(Some(frame));
        }
        self.frame = Some(frame);
        Ok(None)
    }

    /// Adds unmasked payload of a data frame to the message.
    pub(super) fn append(&mut self, frame: &OpenFrame, bytes: &[u8]) -> Result<(), ProtocolError> {
        let message = self.message.get_or_insert_with(|| Fragments {
            opcode: frame.opcode,
            compressed: frame.compressed,
            bytes: Vec::new(),
            frames: 0,
            checked: 0,
        });
        message.append(frame, bytes)
    }

    /// Counts a frame of the message as complete.
    pub(super) fn count_frame(&mut self) {
        if let Some(message) = &mut self.message {
            message.frames = message.frames.saturating_add(1);
        }
    }

    pub(super) fn take_message(&mut self) -> Option<Fragments> {
        self.message.take()
    }

    pub(super) fn take_control(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.control)
    }
}

impl Fragments {
    fn append(&mut self, frame: &OpenFrame, bytes: &[u8]) -> Result<(), ProtocolError> {
        self.reserve(frame, bytes.len());
        self.bytes.extend_from_slice(bytes);
        let complete = frame.fin && frame.missing == bytes.len();
        // A complete message is checked as a whole when it is delivered.
        if self.opcode == Opcode::Text && !self.compressed && !complete {
            self.check_text()?;
        }
        Ok(())
    }

    /// Makes room by doubling, so that what is held is at most twice what came, whatever was
    /// announced; and for no more than the message's last frame can fill.
    fn reserve(&mut self, frame: &OpenFrame, more: usize) {
        if self.bytes.capacity() - self.bytes.len() >= more {
            return;
        }
        let doubled = self.bytes.capacity().saturating_mul(2).saturating_sub(self.bytes.len());
        let useful = if frame.fin { doubled.min(frame.missing) } else { doubled };
        self.bytes.reserve_exact(useful.max(more));
    }

    /// Refuses text as soon as it cannot become UTF-8 any more (RFC 6455, 8.1).
    fn check_text(&mut self) -> Result<(), ProtocolError> {
        match simdutf8::compat::from_utf8(&self.bytes[self.checked..]) {
            Ok(_) => self.checked = self.bytes.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(ProtocolError::InvalidUtf8),
        }
        Ok(())
    }
}

/// Checks a data frame against the message it would continue or begin, and against the limits,
/// before a byte of its payload is kept. Its payload's length comes back.
pub(super) fn admit(
    head: &FrameHead,
    begun: Option<&Fragments>,
    limits: &MessageLimits,
) -> Result<usize, ProtocolError> {
    let length = usize::try_from(head.payload_bytes).map_err(|_| ProtocolError::FrameTooBig)?;
    if head.opcode.is_control() {
        return Ok(length);
    }
    let (compressed, collected, frames) = match (head.opcode, begun) {
        (Opcode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
        (Opcode::Continuation, Some(begun)) => (begun.compressed, begun.bytes.len(), begun.frames),
        (_, Some(_)) => return Err(ProtocolError::InterleavedMessage),
        (_, None) => (head.compressed, 0, 0),
    };
    if length > limits.wire_bytes_max(compressed).saturating_sub(collected) {
        return Err(ProtocolError::MessageTooBig);
    }
    if length > limits.frame_bytes_max {
        return Err(ProtocolError::FrameTooBig);
    }
    if frames >= limits.fragments_max {
        return Err(ProtocolError::TooManyFragments);
    }
    Ok(length)
}

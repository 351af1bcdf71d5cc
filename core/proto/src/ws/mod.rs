//! The WebSocket protocol (RFC 6455) with permessage-deflate (RFC 7692).
//!
//! Received bytes go through a [`Decoder`], one per connection, which unmasks them where they lie
//! and lends each message back: a message that is wholly inside the received bytes is never copied.
//! What many connections can share between two calls is in a [`Scratch`], one per thread.
//!
//! ```
//! use fulmar_proto::ws::{self, Decoder, Incoming, MessageLimits, Opcode, Role, Scratch};
//!
//! let mut received = Vec::new();
//! ws::write_masked_frame(&mut received, true, false, Opcode::Text, b"hello", [1, 2, 3, 4]);
//!
//! let mut decoder = Decoder::new(Role::Server, None);
//! let (mut scratch, limits) = (Scratch::default(), MessageLimits::default());
//! let mut input = received.as_mut_slice();
//! let mut out = Vec::new();
//! while let Some(message) = decoder.next(&mut input, &mut scratch, &limits)? {
//!     if let Incoming::Text(text) = message {
//!         ws::write_frame(&mut out, Opcode::Text, text.as_bytes());
//!     }
//! }
//! assert_eq!(out, b"\x81\x05hello");
//! # Ok::<(), fulmar_proto::ProtocolError>(())
//! ```
//!
//! Outgoing frames are a [`head`] and the payload as it is, so that one payload can be shared by
//! all its receivers.

pub mod close;
mod decoder;
pub mod deflate;
mod encoder;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod mask;
mod message;

pub use decoder::{Decoder, Scratch};
pub use deflate::{Deflate, DeflateOptions};
pub use encoder::{Head, head, write_close, write_frame, write_frame_with, write_masked_frame};
pub use frame::{Opcode, Role};
pub use mask::{mask, mask_from};
pub use message::{CloseFrame, Incoming, MessageLimits};

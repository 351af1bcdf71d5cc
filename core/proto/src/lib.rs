//! Fulmar's wire formats: WebSocket (RFC 6455, RFC 7692) and the part of HTTP/1.1 (RFC 9112) that a
//! realtime edge needs. Bytes in, messages out, and back.
//!
//! - [`ws`]: frames and messages, both ways, with permessage-deflate.
//! - [`http`]: request heads, the WebSocket upgrade, responses, bounded bodies.
//! - [`ProtocolError`]: why a WebSocket peer is turned away, and with which close code.
//!
//! The crate is pure: it opens no socket, starts no thread, reads no clock and rolls no dice.
//! Whatever a peer sends, nothing here panics, blocks or takes memory beyond the limits it was
//! given.
#![forbid(unsafe_code)]

mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod ws;

pub use error::ProtocolError;

//! The client against a server over real sockets.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
#![forbid(unsafe_code)]

mod calls;
mod connections;
mod server;
mod streams;
mod timers;

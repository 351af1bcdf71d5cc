//! Fulmar: a realtime WebSocket edge server, to embed.
//!
//! One thread per core owns its sockets and its share of rooms; a broadcast is encoded once and
//! sent to every member from shared bytes; every queue is bounded; handlers run on workers, so that
//! a slow one holds up nobody else.
//!
//! ```no_run
//! use fulmar::text::{RoomOptions, Text};
//! use fulmar::{Arg, Connection, Endpoint, Server, State};
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! #[derive(Default)]
//! struct Calls {
//!     made: AtomicU64,
//! }
//!
//! fn shout(calls: State<Calls>, peer: Connection, Arg(text): Arg<String>) -> String {
//!     let n = calls.made.fetch_add(1, Ordering::Relaxed);
//!     format!("{n}: {} says {}", peer.ip(), text.to_uppercase())
//! }
//!
//! fn main() -> Result<(), fulmar::Error> {
//!     Server::new(Calls::default())
//!         .mount(Endpoint::new("/shout").speaks(Text::default()).on_message(shout))
//!         .mount(Endpoint::new("/rooms/:room").speaks(Text::room(RoomOptions::default())))
//!         .run("127.0.0.1:9000")
//! }
//! ```
//!
//! The `guide` of this documentation, which is `docs/EMBEDDING.md`, goes through all of it.
//!
//! # Features
//! - `client`: calls servers that speak alien-rpc.
//! - `encryption`: the key exchange of the `event` dialect (ECDH P-256, AES-256-GCM).
//! - `redis`: several nodes by way of Redis; `redis-tls` for `rediss://`.
//! - `tokio`: async handlers on a runtime of the embedder's.
//! - `types`: types of routes for TypeScript and JSON Schema.
//! - `sim`: parts for tests in virtual time; fixed seeds, turns taken one by one. Adds nothing to a
//!   server that does not use it.
#![forbid(unsafe_code)]

mod affinity;
mod assembly;
mod awake;
pub mod clock;
mod cluster;
mod config;
pub mod connection;
mod directory;
mod encoding;
#[cfg(feature = "encryption")]
pub mod encryption;
mod endpoint;
pub mod entropy;
mod error;
pub mod fabric;
mod flags;
pub mod handler;
mod hub;
mod io;
mod mailbox;
mod node;
#[doc(hidden)]
pub mod output;
mod page;
mod paged;
mod path;
mod reactor;
mod reason;
pub mod room;
mod server;
mod shard;
#[cfg(feature = "sim")]
pub mod sim;
mod stats;
mod timer;
#[doc(hidden)]
pub mod timer_wheel;
#[cfg(feature = "types")]
pub mod typed;
mod worker;

pub use config::{Backpressure, Config, Limits, SlowPolicy, Timeouts};
pub use connection::Connection;
pub use endpoint::{Endpoint, EndpointOptions};
pub use error::Error;
pub use fulmar_dialect::{
    BigInt, Bytes, CallError, Date, Dialect, Identity, Object, Promise, Sent, Session, Stub, Value,
    event, rpc, text,
};
pub use fulmar_driver::listener::ListenOptions;
pub use fulmar_proto::ws::deflate::DeflateOptions;
pub use handler::{
    Arg, Args, Cancelled, Context, Defer, End, Event, Local, Message, Methods, Numbered, Path,
    Query, Rate, State, Stream, Subscription, concurrent, inline, ordered, worker,
};
pub use hub::{Client, Hub};
pub use io::{ChosenIo, Io};
pub use page::Page;
pub use reason::Reason;
pub use room::{PublishError, Room};
pub use server::{Running, Server, Stopped, Stopper, Waiter};
pub use stats::{Reasons, Stats};
pub use timer::{Sleep, Timer};

/// What a handler may return: a value, or the error its caller gets.
pub type Result<T, E = CallError> = std::result::Result<T, E>;

/// A client of servers that speak alien-rpc.
#[cfg(feature = "client")]
pub use fulmar_client as client;
/// Protocols to build on: the seam, whole.
pub use fulmar_dialect as dialect;
/// What the types of routes become.
#[cfg(feature = "types")]
pub use fulmar_types as types;

#[cfg(doc)]
#[doc = include_str!("../../docs/EMBEDDING.md")]
pub mod guide {}

/// A page of the documentation whose examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

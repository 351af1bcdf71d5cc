//! The seam between client protocols and the server.
//!
//! A *dialect* turns what one client says into [`Effect`]s and what the server answers into that
//! client's words. It is pure: no socket, no thread, no clock and no random number of its own. The
//! *host* (a shard of the server, or [`transcript::Transcript`] in tests) applies the effects.
//!
//! | module | what |
//! |---|---|
//! | [`session`] | [`Dialect`], [`Session`], [`Host`]: what a protocol provides, whom it faces |
//! | [`effect`], [`reply`], [`ask`] | what a session asks for; what became of it; asked of it |
//! | [`open`] | [`OpenRequest`], [`Identity`]: what is known when a connection opens |
//! | [`publication`] | [`Publication`], [`Encoded`], [`Gap`]: messages of rooms |
//! | [`payload`] | [`Payload`], [`Args`]: a value in the cheapest form it came in |
//! | [`value`] | [`Value`]: everything JSON cannot say, and its bridge to serde |
//! | [`verdict`] | [`Verdict`]: what the gates in front of a connection decide |
//! | [`target`] | [`Target`], [`Object`], [`Outcome`], [`Source`]: what calls land on |
//! | [`stub`] | [`Stub`], [`Reader`], [`Writer`], [`Promise`]: what a client lends to the server |
//! | [`ending`] | [`Cancelled`], [`End`]: how a call ends, and what is done then |
//! | [`error`] | [`CallError`]: one error, spelled by each dialect in its own way |
//! | [`event`] | the `event` dialect: `{event, data, id}`, authentication and rooms |
//! | [`rpc`] | the `rpc` dialect: alien-rpc's notifications, requests and subscriptions |
//! | [`text`] | the `text` dialect: the message *is* the payload |
//! | [`transcript`] | test support: a session played against a recorded dialogue |
//!
//! # How to write a dialect
//!
//! ```
//! use fulmar_dialect::{
//!     Ask, CallId, Dialect, Effect, Encoded, Host, Kind, Message, OpenRequest, Reply, Said,
//!     Session, transcript,
//! };
//!
//! #[derive(Debug)]
//! struct Shout;
//!
//! impl Dialect for Shout {
//!     fn name(&self) -> &'static str {
//!         "shout"
//!     }
//!     fn open(&self, _request: &OpenRequest<'_>) -> Box<dyn Session> {
//!         Box::new(Shouting)
//!     }
//!     fn encode(&self, said: &Said<'_>, out: &mut Vec<u8>) -> Encoded {
//!         Encoded::plain(said.payload, out)
//!     }
//! }
//!
//! struct Shouting;
//!
//! impl Session for Shouting {
//!     fn on_message(&mut self, message: Message<'_>, host: &mut dyn Host) {
//!         if let Message::Text(text) = message {
//!             let loud = text.to_uppercase();
//!             host.effect(Effect::Send { message: Message::Text(&loud), kind: Kind::Reply });
//!         }
//!     }
//!     fn on_reply(&mut self, _call: CallId, _reply: Reply<'_>, _host: &mut dyn Host) {}
//!     fn on_ask(&mut self, ask: Ask, host: &mut dyn Host) {
//!         host.refuse(ask, "shout has no words for this");
//!     }
//! }
//!
//! transcript::play(&Shout, "@ open /\n> hello\n< HELLO\n").unwrap();
//! ```
#![forbid(unsafe_code)]

pub mod ask;
pub mod effect;
pub mod ending;
pub mod error;
pub mod event;
mod json;
pub mod open;
pub mod payload;
pub mod publication;
pub mod reply;
pub mod rpc;
pub mod session;
pub mod stub;
pub mod target;
#[cfg(test)]
mod testing;
pub mod text;
pub mod transcript;
pub mod value;
pub mod verdict;

pub use ask::{Ask, Link, Outbox, Want};
pub use effect::{
    CallId, Delivery, Effect, Envelope, Gate, Kind, Message, On, Order, Part, Seal, Tag,
};
pub use ending::{Cancelled, End};
pub use error::CallError;
pub use open::{Identity, OpenRequest, uuid_text};
pub use payload::{Args, EventArgs, Form, Payload};
pub use publication::{Encoded, Gap, Position, Publication, Said};
pub use reply::{Answer, Reply, Subscribed};
pub use session::{Description, Dialect, Host, Sent, Session};
pub use stub::{Promise, Reader, Settler, Stub, Writer};
pub use target::{Call, Object, Outcome, Place, Placement, Source, Target};
pub use value::{BigInt, Bytes, Date, Value};
pub use verdict::{Handshake, Verdict};

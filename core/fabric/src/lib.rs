//! The fabric between the nodes of a Fulmar cluster: rooms, users, clients and broadcasts over
//! Redis Pub/Sub, in the envelope that IGNIS nodes and emitters use.
//!
//! `Fabric` is a node's end: one thread and two connections (one publishes, one listens).
//! `Emitter` is what a program outside of the cluster uses to send.
//!
//! Delivery is at most once and in the order of each publisher. A message is lost when Redis is
//! away; nothing is kept and nothing is sent again. What was lost is counted, see [`Counters`].
//!
//! Without the feature `redis` there is only what a node and a carrier say to each other:
//! [`Parcel`], [`Inbox`], [`Topic`], and the [`envelope`].
//!
//! Redis 6 or later (or a server that speaks RESP3, such as Valkey) is needed, as one server or as
//! a Redis Cluster.

#![forbid(unsafe_code)]

#[cfg(feature = "redis")]
mod address;
#[cfg(feature = "redis")]
mod backoff;
#[cfg(feature = "redis")]
mod clock;
#[cfg(feature = "redis")]
mod emitter;
#[cfg(feature = "redis")]
mod entropy;
pub mod envelope;
#[cfg(feature = "redis")]
mod handle;
#[cfg(feature = "redis")]
mod interest;
#[cfg(feature = "redis")]
mod link;
#[cfg(feature = "redis")]
mod options;
mod port;
#[cfg(feature = "redis")]
mod publisher;
#[cfg(feature = "redis")]
mod status;
#[cfg(feature = "redis")]
mod subscriber;

#[cfg(feature = "redis")]
pub use emitter::{EMITTER_SERVER_ID, EmitError, Emitter};
#[cfg(feature = "redis")]
pub use entropy::server_id;
pub use envelope::{Kind, Letter, Received};
#[cfg(feature = "redis")]
pub use handle::{Fabric, StartError};
#[cfg(feature = "redis")]
pub use options::{Event, Link, Observer, Options, StartPolicy, Subscriptions};
pub use port::{Counters, Inbox, Parcel, Status, Topic};

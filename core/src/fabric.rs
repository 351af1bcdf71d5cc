//! Several nodes as one: what crosses between them, and what carries it.
//!
//! With the feature `redis`, `Options` describe Redis as the carrier; give them to
//! [`Server::fabric`](crate::Server::fabric). Another carrier implements [`Fabric`] and
//! [`Connect`]. Whatever carries, a message reaches another node at most once, and those of one
//! room and node in their order.

use std::fmt;
use std::sync::Arc;

pub use fulmar_fabric::{Counters, Inbox, Kind, Letter, Parcel, Received, Status, Topic};
#[cfg(feature = "redis")]
pub use fulmar_fabric::{
    EmitError, Emitter, Event, Link, Options, StartError, StartPolicy, Subscriptions,
};

/// The way to other nodes, once it is connected. Called from shards: nothing of it may block.
pub trait Fabric: fmt::Debug + Send + Sync {
    /// Sends what the parcel holds to whoever wants it; never back to this node. What cannot be
    /// sent is dropped and counted.
    fn publish(&self, parcel: Box<dyn Parcel>);

    /// This node wants what is sent there.
    fn subscribe(&self, topic: Topic);

    /// It does not any more. Each call undoes one [`subscribe`](Self::subscribe).
    fn unsubscribe(&self, topic: Topic);

    /// How it is.
    fn status(&self) -> Status;

    /// Sends what still waits, within a moment, and ends. Called once, by whoever waits for the
    /// server's end; may block.
    fn stop(&self);
}

/// A fabric before it is connected.
pub trait Connect: Send {
    /// Connects the node of this id. What arrives goes to the inbox, in order.
    ///
    /// # Errors
    /// If the node is not to start without it.
    fn connect(
        self: Box<Self>,
        server_id: &str,
        inbox: Arc<dyn Inbox>,
    ) -> Result<Arc<dyn Fabric>, Box<dyn std::error::Error + Send + Sync>>;
}

#[cfg(feature = "redis")]
impl Fabric for fulmar_fabric::Fabric {
    fn publish(&self, parcel: Box<dyn Parcel>) {
        self.publish(parcel);
    }

    fn subscribe(&self, topic: Topic) {
        self.subscribe(topic);
    }

    fn unsubscribe(&self, topic: Topic) {
        self.unsubscribe(topic);
    }

    fn status(&self) -> Status {
        self.status()
    }

    fn stop(&self) {
        self.stop();
    }
}

#[cfg(feature = "redis")]
impl Connect for Options {
    fn connect(
        self: Box<Self>,
        server_id: &str,
        inbox: Arc<dyn Inbox>,
    ) -> Result<Arc<dyn Fabric>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Arc::new(fulmar_fabric::Fabric::start(*self, server_id, inbox)?))
    }
}

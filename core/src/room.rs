//! A handle to a room, usable from any thread.
use std::{fmt, sync::Arc};

use fulmar_dialect::{CallError, Form, Payload, Publication};
use serde::Serialize;

use crate::{connection::Connection, handler::Subscription};

/// Where publications go: the node.
pub trait Rooms: Send + Sync {
    /// Publishes to a room's members, without those of the connection `except`
    /// ([`fulmar_dialect::Link::connection`]). What is published by way of the connection `via`
    /// comes after everything that was done through it before. Never blocks.
    ///
    /// # Errors
    ///
    /// [`PublishError::Busy`] when the mailbox on the way is full.
    fn publish(
        &self,
        publication: Publication,
        via: Option<u64>,
        except: Option<u64>,
    ) -> Result<(), PublishError>;
}

/// Why something was not published.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PublishError {
    /// More is published than the room's home shard takes. Nothing was sent to anybody; try later,
    /// or let it be.
    Busy,
    /// The payload cannot be published: its `Serialize` fails, or it holds objects.
    Payload(CallError),
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("the room is busy"),
            Self::Payload(error) => {
                let detail = error.detail.as_deref().unwrap_or(&error.message);
                write!(f, "the payload cannot be published: {detail}")
            }
        }
    }
}

/// 503 for a busy room. (It is no `std::error::Error`, whose text would be hidden from clients.)
impl From<PublishError> for CallError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Busy => Self::with_code(503, "The room is busy."),
            PublishError::Payload(error) => error,
        }
    }
}

/// A room by name. It exists as long as it has members, and needs no other making. Cheap to clone,
/// usable from any thread.
#[derive(Clone)]
pub struct Room {
    name: Arc<str>,
    rooms: Arc<dyn Rooms>,
    via: Option<u64>,
    except: Option<u64>,
}

impl Room {
    /// A handle to the room of this name.
    #[doc(hidden)]
    pub fn new(name: impl Into<Arc<str>>, rooms: Arc<dyn Rooms>) -> Self {
        Self { name: name.into(), rooms, via: None, except: None }
    }

    /// The same, whose publications keep their order with what else is done through a connection.
    pub(crate) fn via(mut self, connection: u64) -> Self {
        self.via = Some(connection);
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A handle whose publications this connection does not hear. One connection at most: a second
    /// call replaces the first.
    #[must_use]
    pub fn except(mut self, connection: &Connection) -> Self {
        self.except = Some(connection.link().connection());
        self
    }

    /// Publishes to all members, on all shards. Members that are slow get it later or, as their
    /// endpoint's backpressure policy says, not at all. One publisher's messages arrive in order.
    ///
    /// A string or [`fulmar_dialect::Bytes`] goes to text endpoints as it is, everything else as
    /// JSON; the event is for dialects that have events.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; nobody has got anything then.
    pub fn publish(
        &self,
        event: &str,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<(), PublishError> {
        let payload = Payload::from(payload, Form::Raw).map_err(PublishError::Payload)?;
        let publication = Publication::new(self.name.clone(), event, payload);
        self.rooms.publish(publication.map_err(PublishError::Payload)?, self.via, self.except)
    }

    /// Answers a call with this room: the caller's protocol makes of it what it has words for (a
    /// stream of results, a plain membership).
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription::new(&self.name)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room")
            .field("name", &self.name)
            .field("except", &self.except)
            .finish_non_exhaustive()
    }
}

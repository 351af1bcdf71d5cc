//! A handle to a room, usable from any thread.
use std::{fmt, sync::Arc};

use fulmar_dialect::value::is_undefined;
use fulmar_dialect::{CallError, Form, Payload, Publication};
use serde::Serialize;

use smallvec::SmallVec;

pub use crate::output::Reach;
use crate::{connection::Connection, handler::Subscription};

/// Where publications go: the node.
pub trait Rooms: Send + Sync {
    /// Publishes to a room's members. Never blocks.
    ///
    /// # Errors
    ///
    /// [`PublishError::Busy`] when the mailbox on the way is full.
    fn publish(&self, publication: Publication, route: Route<'_>) -> Result<(), PublishError>;
}

/// How a publication goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Route<'a> {
    /// By way of this connection ([`fulmar_dialect::Link::connection`]): after everything that was
    /// done through it before.
    pub via: Option<u64>,
    /// Without the memberships of these connections.
    pub except: &'a [u64],
    /// Without these clients, wherever they are.
    pub except_ids: &'a [Box<str>],
    /// How far.
    pub reach: Reach,
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
    except: SmallVec<[u64; 1]>,
    except_ids: Vec<Box<str>>,
    reach: Reach,
}

impl Room {
    /// A handle to the room of this name.
    #[doc(hidden)]
    pub fn new(name: impl Into<Arc<str>>, rooms: Arc<dyn Rooms>) -> Self {
        Self {
            name: name.into(),
            rooms,
            via: None,
            except: SmallVec::new(),
            except_ids: Vec::new(),
            reach: Reach::Cluster,
        }
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

    /// A handle whose publications this connection does not hear, nor those named before.
    #[must_use]
    pub fn except(mut self, connection: &Connection) -> Self {
        self.except.push(connection.link().connection());
        self
    }

    /// A handle whose publications these clients do not hear, on whatever node they are, nor those
    /// named before.
    #[must_use]
    pub fn except_ids<I: Into<Box<str>>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.except_ids.extend(ids.into_iter().map(Into::into));
        self
    }

    /// A handle whose publications stay on this node.
    #[must_use]
    pub fn here(mut self) -> Self {
        self.reach = Reach::Node;
        self
    }

    /// Publishes to all members, on all shards and nodes. Members that are slow get it later or, as
    /// their endpoint's backpressure policy says, not at all. One publisher's messages arrive in
    /// order.
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
        self.publish_payload(event, published(payload)?)
    }

    /// The same with what is serialised already.
    pub(crate) fn publish_payload(
        &self,
        event: &str,
        payload: Payload<'static>,
    ) -> Result<(), PublishError> {
        let publication = Publication::new(self.name.clone(), event, payload);
        let route = Route {
            via: self.via,
            except: &self.except,
            except_ids: &self.except_ids,
            reach: self.reach,
        };
        self.rooms.publish(publication.map_err(PublishError::Payload)?, route)
    }

    /// Answers a call with this room: the caller's protocol makes of it what it has words for (a
    /// stream of results, a plain membership).
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription::new(&self.name)
    }
}

/// Strings and bytes as they are, everything else as JSON; only `()` is nothing.
pub(crate) fn published(
    payload: &(impl Serialize + ?Sized),
) -> Result<Payload<'static>, PublishError> {
    match Payload::from(payload, Form::Raw).map_err(PublishError::Payload)? {
        Payload::Undefined if !is_undefined(payload) => Ok(Payload::json("null")),
        payload => Ok(payload),
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

//! A handle to one connection, usable from any thread.
use std::{
    any::{Any, TypeId},
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use fulmar_dialect::{
    Ask, CallError, Form, Identity, Link, Payload, Promise, Sent,
    open::{query_parameter, uuid_text},
};
use serde::Serialize;

use crate::hub::Hub;
use crate::room::{Room, Rooms};

/// One connection, live or ended. Cheap to clone, usable from any thread; it does not keep the
/// socket open. What is asked of an ended connection is dropped.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

/// What a connection is made of; for the host.
#[doc(hidden)]
pub struct ConnectionDetails {
    /// UUID, as bits.
    pub id: u128,
    /// When it opened, in milliseconds since 1970.
    pub opened_at: u64,
    /// The other end of the socket.
    pub peer: SocketAddr,
    /// As it was asked for, percent-encoded.
    pub path: Box<str>,
    /// Behind the `?`, percent-encoded.
    pub query: Box<str>,
    /// Path parameters, decoded.
    pub parameters: Box<[(Box<str>, Box<str>)]>,
    /// In the order in which they came.
    pub headers: Box<[(Box<str>, Box<str>)]>,
    /// The way to the session.
    pub link: Link,
    /// The form of the connection's dialect.
    pub form: Form,
    /// The node.
    pub rooms: Arc<dyn Rooms>,
    /// The node, where there is a whole one.
    pub hub: Option<Hub>,
}

struct Inner {
    details: ConnectionDetails,
    /// Boxed: most connections act for nobody in particular.
    identity: Mutex<Option<Box<Identity>>>,
    /// A [`Form`] that is known once the dialect is.
    form: AtomicU8,
    /// Few, so a list. `None` once the connection has ended: nothing is made for it any more.
    local: Mutex<Option<Vec<(TypeId, Shared)>>>,
    closed: AtomicBool,
}

type Shared = Arc<dyn Any + Send + Sync>;

impl Connection {
    /// Made by the host, one per connection.
    #[doc(hidden)]
    #[must_use]
    pub fn new(details: ConnectionDetails) -> Self {
        let identity = Mutex::new(None);
        let local = Mutex::new(Some(Vec::new()));
        let form = AtomicU8::new(details.form as u8);
        Self(Arc::new(Inner { details, identity, form, local, closed: AtomicBool::new(false) }))
    }

    /// Records the form in which its dialect wants what is said.
    #[doc(hidden)]
    pub fn set_form(&self, form: Form) {
        self.0.form.store(form as u8, Ordering::Release);
    }

    fn form(&self) -> Form {
        let form = self.0.form.load(Ordering::Acquire);
        let known = [Form::Json, Form::Rich, Form::Raw];
        known.into_iter().find(|known| *known as u8 == form).unwrap_or(Form::Json)
    }

    /// As calls carry it.
    #[doc(hidden)]
    #[must_use]
    pub fn erase(&self) -> Arc<dyn Any + Send + Sync> {
        self.0.clone()
    }

    /// The other way around.
    #[doc(hidden)]
    #[must_use]
    pub fn from_erased(erased: &Arc<dyn Any + Send + Sync>) -> Option<Self> {
        erased.clone().downcast().ok().map(Self)
    }

    /// Records for whom it acts.
    #[doc(hidden)]
    pub fn identify(&self, identity: Identity) {
        *locked(&self.0.identity) = Some(Box::new(identity));
    }

    /// Records its end, and hands over its local state: that holds an embedder's values, to be
    /// dropped on a worker.
    #[doc(hidden)]
    #[must_use]
    pub fn end(&self) -> Option<Box<dyn Any + Send>> {
        self.0.closed.store(true, Ordering::Release);
        let local = locked(&self.0.local).take().filter(|local| !local.is_empty())?;
        Some(Box::new(local))
    }

    /// Its UUID as text: `a925b2a5-d553-4033-ac90-5690237da265`.
    #[must_use]
    pub fn id(&self) -> String {
        uuid_text(self.0.details.id)
    }

    /// Its UUID as bits.
    #[must_use]
    pub fn id_bits(&self) -> u128 {
        self.0.details.id
    }

    /// The other end of the socket: the client, or the proxy before the server.
    #[must_use]
    pub fn peer_address(&self) -> SocketAddr {
        self.0.details.peer
    }

    /// [`peer_address`](Self::peer_address) without the port.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.0.details.peer.ip()
    }

    /// When it opened, in milliseconds since 1970.
    #[must_use]
    pub fn opened_at(&self) -> u64 {
        self.0.details.opened_at
    }

    /// The path as it was asked for, still percent-encoded, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.details.path
    }

    /// The query behind the `?`, still percent-encoded; empty without one.
    #[must_use]
    pub fn query(&self) -> &str {
        &self.0.details.query
    }

    /// The first query parameter of this name, decoded.
    #[must_use]
    pub fn query_parameter(&self, name: &str) -> Option<String> {
        query_parameter(&self.0.details.query, name).map(|value| value.into_owned())
    }

    /// A path parameter, decoded: `/rooms/:room` has `room`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All path parameters in the order of the path.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.details.parameters.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The first header field of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All header fields of the opening request.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.details.headers.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The user for whom it acts; `None` for nobody in particular.
    #[must_use]
    pub fn user(&self) -> Option<Box<str>> {
        locked(&self.0.identity).as_ref()?.user.clone()
    }

    /// For whom it acts.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        locked(&self.0.identity).as_deref().cloned()
    }

    /// Whether it has ended. It may end right after this said no.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }

    /// Makes it a member of a room, where its protocol has words for it; the promise says so if
    /// not, and may be dropped.
    pub fn join(&self, room: &str) -> Promise<()> {
        let (settler, promise) = Promise::pair();
        self.link().post(Ask::Join { room: room.into(), import: None, settler });
        promise
    }

    /// Ends a membership made with [`join`](Self::join).
    pub fn leave(&self, room: &str) {
        self.link().post(Ask::Leave { room: room.into() });
    }

    /// Says something unasked: a string or [`fulmar_dialect::Bytes`] goes to a text connection as
    /// it is, everything else as JSON. A slow client may miss it, as its endpoint's backpressure
    /// policy says.
    ///
    /// # Errors
    ///
    /// If the payload's `Serialize` fails.
    pub fn send(&self, payload: &(impl Serialize + ?Sized)) -> Result<(), CallError> {
        self.send_event("", payload)
    }

    /// [`send`](Self::send) with the name of an event, for dialects that have events.
    ///
    /// # Errors
    ///
    /// If the payload's `Serialize` fails.
    pub fn send_event(
        &self,
        event: &str,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<(), CallError> {
        let payload = Payload::from(payload, self.form())?;
        self.link().post(Ask::Send { event: event.into(), payload, receipt: None });
        Ok(())
    }

    /// [`send_event`](Self::send_event) with a receipt: what became of the message when its session
    /// had it. A message that is dropped later, because the connection ends, is not told of.
    ///
    /// # Errors
    ///
    /// If the payload's `Serialize` fails.
    pub fn send_with_receipt(
        &self,
        event: &str,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<Promise<Sent>, CallError> {
        let payload = Payload::from(payload, self.form())?;
        let (settler, promise) = Promise::pair();
        let receipt = Some(settler);
        self.link().post(Ask::Send { event: event.into(), payload, receipt });
        Ok(promise)
    }

    /// Says a text that is ready: a text message on a text connection.
    pub fn send_text(&self, text: impl Into<String>) {
        let payload = Payload::Text(text.into().into());
        self.link().post(Ask::Send { event: "".into(), payload, receipt: None });
    }

    /// Says bytes that are ready: a binary message on a text connection.
    pub fn send_binary(&self, bytes: impl Into<Vec<u8>>) {
        let payload = Payload::Binary(bytes.into().into());
        self.link().post(Ask::Send { event: "".into(), payload, receipt: None });
    }

    /// Closes it, after everything it was asked before. `code` as in RFC 6455, 7.4: 1000, or 3000
    /// to 4999; at most 123 bytes of the reason go out.
    pub fn close(&self, code: u16, reason: &str) {
        self.link().post(Ask::Close { code, reason: reason.into() });
    }

    /// A handle to the room of this name.
    #[must_use]
    pub fn room(&self, name: &str) -> Room {
        Room::new(name, self.0.details.rooms.clone()).via(self.link().connection())
    }

    /// The way to everybody else.
    pub(crate) fn hub(&self) -> Option<&Hub> {
        self.0.details.hub.as_ref()
    }

    /// The way to its session, for stubs.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.0.details.link
    }

    /// Its state of this type, made on first use. `None` once it has ended.
    pub(crate) fn local<T: Default + Send + 'static>(&self) -> Option<Arc<Mutex<T>>> {
        let key = TypeId::of::<Mutex<T>>();
        let known = |local: &Vec<(TypeId, Shared)>| {
            local.iter().find(|(known, _)| *known == key).map(|(_, state)| state.clone())
        };
        let found = locked(&self.0.local).as_ref().map(known)?;
        let state = match found {
            Some(state) => state,
            None => {
                // An embedder's code, so not under the lock.
                let made: Shared = Arc::new(Mutex::new(T::default()));
                let mut local = locked(&self.0.local);
                let local = local.as_mut()?;
                match known(local) {
                    Some(state) => state,
                    None => {
                        local.push((key, made.clone()));
                        made
                    }
                }
            }
        };
        state.downcast().ok()
    }
}

impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Connection {}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers and the query may hold secrets.
        f.debug_struct("Connection")
            .field("id", &self.id())
            .field("peer", &self.0.details.peer)
            .field("path", &self.0.details.path)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ConnectionDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionDetails").field("peer", &self.peer).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while these are held, so a poisoned one is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

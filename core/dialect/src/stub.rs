//! What a client lends to the server, as a Rust value: for any thread, released by dropping.
use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Ask, CallError, Link, Object, Value, Want, value};

/// A handle to a function or object of a client (or to one of ours that came back). Cloning keeps
/// it, dropping the last clone releases it on the wire.
#[derive(Clone, Debug)]
pub struct Stub(Arc<Lent>);

#[derive(Debug)]
struct Lent {
    link: Link,
    what: What,
}

#[derive(Debug)]
enum What {
    Import(i64),
    Object(Object),
}

impl Stub {
    /// Something the client lent, by its session's number. For sessions.
    #[must_use]
    pub fn import(link: Link, import: i64) -> Self {
        Self(Arc::new(Lent { link, what: What::Import(import) }))
    }

    /// One of our own objects that came back. For sessions.
    #[must_use]
    pub fn local(link: Link, object: Object) -> Self {
        Self(Arc::new(Lent { link, what: What::Object(object) }))
    }

    /// The session's number for it, if it belongs to this connection.
    #[must_use]
    pub fn as_import(&self, link: &Link) -> Option<i64> {
        match self.0.what {
            What::Import(import) if self.0.link == *link => Some(import),
            _ => None,
        }
    }

    /// Our own object, if it is one.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        match &self.0.what {
            What::Object(object) => Some(object),
            What::Import(_) => None,
        }
    }

    /// The way to the client it came from.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.0.link
    }

    /// Calls a method (the empty name: the function itself) with a tuple, a list or one value.
    /// `.await` it, or [`wait`](Promise::wait) on a worker.
    pub fn call<R: DeserializeOwned>(&self, member: &str, args: impl Serialize) -> Promise<R> {
        self.send(member, &args, Want::Value)
    }

    /// Calls without wanting the answer; nothing ever comes back for it.
    pub fn notify(&self, member: &str, args: impl Serialize) {
        drop(self.send::<Value>(member, &args, Want::Nothing));
    }

    /// Makes it a member of a room: every publication calls it with `(event, data)`.
    #[must_use]
    pub fn join(&self, room: &str) -> Promise<()> {
        let (settler, promise) = Promise::pair();
        if let What::Import(import) = self.0.what {
            self.0.link.post(Ask::Join { room: room.into(), import: Some(import), settler });
        } else {
            settler.settle(Err(CallError::new("only a client's function can be a member")));
        }
        promise
    }

    fn send<R: DeserializeOwned>(
        &self,
        member: &str,
        args: &impl Serialize,
        want: Want,
    ) -> Promise<R> {
        let (settler, promise) = Promise::pair();
        let args = match value::to_value(args) {
            Ok(Value::Array(args)) => args,
            Ok(Value::Undefined) => Vec::new(),
            Ok(one) => vec![one],
            Err(error) => {
                settler.settle(Err(error));
                return promise;
            }
        };
        let member = member.into();
        self.0.link.post(match &self.0.what {
            What::Import(import) => Ask::Call { import: *import, member, args, want, settler },
            What::Object(object) => Ask::Local { object: object.clone(), member, args, settler },
        });
        promise
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let What::Import(import) = self.what {
            self.link.post(Ask::Release { import });
        }
    }
}

/// A stream that the client sends. Items are acknowledged as they are taken.
#[derive(Clone, Debug)]
pub struct Reader {
    link: Link,
    stream: i64,
}

impl Reader {
    /// A stream by its session's number. For sessions.
    #[must_use]
    pub fn new(link: Link, stream: i64) -> Self {
        Self { link, stream }
    }

    /// The next item, or `None` at the end. Asking is what lets the client send more.
    ///
    /// # Errors
    ///
    /// If the stream failed, the item does not fit, or the client is gone.
    pub async fn next<T: DeserializeOwned>(&self) -> Result<Option<T>, CallError> {
        let (settler, promise) = Promise::<Option<(T,)>>::pair();
        self.link.post(Ask::Read { stream: self.stream, settler });
        Ok(promise.await?.map(|(item,)| item))
    }
}

/// A stream that the client receives. `write` settles when the client took the item.
#[derive(Clone, Debug)]
pub struct Writer(Stub);

impl Writer {
    /// A stream behind a stub with `write` and `close`. For sessions.
    #[must_use]
    pub fn new(stub: Stub) -> Self {
        Self(stub)
    }

    /// The stub it writes to.
    #[must_use]
    pub fn stub(&self) -> &Stub {
        &self.0
    }

    /// Writes one item.
    pub fn write(&self, item: impl Serialize) -> Promise<()> {
        self.0.send("write", &(item,), Want::Ack)
    }

    /// Ends the stream.
    #[must_use]
    pub fn close(&self) -> Promise<()> {
        self.0.send("close", &(), Want::Ack)
    }
}

/// A value that comes later. A plain future that needs no runtime; or block a worker with
/// [`Promise::wait`]. Dropping it only loses interest.
pub struct Promise<T> {
    cell: Arc<Cell>,
    of: PhantomData<fn() -> T>,
}

/// The other end: settles once. Dropped unsettled, the promise fails as
/// [closed](CallError::closed).
pub struct Settler(Option<Arc<Cell>>);

#[derive(Default)]
struct Cell {
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Default)]
struct State {
    result: Option<Result<Value, CallError>>,
    waker: Option<Waker>,
}

impl Cell {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, so a poisoned state is a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: DeserializeOwned> Promise<T> {
    /// A promise and what settles it.
    #[must_use]
    pub fn pair() -> (Settler, Self) {
        let cell = Arc::new(Cell::default());
        (Settler(Some(cell.clone())), Self { cell, of: PhantomData })
    }

    /// Blocks the calling worker. Never do this in an inline handler: it would stop a shard.
    ///
    /// # Errors
    ///
    /// Code 504 when the time is up; otherwise as the client or the connection failed.
    pub fn wait(self, at_most: Duration) -> Result<T, CallError> {
        let state = self.cell.lock();
        let (mut state, _) = self
            .cell
            .ready
            .wait_timeout_while(state, at_most, |state| state.result.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        let result = state.result.take();
        drop(state);
        match result {
            Some(result) => result.and_then(value::from_value),
            None => Err(CallError::with_code(504, "The client did not answer in time.")),
        }
    }
}

impl<T: DeserializeOwned> Future for Promise<T> {
    type Output = Result<T, CallError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.cell.lock();
        match state.result.take() {
            Some(result) => {
                // Deserialising may drop a stub, which posts: not under the lock.
                drop(state);
                Poll::Ready(result.and_then(value::from_value))
            }
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Promise")
    }
}

impl Settler {
    /// The answer, or why there is none. Never blocks for long: it locks one short moment.
    pub fn settle(mut self, result: Result<Value, CallError>) {
        self.put(result);
    }

    fn put(&mut self, result: Result<Value, CallError>) {
        let Some(cell) = self.0.take() else { return };
        let mut state = cell.lock();
        state.result = Some(result);
        let waker = state.waker.take();
        drop(state);
        cell.ready.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        self.put(Err(CallError::closed()));
    }
}

impl fmt::Debug for Settler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settler")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outbox;

    #[derive(Default)]
    struct Posted(Mutex<Vec<String>>);

    impl Outbox for Posted {
        fn post(&self, connection: u64, ask: Ask) {
            self.0.lock().unwrap().push(match ask {
                Ask::Call { import, member, args, .. } => {
                    format!("{connection} call {import}.{member} {}", Value::Array(args).to_text())
                }
                Ask::Release { import } => format!("{connection} release {import}"),
                other => format!("{other:?}"),
            });
        }
    }

    fn poll<T: DeserializeOwned>(promise: &mut Promise<T>) -> Poll<Result<T, CallError>> {
        Pin::new(promise).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_last_clone_of_a_stub_releases_it() {
        let posted = Arc::new(Posted::default());
        let stub = Stub::import(Link::new(posted.clone(), 7), -1);
        let again = stub.clone();
        stub.notify("say", ("hello", 2));
        drop(stub);
        again.notify("", ());
        drop(again);
        let expected = ["7 call -1.say [\"hello\",2]", "7 call -1. []", "7 release -1"];
        assert_eq!(*posted.0.lock().unwrap(), expected);
    }

    #[test]
    fn a_promise_is_settled_once_and_fails_when_its_settler_is_dropped() {
        let (settler, mut promise) = Promise::<i64>::pair();
        assert!(poll(&mut promise).is_pending());
        settler.settle(Ok(Value::Int(5)));
        assert!(matches!(poll(&mut promise), Poll::Ready(Ok(5))));
        let (settler, promise) = Promise::<i64>::pair();
        drop(settler);
        let error = promise.wait(Duration::ZERO).unwrap_err();
        assert_eq!(error.message, "Peer closed WebSocket.");
    }

    #[test]
    fn waiting_is_bounded() {
        let (_settler, promise) = Promise::<i64>::pair();
        assert_eq!(promise.wait(Duration::ZERO).unwrap_err().code, Some(504));
    }

    #[test]
    fn a_waiting_thread_is_woken() {
        let (settler, promise) = Promise::<String>::pair();
        let waiting = std::thread::spawn(move || promise.wait(Duration::from_secs(30)));
        settler.settle(Ok("done".into()));
        assert_eq!(waiting.join().unwrap().unwrap(), "done");
    }
}

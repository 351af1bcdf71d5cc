//! The client, and calls as they are being put together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::{Plan, Pool};
use crate::cancel::CancelToken;
use crate::clock;
use crate::error::ClientError;
use crate::handshake::check_headers;
use crate::lane::{Lane, Settings};
use crate::mailbox::{Capacity, Found};
use crate::options::{ClientOptions, Retry};
use crate::session::Shape;
use crate::slots::ReconnectSlots;
use crate::subscription::Subscription;
use crate::url::Target;
use crate::wire;

/// Calls one service. Clones share its connections; the last one to be dropped closes them.
///
/// Nothing connects before the first call. A connection that is lost is made again by the next
/// call.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: Arc<Pool>,
}

impl Client {
    /// A client of the service at a URL with one of the schemes `http`, `https`, `ws` and `wss`.
    /// The WebSocket is at `ws` below its path; its query is kept.
    ///
    /// # Errors
    /// [`ClientError::Setup`] if a URL or an option cannot work: among others an encrypted URL
    /// without a [`connector`](ClientOptions::connector) that encrypts.
    pub fn new(url: impl AsRef<str>, options: ClientOptions) -> Result<Self, ClientError> {
        let urls =
            std::iter::once(url.as_ref()).chain(options.failover_urls.iter().map(String::as_str));
        let targets: Vec<Target> =
            urls.map(Target::parse).collect::<Result<_, _>>().map_err(ClientError::Setup)?;
        check_headers(&options.headers).map_err(ClientError::Setup)?;
        if let Some(target) = targets.iter().find(|target| target.is_secure())
            && !options.connector.speaks_tls()
        {
            let message = format!("{target}: TLS needs a socket of your own, see `connector`");
            return Err(ClientError::Setup(message));
        }
        if options.pool == 0 || options.pending_max == 0 || options.stream_items_max == 0 {
            let message = "`pool`, `pending_max` and `stream_items_max` are at least 1";
            return Err(ClientError::Setup(message.to_owned()));
        }
        let slots = options.reconnect_slots.clone().unwrap_or_else(|| ReconnectSlots::new(1));
        let pool = options.pool;
        let settings = Arc::new(Settings { targets, slots, options });
        let lane = |number| Arc::new(Lane::new(Arc::clone(&settings), number));
        let lanes = (0..pool).map(lane).collect();
        let pool = Arc::new(Pool { settings, lanes, closes: AtomicU64::new(0) });
        Ok(Self { inner: Arc::new(Inner { pool }) })
    }

    /// Asks for a result. `arguments` are what becomes a JSON array: a tuple, `(1,)` for one
    /// argument, a list, or `()`. A missing result is null.
    ///
    /// # Errors
    /// What the server answers, or why it does not: see [`ClientError`].
    pub fn request<T: DeserializeOwned>(
        &self,
        method: &str,
        arguments: impl Serialize,
    ) -> Result<T, ClientError> {
        self.call(method).args(arguments).request()
    }

    /// Says something that has no answer. Returns when it is handed to the socket; whether it is
    /// received, and what becomes of it, stays unknown.
    ///
    /// # Errors
    /// Why it could not be sent.
    pub fn notify(&self, method: &str, arguments: impl Serialize) -> Result<(), ClientError> {
        self.call(method).args(arguments).notify()
    }

    /// Asks for a stream of items. It does not wait for the connection: what goes wrong with that
    /// is the first item.
    ///
    /// # Errors
    /// [`ClientError::Arguments`], [`ClientError::TooManyCalls`] or [`ClientError::Closed`].
    pub fn subscribe<T: DeserializeOwned>(
        &self,
        method: &str,
        arguments: impl Serialize,
    ) -> Result<Subscription<T>, ClientError> {
        self.call(method).args(arguments).subscribe()
    }

    /// A call with options of its own, and no arguments yet.
    pub fn call<'a>(&'a self, method: &'a str) -> Call<'a, ()> {
        Call {
            client: self,
            method,
            arguments: (),
            timeout: None,
            token: None,
            retry: self.inner.pool.settings.options.retry,
        }
    }

    /// Closes all connections with code 1000. What waits ends with [`ClientError::Closed`]. A
    /// later call opens a new connection. Blocks for at most about
    /// [`close_timeout`](ClientOptions::close_timeout).
    pub fn close(&self) {
        self.inner.close(false);
    }
}

impl Inner {
    fn close(&self, stop: bool) {
        self.pool.closes.fetch_add(1, Ordering::SeqCst);
        let leaving: Vec<_> =
            self.pool.lanes.iter().map(|lane| (lane, lane.begin_close(stop))).collect();
        let timeout = self.pool.settings.options.close_timeout;
        let deadline = clock::after(timeout);
        for (lane, leaving) in &leaving {
            if let Some(leaving) = leaving {
                lane.finish_close(leaving, deadline);
            }
        }
        if stop {
            let deadline = clock::after(timeout);
            leaving.iter().for_each(|(lane, _)| lane.join(deadline));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close(true);
    }
}

/// A call that is yet to be made.
///
/// ```no_run
/// use std::time::Duration;
/// use fulmar_client::{CancelToken, Client, ClientOptions};
///
/// # fn main() -> Result<(), fulmar_client::ClientError> {
/// let client = Client::new("http://127.0.0.1:9000", ClientOptions::default())?;
/// let cancel = CancelToken::new();
/// let call = client.call("slow").args((1000,)).timeout(Duration::from_secs(5)).token(&cancel);
/// let answer: String = call.request()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is called before `request`, `notify` or `subscribe`"]
pub struct Call<'a, A> {
    client: &'a Client,
    method: &'a str,
    arguments: A,
    timeout: Option<Duration>,
    token: Option<CancelToken>,
    retry: Retry,
}

impl<'a, A: Serialize> Call<'a, A> {
    /// The arguments, instead of those it had: see [`Client::request`].
    pub fn args<B: Serialize>(self, arguments: B) -> Call<'a, B> {
        Call {
            client: self.client,
            method: self.method,
            arguments,
            timeout: self.timeout,
            token: self.token,
            retry: self.retry,
        }
    }

    /// How long a request or a notification may take, retries included, or a subscription until
    /// its next item; instead of [`request_timeout`](ClientOptions::request_timeout).
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// What gives the call up.
    pub fn token(self, token: &CancelToken) -> Self {
        Self { token: Some(token.clone()), ..self }
    }

    /// What is done about lost connections; a number is a limit. Instead of
    /// [`retry`](ClientOptions::retry).
    pub fn retry(self, retry: impl Into<Retry>) -> Self {
        Self { retry: retry.into(), ..self }
    }

    /// Waits for the result.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn request<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let deadline = self.timeout_or_default().and_then(clock::after);
        let mut plan = self.plan()?;
        loop {
            let attempt = plan.begin(Shape::Request, Capacity::ONE);
            let found = match &attempt {
                Ok(attempt) => attempt.take(deadline),
                Err(error) => Found::End(Err(error.clone())),
            };
            match found {
                Found::Item(json) => return wire::decode(&json),
                Found::End(Err(ClientError::Connection(error))) => plan.wait(error, deadline)?,
                Found::End(Err(error)) => return Err(error),
                // An answer comes before the end.
                Found::End(Ok(())) => return wire::decode("null"),
                Found::Nothing => return Err(ClientError::Timeout),
            }
        }
    }

    /// Sends it as a notification.
    ///
    /// # Errors
    /// As [`Client::notify`].
    pub fn notify(self) -> Result<(), ClientError> {
        let deadline = self.timeout_or_default().and_then(clock::after);
        let mut plan = self.plan()?;
        loop {
            match plan.notify(deadline) {
                Err(ClientError::Connection(error)) => plan.wait(error, deadline)?,
                result => return result,
            }
        }
    }

    /// Begins the stream.
    ///
    /// # Errors
    /// As [`Client::subscribe`].
    pub fn subscribe<T: DeserializeOwned>(self) -> Result<Subscription<T>, ClientError> {
        let timeout = self.timeout;
        let options = &self.client.inner.pool.settings.options;
        let capacity = Capacity {
            items_max: options.stream_items_max,
            bytes_max: options.stream_bytes_max,
            overflow: options.stream_overflow,
        };
        Subscription::begin(self.plan()?, capacity, timeout)
    }

    fn timeout_or_default(&self) -> Option<Duration> {
        let default = self.client.inner.pool.settings.options.request_timeout;
        self.timeout.or_else(|| default.filter(|time| !time.is_zero()))
    }

    fn plan(self) -> Result<Plan, ClientError> {
        let pool = Arc::clone(&self.client.inner.pool);
        let arguments = wire::arguments(&self.arguments)?;
        // What stands around method and arguments is shorter than this.
        let bytes = self.method.len() + arguments.len() + 64;
        if bytes > pool.settings.options.message_bytes_max {
            let message = format!("{bytes} bytes are more than `message_bytes_max`");
            return Err(ClientError::Arguments(message));
        }
        let closes = pool.closes.load(Ordering::SeqCst);
        Ok(Plan {
            pool,
            method: self.method.to_owned(),
            arguments,
            token: self.token,
            retry: self.retry,
            retries: 0,
            closes,
        })
    }
}

//! An HTTP service that answers for identities and rooms.
//!
//! Every question is one POST of JSON; what is asked and answered:
//!
//! ```text
//! {"kind":"authenticate","token":"...","data":...,
//!  "connection":{"id":"...","ip":"...","path":"...","headers":[["name","value"],...]}}
//!   200 {"user_id":"ada","claims":{...},"expires_in":3600}   user_id null: anonymous
//! {"kind":"rooms","user_id":"ada","claims":{...},"rooms":["a","b"]}
//!   200 {"rooms":["a"]}                                      those that may be joined
//! ```
//!
//! `claims` and `expires_in` (seconds) may be left out of an answer. 401 and 403 mean no; any
//! other status, and an answer that cannot be read, counts as [`Refusal::Unavailable`]. Questions
//! wait in a bounded queue for one of a fixed number of threads, so the caller never waits. A
//! question is sent again, once, only if no byte of it was sent the first time.
mod wire;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    Attempt, Identity, Refusal, SetupError,
    pool::{HttpAnswer, Pool, PoolOptions, Service, Unanswered},
};

/// Longest token that is passed on, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Longest credential that is passed on, in bytes.
pub const DATA_BYTES_MAX: usize = 64 * 1024;

/// Longest answer, in bytes.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Most rooms in one question.
pub const ROOMS_MAX: usize = 1000;

/// How a callback is called.
#[derive(Clone)]
#[non_exhaustive]
pub struct CallbackOptions {
    /// Where questions are sent: https, or http (which is for private networks: tokens go over
    /// it).
    pub url: String,
    /// From the question to the last byte of the answer, waiting in the queue included. Default
    /// 2 s.
    pub timeout: Duration,
    /// Threads, and so questions under way at once. Default 16, 1 to 256.
    pub concurrency_max: usize,
    /// Questions that may wait for a thread. Default 1024.
    pub queue_max: usize,
    /// Value of an `authorization` header, such as `Bearer SECRET`: lets the service know that it
    /// is us. Default none.
    pub authorization: Option<String>,
    /// Names of header fields of the upgrade request that are passed on. Default none.
    pub headers: Vec<String>,
    /// Authorities to trust instead of the web's, in PEM. Default none.
    pub certificates: Option<String>,
}

impl CallbackOptions {
    /// The defaults with this URL.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            timeout: Duration::from_secs(2),
            concurrency_max: 16,
            queue_max: 1024,
            authorization: None,
            headers: Vec::new(),
            certificates: None,
        }
    }
}

impl fmt::Debug for CallbackOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CallbackOptions")
            .field("url", &self.url)
            .field("timeout", &self.timeout)
            .field("concurrency_max", &self.concurrency_max)
            .field("queue_max", &self.queue_max)
            .field("authorization", &self.authorization.is_some())
            .finish_non_exhaustive()
    }
}

/// Numbers for metrics, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallbackStatus {
    /// Questions that wait for a thread now.
    pub queued: usize,
    /// Questions that were sent.
    pub sent: u64,
    /// Questions that were sent a second time.
    pub retried: u64,
    /// Questions that got no usable answer in time.
    pub unavailable: u64,
    /// Questions for which there was no room in the queue, or no thread in time.
    pub busy: u64,
}

/// A pool of threads that ask one HTTP service. Dropping it ends the threads, each after the
/// question that it is at; questions that wait are answered with [`Refusal::Unavailable`].
pub struct Callbacks {
    pool: Pool,
    service: Arc<Service>,
    options: CallbackOptions,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    unavailable: AtomicU64,
    busy: AtomicU64,
}

impl Callbacks {
    /// Starts the threads.
    ///
    /// # Errors
    /// A bad URL, header value, certificate or number; no threads to be had.
    pub fn start(options: CallbackOptions) -> Result<Self, SetupError> {
        let service = Service::new(&options.url, options.authorization.as_deref())?;
        let pool = Pool::start(PoolOptions {
            timeout: options.timeout,
            concurrency_max: options.concurrency_max,
            queue_max: options.queue_max,
            answer_bytes_max: ANSWER_BYTES_MAX,
            certificates: options.certificates.clone(),
        })?;
        Ok(Self { pool, service: Arc::new(service), options, counts: Arc::default() })
    }

    /// Asks who a client is. Never blocks; `done` is called exactly once: on a thread of the pool,
    /// or before this returns if the question cannot be put. It must not block for long, and a
    /// panic in it ends nothing but itself.
    ///
    /// Refusals: [`Refusal::TooLong`], [`Refusal::Malformed`] (data that is no JSON),
    /// [`Refusal::Denied`], [`Refusal::Unavailable`], [`Refusal::Busy`].
    pub fn authenticate(
        &self,
        attempt: &Attempt<'_>,
        done: impl FnOnce(Result<Identity, Refusal>) + Send + 'static,
    ) {
        if attempt.token.len() > TOKEN_BYTES_MAX || attempt.data.len() > DATA_BYTES_MAX {
            return done(Err(Refusal::TooLong));
        }
        let now = attempt.now;
        match wire::ask_authenticate(attempt, &self.options.headers) {
            Ok(question) => self.submit(question, move |text| wire::read_identity(text, now), done),
            Err(refusal) => done(Err(refusal)),
        }
    }

    /// Asks which of `rooms` may be joined. As [`Callbacks::authenticate`]; too many rooms are
    /// [`Refusal::TooLong`].
    pub fn rooms(
        &self,
        identity: Option<&Identity>,
        rooms: &[&str],
        done: impl FnOnce(Result<Vec<Box<str>>, Refusal>) + Send + 'static,
    ) {
        if rooms.len() > ROOMS_MAX {
            return done(Err(Refusal::TooLong));
        }
        match wire::ask_rooms(identity, rooms) {
            Ok(question) => {
                let asked = rooms.iter().map(|&room| room.into()).collect();
                self.submit(question, move |text| wire::read_rooms(text, asked), done);
            }
            Err(refusal) => done(Err(refusal)),
        }
    }

    /// Numbers for metrics.
    pub fn status(&self) -> CallbackStatus {
        let pool = self.pool.status();
        CallbackStatus {
            queued: pool.queued,
            sent: pool.sent,
            retried: pool.retried,
            unavailable: self.counts.unavailable.load(Ordering::Relaxed),
            busy: self.counts.busy.load(Ordering::Relaxed),
        }
    }

    /// Ends the threads and waits for them: at most the timeout of a question.
    pub fn close(self) {
        self.pool.close();
    }

    fn submit<T: 'static>(
        &self,
        question: String,
        read: impl FnOnce(&str) -> Result<T, Refusal> + Send + 'static,
        done: impl FnOnce(Result<T, Refusal>) + Send + 'static,
    ) {
        let counts = Arc::clone(&self.counts);
        let is_wanted = || true;
        self.pool.post(&self.service, question, is_wanted, move |answer| {
            let result = text_of(answer).and_then(|text| read(&text));
            match result {
                Err(Refusal::Unavailable) => counts.unavailable.fetch_add(1, Ordering::Relaxed),
                Err(Refusal::Busy) => counts.busy.fetch_add(1, Ordering::Relaxed),
                _ => 0,
            };
            done(result);
        });
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Callbacks")
            .field("options", &self.options)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// What a service that agrees has said.
fn text_of(answer: Result<HttpAnswer, Unanswered>) -> Result<String, Refusal> {
    let answer = answer.map_err(|why| match why {
        Unanswered::Busy => Refusal::Busy,
        _ => Refusal::Unavailable,
    })?;
    match (answer.status, answer.body) {
        (200, Ok(body)) => String::from_utf8(body).map_err(|_| Refusal::Unavailable),
        // What a refusal says besides is not needed.
        (401 | 403, _) => Err(Refusal::Denied),
        _ => Err(Refusal::Unavailable),
    }
}

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
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use ureq::{Agent, http::HeaderValue};

use crate::{Attempt, Identity, Refusal, SetupError, clock::Stopwatch, http};

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
    /// `None` once it is closing.
    queue: Option<Sender<Job>>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

type Finish = Box<dyn FnOnce(Result<String, Refusal>) + Send>;

struct Job {
    question: String,
    waiting: Stopwatch,
    answer: Answer,
}

/// Sees to it that a question is answered exactly once, whatever becomes of the job.
struct Answer(Option<Finish>);

struct Shared {
    agent: Agent,
    options: CallbackOptions,
    authorization: Option<HeaderValue>,
    is_closing: AtomicBool,
    sent: AtomicU64,
    retried: AtomicU64,
    unavailable: AtomicU64,
    busy: AtomicU64,
}

impl Callbacks {
    /// Starts the threads.
    ///
    /// # Errors
    /// A bad URL, header value, certificate or number; no threads to be had.
    pub fn start(options: CallbackOptions) -> Result<Self, SetupError> {
        http::check_url(&options.url, true)?;
        if !(1..=256).contains(&options.concurrency_max) {
            return Err(SetupError::new("concurrency_max", "must be 1 to 256"));
        }
        let authorization = match options.authorization.as_deref().map(HeaderValue::from_str) {
            None => None,
            Some(Ok(value)) => Some(value),
            Some(Err(_)) => {
                return Err(SetupError::new("authorization", "has forbidden characters"));
            }
        };
        let count = options.concurrency_max;
        let agent = http::agent(options.timeout, count, options.certificates.as_deref())?;
        let (queue, jobs) = bounded(options.queue_max.max(1));
        let shared = Arc::new(Shared {
            agent,
            options,
            authorization,
            is_closing: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            unavailable: AtomicU64::new(0),
            busy: AtomicU64::new(0),
        });
        let mut pool = Self { queue: Some(queue), shared, threads: Vec::with_capacity(count) };
        for _ in 0..count {
            let (jobs, shared) = (jobs.clone(), Arc::clone(&pool.shared));
            let thread = thread::Builder::new()
                .name("fulmar-callback".to_owned())
                .spawn(move || work(&jobs, &shared))
                .map_err(|error| {
                    SetupError::new("concurrency_max", format!("no thread: {error}"))
                })?;
            pool.threads.push(thread);
        }
        Ok(pool)
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
        match wire::ask_authenticate(attempt, &self.shared.options.headers) {
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
        CallbackStatus {
            queued: self.queue.as_ref().map_or(0, Sender::len),
            sent: self.shared.sent.load(Ordering::Relaxed),
            retried: self.shared.retried.load(Ordering::Relaxed),
            unavailable: self.shared.unavailable.load(Ordering::Relaxed),
            busy: self.shared.busy.load(Ordering::Relaxed),
        }
    }

    /// Ends the threads and waits for them: at most the timeout of a question.
    pub fn close(mut self) {
        self.stop();
        for thread in self.threads.drain(..) {
            // A panic in a thread was reported when it happened.
            let _ = thread.join();
        }
    }

    fn submit<T: 'static>(
        &self,
        question: String,
        read: impl FnOnce(&str) -> Result<T, Refusal> + Send + 'static,
        done: impl FnOnce(Result<T, Refusal>) + Send + 'static,
    ) {
        let shared = Arc::clone(&self.shared);
        let answer = Answer(Some(Box::new(move |text| {
            let result = text.and_then(|text| read(&text));
            match result {
                Err(Refusal::Unavailable) => shared.unavailable.fetch_add(1, Ordering::Relaxed),
                Err(Refusal::Busy) => shared.busy.fetch_add(1, Ordering::Relaxed),
                _ => 0,
            };
            done(result);
        })));
        let job = Job { question, waiting: Stopwatch::start(), answer };
        let Some(queue) = &self.queue else { return job.answer.give(Err(Refusal::Unavailable)) };
        match queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => job.answer.give(Err(Refusal::Busy)),
            Err(TrySendError::Disconnected(job)) => job.answer.give(Err(Refusal::Unavailable)),
        }
    }

    fn stop(&mut self) {
        self.shared.is_closing.store(true, Ordering::Relaxed);
        self.queue = None;
    }
}

impl Drop for Callbacks {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Callbacks")
            .field("options", &self.shared.options)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Answer {
    fn give(mut self, result: Result<String, Refusal>) {
        if let Some(finish) = self.0.take() {
            finish(result);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(finish) = self.0.take() {
            finish(Err(Refusal::Unavailable));
        }
    }
}

fn work(jobs: &Receiver<Job>, shared: &Shared) {
    while let Ok(job) = jobs.recv() {
        // A panicking `done` must not cost the pool a thread.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let Job { question, waiting, answer } = job;
            answer.give(shared.ask(&question, waiting));
        }));
    }
}

/// What became of one attempt to ask.
enum Failure {
    /// No byte was sent: trying again is safe.
    Unsent,
    Final(Refusal),
}

impl Shared {
    fn ask(&self, question: &str, waiting: Stopwatch) -> Result<String, Refusal> {
        match self.attempt(question, waiting) {
            Ok(text) => return Ok(text),
            Err(Failure::Final(refusal)) => return Err(refusal),
            Err(Failure::Unsent) => {}
        }
        self.retried.fetch_add(1, Ordering::Relaxed);
        self.attempt(question, waiting).map_err(|failure| match failure {
            // The time was spent on trying, not on waiting for a thread.
            Failure::Unsent | Failure::Final(Refusal::Busy) => Refusal::Unavailable,
            Failure::Final(refusal) => refusal,
        })
    }

    fn attempt(&self, question: &str, waiting: Stopwatch) -> Result<String, Failure> {
        if self.is_closing.load(Ordering::Relaxed) {
            return Err(Failure::Final(Refusal::Unavailable));
        }
        // Below a millisecond nothing can come back.
        let left = self.options.timeout.saturating_sub(waiting.elapsed());
        if left < Duration::from_millis(1) {
            return Err(Failure::Final(Refusal::Busy));
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        match self.post(question, left) {
            Ok((200, body)) => {
                String::from_utf8(body).map_err(|_| Failure::Final(Refusal::Unavailable))
            }
            Ok((401 | 403, _)) => Err(Failure::Final(Refusal::Denied)),
            Err(error) if http::is_unsent(&error) => Err(Failure::Unsent),
            Ok(_) | Err(_) => Err(Failure::Final(Refusal::Unavailable)),
        }
    }

    fn post(&self, question: &str, left: Duration) -> Result<(u16, Vec<u8>), ureq::Error> {
        let mut request = self.agent.post(&self.options.url);
        if let Some(value) = &self.authorization {
            request = request.header("authorization", value);
        }
        let mut response = request
            .header("content-type", "application/json")
            .config()
            .timeout_global(Some(left))
            .build()
            .send(question)?;
        let limit = u64::try_from(ANSWER_BYTES_MAX).unwrap_or(u64::MAX);
        let status = response.status().as_u16();
        // Read whatever the status, so that the connection can be used again.
        let body = response.body_mut().with_config().limit(limit).read_to_vec();
        // What a refusal says besides is not needed.
        if status == 200 { Ok((status, body?)) } else { Ok((status, Vec::new())) }
    }
}

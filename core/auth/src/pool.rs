//! Threads that send JSON to HTTP services and hand over what those answer.
//!
//! Requests wait in a bounded queue for one of a fixed number of threads, so whoever has one to
//! make never waits. One is sent again, once, only if no byte of it was sent the first time.
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

use crate::{SetupError, clock::Stopwatch, http};

/// How a pool asks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolOptions {
    /// From the request to the last byte of the answer, waiting in the queue included. Default
    /// 2 s.
    pub timeout: Duration,
    /// Threads, and so requests under way at once. Default 16, 1 to 256.
    pub concurrency_max: usize,
    /// Requests that may wait for a thread. Default 1024.
    pub queue_max: usize,
    /// Longest answer, in bytes. Default 64 KiB.
    pub answer_bytes_max: usize,
    /// Authorities to trust instead of the web's, in PEM. Default none.
    pub certificates: Option<String>,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(2),
            concurrency_max: 16,
            queue_max: 1024,
            answer_bytes_max: 64 * 1024,
            certificates: None,
        }
    }
}

/// Where requests go, and what they have besides their body.
#[derive(Clone)]
pub struct Service {
    url: String,
    authorization: Option<HeaderValue>,
}

impl Service {
    /// The service at a URL: https, or http (which is for private networks). `authorization` is the
    /// value of that header, such as `Bearer SECRET`.
    ///
    /// # Errors
    /// A bad URL or header value.
    pub fn new(url: &str, authorization: Option<&str>) -> Result<Self, SetupError> {
        http::check_url(url, true)?;
        let authorization = match authorization.map(HeaderValue::from_str) {
            None => None,
            Some(Ok(value)) => Some(value),
            Some(Err(_)) => {
                return Err(SetupError::new("authorization", "has forbidden characters"));
            }
        };
        Ok(Self { url: url.to_owned(), authorization })
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Service")
            .field("url", &self.url)
            .field("authorization", &self.authorization.is_some())
            .finish()
    }
}

/// What a service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Of the answer (RFC 9110, 15).
    pub status: u16,
    /// The usual words for the status; empty where there are none.
    pub reason: &'static str,
    /// The content, or why there is no whole one.
    pub body: Result<Vec<u8>, Unanswered>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// No room in the queue, or no thread in time.
    Busy,
    /// It took too long.
    TimedOut,
    /// Nothing could be sent: there is no such host, or it refuses.
    Unreachable,
    /// The answer is longer than the limit.
    TooLong,
    /// The connection broke, or what came is not HTTP.
    Broken,
    /// Nobody wanted it any more when a thread came to it; nothing was sent.
    Unwanted,
    /// The pool is closing.
    Closing,
}

/// Numbers for metrics, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStatus {
    /// Requests that wait for a thread now.
    pub queued: usize,
    /// Requests that were sent.
    pub sent: u64,
    /// Requests that were sent a second time.
    pub retried: u64,
}

/// The threads. Dropping it ends them, each after the request that it is at; requests that wait are
/// [`Unanswered::Closing`].
pub struct Pool {
    /// `None` once it is closing.
    queue: Option<Sender<Job>>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

type Finish = Box<dyn FnOnce(Result<HttpAnswer, Unanswered>) + Send>;

struct Job {
    service: Arc<Service>,
    body: String,
    is_wanted: Box<dyn Fn() -> bool + Send>,
    waiting: Stopwatch,
    answer: Answer,
}

/// Sees to it that a request is answered exactly once, whatever becomes of the job.
struct Answer(Option<Finish>);

struct Shared {
    agent: Agent,
    options: PoolOptions,
    is_closing: AtomicBool,
    sent: AtomicU64,
    retried: AtomicU64,
}

impl Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// A bad certificate or number; no threads to be had.
    pub fn start(options: PoolOptions) -> Result<Self, SetupError> {
        if !(1..=256).contains(&options.concurrency_max) {
            return Err(SetupError::new("concurrency_max", "must be 1 to 256"));
        }
        let count = options.concurrency_max;
        let agent = http::agent(options.timeout, count, options.certificates.as_deref())?;
        let (queue, jobs) = bounded(options.queue_max.max(1));
        let shared = Arc::new(Shared {
            agent,
            options,
            is_closing: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            retried: AtomicU64::new(0),
        });
        let mut pool = Self { queue: Some(queue), shared, threads: Vec::with_capacity(count) };
        for _ in 0..count {
            let (jobs, shared) = (jobs.clone(), Arc::clone(&pool.shared));
            let thread = thread::Builder::new()
                .name("fulmar-http".to_owned())
                .spawn(move || work(&jobs, &shared))
                .map_err(|error| {
                    SetupError::new("concurrency_max", format!("no thread: {error}"))
                })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Sends this JSON, if it is still wanted when a thread comes to it. Never blocks; `done` is
    /// called exactly once: on a thread of the pool, or before this returns if there is no room in
    /// the queue. It must not block for long, and a panic in it ends nothing but itself.
    pub fn post(
        &self,
        service: &Arc<Service>,
        body: String,
        is_wanted: impl Fn() -> bool + Send + 'static,
        done: impl FnOnce(Result<HttpAnswer, Unanswered>) + Send + 'static,
    ) {
        let answer = Answer(Some(Box::new(done)));
        let job = Job {
            service: Arc::clone(service),
            body,
            is_wanted: Box::new(is_wanted),
            waiting: Stopwatch::start(),
            answer,
        };
        let Some(queue) = &self.queue else { return job.answer.give(Err(Unanswered::Closing)) };
        match queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => job.answer.give(Err(Unanswered::Busy)),
            Err(TrySendError::Disconnected(job)) => job.answer.give(Err(Unanswered::Closing)),
        }
    }

    /// Numbers for metrics.
    pub fn status(&self) -> PoolStatus {
        PoolStatus {
            queued: self.queue.as_ref().map_or(0, Sender::len),
            sent: self.shared.sent.load(Ordering::Relaxed),
            retried: self.shared.retried.load(Ordering::Relaxed),
        }
    }

    /// Ends the threads and waits for them: at most the timeout of a request.
    pub fn close(mut self) {
        self.stop();
        for thread in self.threads.drain(..) {
            // A panic in a thread was reported when it happened.
            let _ = thread.join();
        }
    }

    fn stop(&mut self) {
        self.shared.is_closing.store(true, Ordering::Relaxed);
        self.queue = None;
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pool")
            .field("options", &self.shared.options)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Answer {
    fn give(mut self, result: Result<HttpAnswer, Unanswered>) {
        if let Some(finish) = self.0.take() {
            finish(result);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(finish) = self.0.take() {
            finish(Err(Unanswered::Closing));
        }
    }
}

fn work(jobs: &Receiver<Job>, shared: &Shared) {
    while let Ok(job) = jobs.recv() {
        // A panicking `done` must not cost the pool a thread.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let Job { service, body, is_wanted, waiting, answer } = job;
            answer.give(if is_wanted() {
                shared.ask(&service, &body, waiting)
            } else {
                Err(Unanswered::Unwanted)
            });
        }));
    }
}

impl Shared {
    fn ask(
        &self,
        service: &Service,
        body: &str,
        waiting: Stopwatch,
    ) -> Result<HttpAnswer, Unanswered> {
        match self.attempt(service, body, waiting) {
            Err(Unanswered::Unreachable) => {}
            result => return result,
        }
        self.retried.fetch_add(1, Ordering::Relaxed);
        match self.attempt(service, body, waiting) {
            // The time was spent on trying, not on waiting for a thread.
            Err(Unanswered::Busy) => Err(Unanswered::Unreachable),
            result => result,
        }
    }

    fn attempt(
        &self,
        service: &Service,
        body: &str,
        waiting: Stopwatch,
    ) -> Result<HttpAnswer, Unanswered> {
        if self.is_closing.load(Ordering::Relaxed) {
            return Err(Unanswered::Closing);
        }
        // Below a millisecond nothing can come back.
        let left = self.options.timeout.saturating_sub(waiting.elapsed());
        if left < Duration::from_millis(1) {
            return Err(Unanswered::Busy);
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.post(service, body, left).map_err(|error| why(&error))
    }

    fn post(
        &self,
        service: &Service,
        body: &str,
        left: Duration,
    ) -> Result<HttpAnswer, ureq::Error> {
        let mut request = self.agent.post(&service.url);
        if let Some(value) = &service.authorization {
            request = request.header("authorization", value);
        }
        let mut response = request
            .header("content-type", "application/json")
            .config()
            .timeout_global(Some(left))
            .build()
            .send(body)?;
        let status = response.status();
        let limit = u64::try_from(self.options.answer_bytes_max).unwrap_or(u64::MAX);
        // Read whatever the status, so that the connection can be used again.
        let body = response.body_mut().with_config().limit(limit).read_to_vec();
        Ok(HttpAnswer {
            status: status.as_u16(),
            reason: status.canonical_reason().unwrap_or_default(),
            // Something has been sent: nothing about the content leads to a second attempt.
            body: body.map_err(|error| match why(&error) {
                Unanswered::Unreachable => Unanswered::Broken,
                other => other,
            }),
        })
    }
}

fn why(error: &ureq::Error) -> Unanswered {
    match error {
        error if http::is_unsent(error) => Unanswered::Unreachable,
        ureq::Error::Timeout(_) => Unanswered::TimedOut,
        ureq::Error::BodyExceedsLimit(_) => Unanswered::TooLong,
        _ => Unanswered::Broken,
    }
}

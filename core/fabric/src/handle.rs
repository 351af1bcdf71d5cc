//! A node's end of the fabric.

use std::fmt;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::join;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::link::{first, stopped};
use crate::options::{Options, StartPolicy, Subscriptions};
use crate::port::{Counters, Inbox, Parcel, Status, Topic};
use crate::publisher::{FLUSH_TIME, Publisher, Queued};
use crate::status::{Shared, count};
use crate::subscriber::{Change, Subscriber};

/// Beyond the time for flushing, what saying goodbye may take.
const GOODBYE_TIME: Duration = Duration::from_millis(500);

/// The Redis fabric of one node: one thread, two connections. Clones are handles to the same; when
/// the last one is dropped the fabric stops.
#[derive(Clone)]
pub struct Fabric {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    queue: UnboundedSender<Queued>,
    changes: UnboundedSender<Change>,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Fabric {
    /// Starts the thread `fulmar-fabric`. `server_id` names this node in what it sends, see
    /// [`server_id()`](crate::server_id); what carries it is not received.
    ///
    /// # Errors
    /// An option is wrong, the thread cannot be started, or, by [`StartPolicy::Wait`], Redis did
    /// not become ready in time.
    pub fn start(
        options: Options,
        server_id: &str,
        inbox: Arc<dyn Inbox>,
    ) -> Result<Self, StartError> {
        let addresses = options.addresses()?;
        let start = options.start;
        let shared = Arc::new(Shared::new(options, server_id.to_owned(), addresses));
        let (stop, stopping) = watch::channel(false);
        let (queue, queued) = unbounded_channel();
        let (changes, changed) = unbounded_channel();
        let publisher = Publisher::new(Arc::clone(&shared), queued, stopping.clone());
        let subscriber = Subscriber::new(Arc::clone(&shared), changed, stopping.clone(), inbox);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StartError::Thread)?;
        // 128 levels of JSON take 64 KiB, but several MiB where the parser is built unoptimised.
        let builder = std::thread::Builder::new().name("fulmar-fabric".into()).stack_size(8 << 20);
        let thread = builder.spawn(move || {
            let work = join(publisher.run(), subscriber.run());
            let _ = runtime.block_on(first(work, overdue(stopping)));
            // Not by dropping it, which would wait for a name being looked up.
            runtime.shutdown_background();
        });
        let thread = Mutex::new(Some(thread.map_err(StartError::Thread)?));
        let fabric = Self { inner: Arc::new(Inner { shared, queue, changes, stop, thread }) };
        if let StartPolicy::Wait(limit) = start
            && !fabric.wait_until_ready(limit)
        {
            fabric.stop();
            return Err(fabric.not_ready(limit));
        }
        Ok(fabric)
    }

    /// Sends letters to the other nodes. Any thread; never blocks and takes no lock. Letters that
    /// cannot be sent are dropped and counted, see [`Counters`].
    pub fn publish(&self, parcel: Box<dyn Parcel>) {
        let Inner { shared, queue, .. } = &*self.inner;
        let (letters, bytes) = (parcel.letters(), parcel.bytes());
        if letters == 0 {
            return;
        }
        let before = shared.queued.fetch_add(letters, Relaxed);
        let bytes_before = shared.queued_bytes.fetch_add(bytes, Relaxed);
        let fits = before.saturating_add(letters) <= shared.options.queue_max
            && bytes_before.saturating_add(bytes) <= shared.options.queue_bytes_max;
        let tally = if !fits {
            &shared.tallies.dropped_queue
        } else if queue.send(Queued { parcel, letters, bytes }).is_err() {
            &shared.tallies.lost_disconnected // stopped
        } else {
            return;
        };
        shared.queued.fetch_sub(letters, Relaxed);
        shared.queued_bytes.fetch_sub(bytes, Relaxed);
        count(tally, letters);
    }

    /// Notes that this node wants what is sent to `topic`. Counts: each call is undone by one
    /// [`unsubscribe`](Self::unsubscribe). Any thread; never blocks and is never refused, also
    /// while Redis is away. Nothing to do with [`Subscriptions::Patterns`].
    pub fn subscribe(&self, topic: Topic) {
        self.change(Change::Subscribe(topic));
    }

    /// Undoes one [`subscribe`](Self::subscribe). The channel is left after the linger time, so
    /// that a room emptied and filled again costs nothing.
    pub fn unsubscribe(&self, topic: Topic) {
        self.change(Change::Unsubscribe(topic));
    }

    /// The present condition.
    #[must_use]
    pub fn status(&self) -> Status {
        self.inner.shared.status()
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner.shared.counters()
    }

    /// Waits until both connections can be used; `false` if that takes longer than `limit`.
    #[must_use]
    pub fn wait_until_ready(&self, limit: Duration) -> bool {
        self.inner.shared.wait_until_ready(limit)
    }

    /// Publishes what waits, within a second, says goodbye to Redis and ends the thread. What is
    /// published afterwards is lost. Blocks for at most 1.5 s; from the fabric's own thread it
    /// returns at once.
    pub fn stop(&self) {
        let _ = self.inner.stop.send(true);
        let mut thread = self.inner.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let own = thread
            .as_ref()
            .is_some_and(|thread| thread.thread().id() == std::thread::current().id());
        if !own && let Some(thread) = thread.take() {
            // A panic was reported by the thread itself.
            let _ = thread.join();
        }
    }

    fn change(&self, change: Change) {
        let Inner { shared, changes, .. } = &*self.inner;
        if shared.options.subscriptions != Subscriptions::Patterns {
            // Refused only once stopped, when interest has no meaning.
            let _ = changes.send(change);
        }
    }

    fn not_ready(&self, limit: Duration) -> StartError {
        let shared = &self.inner.shared;
        let why =
            shared.trouble().map_or_else(|| shared.addresses().labels(), |why| (*why).to_owned());
        StartError::NotReady { waited: limit, why }
    }
}

impl fmt::Debug for Fabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fabric").field(&self.status()).finish()
    }
}

/// Completes when a stop has taken too long.
async fn overdue(mut stop: watch::Receiver<bool>) {
    stopped(&mut stop).await;
    sleep(FLUSH_TIME + GOODBYE_TIME).await;
}

/// Why a fabric did not start. Texts never contain passwords.
#[derive(Debug)]
pub enum StartError {
    /// An option has a senseless value.
    Option(&'static str),
    /// An address cannot be used.
    Address {
        /// Its place in `urls`, from 0.
        index: usize,
        /// The reason.
        why: String,
    },
    /// Redis was not there in time.
    NotReady {
        /// How long was waited.
        waited: Duration,
        /// What was tried, and what came of it.
        why: String,
    },
    /// The system gave no thread, or none of what it needs.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(why) => f.write_str(why),
            Self::Address { index, why } => write!(f, "Redis address {}: {why}", index + 1),
            Self::NotReady { waited, why } => {
                let waited = waited.as_millis();
                write!(f, "Redis did not become ready within {waited} ms ({why})")
            }
            Self::Thread(error) => write!(f, "cannot start the fabric's thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Thread(error) => Some(error),
            Self::Option(_) | Self::Address { .. } | Self::NotReady { .. } => None,
        }
    }
}

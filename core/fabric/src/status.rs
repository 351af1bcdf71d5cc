//! What a fabric's handle and its thread share.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::address::{Address, Addresses};
use crate::clock;
use crate::options::{Event, Link, Options};
use crate::port::{Counters, Status};

/// The live form of [`Counters`].
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    pub(crate) published: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) dropped_inbox: AtomicU64,
    pub(crate) own_skipped: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) dropped_queue: AtomicU64,
    pub(crate) dropped_size: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) lost_disconnected: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    pub(crate) subscriptions: AtomicU64,
    /// Anything that Redis pushed: a sign of life.
    pub(crate) pushes: AtomicU64,
}

/// A count of things in memory fits in 64 bits.
pub(crate) fn count(tally: &AtomicU64, amount: usize) {
    tally.fetch_add(u64::try_from(amount).unwrap_or(u64::MAX), Relaxed);
}

/// What handles and tasks share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) server_id: String,
    pub(crate) tallies: Tallies,
    /// Letters and bytes that wait for the publisher.
    pub(crate) queued: AtomicUsize,
    pub(crate) queued_bytes: AtomicUsize,
    addresses: Mutex<Addresses>,
    links: Mutex<Links>,
    changed: Condvar,
}

struct Links {
    publisher: LinkState,
    subscriber: LinkState,
    since: Instant,
    trouble: Option<Arc<str>>,
}

#[derive(Default)]
struct LinkState {
    address: Option<Arc<str>>,
    was_up: bool,
}

impl Links {
    fn is_ready(&self) -> bool {
        self.publisher.address.is_some() && self.subscriber.address.is_some()
    }

    fn of(&mut self, link: Link) -> &mut LinkState {
        match link {
            Link::Publisher => &mut self.publisher,
            Link::Subscriber => &mut self.subscriber,
        }
    }
}

impl Shared {
    pub(crate) fn new(options: Options, server_id: String, addresses: Vec<Address>) -> Self {
        Self {
            options,
            server_id,
            tallies: Tallies::default(),
            queued: AtomicUsize::new(0),
            queued_bytes: AtomicUsize::new(0),
            addresses: Mutex::new(Addresses::new(addresses)),
            links: Mutex::new(Links {
                publisher: LinkState::default(),
                subscriber: LinkState::default(),
                since: clock::now(),
                trouble: None,
            }),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn addresses(&self) -> MutexGuard<'_, Addresses> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn observe(&self, event: Event) {
        if let Some(observe) = &self.options.observe {
            observe(event);
        }
    }

    pub(crate) fn up(&self, link: Link, address: &Arc<str>) {
        let mut links = self.links();
        let state = links.of(link);
        state.address = Some(Arc::clone(address));
        if std::mem::replace(&mut state.was_up, true) {
            count(&self.tallies.reconnects, 1);
        }
        if links.is_ready() {
            links.since = clock::now();
            links.trouble = None;
            self.changed.notify_all();
        }
        drop(links);
        self.observe(Event::Connected { link, address: Arc::clone(address) });
    }

    /// `why` is `None` when the fabric stops.
    pub(crate) fn down(&self, link: Link, address: &Arc<str>, why: Option<&str>) {
        let mut links = self.links();
        if links.is_ready() {
            links.since = clock::now();
        }
        links.of(link).address = None;
        if let Some(why) = why {
            links.trouble = Some(format!("{address}: {why}").into());
        }
        drop(links);
        let why = Arc::from(why.unwrap_or("stopped"));
        self.observe(Event::Disconnected { link, address: Arc::clone(address), why });
    }

    pub(crate) fn waiting(&self, link: Link, why: &str, pause: Duration) {
        let why = Arc::from(why);
        self.links().trouble = Some(Arc::clone(&why));
        self.observe(Event::Waiting { link, why, pause });
    }

    /// Whether both links could be used within this time.
    pub(crate) fn wait_until_ready(&self, limit: Duration) -> bool {
        let links = self.links();
        let waited = self.changed.wait_timeout_while(links, limit, |links| !links.is_ready());
        waited.unwrap_or_else(PoisonError::into_inner).0.is_ready()
    }

    pub(crate) fn trouble(&self) -> Option<Arc<str>> {
        self.links().trouble.clone()
    }

    pub(crate) fn status(&self) -> Status {
        let links = self.links();
        Status {
            publisher: links.publisher.address.is_some(),
            subscriber: links.subscriber.address.is_some(),
            publisher_address: links.publisher.address.clone(),
            subscriber_address: links.subscriber.address.clone(),
            since: clock::now().saturating_duration_since(links.since),
            trouble: links.trouble.clone(),
            counters: self.counters(),
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        let tallies = &self.tallies;
        Counters {
            published: tallies.published.load(Relaxed),
            received: tallies.received.load(Relaxed),
            dropped_inbox: tallies.dropped_inbox.load(Relaxed),
            own_skipped: tallies.own_skipped.load(Relaxed),
            malformed: tallies.malformed.load(Relaxed),
            dropped_queue: tallies.dropped_queue.load(Relaxed),
            dropped_size: tallies.dropped_size.load(Relaxed),
            refused: tallies.refused.load(Relaxed),
            lost_disconnected: tallies.lost_disconnected.load(Relaxed),
            reconnects: tallies.reconnects.load(Relaxed),
            subscriptions: tallies.subscriptions.load(Relaxed),
        }
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

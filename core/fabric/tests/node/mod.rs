//! A node for tests: a fabric with an inbox that keeps what it gets.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "this is a part of tests")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fulmar_fabric::{
    Event, Fabric, Inbox, Kind, Letter, Options, Parcel, Received, StartPolicy, Subscriptions,
    server_id,
};

use crate::redis::until;

/// What a node received, in order.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    all: Mutex<Vec<Received>>,
}

impl Inbox for Kept {
    fn receive(&self, received: Received) -> bool {
        self.all.lock().unwrap().push(received);
        true
    }
}

/// A fabric and what it received.
pub(crate) struct Node {
    pub(crate) fabric: Fabric,
    pub(crate) id: String,
    pub(crate) inbox: Arc<Kept>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Node {
    pub(crate) fn start(url: &str) -> Self {
        Self::with(options(url))
    }

    pub(crate) fn with(mut options: Options) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        options.observe = Some(Arc::new(move |event| seen.lock().unwrap().push(event)));
        let (id, inbox) = (server_id(), Arc::new(Kept::default()));
        let fabric = Fabric::start(options, &id, Arc::clone(&inbox) as _).unwrap();
        Self { fabric, id, inbox, events }
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    pub(crate) fn send(&self, kind: Kind, target: &str, data: &str) {
        self.fabric.publish(Note::new(kind, target, data));
    }

    /// What came, in the form `kind target event data`.
    pub(crate) fn received(&self) -> Vec<String> {
        self.inbox.all.lock().unwrap().iter().map(shown).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.inbox.all.lock().unwrap().len()
    }

    /// Waits until `count` have come, and takes them.
    #[track_caller]
    pub(crate) fn take(&self, count: usize) -> Vec<String> {
        assert!(until(|| self.count() >= count), "{} of {count} came", self.count());
        let all: Vec<_> = std::mem::take(&mut *self.inbox.all.lock().unwrap());
        all.iter().map(shown).collect()
    }

    /// Waits until this many channels and patterns are subscribed.
    #[track_caller]
    pub(crate) fn subscribed(&self, count: u64) {
        let subscriptions = || self.fabric.counters().subscriptions;
        assert!(until(|| subscriptions() == count), "{} of {count}", subscriptions());
    }
}

/// Quick to notice and to come back.
pub(crate) fn options(url: &str) -> Options {
    Options { start: StartPolicy::Wait(Duration::from_secs(10)), ..Options::new(url) }
}

pub(crate) fn lingering(url: &str, linger: Duration) -> Options {
    Options { subscriptions: Subscriptions::ByInterest { linger }, ..options(url) }
}

/// One letter.
#[derive(Debug)]
pub(crate) struct Note {
    kind: Kind,
    target: String,
    data: String,
    exclude: Vec<Box<str>>,
}

impl Note {
    pub(crate) fn new(kind: Kind, target: &str, data: &str) -> Box<Self> {
        let (target, data) = (target.to_owned(), data.to_owned());
        Box::new(Self { kind, target, data, exclude: Vec::new() })
    }

    pub(crate) fn except(kind: Kind, target: &str, data: &str, exclude: &[&str]) -> Box<Self> {
        let exclude = exclude.iter().map(|&id| id.into()).collect();
        Box::new(Self { exclude, ..*Self::new(kind, target, data) })
    }
}

impl Parcel for Note {
    fn unpack(self: Box<Self>, each: &mut dyn FnMut(&Letter<'_>)) {
        each(&Letter {
            kind: self.kind,
            target: &self.target,
            event: "event",
            data: Some(&self.data),
            exclude: &self.exclude,
        });
    }

    fn letters(&self) -> usize {
        1
    }

    fn bytes(&self) -> usize {
        self.data.len()
    }
}

fn shown(received: &Received) -> String {
    let Received { kind, target, event, data, exclude } = received;
    let data = data.as_deref().unwrap_or("-");
    let exclude = if exclude.is_empty() { String::new() } else { format!(" not {exclude:?}") };
    format!("{kind:?} {target} {event} {data}{exclude}")
}

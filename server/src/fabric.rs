//! The Redis between this node and others, as the configuration has it, and whether it is there:
//! the page `/readyz`.

use crate::auth::Authenticators;
use crate::clock;
use crate::config::fabric::{Fabric as FabricConfiguration, Start, Subscriptions as Words};
use crate::exit::{Code, Failure};
use crate::log::{Field, Level, Logger};
use fulmar::Page;
use fulmar::fabric::{
    Counters, Event, Fabric, Link, Options, StartError, StartPolicy, Status, Subscriptions,
};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The library's options; none for a node alone. What happens to connections is logged.
pub(crate) fn options(from: &FabricConfiguration, logger: &Arc<Logger>) -> Option<Options> {
    if from.urls.is_empty() {
        return None;
    }
    let log = ConnectionLog { logger: logger.clone(), told: Default::default() };
    Some(Options {
        urls: from.urls.iter().map(|url| url.reveal().to_owned()).collect(),
        name: from.name.clone(),
        subscriptions: match from.subscriptions {
            Words::Interest => Subscriptions::ByInterest { linger: from.linger },
            Words::Patterns => Subscriptions::Patterns,
        },
        start: match from.start {
            Start::Wait => StartPolicy::Wait(from.start_timeout),
            Start::Serve => StartPolicy::ServeLocally,
        },
        queue_max: from.queue_max,
        message_bytes_max: from.message_bytes_max,
        ping_interval: from.ping_interval,
        observe: Some(Arc::new(move |event| log.note(&event))),
        ..Options::default()
    })
}

/// Why the fabric did not start, with the exit code.
pub(crate) fn failure(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Failure {
    let advice = "; see [fabric] in the configuration";
    match error.downcast_ref::<StartError>() {
        Some(StartError::Option(_) | StartError::Address { .. }) => {
            Failure::new(Code::Configuration, format!("fabric.urls: {error}"))
        }
        Some(StartError::NotReady { .. }) => {
            Failure::new(Code::Unavailable, format!("fabric: {error}{advice}"))
        }
        Some(StartError::Thread(_)) | None => Failure::new(Code::Failure, error.to_string()),
    }
}

/// Whether this node can do its work: what `/readyz` tells.
#[derive(Clone, Default)]
pub(crate) struct Readiness(Arc<Facts>);

#[derive(Default)]
struct Facts {
    auth: Option<Arc<Authenticators>>,
    /// Set once the server has started; `None` inside is a node alone.
    fabric: OnceLock<Option<Arc<dyn Fabric>>>,
}

impl Readiness {
    /// Of a server with these authenticators, before its start.
    pub(crate) fn new(auth: Option<Arc<Authenticators>>) -> Self {
        Self(Arc::new(Facts { auth, fabric: OnceLock::new() }))
    }

    /// The server has started.
    pub(crate) fn started(&self, fabric: Option<Arc<dyn Fabric>>) {
        let _first_counts = self.0.fabric.set(fabric);
    }

    /// The page `/readyz`.
    pub(crate) fn page(&self) -> Page {
        let own = self.clone();
        Page::computed("/readyz", "text/plain; charset=utf-8", move || own.answer())
    }

    fn answer(&self) -> (u16, String) {
        let mut reasons: Vec<String> = Vec::new();
        let fabric = self.0.fabric.get();
        if fabric.is_none() {
            reasons.push("starting".to_owned());
        }
        let status = fabric.and_then(Option::as_ref).map(|fabric| fabric.status());
        reasons.extend(status.as_ref().and_then(trouble));
        reasons.extend(self.0.auth.as_ref().and_then(|auth| auth.trouble()));
        let code = if reasons.is_empty() { 200 } else { 503 };
        let mut body = if reasons.is_empty() { "ready".to_owned() } else { reasons.join("\n") };
        body.push('\n');
        if let Some(status) = status {
            for (name, value) in numbers(&status.counters) {
                let _ = writeln!(body, "fabric_{name} {value}");
            }
        }
        (code, body)
    }
}

/// What is said of a fabric that other nodes cannot be reached by.
fn trouble(status: &Status) -> Option<String> {
    if status.is_ready() {
        return None;
    }
    let what = match (status.publisher, status.subscriber) {
        (false, false) => "publisher and subscriber",
        (false, true) => "publisher",
        _ => "subscriber",
    };
    let mut text = format!("fabric: {what} disconnected for {} s", status.since.as_secs());
    if let Some(why) = &status.trouble {
        let _ = write!(text, " ({})", why.replace(['\r', '\n'], " "));
    }
    Some(text)
}

fn numbers(counters: &Counters) -> [(&'static str, u64); 11] {
    [
        ("published", counters.published),
        ("received", counters.received),
        ("dropped_inbox", counters.dropped_inbox),
        ("own_skipped", counters.own_skipped),
        ("malformed", counters.malformed),
        ("lost", counters.lost_disconnected),
        ("dropped_queue", counters.dropped_queue),
        ("dropped_size", counters.dropped_size),
        ("refused", counters.refused),
        ("reconnects", counters.reconnects),
        ("subscriptions", counters.subscriptions),
    ]
}

/// What is logged of the connections to Redis.
struct ConnectionLog {
    logger: Arc<Logger>,
    /// When it was last told that there is no connection, in milliseconds since 1970; 0 where there
    /// is one. For the publisher and the subscriber.
    told: [AtomicU64; 2],
}

impl ConnectionLog {
    fn note(&self, event: &Event) {
        match event {
            Event::Connected { link, address } => {
                self.told(*link).store(0, Ordering::Relaxed);
                self.line(Level::Info, "connected", *link, &[("address", Field::Text(address))]);
            }
            Event::Disconnected { link, address, why } => {
                let fields = [("address", Field::Text(address)), ("why", Field::Text(why))];
                let is_wanted = **why == *"stopped";
                let level = if is_wanted { Level::Debug } else { Level::Warn };
                self.line(level, "disconnected", *link, &fields);
            }
            Event::Waiting { link, why, pause } => {
                let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                let fields = [("why", Field::Text(why)), ("retry_ms", Field::Number(pause))];
                let level = if self.is_due(*link) { Level::Warn } else { Level::Debug };
                self.line(level, "cannot connect", *link, &fields);
            }
            Event::Resubscribed { count } => {
                let fields = [("channels", Field::Number(*count as u64))];
                self.logger.event(Level::Debug, "fabric", "subscribed", &fields);
            }
            other => self.logger.event(Level::Debug, "fabric", &format!("{other:?}"), &[]),
        }
    }

    /// An outage of an hour is not an hour of lines.
    fn is_due(&self, link: Link) -> bool {
        const EVERY: u64 = 60_000;
        let (told, now) = (self.told(link), clock::unix_milliseconds());
        let is_due = now.saturating_sub(told.load(Ordering::Relaxed)) >= EVERY;
        if is_due {
            told.store(now, Ordering::Relaxed);
        }
        is_due
    }

    fn told(&self, link: Link) -> &AtomicU64 {
        match link {
            Link::Publisher => &self.told[0],
            Link::Subscriber => &self.told[1],
        }
    }

    fn line(&self, level: Level, message: &str, link: Link, fields: &[(&str, Field<'_>)]) {
        let name = match link {
            Link::Publisher => "publisher",
            Link::Subscriber => "subscriber",
        };
        let fields = [&[("link", Field::Text(name))], fields].concat();
        self.logger.event(level, "fabric", message, &fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn status(publisher: bool, subscriber: bool) -> Status {
        Status {
            publisher,
            subscriber,
            publisher_address: None,
            subscriber_address: None,
            since: Duration::from_millis(3200),
            trouble: Some("redis://127.0.0.1:1: connection refused".into()),
            counters: Counters::default(),
        }
    }

    #[test]
    fn says_what_is_disconnected_and_for_how_long() {
        assert_eq!(trouble(&status(true, true)), None);
        let expected = "fabric: publisher disconnected for 3 s (redis://127.0.0.1:1: connection \
                        refused)";
        assert_eq!(trouble(&status(false, true)).as_deref(), Some(expected));
        assert!(trouble(&status(false, false)).unwrap().starts_with("fabric: publisher and sub"));
    }

    #[test]
    fn a_server_that_has_not_started_is_not_ready() {
        let readiness = Readiness::new(None);
        assert_eq!(readiness.answer(), (503, "starting\n".to_owned()));
        readiness.started(None);
        assert_eq!(readiness.answer(), (200, "ready\n".to_owned()));
    }
}

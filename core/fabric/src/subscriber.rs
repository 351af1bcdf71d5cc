//! The task that listens: it keeps Redis's subscriptions in step with the node's interest. What
//! arrives is handed on by the connection's own task, so that nothing waits in between.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::future::Either;
use redis::aio::MultiplexedConnection;
use redis::{PushKind, Value};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, sleep_until};

use crate::clock;
use crate::envelope::{self, Dropped};
use crate::interest::Interest;
use crate::link::{Connection, Connector, Deliver, first, stopped};
use crate::options::{Event, Link, Subscriptions};
use crate::port::{Inbox, Topic};
use crate::publisher::ticks;
use crate::status::{Shared, count};

/// Channels in one command.
const CHANNELS_MAX: usize = 256;
/// Changes of interest taken in before Redis hears of them.
const CHANGES_MAX: usize = 4096;
const BROADCAST: &str = "ws:broadcast";
const PATTERNS: [&str; 3] = ["ws:room:*", "ws:client:*", "ws:user:*"];

/// A change of the node's interest.
#[derive(Debug)]
pub(crate) enum Change {
    Subscribe(Topic),
    Unsubscribe(Topic),
}

pub(crate) struct Subscriber {
    shared: Arc<Shared>,
    connector: Connector,
    changes: UnboundedReceiver<Change>,
    stop: watch::Receiver<bool>,
    interest: Interest,
}

enum Next {
    Change(Change),
    Tick,
    Leaving,
    Lost,
    Stop,
}

impl Subscriber {
    pub(crate) fn new(
        shared: Arc<Shared>,
        changes: UnboundedReceiver<Change>,
        stop: watch::Receiver<bool>,
        inbox: Arc<dyn Inbox>,
    ) -> Self {
        let linger = match shared.options.subscriptions {
            Subscriptions::ByInterest { linger } => linger,
            Subscriptions::Patterns => Duration::ZERO,
        };
        let deliver = deliver(Arc::clone(&shared), inbox);
        let connector = Connector::new(Arc::clone(&shared), Link::Subscriber, Some(deliver));
        Self { shared, connector, changes, stop, interest: Interest::new(linger) }
    }

    pub(crate) async fn run(mut self) {
        while let Some(mut connection) = self.connect().await {
            self.interest.connected();
            let ended = self.serve(&mut connection).await;
            self.interest.disconnected();
            self.shared.tallies.subscriptions.store(0, Relaxed);
            let why = ended.as_ref().err().map(String::as_str);
            self.shared.down(Link::Subscriber, &connection.address, why);
            if ended.is_ok() {
                connection.quit().await;
                return;
            }
            self.connector.lost(&connection);
        }
    }

    /// Interest changes meanwhile. `None`: the fabric stops.
    async fn connect(&mut self) -> Option<Connection> {
        let Self { connector, changes, stop, interest, .. } = self;
        let mut connecting = pin!(connector.connect());
        loop {
            let other = first(stopped(stop), changes.recv());
            match first(other, connecting.as_mut()).await {
                Either::Left(Either::Right(Some(change))) => apply(interest, &change),
                Either::Left(_) => return None,
                Either::Right(connection) => return Some(connection),
            }
        }
    }

    /// Until the fabric stops or the connection fails.
    async fn serve(&mut self, connection: &mut Connection) -> Result<(), String> {
        let fixed = self.subscribe_fixed(connection).await?;
        let mut missing = self.interest.pending();
        while missing > 0 {
            missing = missing.saturating_sub(CHANNELS_MAX);
            self.subscribe_new(connection, fixed).await?;
        }
        self.shared.up(Link::Subscriber, &connection.address);
        self.shared.observe(Event::Resubscribed { count: fixed + self.interest.live() });
        let mut tick = ticks(self.shared.options.ping_interval);
        let mut heard = 0;
        loop {
            self.settle(connection, fixed).await?;
            match self.next(connection, &mut tick).await {
                Next::Change(change) => apply(&mut self.interest, &change),
                Next::Leaving => {}
                Next::Tick => {
                    // Whoever talks is alive.
                    let pushes = self.shared.tallies.pushes.load(Relaxed);
                    if std::mem::replace(&mut heard, pushes) == pushes {
                        connection.ping().await?;
                    }
                }
                Next::Lost => return Err("Redis closed the connection".into()),
                Next::Stop => return Ok(()),
            }
        }
    }

    async fn next(&mut self, connection: &Connection, tick: &mut Interval) -> Next {
        let leaving = self.interest.next_leaving();
        let leaving = async {
            match leaving {
                Some(time) => sleep_until(Instant::from_std(time)).await,
                None => std::future::pending().await,
            }
        };
        let end = first(stopped(&mut self.stop), connection.lost());
        let work = first(self.changes.recv(), first(tick.tick(), leaving));
        match first(end, work).await {
            Either::Left(Either::Left(())) | Either::Right(Either::Left(None)) => Next::Stop,
            Either::Left(Either::Right(())) => Next::Lost,
            Either::Right(Either::Left(Some(change))) => Next::Change(change),
            Either::Right(Either::Right(Either::Left(_))) => Next::Tick,
            Either::Right(Either::Right(Either::Right(()))) => Next::Leaving,
        }
    }

    /// Takes in waiting changes and tells Redis of them, until both agree.
    async fn settle(&mut self, connection: &mut Connection, fixed: usize) -> Result<(), String> {
        loop {
            for _ in 0..CHANGES_MAX {
                let Ok(change) = self.changes.try_recv() else { break };
                apply(&mut self.interest, &change);
            }
            // A command may have to be sent, but a stopping fabric needs none.
            if *self.stop.borrow() {
                return Ok(());
            }
            let added = self.subscribe_new(connection, fixed).await?;
            let removed = self.unsubscribe_stale(connection, fixed).await?;
            if !added && !removed {
                return Ok(());
            }
        }
    }

    /// What does not depend on interest; the number of channels and patterns.
    async fn subscribe_fixed(&self, connection: &mut Connection) -> Result<usize, String> {
        connection.exchange(async |redis| redis.subscribe(BROADCAST).await).await?;
        if self.shared.options.subscriptions != Subscriptions::Patterns {
            self.tally(1);
            return Ok(1);
        }
        connection.exchange(async |redis| redis.psubscribe(&PATTERNS[..]).await).await?;
        self.tally(1 + PATTERNS.len());
        Ok(1 + PATTERNS.len())
    }

    async fn subscribe_new(
        &mut self,
        connection: &mut Connection,
        fixed: usize,
    ) -> Result<bool, String> {
        let names = self.interest.take_new(CHANNELS_MAX);
        if names.is_empty() {
            return Ok(false);
        }
        let list: Vec<&str> = names.iter().map(|name| &**name).collect();
        let ask = async |redis: &mut MultiplexedConnection| redis.subscribe(&list[..]).await;
        connection.exchange(ask).await?;
        self.interest.confirm(&names);
        self.tally(fixed + self.interest.live());
        Ok(true)
    }

    async fn unsubscribe_stale(
        &mut self,
        connection: &mut Connection,
        fixed: usize,
    ) -> Result<bool, String> {
        let names = self.interest.take_stale(clock::now(), CHANNELS_MAX);
        if names.is_empty() {
            return Ok(false);
        }
        let list: Vec<&str> = names.iter().map(|name| &**name).collect();
        let ask = async |redis: &mut MultiplexedConnection| redis.unsubscribe(&list[..]).await;
        connection.exchange(ask).await?;
        self.tally(fixed + self.interest.live());
        Ok(true)
    }

    fn tally(&self, subscriptions: usize) {
        let subscriptions = u64::try_from(subscriptions).unwrap_or(u64::MAX);
        self.shared.tallies.subscriptions.store(subscriptions, Relaxed);
    }
}

fn apply(interest: &mut Interest, change: &Change) {
    let now = clock::now();
    match change {
        Change::Subscribe(topic) => topic.channels().for_each(|name| interest.add(&name)),
        Change::Unsubscribe(topic) => {
            topic.channels().for_each(|name| interest.remove(&name, now));
        }
    }
}

/// Hands messages on, whatever channel they came through: only their own type counts.
fn deliver(shared: Arc<Shared>, inbox: Arc<dyn Inbox>) -> Deliver {
    Arc::new(move |kind, mut data| {
        let tallies = &shared.tallies;
        count(&tallies.pushes, 1);
        if !matches!(kind, PushKind::Message | PushKind::PMessage) {
            return;
        }
        let Some(Value::BulkString(message)) = data.pop() else { return };
        let bytes_max = shared.options.message_bytes_max;
        match envelope::decode(&message, &shared.server_id, bytes_max) {
            Ok(received) => {
                let is_taken = inbox.receive(received);
                count(if is_taken { &tallies.received } else { &tallies.dropped_inbox }, 1);
            }
            Err(Dropped::Own) => count(&tallies.own_skipped, 1),
            Err(Dropped::Malformed) => count(&tallies.malformed, 1),
        }
    })
}

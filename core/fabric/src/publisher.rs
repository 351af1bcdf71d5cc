//! The task that publishes: everything that waits goes out in one pipeline, one at a time, so the
//! order is kept and batches grow with the load.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::future::Either;
use redis::{Pipeline, Value};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, timeout};

use crate::envelope::{self, Letter};
use crate::link::{Connection, Connector, first, stopped};
use crate::options::Link;
use crate::port::Parcel;
use crate::status::{Shared, count};

/// A pipeline takes no further parcel from here on.
const BATCH_LETTERS: usize = 512;
const BATCH_BYTES: usize = 256 << 10;
/// How long a stopping fabric goes on publishing what waits.
pub(crate) const FLUSH_TIME: Duration = Duration::from_secs(1);

/// A parcel in the queue, with the size that was counted for it.
pub(crate) struct Queued {
    pub(crate) parcel: Box<dyn Parcel>,
    pub(crate) letters: usize,
    pub(crate) bytes: usize,
}

pub(crate) struct Publisher {
    shared: Arc<Shared>,
    connector: Connector,
    queue: UnboundedReceiver<Queued>,
    stop: watch::Receiver<bool>,
    batch: Batch,
}

enum Next {
    Parcel(Queued),
    Tick,
    Lost,
    Stop,
}

impl Publisher {
    pub(crate) fn new(
        shared: Arc<Shared>,
        queue: UnboundedReceiver<Queued>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let connector = Connector::new(Arc::clone(&shared), Link::Publisher, None);
        Self { shared, connector, queue, stop, batch: Batch::default() }
    }

    pub(crate) async fn run(mut self) {
        while let Some(mut connection) = self.connect().await {
            self.shared.up(Link::Publisher, &connection.address);
            let ended = self.serve(&mut connection).await;
            let why = ended.as_ref().err().map(String::as_str);
            self.shared.down(Link::Publisher, &connection.address, why);
            if ended.is_ok() {
                connection.quit().await;
                return;
            }
            self.connector.lost(&connection);
        }
    }

    /// What is published meanwhile is lost. `None`: the fabric stops.
    async fn connect(&mut self) -> Option<Connection> {
        let Self { shared, connector, queue, stop, .. } = self;
        let mut connecting = pin!(connector.connect());
        loop {
            let other = first(stopped(stop), queue.recv());
            match first(other, connecting.as_mut()).await {
                Either::Left(Either::Right(Some(queued))) => {
                    let Queued { letters, .. } = take(shared, queued);
                    count(&shared.tallies.lost_disconnected, letters);
                }
                Either::Left(_) => return None,
                Either::Right(connection) => return Some(connection),
            }
        }
    }

    /// Until the fabric stops or the connection fails.
    async fn serve(&mut self, connection: &mut Connection) -> Result<(), String> {
        let mut tick = ticks(self.shared.options.ping_interval);
        let mut idle = true;
        loop {
            match self.next(connection, &mut tick).await {
                Next::Parcel(queued) => {
                    self.send_all(connection, queued).await?;
                    idle = false;
                }
                Next::Tick => {
                    if std::mem::replace(&mut idle, true) {
                        connection.ping().await?;
                    }
                }
                Next::Lost => return Err("Redis closed the connection".into()),
                Next::Stop => {
                    let _ = timeout(FLUSH_TIME, self.flush(connection)).await;
                    return Ok(());
                }
            }
        }
    }

    async fn next(&mut self, connection: &Connection, tick: &mut Interval) -> Next {
        let end = first(stopped(&mut self.stop), connection.lost());
        let work = first(self.queue.recv(), tick.tick());
        match first(end, work).await {
            Either::Left(Either::Left(())) | Either::Right(Either::Left(None)) => Next::Stop,
            Either::Left(Either::Right(())) => Next::Lost,
            Either::Right(Either::Left(Some(queued))) => Next::Parcel(queued),
            Either::Right(Either::Right(_)) => Next::Tick,
        }
    }

    async fn flush(&mut self, connection: &mut Connection) -> Result<(), String> {
        self.queue.close();
        while let Ok(queued) = self.queue.try_recv() {
            self.send_all(connection, queued).await?;
        }
        Ok(())
    }

    /// One pipeline: this parcel and what else waits.
    async fn send_all(
        &mut self,
        connection: &mut Connection,
        queued: Queued,
    ) -> Result<(), String> {
        let shared = Arc::clone(&self.shared);
        self.batch.add(&shared, take(&shared, queued));
        while !self.batch.is_full()
            && let Ok(queued) = self.queue.try_recv()
        {
            self.batch.add(&shared, take(&shared, queued));
        }
        if self.batch.letters == 0 {
            return Ok(());
        }
        let Batch { pipeline, letters, .. } = &self.batch;
        let sent = connection
            .exchange(async |redis| redis.send_packed_commands(pipeline, 0, *letters).await)
            .await;
        // Never sent again: some of them may have arrived.
        let answers = sent.inspect_err(|_| self.batch.lose(&shared))?;
        let refused =
            answers.iter().filter(|answer| matches!(answer, Value::ServerError(_))).count();
        count(&shared.tallies.refused, refused);
        count(&shared.tallies.published, answers.len() - refused);
        self.batch.clear();
        Ok(())
    }
}

impl Drop for Publisher {
    /// Whatever was not sent is counted.
    fn drop(&mut self) {
        self.queue.close();
        self.batch.lose(&self.shared);
        while let Ok(queued) = self.queue.try_recv() {
            let Queued { letters, .. } = take(&self.shared, queued);
            count(&self.shared.tallies.lost_disconnected, letters);
        }
    }
}

/// Letters as one pipeline of `PUBLISH`.
#[derive(Default)]
struct Batch {
    pipeline: Pipeline,
    letters: usize,
    bytes: usize,
    channel: Vec<u8>,
    message: Vec<u8>,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.letters >= BATCH_LETTERS || self.bytes >= BATCH_BYTES
    }

    fn add(&mut self, shared: &Shared, queued: Queued) {
        let mut each = |letter: &Letter<'_>| self.add_letter(shared, letter);
        // A parcel's panic ends this parcel, not the fabric.
        let _ = catch_unwind(AssertUnwindSafe(|| queued.parcel.unpack(&mut each)));
    }

    fn add_letter(&mut self, shared: &Shared, letter: &Letter<'_>) {
        self.message.clear();
        envelope::encode(&shared.server_id, letter, &mut self.message);
        if self.message.len() > shared.options.message_bytes_max {
            count(&shared.tallies.dropped_size, 1);
            return;
        }
        self.channel.clear();
        letter.kind.write_channel(letter.target, &mut self.channel);
        self.pipeline.cmd("PUBLISH").arg(&self.channel[..]).arg(&self.message[..]);
        self.letters += 1;
        self.bytes += self.message.len();
    }

    fn lose(&mut self, shared: &Shared) {
        count(&shared.tallies.lost_disconnected, self.letters);
        self.clear();
    }

    fn clear(&mut self) {
        // One huge batch must not keep its memory for ever.
        if self.letters > 2 * BATCH_LETTERS || self.bytes > 2 * BATCH_BYTES {
            *self = Self::default();
        } else {
            self.pipeline.clear();
            (self.letters, self.bytes) = (0, 0);
        }
    }
}

/// Takes a parcel off the count of what waits.
fn take(shared: &Shared, queued: Queued) -> Queued {
    shared.queued.fetch_sub(queued.letters, Relaxed);
    shared.queued_bytes.fetch_sub(queued.bytes, Relaxed);
    queued
}

/// The first one after a whole interval.
pub(crate) fn ticks(interval: Duration) -> Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.reset();
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

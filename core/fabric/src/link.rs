//! Making one connection and keeping watch over it.

use std::fmt::Write;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use crate::address::Address;
use crate::backoff::Backoff;
use crate::options::Link;
use crate::status::Shared;
use crate::{clock, entropy};

/// The longest reason that is kept.
const WHY_MAX: usize = 300;
/// Answers may take this many response timeouts as long as other things arrive meanwhile.
const PATIENCE: u32 = 10;

/// Gets what Redis pushes, on the fabric's thread.
pub(crate) type Deliver = Arc<dyn Fn(PushKind, Vec<Value>) + Send + Sync>;

/// A connection in use.
pub(crate) struct Connection {
    pub(crate) redis: MultiplexedConnection,
    pub(crate) address: Arc<str>,
    shared: Arc<Shared>,
    link: Link,
    lost: Arc<Notify>,
    made: Instant,
}

/// Makes connections for one link, one after the other.
pub(crate) struct Connector {
    shared: Arc<Shared>,
    link: Link,
    deliver: Option<Deliver>,
    backoff: Backoff,
    /// There was an attempt before, so that a pause is due.
    again: bool,
}

impl Connector {
    pub(crate) fn new(shared: Arc<Shared>, link: Link, deliver: Option<Deliver>) -> Self {
        let backoff = Backoff::new(shared.options.backoff_first, shared.options.backoff_max);
        Self { shared, link, deliver, backoff, again: false }
    }

    /// Tries all addresses, and again after a pause, until one answers.
    pub(crate) async fn connect(&mut self) -> Connection {
        let mut failures = String::new();
        loop {
            if std::mem::replace(&mut self.again, true) {
                let pause = self.backoff.pause(entropy::random());
                if !failures.is_empty() {
                    self.shared.waiting(self.link, &failures, pause);
                }
                sleep(pause).await;
            }
            failures.clear();
            let addresses = self.shared.addresses().all();
            for address in &addresses {
                let limit = self.shared.options.connect_timeout;
                match within(limit, self.open(address)).await {
                    Ok(connection) => return connection,
                    Err(why) if failures.len() < WHY_MAX => {
                        let separator = if failures.is_empty() { "" } else { "; " };
                        let _ = write!(failures, "{separator}{}: {why}", address.label());
                    }
                    Err(_) => {}
                }
            }
        }
    }

    /// The connection is gone. One that lasted is no reason to wait longer the next time.
    pub(crate) fn lost(&mut self, connection: &Connection) {
        let lasted = clock::now().saturating_duration_since(connection.made);
        if lasted >= self.backoff.max() {
            self.backoff.reset();
        }
    }

    async fn open(&self, address: &Address) -> Result<Connection, String> {
        let lost = Arc::new(Notify::new());
        let watcher = Arc::clone(&lost);
        let deliver = self.deliver.clone();
        // Answers have limits of their own, see `Connection::exchange`.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(move |PushInfo { kind, data }: PushInfo| {
                if kind == PushKind::Disconnection {
                    watcher.notify_one();
                } else if let Some(deliver) = &deliver {
                    deliver(kind, data);
                }
                Ok::<_, redis::aio::SendError>(())
            });
        let client = address.client(ProtocolVersion::RESP3).map_err(describe)?;
        let redis = client.get_multiplexed_async_connection_with_config(&config).await;
        let mut redis = redis.map_err(describe)?;
        self.introduce(&mut redis).await?;
        if self.link == Link::Publisher {
            self.learn(address, &mut redis).await?;
        }
        let shared = Arc::clone(&self.shared);
        let address = Arc::clone(address.label());
        let (link, made) = (self.link, clock::now());
        Ok(Connection { redis, address, shared, link, lost, made })
    }

    /// Says the name, and hears whether Redis is able to work: it may be loading its data.
    async fn introduce(&self, redis: &mut MultiplexedConnection) -> Result<(), String> {
        let suffix = match self.link {
            Link::Publisher => "pub",
            Link::Subscriber => "sub",
        };
        let mut hello = redis::pipe();
        hello.cmd("CLIENT").arg("SETNAME");
        hello.arg(format!("{}-{suffix}", self.shared.options.name));
        hello.cmd("PING");
        let answers = redis.send_packed_commands(&hello, 0, 2).await.map_err(describe)?;
        // A name may be forbidden; that does no harm.
        match answers.into_iter().nth(1) {
            Some(Value::ServerError(error)) => Err(shortened(error.to_string())),
            Some(_) => Ok(()),
            None => Err("Redis did not answer".into()),
        }
    }

    /// Asks a node of a Redis Cluster for the others; whoever may not ask knows those given.
    async fn learn(
        &self,
        address: &Address,
        redis: &mut MultiplexedConnection,
    ) -> Result<(), String> {
        let mut ask = redis::pipe();
        ask.cmd("INFO").arg("cluster").cmd("CLUSTER").arg("NODES");
        let answers = redis.send_packed_commands(&ask, 0, 2).await.map_err(describe)?;
        let mut texts = answers.into_iter().map(|answer| match answer {
            Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Value::VerbatimString { text, .. } | Value::SimpleString(text) => text,
            _ => String::new(),
        });
        if let (Some(info), Some(nodes)) = (texts.next(), texts.next())
            && info.contains("cluster_enabled:1")
        {
            self.shared.addresses().learn(address, &nodes);
        }
        Ok(())
    }
}

impl Connection {
    /// Completes when the connection is gone.
    pub(crate) fn lost(&self) -> impl Future<Output = ()> + use<> {
        let lost = Arc::clone(&self.lost);
        async move { lost.notified().await }
    }

    /// Asks whether the other side is still there.
    pub(crate) async fn ping(&mut self) -> Result<(), String> {
        let ping = redis::cmd("PING");
        self.exchange(async |redis| redis.send_packed_command(&ping).await.map(drop)).await
    }

    /// Says goodbye; within a fifth of a second or not at all.
    pub(crate) async fn quit(mut self) {
        let quit = redis::cmd("QUIT");
        let _ = timeout(Duration::from_millis(200), self.redis.send_packed_command(&quit)).await;
    }

    /// One question and its answer, within the response timeout. While messages arrive the answer
    /// is only queued behind them, so then a subscriber waits longer.
    pub(crate) async fn exchange<T>(
        &mut self,
        question: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, String> {
        let limit = self.shared.options.response_timeout;
        let pushes = &self.shared.tallies.pushes;
        let mut answer = pin!(question(&mut self.redis));
        for _ in 0..PATIENCE {
            let before = pushes.load(Relaxed);
            if let Ok(answer) = timeout(limit, answer.as_mut()).await {
                return answer.map_err(describe);
            }
            if self.link == Link::Publisher || pushes.load(Relaxed) == before {
                break;
            }
        }
        Err(format!("no answer within {} ms", limit.as_millis()))
    }
}

/// Whichever is done first; if both are, the left one.
pub(crate) async fn first<A: Future, B: Future>(a: A, b: B) -> Either<A::Output, B::Output> {
    match select(pin!(a), pin!(b)).await {
        Either::Left((output, _)) => Either::Left(output),
        Either::Right((output, _)) => Either::Right(output),
    }
}

/// Completes when the fabric is to stop, or nobody holds it any more.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    match timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(format!("no connection within {} ms", limit.as_millis())),
    }
}

/// By value, to be of use to `map_err`.
#[expect(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
pub(crate) fn describe(error: redis::RedisError) -> String {
    shortened(error.to_string())
}

fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(WHY_MAX));
    text
}

//! A server: made, started, stopped.

use std::fmt;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use fulmar_driver::epoll::{EpollDriver, EpollOptions};
use fulmar_driver::listener::listen;
use fulmar_driver::uring::{UringDriver, UringOptions};
use fulmar_driver::{Driver, Wake};

use crate::assembly::{Assembly, assemble};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::entropy::SystemEntropy;
use crate::error::Error;
use crate::fabric::{Connect, Fabric};
use crate::hub::Hub;
use crate::io::{ChosenIo, Io};
use crate::mailbox::{Mail, Mailbox};
use crate::node::Node;
use crate::page::Page;
use crate::reactor::Reactor;
use crate::room::Room;
use crate::shard::Shard;
use crate::stats::Stats;
use crate::timer::Timer;
use crate::worker::Job;

/// A server that has not started: a state shared by its handlers, endpoints, pages, configuration.
///
/// ```no_run
/// use fulmar::{Endpoint, Server, text::Text};
///
/// # fn main() -> Result<(), fulmar::Error> {
/// Server::new(()).mount(Endpoint::new("/echo").speaks(Text::echo())).run("127.0.0.1:9000")
/// # }
/// ```
#[derive(Debug)]
pub struct Server<S> {
    state: Arc<S>,
    config: Config,
    endpoints: Vec<Endpoint<S>>,
    pages: Vec<Page>,
    fabric: Option<Other>,
    moments: Moments,
}

/// The way to other nodes, before it is connected.
struct Other(Box<dyn Connect>);

impl fmt::Debug for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Other")
    }
}

/// What an embedder wants done when the server begins and when it has ended.
#[derive(Default)]
struct Moments {
    start: Option<Box<dyn FnOnce(SocketAddr) + Send>>,
    stop: Option<Box<dyn FnOnce() + Send>>,
}

impl fmt::Debug for Moments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Moments")
    }
}

impl<S: Send + Sync + 'static> Server<S> {
    /// A server without endpoints. Handlers take `state` as [`State<S>`](crate::State).
    pub fn new(state: S) -> Self {
        Self::with_shared(Arc::new(state))
    }

    /// The same with a state that the embedder keeps using.
    pub fn with_shared(state: Arc<S>) -> Self {
        Self {
            state,
            config: Config::default(),
            endpoints: Vec::new(),
            pages: Vec::new(),
            fabric: None,
            moments: Moments::default(),
        }
    }

    /// Limits, times, threads.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Adds an endpoint.
    #[must_use]
    pub fn mount(mut self, endpoint: Endpoint<S>) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Adds a page. A path may have both a page and an endpoint; upgrades go to the endpoint.
    #[must_use]
    pub fn page(mut self, page: Page) -> Self {
        self.pages.push(page);
        self
    }

    /// Makes it one node of several: what is published to a room reaches its members on all of
    /// them. Connected before anything is listened on.
    #[must_use]
    pub fn fabric(mut self, fabric: impl Connect + 'static) -> Self {
        self.fabric = Some(Other(Box::new(fabric)));
        self
    }

    /// Runs once connections are accepted, with the address they are accepted at, on the thread
    /// that started the server. A second call replaces the first.
    #[must_use]
    pub fn on_start(mut self, hook: impl FnOnce(SocketAddr) + Send + 'static) -> Self {
        self.moments.start = Some(Box::new(hook));
        self
    }

    /// Runs once every shard has ended, and every hook of its connections with it, on the thread
    /// that waits for the server: in [`run`](Self::run), [`Running::wait`], [`Running::stop`] and
    /// the like. A second call replaces the first.
    #[must_use]
    pub fn on_stop(mut self, hook: impl FnOnce() + Send + 'static) -> Self {
        self.moments.stop = Some(Box::new(hook));
        self
    }

    /// Starts and serves until the process ends or another thread stops it.
    ///
    /// # Errors
    /// As [`start`](Self::start), and if a shard is lost.
    pub fn run(self, address: impl ToSocketAddrs + fmt::Display) -> Result<(), Error> {
        self.start(address)?.wait()
    }

    /// Starts: when this returns, connections are accepted at the returned address.
    ///
    /// # Errors
    /// If the configuration cannot be, the address cannot be listened on, or the system refuses
    /// threads, descriptors or, where it was asked for by name, io_uring. Nothing is left running
    /// then.
    pub fn start(self, address: impl ToSocketAddrs + fmt::Display) -> Result<Running, Error> {
        let given = || Error::Address { given: address.to_string().into() };
        let mut addresses = address.to_socket_addrs().map_err(|_| given())?;
        let address = addresses.next().ok_or_else(given)?;
        let Self { state, config, endpoints, pages, fabric, moments } = self;
        let bound = endpoints.into_iter().map(|endpoint| endpoint.bind(&state)).collect();
        let timer = Timer::new(SystemClock::new());
        let Assembly { node, mailboxes } =
            assemble(config, bound, pages, timer, || Box::<SystemEntropy>::default())?;
        if let Some(Other(fabric)) = fabric {
            let connected = fabric.connect(&node.cluster.server_id, node.clone());
            node.cluster.connect(connected.map_err(|error| Error::Fabric { error })?);
        }
        let started = start(node.clone(), mailboxes, address);
        let mut running = started.inspect_err(|_| node.cluster.disconnect())?;
        running.waiter.on_stop = moments.stop.map(|hook| AtStop(Mutex::new(hook)));
        if let Some(hook) = moments.start {
            hook(running.local_addr());
        }
        Ok(running)
    }
}

/// A server that runs. Dropping it does not stop it; see [`stop`](Self::stop).
#[derive(Debug)]
pub struct Running {
    stopper: Stopper,
    waiter: Waiter,
}

/// Stops a server and tells of it, from any thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stopper {
    address: SocketAddr,
    io: Arc<ChosenIo>,
    node: Arc<Node>,
    ended: Arc<Ended>,
}

/// Waits for a server's end.
#[derive(Debug)]
pub struct Waiter {
    node: Arc<Node>,
    ended: Arc<Ended>,
    shards: Vec<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
    on_stop: Option<AtStop>,
}

/// What an embedder wants done at the end.
///
/// In a lock that nobody waits for, so that threads may share what holds it.
struct AtStop(Mutex<Box<dyn FnOnce() + Send>>);

impl fmt::Debug for AtStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AtStop")
    }
}

/// How many shards have ended, and the first error.
#[derive(Debug, Default)]
struct Ended {
    state: Mutex<(usize, Option<Error>)>,
    changed: Condvar,
}

/// How a graceful stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every connection ended by itself.
    Drained,
    /// So many connections were cut when the window had passed.
    Cut(u64),
}

impl Running {
    /// The address it listens on; with port 0 asked for, the real one.
    pub fn local_addr(&self) -> SocketAddr {
        self.stopper.address
    }

    /// Which of the kernel's interfaces its shards use, and why.
    pub fn io(&self) -> &ChosenIo {
        &self.stopper.io
    }

    /// A handle to a room, to publish from outside any connection.
    pub fn room(&self, name: &str) -> Room {
        Room::new(name, self.stopper.node.clone())
    }

    /// The way to everybody, to use from outside any connection.
    pub fn hub(&self) -> Hub {
        Hub::new(self.stopper.node.clone())
    }

    /// The way to other nodes, if there is one: to ask how it is.
    pub fn fabric(&self) -> Option<Arc<dyn Fabric>> {
        self.stopper.node.cluster.fabric().cloned()
    }

    /// The sum of all shards' counters. Takes a turn of each shard.
    pub fn stats(&self) -> Stats {
        self.stopper.stats()
    }

    /// Each shard's counters; those of a shard that has ended are missing.
    pub fn stats_per_shard(&self) -> Vec<Stats> {
        self.stopper.stats_per_shard()
    }

    /// Stops gracefully: accepts nothing more, closes every connection with 1001, waits for their
    /// ends at most as long as `timeouts.stop`, then cuts what is left.
    pub fn stop(self) -> Stopped {
        let stopped = self.stopper.stop();
        self.waiter.join(stopped == Stopped::Drained);
        stopped
    }

    /// The same with 1012, which tells clients to come back: another server takes over.
    pub fn drain(self) -> Stopped {
        let stopped = self.stopper.drain();
        self.waiter.join(stopped == Stopped::Drained);
        stopped
    }

    /// Cuts every connection at once. Handlers that still run are not waited for.
    pub fn kill(self) {
        self.stopper.kill();
        self.waiter.join(false);
    }

    /// Waits until the server ends.
    ///
    /// # Errors
    /// If a shard was lost.
    pub fn wait(self) -> Result<(), Error> {
        self.waiter.wait()
    }

    /// For programs that wait on one thread and stop from another.
    pub fn split(self) -> (Stopper, Waiter) {
        (self.stopper, self.waiter)
    }
}

impl Stopper {
    /// As [`Running::stats`].
    pub fn stats(&self) -> Stats {
        self.stats_per_shard().into_iter().fold(Stats::default(), |mut sum, stats| {
            sum += stats;
            sum
        })
    }

    /// As [`Running::stats_per_shard`].
    pub fn stats_per_shard(&self) -> Vec<Stats> {
        let ask = |post: &crate::mailbox::Post| {
            let (sender, receiver) = crossbeam_channel::bounded(1);
            post.post(Mail::Stats(sender)).ok()?;
            receiver.recv_timeout(Duration::from_secs(5)).ok()
        };
        self.node.posts.iter().filter_map(ask).collect()
    }

    /// As [`Running::stop`], but returns when every shard has ended; threads may take longer.
    pub fn stop(&self) -> Stopped {
        self.end(false)
    }

    /// As [`Running::drain`].
    pub fn drain(&self) -> Stopped {
        self.end(true)
    }

    /// Cuts every connection at once; does not wait.
    pub fn kill(&self) {
        tell(&self.node, || Mail::Cut);
    }

    fn end(&self, restarting: bool) -> Stopped {
        tell(&self.node, || Mail::Stop { restarting });
        let shards = self.node.posts.len();
        if self.ended.wait(shards, Some(self.node.config.timeouts.stop)) {
            return Stopped::Drained;
        }
        let connections = self.stats().connections;
        self.kill();
        self.ended.wait(shards, None);
        match connections {
            0 => Stopped::Drained,
            connections => Stopped::Cut(connections),
        }
    }
}

impl Waiter {
    /// Waits until the server ends.
    ///
    /// # Errors
    /// If a shard was lost; the others are stopped then: they would serve only some clients.
    pub fn wait(self) -> Result<(), Error> {
        let ended = self.ended.clone();
        ended.wait_for_error_or(self.shards.len());
        let error = ended.locked().1.take();
        if error.is_some() {
            tell(&self.node, || Mail::Cut);
        }
        let has_failed = error.is_some();
        self.join(!has_failed);
        error.map_or(Ok(()), Err)
    }

    /// Joins the shards, and the workers if they are known to be idle: a handler may take any time.
    fn join(self, with_workers: bool) {
        for shard in self.shards {
            // A shard that panicked has been reported.
            let _reported = shard.join();
        }
        // What the shards have passed on still leaves.
        self.node.cluster.disconnect();
        self.node.timer.end();
        self.workers.iter().for_each(|_| self.node.pool.submit(Job::End));
        for worker in self.workers.into_iter().filter(|_| with_workers) {
            // Workers contain the panics of what they run.
            let _contained = worker.join();
        }
        if let Some(AtStop(hook)) = self.on_stop {
            hook.into_inner().unwrap_or_else(PoisonError::into_inner)();
        }
    }
}

const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Running>();
};

impl Ended {
    fn add(&self, result: Result<(), Error>) {
        let mut state = self.locked();
        state.0 += 1;
        state.1 = state.1.take().or_else(|| result.err());
        drop(state);
        self.changed.notify_all();
    }

    /// Whether all shards have ended, within `most`.
    fn wait(&self, shards: usize, most: Option<Duration>) -> bool {
        let state = self.locked();
        let going = |state: &mut (usize, Option<Error>)| state.0 < shards;
        match most {
            Some(most) => {
                let waited = self.changed.wait_timeout_while(state, most, going);
                let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
                state.0 >= shards
            }
            None => {
                let waited = self.changed.wait_while(state, going);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
                true
            }
        }
    }

    fn wait_for_error_or(&self, shards: usize) {
        let going = |state: &mut (usize, Option<Error>)| state.0 < shards && state.1.is_none();
        let waited = self.changed.wait_while(self.locked(), going);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn locked(&self) -> MutexGuard<'_, (usize, Option<Error>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(node: &Node, mail: impl Fn() -> Mail) {
    for post in &node.posts {
        // Never refused; a shard that is gone has ended already.
        let _gone = post.post(mail());
    }
}

/// Binds, then starts workers and shards; nothing is left running if one of them cannot.
fn start(node: Arc<Node>, mailboxes: Vec<Mailbox>, address: SocketAddr) -> Result<Running, Error> {
    let io = node.config.io.choose()?;
    let listeners = bind(&node.config, address)?;
    let address = match listeners.first().map(TcpListener::local_addr) {
        Some(Ok(address)) => address,
        _ => address,
    };
    let system = |what| move |error| Error::System { what, error };
    let workers = node.pool.start(node.config.workers.max(1)).map_err(system("worker threads"))?;
    let clock = SystemClock::new();
    let ended = Arc::new(Ended::default());
    let (ready, readied) = crossbeam_channel::unbounded();
    let cores = crate::affinity::cores(&node.config);
    let mut shards = Vec::new();
    for (index, (mailbox, listener)) in mailboxes.into_iter().zip(listeners).enumerate() {
        let core = cores.get(index).copied();
        let seat = Seat { index, node: node.clone(), core, io: io.io };
        let (clock, ended, ready) = (clock.clone(), ended.clone(), ready.clone());
        let thread = std::thread::Builder::new().name(format!("fulmar-shard-{index}"));
        let shard = thread.spawn(move || {
            let result = seat.run(mailbox, listener, clock, &ready);
            drop(ready);
            ended.add(result);
        });
        shards.push(shard.map_err(system("shard threads"))?);
    }
    drop(ready);
    let up = readied.iter().take(shards.len()).count();
    let count = shards.len();
    let (io, ended_too) = (Arc::new(io), ended.clone());
    let stopper = Stopper { address, io, node: node.clone(), ended: ended_too };
    let waiter = Waiter { node, ended, shards, workers, on_stop: None };
    if up < count {
        stopper.kill();
        return Err(waiter.wait().err().unwrap_or(Error::ShardLost { shard: up }));
    }
    Ok(Running { stopper, waiter })
}

fn bind(config: &Config, address: SocketAddr) -> Result<Vec<TcpListener>, Error> {
    let failed = |address| move |error| Error::Listen { address, error };
    let first = listen(address, &config.listen).map_err(failed(address))?;
    let address = first.local_addr().map_err(failed(address))?;
    let mut listeners = vec![first];
    for _ in 1..config.shards {
        listeners.push(listen(address, &config.listen).map_err(failed(address))?);
    }
    Ok(listeners)
}

/// What one shard's thread begins with.
struct Seat {
    index: usize,
    node: Arc<Node>,
    core: Option<core_affinity::CoreId>,
    io: Io,
}

impl Seat {
    fn run(
        self,
        mailbox: Mailbox,
        listener: TcpListener,
        clock: SystemClock,
        ready: &crossbeam_channel::Sender<()>,
    ) -> Result<(), Error> {
        if let Some(core) = self.core {
            core_affinity::set_for_current(core);
        }
        // Made here: a ring belongs to the thread that made it.
        if self.io == Io::IoUring {
            let failed = |error| Error::System { what: "a ring of io_uring", error };
            let mut driver = UringDriver::new(UringOptions::default()).map_err(failed)?;
            driver.listen(listener).map_err(failed)?;
            self.serve(driver, mailbox, clock, ready)
        } else {
            let failed = |error| Error::System { what: "an epoll instance", error };
            let mut driver = EpollDriver::new(EpollOptions::default()).map_err(failed)?;
            driver.listen(listener).map_err(failed)?;
            self.serve(driver, mailbox, clock, ready)
        }
    }

    fn serve(
        self,
        driver: impl Driver,
        mailbox: Mailbox,
        clock: SystemClock,
        ready: &crossbeam_channel::Sender<()>,
    ) -> Result<(), Error> {
        let waker = driver.waker();
        mailbox.post().wake_with(move || waker.wake());
        let busy_poll = self.node.config.busy_poll;
        let shard = Shard::new(
            u32::try_from(self.index).unwrap_or(u32::MAX),
            self.node,
            mailbox.post().clone(),
            Box::<SystemEntropy>::default(),
            Box::new(clock.clone()),
        );
        // The starter waits for this.
        let _waiting = ready.send(());
        let reactor = Reactor::new(driver, shard, mailbox, clock);
        let mut reactor = reactor.busy_poll(busy_poll);
        let index = self.index;
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| reactor.run()));
        match result {
            Ok(result) => result.map_err(|error| Error::System { what: "events", error }),
            Err(_panic) => Err(Error::ShardLost { shard: index }),
        }
    }
}

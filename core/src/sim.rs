//! A whole server in one thread and in virtual time, decided by one seed.
//!
//! Shards, mailboxes, rooms, sessions and handlers are the real ones; the network, the clock and
//! random numbers are simulated. Whoever tests says which shard turns next, when jobs run and how
//! much time passes, so that any order of events can be tried, and tried again.

use std::sync::Arc;
use std::time::Duration;

use fulmar_driver::sim::{SimDriver, SimNetwork, SimOptions};

use crate::assembly::{Assembly, assemble};
use crate::clock::SimClock;
use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::entropy::SeededEntropy;
use crate::error::Error;
use crate::mailbox::Mail;
use crate::node::Node;
use crate::reactor::Reactor;
use crate::room::Room;
use crate::shard::Shard;
use crate::stats::Stats;
use crate::timer::Timer;

/// A simulated server.
#[derive(Debug)]
pub struct World {
    node: Arc<Node>,
    reactors: Vec<Reactor<SimDriver, SimClock>>,
    networks: Vec<SimNetwork>,
    clock: SimClock,
}

impl World {
    /// A server with `config.shards` shards. Nothing happens until it is told to.
    ///
    /// # Errors
    /// If the configuration or an endpoint's path cannot be.
    pub fn new<S: Send + Sync + 'static>(
        seed: u64,
        config: Config,
        network: SimOptions,
        state: S,
        endpoints: Vec<Endpoint<S>>,
    ) -> Result<Self, Error> {
        let state = Arc::new(state);
        let bound = endpoints.into_iter().map(|endpoint| endpoint.bind(&state)).collect();
        let entropy =
            move || -> Box<dyn crate::entropy::Entropy> { Box::new(SeededEntropy::new(seed)) };
        let clock = SimClock::default();
        let timer = Timer::simulated(clock.clone());
        let Assembly { node, mailboxes } = assemble(config, bound, Vec::new(), timer, entropy)?;
        let (mut reactors, mut networks) = (Vec::new(), Vec::new());
        for (index, mailbox) in (0..).zip(mailboxes) {
            let own = seed.wrapping_mul(31).wrapping_add(u64::from(index));
            let (driver, clients) = SimDriver::new(own, network);
            let shard = Shard::new(
                index,
                node.clone(),
                mailbox.post().clone(),
                Box::new(SeededEntropy::new(own)),
                Box::new(clock.clone()),
            );
            reactors.push(Reactor::new(driver, shard, mailbox, clock.clone()));
            networks.push(clients);
        }
        Ok(Self { node, reactors, networks, clock })
    }

    /// How many shards.
    pub fn shards(&self) -> usize {
        self.reactors.len()
    }

    /// The clients' side of a shard's sockets.
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn network(&self, shard: usize) -> &SimNetwork {
        &self.networks[shard]
    }

    /// One turn of one shard.
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn turn(&mut self, shard: usize) {
        let result = self.reactors[shard].turn();
        debug_assert!(result.is_ok(), "the simulated driver has no errors");
    }

    /// Runs one job of the worker pool; `false` if none waits.
    pub fn run_job(&self) -> bool {
        self.node.pool.run_one()
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.node.timer.fire();
    }

    /// A handle to a room.
    pub fn room(&self, name: &str) -> Room {
        Room::new(name, self.node.clone())
    }

    /// The sum of all shards' counters.
    pub fn stats(&self) -> Stats {
        self.reactors.iter().map(|reactor| reactor.shard.stats()).fold(
            Stats::default(),
            |mut sum, stats| {
                sum += stats;
                sum
            },
        )
    }

    /// Asks every shard to stop.
    pub fn stop(&self) {
        for post in &self.node.posts {
            // Never refused.
            let _asked = post.post(Mail::Stop { restarting: false });
        }
    }

    /// Whether every shard has stopped.
    pub fn is_stopped(&self) -> bool {
        self.reactors.iter().all(|reactor| reactor.shard.is_stopped())
    }

    /// Checks what must hold at any time: tables agree, limits are kept. `slack` is what one turn
    /// may add to a connection's backlog beyond its limit, in bytes.
    ///
    /// # Errors
    /// What does not hold.
    pub fn audit(&self, slack: u64) -> Result<(), String> {
        self.reactors.iter().try_for_each(|reactor| reactor.shard.audit(slack))
    }

    /// Checks that nothing is left of anybody.
    ///
    /// # Errors
    /// What is left.
    pub fn audit_empty(&self) -> Result<(), String> {
        self.reactors.iter().try_for_each(|reactor| reactor.shard.audit_empty())
    }
}

//! Whole servers in virtual time under random orders of events, one seed each.
//!
//! Clients of an echo, of rooms and of a handler send, read, stall, close, break off; shards turn,
//! jobs run and time passes in any order. An oracle holds what clients saw against what must be:
//! echoes and answers complete and in order; in a room one order for all, each member an unbroken
//! stretch of it, beginning no later than the first message sent after its 101 was seen; tables
//! that agree, limits that hold, and nothing left at the end.
//!
//! `FULMAR_SEEDS=n` runs more seeds, `FULMAR_SEED=n` one.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs, reason = "a test")]

#[path = "simulation/client.rs"]
mod client;
#[path = "simulation/oracle.rs"]
mod oracle;

use std::time::Duration;

use client::{Client, Kind};
use fulmar::sim::World;
use fulmar::text::{RoomOptions, Text};
use fulmar::{Arg, Backpressure, Config, Endpoint, SlowPolicy};
use fulmar_driver::sim::SimOptions;

/// A small generator of our own: the same numbers for a seed everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ word >> 31) % bound.max(1)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What one seed decides before anything happens.
struct Plan {
    shards: usize,
    rooms: u64,
    steps: u64,
    backpressure: Backpressure,
    /// Whether slow clients may lose messages.
    is_tight: bool,
    network: SimOptions,
}

impl Plan {
    fn new(random: &mut Random) -> Self {
        let is_tight = random.one_in(3);
        let policies = [SlowPolicy::DropNewest, SlowPolicy::Skip, SlowPolicy::Close];
        let policy = policies[random.below(3) as usize];
        let bytes_max = if is_tight { 200 + random.below(4000) as u32 } else { 8 << 20 };
        Self {
            shards: 1 + random.below(3) as usize,
            rooms: 1 + random.below(3),
            steps: 200 + random.below(1200),
            backpressure: Backpressure { bytes_max, low_bytes: bytes_max / 4, policy },
            is_tight,
            network: SimOptions {
                capacity_bytes_max: 1 + random.below(8000) as usize,
                split_bytes_max: 1 + random.below(400) as usize,
                delay_one_in: 1 + random.below(4),
                short_one_in: random.below(9),
            },
        }
    }

    fn config(&self) -> Config {
        let mut config = Config { shards: self.shards, ..Config::default() };
        config.backpressure = self.backpressure;
        config.limits.calls_in_flight_max = 2;
        config.limits.calls_queued_max = 4;
        config.timeouts.ping_interval = Some(Duration::from_secs(20));
        config.timeouts.pong = Some(Duration::from_secs(600));
        config
    }
}

fn endpoints() -> Vec<Endpoint<()>> {
    let rooms = RoomOptions { echo_to_self: true, ..RoomOptions::default() };
    vec![
        Endpoint::new("/echo").speaks(Text::echo()),
        Endpoint::new("/r/:room").speaks(Text::room(rooms)),
        Endpoint::new("/h")
            .speaks(Text::default())
            .on_message(|Arg(text): Arg<String>| format!("re {text}"))
            .on_disconnect(|| ()),
    ]
}

fn run(seed: u64) -> u64 {
    let mut random = Random(seed);
    let plan = Plan::new(&mut random);
    let mut world = World::new(seed, plan.config(), plan.network, (), endpoints()).unwrap();
    let mut clients: Vec<Client> = Vec::new();
    for step in 0..plan.steps {
        act(&mut random, &plan, &mut world, &mut clients);
        if step % 64 == 0 {
            world.audit(1 << 20).unwrap_or_else(|what| panic!("seed {seed}, step {step}: {what}"));
        }
    }
    let by_stop = random.one_in(4);
    if by_stop {
        world.stop();
    }
    let ends_at = if by_stop { 0 } else { 1 };
    settle(seed, &mut world, &mut clients, ends_at);
    for client in &clients {
        oracle::check_dialogue(client, plan.is_tight, by_stop)
            .unwrap_or_else(|what| panic!("seed {seed}: {what}: {client:?}"));
    }
    oracle::check_rooms(&clients, plan.is_tight, by_stop)
        .unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    world.audit_empty().unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    let stats = world.stats();
    assert_eq!((stats.connections, stats.open, stats.calls_now), (0, 0, 0), "seed {seed}");
    assert_eq!(stats.opened, stats.closed, "seed {seed}");
    stats.messages_in
}

/// One thing happens.
fn act(random: &mut Random, plan: &Plan, world: &mut World, clients: &mut Vec<Client>) {
    let shard = random.below(plan.shards as u64) as usize;
    match random.below(20) {
        0 if clients.len() < 14 => {
            let kind = match random.below(6) {
                0 => Kind::Echo,
                1 => Kind::Handler,
                _ => Kind::Room(random.below(plan.rooms)),
            };
            clients.push(Client::connect(world, shard, clients.len() as u64, kind));
        }
        1..=6 => {
            let count = clients.len() as u64;
            if let Some(client) = clients.get_mut(random.below(count) as usize) {
                client.act(random, world);
            }
        }
        7..=9 => {
            let count = clients.len() as u64;
            if let Some(client) = clients.get_mut(random.below(count) as usize) {
                client.read(world, random.below(600) as usize);
            }
        }
        10 => {
            world.run_job();
        }
        11 => world.advance(Duration::from_millis(random.below(3000))),
        _ => world.turn(shard),
    }
}

/// Lets everything come to rest: clients read all, and if `ends` then they leave, too.
fn settle(seed: u64, world: &mut World, clients: &mut [Client], ends: u64) {
    let mut quiet = 0;
    let mut phase = 0;
    for _ in 0..200_000 {
        let before: usize = clients.iter().map(|client| client.progress()).sum();
        for shard in 0..world.shards() {
            world.turn(shard);
        }
        let worked = world.run_job();
        clients.iter_mut().for_each(|client| client.read(world, usize::MAX));
        let after: usize = clients.iter().map(|client| client.progress()).sum();
        let at_rest = (0..world.shards()).all(|shard| world.network(shard).is_quiet());
        quiet = if before == after && !worked { quiet + 1 } else { 0 };
        // A message may take a poll for each of its bytes, and nobody sees it meanwhile.
        if quiet < 120 || !at_rest && quiet < 3000 {
            continue;
        }
        quiet = 0;
        phase += 1;
        match phase {
            1 if ends == 1 => {
                for client in clients.iter_mut() {
                    client.stayed = client.is_open && !client.is_over;
                    client.leave(world);
                }
            }
            // Whoever does not go by itself is cut when its time is over.
            1..4 => world.advance(Duration::from_secs(700)),
            _ => {
                clients.iter_mut().for_each(|client| client.abandon(world));
                if phase > 6 {
                    return;
                }
            }
        }
    }
    panic!("seed {seed}: it never came to rest");
}

#[test]
fn whole_servers_hold_their_promises_under_any_order_of_events() {
    if let Ok(seed) = std::env::var("FULMAR_SEED") {
        run(seed.parse().unwrap());
        return;
    }
    let seeds = std::env::var("FULMAR_SEEDS").map_or(400, |seeds| seeds.parse().unwrap());
    let messages: u64 = (0..seeds).map(run).sum();
    assert!(messages > seeds * 5, "clients said something: {messages}");
}

#[test]
fn a_run_is_decided_by_its_seed() {
    for seed in [3, 33] {
        assert_eq!(run(seed), run(seed));
    }
}

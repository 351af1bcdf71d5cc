//! Random runs of rooms and connections with all features mixed. `FULMAR_SEEDS=n` sets how many,
//! `FULMAR_SEED=s` replays one, `FULMAR_FIRST=s` where to begin.
#![allow(clippy::cast_possible_truncation, reason = "small numbers drawn from a generator")]

mod output_world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use fulmar::output::{Counts, Finish};
use output_world::World;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What came of a run, so that a campaign can show that it met what it was after.
#[derive(Default, Clone, Copy, Debug)]
struct Tally {
    steps: u64,
    delivered: u64,
    gaps: u64,
    shorts: u64,
    asides: u64,
    policy: u64,
    refused: u64,
    mailbox: u64,
    drained: u64,
    array_moves: u64,
    slow: u64,
    sealed: u64,
    dropped: u64,
    collapsed: u64,
    handed: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.delivered += other.delivered;
        self.gaps += other.gaps;
        self.shorts += other.shorts;
        self.asides += other.asides;
        self.policy += other.policy;
        self.refused += other.refused;
        self.mailbox += other.mailbox;
        self.drained += other.drained;
        self.array_moves += other.array_moves;
        self.slow += other.slow;
        self.sealed += other.sealed;
        self.dropped += other.dropped;
        self.collapsed += other.collapsed;
        self.handed += other.handed;
    }
}

fn open_step(world: &mut World, crowd: bool) {
    let shard = world.rng.below(world.shards.len() as u64) as usize;
    let capacity = world.rng.pick(&[20, 150, 500, 1 << 20, 1 << 20]);
    let fickle = world.rng.percent(if crowd { 15 } else { 30 });
    let sealed = world.rng.percent(20);
    let peer = world.open(shard, capacity, fickle, sealed);
    if crowd {
        world.join(peer, 0, 0, false);
    }
}

fn client_step(world: &mut World, crowd: bool) {
    let is_growing = world.peers.len() < 40 && world.rng.percent(if crowd { 30 } else { 8 });
    if world.peers.is_empty() || is_growing {
        return open_step(world, crowd);
    }
    let peer = world.rng.below(world.peers.len() as u64) as usize;
    let (shard, socket) = (world.peers[peer].shard, world.peers[peer].socket);
    let paused = world.shards[shard].is_over(socket);
    match world.rng.below(100) {
        0..=28 => {
            let room = world.rng.below(u64::from(world.rooms)) as u32;
            let tag = if world.rng.percent(25) { 1 + world.rng.below(2) as u32 } else { 0 };
            let positioned = world.rng.percent(20);
            world.join(peer, room, tag, positioned);
        }
        29..=40 if !world.peers[peer].joined.is_empty() => {
            let index = world.rng.below(world.peers[peer].joined.len() as u64) as usize;
            world.leave(peer, index);
        }
        41..=72 => publish_step(world, shard, peer),
        73..=80 if !paused => world.reply(peer),
        81..=86 => {
            let burst = if world.rng.percent(15) { world.rng.below(40) } else { 1 };
            (0..burst).for_each(|_| world.ping(peer));
        }
        87..=91 => {
            let len = world.rng.below(100) as usize;
            world.data(peer, len);
        }
        92 if world.rng.percent(30) => world.kernels[shard].end(socket),
        93 if world.rng.percent(30) => world.close(peer, Finish::Now),
        94 if world.rng.percent(30) => world.close(peer, Finish::AfterReplies),
        95 if world.rng.percent(50) => world.seal(peer),
        _ => {}
    }
}

fn publish_step(world: &mut World, shard: usize, peer: usize) {
    let room = world.rng.below(u64::from(world.rooms)) as u32;
    let burst = if world.rng.percent(10) { 1 + world.rng.below(12) } else { 1 };
    for _ in 0..burst {
        let is_long = world.rng.percent(8);
        let len = world.rng.below(if is_long { 400 } else { 30 }) as usize;
        let exclude = world.rng.percent(30);
        world.publish(shard, Some(peer), room, len, exclude);
    }
}

fn run(seed: u64) -> Tally {
    let mut world = World::new(seed);
    let steps = 100 + world.rng.below(400);
    for _ in 0..steps {
        match world.rng.below(10) {
            0..=4 => client_step(&mut world, seed & 1 == 0),
            5..=6 if !world.peers.is_empty() => {
                let peer = world.rng.below(world.peers.len() as u64) as usize;
                let count = world.rng.pick(&[1, 7, 40, 200, 10_000]);
                world.read(peer, count);
            }
            _ => {
                let shard = world.rng.below(world.shards.len() as u64) as usize;
                world.turn(shard);
                if world.rng.percent(25) {
                    world.audit(shard);
                }
            }
        }
    }
    world.come_to_rest();
    world.check_complete();
    let sum = |count: fn(&Counts) -> u64| -> u64 {
        world.shards.iter().map(|output| count(&output.counts())).sum()
    };
    let tally = Tally {
        steps,
        delivered: world.record.delivered,
        gaps: world.record.gaps,
        shorts: sum(|c| c.short),
        asides: sum(|c| c.asides),
        policy: sum(|c| c.policy),
        refused: sum(|c| c.refused),
        mailbox: world.mail.refused,
        drained: world.drained,
        array_moves: sum(|c| c.moved),
        slow: world.slow,
        sealed: world.sealed,
        dropped: sum(|c| c.dropped_backlog),
        collapsed: sum(|c| c.pongs_collapsed),
        handed: world.peers.iter().map(|peer| peer.handed).sum(),
    };
    world.empty();
    tally
}

#[test]
fn members_get_every_message_once_and_in_order_whatever_happens() {
    if let Some(seed) = variable("FULMAR_SEED") {
        run(seed);
        return;
    }
    let first = variable("FULMAR_FIRST").unwrap_or(0);
    let runs = variable("FULMAR_SEEDS").unwrap_or(600);
    let mut sum = Tally::default();
    for seed in first..first + runs {
        let tally = catch_unwind(AssertUnwindSafe(|| run(seed)));
        let tally = tally.unwrap_or_else(|_| panic!("replay with FULMAR_SEED={seed}"));
        sum.add(&tally);
    }
    println!("{runs} runs: {sum:?}");
    let met = [
        sum.gaps,
        sum.shorts,
        sum.policy,
        sum.refused,
        sum.mailbox,
        sum.drained,
        sum.slow,
        sum.sealed,
        sum.dropped,
        sum.collapsed,
        sum.handed,
    ];
    assert!(runs < 600 || met.iter().all(|count| *count > 0), "an edge was never met: {sum:?}");
}

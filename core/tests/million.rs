//! A million connections: their memory, what a turn costs beside them, and one broadcast to all.
//!
//! Times are compared with each other, never with a clock: the least of several runs, with a wide
//! tolerance. What can be counted is counted exactly.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
#![allow(clippy::print_stdout, reason = "figures for whoever reads the test's output")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

mod crowd;

use std::time::{Duration, Instant};

use crowd::Crowd;

const MILLION: usize = 1_000_000;
/// Clients that talk while the others are silent.
const TALKERS: usize = 10;

#[test]
fn a_million_connections_fit_into_a_gibibyte_and_cost_a_turn_nothing() {
    let mut crowd = Crowd::new();
    crowd.join(TALKERS, |_| "/echo".to_owned());
    let mut turns = Vec::new();
    let mut deliveries = Vec::new();
    let mut members = 0;
    for size in [1, 10, 100, 1_000, 10_000, 100_000, MILLION - TALKERS] {
        crowd.join(size - members, |_| "/rooms/all".to_owned());
        members = size;
        let turn = cost_of_a_turn(&mut crowd);
        let delivery = cost_of_a_broadcast(&mut crowd, members) / u32::try_from(members).unwrap();
        println!("{members} members: {turn:?} for a turn, {delivery:?} for a delivery");
        if members >= 1_000 {
            turns.push(turn);
            deliveries.push(delivery);
        }
    }
    let peak = peak_bytes();
    println!("{} connections: {} MiB at most", crowd.clients.len(), peak >> 20);
    assert_eq!(crowd.world.stats().open, MILLION as u64);
    assert!(peak <= 1 << 30, "{peak} bytes for a million connections");
    assert!(is_level(&turns, 3), "a turn costs more the more are idle: {turns:?}");
    // What a thousand members need is in the processor's caches, what a million need is not.
    assert!(is_level(&deliveries, 6), "a delivery costs more the more there are: {deliveries:?}");
    crowd.world.audit(0).unwrap();
}

/// A turn that serves a few clients while the others are silent.
fn cost_of_a_turn(crowd: &mut Crowd) -> Duration {
    let talkers: Vec<_> = crowd.clients[..TALKERS].to_vec();
    let before = crowd.world.stats();
    let mut least = Duration::MAX;
    for _ in 0..200 {
        talkers.iter().for_each(|client| crowd.say(*client));
        let begun = Instant::now();
        crowd.world.turn(0);
        least = least.min(begun.elapsed());
    }
    let after = crowd.world.stats();
    let sends = after.output.sends - before.output.sends;
    assert_eq!(sends, 200 * TALKERS as u64, "one send for each who talked");
    assert_eq!(after.output.visited, before.output.visited, "no other is looked at");
    least
}

/// A broadcast until all have it.
fn cost_of_a_broadcast(crowd: &mut Crowd, members: usize) -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..if members > 100_000 { 3 } else { 20 } {
        let before = crowd.world.stats().output;
        let last = *crowd.clients.last().unwrap();
        let read = crowd.world.network(0).forgotten(last);
        let begun = Instant::now();
        crowd.world.room("all").publish("", "good evening, everybody").unwrap();
        crowd.rest();
        least = least.min(begun.elapsed());
        let after = crowd.world.stats().output;
        let members = members as u64;
        assert_eq!(after.offered - before.offered, members, "each is offered it once");
        assert_eq!(after.frames_out - before.frames_out, members);
        assert_eq!((after.appended - before.appended, after.sends - before.sends), (1, 0));
        assert_eq!(crowd.world.network(0).forgotten(last) - read, 25, "head and payload");
    }
    least
}

/// Whether the greatest is at most so many times the least.
fn is_level(costs: &[Duration], times: u32) -> bool {
    let (least, most) = (costs.iter().min().unwrap(), costs.iter().max().unwrap());
    *most <= *least * times
}

/// The most memory the process has had resident.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

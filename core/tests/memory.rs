//! What an idle connection and a room cost, in bytes of memory alive, counted by the allocator.
//!
//! The simulation has no driver's table (32 bytes more with epoll), and the allocator's own
//! overhead is not counted: 8 to 23 bytes for each of the few boxes a connection has.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
#![allow(clippy::print_stdout, reason = "figures for whoever reads the test's output")]

mod crowd;

use std::alloc::System;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crowd::Crowd;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The allocator counts for the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes alive, without what the simulated network and the list of clients take.
fn alive(crowd: &Crowd) -> usize {
    let stats = ALLOCATOR.stats();
    let alive = stats.bytes_allocated - stats.bytes_deallocated;
    let tests = crowd.clients.capacity() * size_of_val(&crowd.clients[0]);
    alive - crowd.world.network(0).memory() - tests
}

/// Bytes each of `count` further clients costs.
fn cost_of(crowd: &mut Crowd, count: usize, path: impl Fn(usize) -> String) -> usize {
    let before = alive(crowd);
    crowd.join(count, path);
    (alive(crowd) - before) / count
}

#[test]
fn an_idle_connection_costs_less_than_ninety_bytes() {
    let _alone = alone();
    let mut crowd = Crowd::new();
    crowd.join(1_000, |_| "/echo".to_owned());
    let echo = cost_of(&mut crowd, 100_000, |_| "/echo".to_owned());
    println!("idle on an endpoint without rooms: {echo} bytes");
    assert!(echo < 90, "{echo} bytes");
}

#[test]
fn an_idle_member_of_a_room_costs_less_than_a_hundred_and_forty_bytes() {
    let _alone = alone();
    let mut crowd = Crowd::new();
    crowd.join(1_000, |_| "/rooms/tea".to_owned());
    let member = cost_of(&mut crowd, 100_000, |_| "/rooms/tea".to_owned());
    println!("idle in a room: {member} bytes");
    assert!(member < 140, "{member} bytes");
}

#[test]
fn an_authenticated_client_in_three_rooms_costs_less_than_twelve_hundred_bytes() {
    let _alone = alone();
    let mut crowd = Crowd::new();
    crowd.join(1, |_| "/echo".to_owned());
    let mut authenticated = |count: usize| {
        let before = alive(&crowd);
        let first = crowd.clients.len();
        crowd.join(count, |_| "/events".to_owned());
        for client in crowd.clients.clone().split_off(first) {
            crowd.say_this(client, br#"{"event":"authenticate"}"#);
        }
        crowd.rest();
        (alive(&crowd) - before) / count
    };
    authenticated(1_000);
    let client = authenticated(50_000);
    println!("authenticated, by id, in three rooms: {client} bytes");
    assert!(client < 1200, "{client} bytes");
    assert_eq!(crowd.world.stats().memberships, 3 * 51_000);
}

#[test]
fn a_message_leaves_nothing_behind() {
    let _alone = alone();
    let mut crowd = Crowd::new();
    crowd.join(10_000, |number| format!("/rooms/{}", number % 100));
    let before = alive(&crowd);
    for clients in crowd.clients.clone().chunks(100) {
        clients.iter().for_each(|client| crowd.say(*client));
        crowd.rest();
    }
    let left = (alive(&crowd) - before) / crowd.clients.len();
    println!("left behind by a message of each: {left} bytes per connection");
    assert_eq!(crowd.world.stats().messages_in, 10_000);
    assert!(left <= 16, "{left} bytes");
}

#[test]
fn rooms_cost_the_same_whether_there_are_few_or_many() {
    let _alone = alone();
    let mut crowd = Crowd::new();
    crowd.join(1, |_| "/rooms/first".to_owned());
    let mut rooms = 1;
    for count in [999, 9_000, 90_000] {
        let cost = cost_of(&mut crowd, count, |number| format!("/rooms/{}", rooms + number));
        rooms += count;
        println!("{rooms} rooms of one member: {cost} bytes each, the member included");
        assert!(cost < 900, "{cost} bytes with {rooms} rooms");
        assert_eq!(crowd.world.stats().rooms, rooms as u64);
    }
    crowd.world.audit(0).unwrap();
}

//! Bounds on the output plane's work and memory, fairness among rooms and members, and stories
//! worth telling one by one.
#![allow(clippy::cast_possible_truncation, reason = "small numbers drawn from a generator")]

mod output_world;

use fulmar::output::{Counts, Finish, Limits, Policy, Profile, Refused, Tally};
use output_world::World;
use output_world::bounds::Bounds;
use output_world::rng::Rng;
use output_world::toy;

fn world(limits: Limits, shards: u32) -> World {
    world_with(Bounds { limits, ..Bounds::default() }, shards, 0)
}

fn world_with(bounds: Bounds, shards: u32, eager: u64) -> World {
    let mut world = World::with(Rng::new(1), bounds, shards, 0, eager);
    world.is_calm = true;
    world.rooms = 4;
    world.policies = (0..world.rooms).map(|room| (room, Policy::Skip)).collect();
    world.record.is_lossy = true;
    world
}

fn crowd(world: &mut World, room: u32, members: usize) {
    for _ in 0..members {
        let peer = world.open(0, usize::MAX, false, false);
        world.join(peer, room, 0, false);
    }
    world.come_to_rest();
}

fn since(before: Counts, after: Counts) -> Counts {
    Counts {
        visited: after.visited - before.visited,
        offered: after.offered - before.offered,
        short: after.short - before.short,
        sends: after.sends - before.sends,
        appended: after.appended - before.appended,
        moved: after.moved - before.moved,
        asides: after.asides - before.asides,
        scanned: after.scanned - before.scanned,
        policy: after.policy - before.policy,
        refused: after.refused - before.refused,
        ..Counts::default()
    }
}

fn tally(world: &World, room: u32) -> Tally {
    world.shards[0].tally(&toy::room_name(room))
}

#[test]
fn a_turn_costs_members_plus_messages_and_not_their_product() {
    for members in [100, 1_000, 5_000] {
        for messages in [1, 32, 128] {
            let limits = Limits { turn_sends_max: 10_000, ..Limits::default() };
            let mut world = world(limits, 1);
            crowd(&mut world, 0, members);
            for _ in 0..messages {
                world.publish(0, None, 0, 64, false);
            }
            let (before, calls) = (world.shards[0].counts(), world.kernels[0].calls);
            world.turn(0);
            let members = members as u64;
            let expected = Counts {
                visited: members,
                offered: members,
                appended: u64::from(toy::ENCODINGS) * messages,
                ..Counts::default()
            };
            let after = world.shards[0].counts();
            assert_eq!(since(before, after), expected);
            assert_eq!(after.frames_out - before.frames_out, members * messages);
            assert_eq!(world.kernels[0].calls - calls, members, "one send per member");
            world.come_to_rest();
            world.check_complete();
        }
    }
}

#[test]
fn joining_and_leaving_in_mid_wave_moves_a_few_members_whatever_the_size() {
    for members in [100, 1_000, 5_000] {
        let limits =
            Limits { turn_sends_max: members / 40, group_sends_min: 1, ..Limits::default() };
        let runs_max = limits.runs_max as u64;
        let mut world = world(limits, 1);
        crowd(&mut world, 0, members);
        for step in 0..60 {
            world.publish(0, None, 0, 20, false);
            world.turn(0); // a slice; most members stand at several older positions
            let before = world.shards[0].counts().moved;
            let peer = world.open(0, usize::MAX, false, false);
            world.join(peer, 0, 0, false);
            let leaver = step * members / 61;
            world.leave(leaver, 0);
            assert!(world.shards[0].counts().moved - before <= 2 * (runs_max + 1));
            world.audit(0);
            world.join(leaver, 0, 0, false);
        }
        world.come_to_rest();
        world.check_complete();
    }
}

#[test]
fn a_huge_hot_room_keeps_neither_a_small_room_nor_its_own_last_member_waiting() {
    let limits = Limits { turn_sends_max: 50, ..Limits::default() };
    let mut world = world(limits, 1);
    crowd(&mut world, 0, 2_000);
    crowd(&mut world, 1, 3);
    let got =
        |world: &World| world.peers.iter().map(|peer| peer.client.received).collect::<Vec<_>>();
    let mut last_small = 0;
    for turn in 0..600_u64 {
        world.publish(0, None, 0, 20, false);
        if turn % 10 == 0 {
            world.publish(0, None, 1, 20, false);
        }
        world.turn(0);
        (0..world.peers.len()).for_each(|peer| world.read(peer, usize::MAX));
        if turn % 10 == 8 {
            let small: u64 = got(&world)[2_000..].iter().sum();
            assert_eq!(small, last_small + 3, "the small room waits for the huge one");
            last_small = small;
        }
    }
    // A round takes 40 turns of 50 members, and a few more for the small room; nobody is more than
    // two rounds behind.
    let least = got(&world)[..2_000].iter().min().copied().unwrap_or(0);
    assert!(least >= 600 - 2 * 45, "somebody waits: {least} of 600");
    world.come_to_rest();
    world.check_complete();
}

#[test]
fn a_slow_reader_of_a_hot_room_still_hears_its_quiet_room() {
    let limits = Limits { quantum_bytes: 200, send_bytes_max: 1_000, ..Limits::default() };
    let profile = Profile { backlog_bytes_max: 1 << 30, ..Profile::default() };
    let mut world = world_with(Bounds { limits, profile, ..Bounds::default() }, 1, 0);
    let slow = world.open(0, 500, false, false);
    world.join(slow, 0, 0, false);
    world.join(slow, 1, 0, false);
    world.come_to_rest();
    for _ in 0..2_000 {
        world.publish(0, None, 0, 50, false);
    }
    world.turn(0);
    world.publish(0, None, 1, 50, false);
    for _ in 0..30 {
        world.turn(0);
        world.read(slow, 200); // 6,000 bytes of some 160,000
    }
    let heard = &world.peers[slow].client.heard;
    assert!(heard.contains(&1), "the quiet room waits for the hot one's backlog");
    world.come_to_rest();
    world.check_complete();
}

#[test]
fn a_connection_in_many_rooms_gets_two_sends_a_turn_at_most() {
    for eager in [0, 100] {
        let mut world = world_with(Bounds::default(), 1, eager);
        let peer = world.open(0, usize::MAX, false, false);
        (0..4).for_each(|room| world.join(peer, room, 0, false));
        world.come_to_rest();
        let calls = world.kernels[0].calls;
        (0..40).for_each(|index| world.publish(0, None, index % 4, 50, false));
        world.turn(0);
        let made = world.kernels[0].calls - calls;
        assert_eq!(made, 2, "the first room's cast, then one send for all others");
        world.come_to_rest();
        world.check_complete();
    }
}

#[test]
fn what_a_connection_has_to_say_goes_in_one_send_with_what_its_room_says() {
    let mut world = world(Limits::default(), 1);
    crowd(&mut world, 0, 5);
    let calls = world.kernels[0].calls;
    world.reply(2);
    world.publish(0, Some(2), 0, 50, false);
    world.turn(0);
    let made = world.kernels[0].calls - calls;
    assert_eq!(made, 5, "one send for each member, the talker's with its reply");
    world.come_to_rest();
    world.check_complete();
}

#[test]
fn the_answers_to_one_read_leave_in_one_send() {
    let mut world = world_with(Bounds::default(), 1, 100);
    let peer = world.open(0, usize::MAX, false, false);
    for _ in 0..3 {
        let calls = world.kernels[0].calls;
        (0..100).for_each(|_| world.reply(peer));
        world.turn(0);
        assert_eq!(world.kernels[0].calls - calls, 1);
        assert_eq!(world.shards[0].active_count(), 0, "nothing is left when all was taken");
    }
    world.come_to_rest();
    world.check_complete();
}

#[test]
fn answers_and_private_frames_are_written_into_the_same_buffers_again_and_again() {
    for eager in [0, 100] {
        let mut world = world_with(Bounds::default(), 1, eager);
        for tag in [0, 1, 1] {
            let peer = world.open(0, usize::MAX, false, false);
            world.join(peer, 0, tag, false);
        }
        for round in 0..500 {
            (0..3).for_each(|peer| world.reply(peer));
            world.publish(0, None, 0, 30, false);
            world.turn(0);
            (0..3).for_each(|peer| world.read(peer, usize::MAX));
            if round == 20 {
                world.kernels[0].buffers.clear();
            }
        }
        let buffers = world.kernels[0].buffers.len();
        assert!(buffers <= 8, "{buffers} buffers for three connections");
        world.come_to_rest();
        world.check_complete();
    }
}

#[test]
fn a_receipt_costs_nothing_and_adds_up() {
    let mut world = world(Limits::default(), 1);
    for member in 0..300 {
        let capacity = if member % 10 == 0 { 100 } else { usize::MAX };
        let peer = world.open(0, capacity, false, false);
        world.join(peer, 0, 0, false);
    }
    world.turn(0);
    (0..300).for_each(|peer| world.read(peer, usize::MAX));
    world.turn(0);
    let before = tally(&world, 0);
    (0..5).for_each(|_| world.publish(0, None, 0, 50, false));
    (0..3).for_each(|_| world.turn(0)); // the wave takes as many
    let after = tally(&world, 0);
    let (written, queued) = (after.written - before.written, after.queued - before.queued);
    assert_eq!((written, queued), (270, 30), "members that got all at once, and the others");
    assert_eq!(after.messages - before.messages, 5 * u64::from(toy::ENCODINGS));
    world.come_to_rest();
    world.check_complete();
}

#[test]
fn many_stuck_readers_pin_no_memory_beyond_the_tape() {
    let mut world = world(Limits::default(), 1);
    for _ in 0..200 {
        let peer = world.open(0, 100, true, false);
        world.join(peer, 0, 0, false);
    }
    world.turn(0);
    for _ in 0..2_000 {
        world.publish(0, None, 0, 1_000, false);
        world.turn(0);
    }
    world.audit(0);
    let (_, _, memory) = world.shards[0].population();
    let pinned: usize = world.kernels[0].in_flight().map(|batch| batch.parts().len() - 1).sum();
    assert!(memory < 6 << 20, "{memory} bytes for a retention of 4 MiB");
    assert_eq!(pinned, 0, "the least possible send is a copy");
    world.come_to_rest();
    world.check_complete();
}

#[test]
fn a_flood_of_pings_to_a_stuck_reader_costs_sixteen_pongs() {
    let mut world = world(Limits::default(), 1);
    let stuck = world.open(0, 0, false, false);
    world.ping(stuck);
    world.turn(0); // the first pong is in flight
    for _ in 0..10_000 {
        world.ping(stuck);
        world.turn(0);
    }
    let socket = world.peers[stuck].socket;
    assert_eq!(world.shards[0].backlog(socket), 17 * 10, "one in flight, 15, the newest");
    assert_eq!(world.shards[0].counts().pongs_collapsed, 9_984);
}

#[test]
fn a_reader_that_lets_its_replies_pile_up_is_closed_at_four_times_its_limit() {
    let profile = Profile { backlog_bytes_max: 1_000, backlog_bytes_low: 0, policy: Policy::Skip };
    let mut world = world_with(Bounds { profile, ..Bounds::default() }, 1, 0);
    let stuck = world.open(0, 0, false, false);
    let socket = world.peers[stuck].socket;
    for _ in 0..1_000 {
        world.reply(stuck);
        world.turn(0);
        assert!(world.shards[0].backlog(socket) <= 4_000 + 200);
    }
    assert_eq!((world.slow, world.shards[0].counts().closed_slow), (1, 1));
    assert_eq!(world.shards[0].reply_with(socket, |_| ()), Err(Refused::Gone));
}

#[test]
fn data_nobody_asked_for_is_dropped_or_closes_when_the_backlog_is_over_the_limit() {
    for policy in [Policy::DropNewest, Policy::Skip, Policy::Close] {
        let profile = Profile { backlog_bytes_max: 1_000, backlog_bytes_low: 0, policy };
        let mut world = world_with(Bounds { profile, ..Bounds::default() }, 1, 0);
        let stuck = world.open(0, 0, false, false);
        (0..100).for_each(|_| world.data(stuck, 50));
        let counts = world.shards[0].counts();
        assert_eq!(counts.closed_slow, u64::from(policy == Policy::Close));
        assert_eq!(counts.dropped_backlog > 80, policy != Policy::Close);
        world.turn(0);
        assert_eq!(world.slow, counts.closed_slow);
    }
}

#[test]
fn the_last_replies_leave_before_the_close_frame_if_asked_to() {
    for (mode, is_sealed) in
        [(Finish::AfterReplies, false), (Finish::AfterReplies, true), (Finish::Now, false)]
    {
        let mut world = world(Limits::default(), 1);
        let peer = world.open(0, usize::MAX, false, is_sealed);
        world.reply(peer);
        world.close(peer, mode);
        let socket = world.peers[peer].socket;
        world.turn(0);
        world.turn(0);
        let bytes = world.kernels[0].read(socket, usize::MAX);
        let has_reply = bytes.len() > 20;
        assert_eq!(has_reply, mode == Finish::AfterReplies);
        assert_eq!(bytes[bytes.len() - 8..], [0x88, 6, 3, 233, b'a', b'w', b'a', b'y']);
    }
}

#[test]
fn what_waits_for_its_seal_is_bounded_like_a_send() {
    let limits = Limits { send_bytes_max: 1_000, ..Limits::default() };
    let mut world = world(limits, 1);
    let peer = world.open(0, usize::MAX, false, true);
    world.join(peer, 0, 0, false);
    world.come_to_rest();
    (0..500).for_each(|_| world.publish(0, None, 0, 50, false));
    world.turn(0);
    let given: usize = world.sealing[0].iter().map(|sealing| sealing.bytes.len()).sum();
    assert!((1..1_100).contains(&given), "{given} bytes with the workers at once");
    world.come_to_rest();
    assert_eq!(world.peers[peer].client.received, 500);
    world.check_complete();
}

#[test]
fn a_thousand_idle_members_hold_no_active_state_and_no_tape() {
    let mut world = world(Limits::default(), 1);
    crowd(&mut world, 0, 1_000);
    world.publish(0, None, 0, 500, false);
    world.come_to_rest();
    let output = &world.shards[0];
    assert_eq!((output.active_count(), output.tape_bytes()), (0, 0));
    assert_eq!(output.population(), (1_000, 0, 0));
    assert_eq!((output.room_count(), output.membership_count()), (1, 1_000));
    assert_eq!(output.members_of("room-0"), 1_000);
}

#[test]
fn a_publication_to_a_room_without_members_is_dropped_at_its_home() {
    let mut world = world(Limits::default(), 3);
    (0..10).for_each(|_| world.publish(1, None, 2, 5, false));
    world.come_to_rest();
    let unheard: u64 = world.shards.iter().map(|output| output.unheard()).sum();
    assert_eq!(unheard, 10);
}

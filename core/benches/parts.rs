//! The parts of a shard that run for every message or every member: the pass over a room, and the
//! timer wheel.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fulmar::clock::Tick;
use fulmar::output::{
    Delivery, Encode, Encoded, Encoding, Encodings, Gap, JoinRequest, NoEnvelopes, Output,
    OutputSettings, PayloadBytes, Policy, Position, Posts, ProfileId, Publication, RoomMail,
};
use fulmar::timer_wheel::TimerWheel;
use fulmar_driver::{
    Driver, EventHandler, Member, Piece, SendBatch, Sending, Short, SocketId, Wake,
};

/// A kernel that takes everything at once.
#[derive(Default)]
struct Greedy {
    offered: u64,
}

#[derive(Clone, Debug)]
struct NoWake;
impl Wake for NoWake {
    fn wake(&self) {}
}

impl Driver for Greedy {
    type Waker = NoWake;
    fn waker(&self) -> NoWake {
        NoWake
    }
    fn start_recv(&mut self, _: SocketId) {}
    fn stop_recv(&mut self, _: SocketId) {}
    fn send(&mut self, _: SocketId, batch: SendBatch) -> Sending {
        Sending::Done(batch)
    }
    fn offer(&mut self, _: u32, members: &[Member], pieces: &[Piece]) {
        for member in members {
            self.offered += black_box(member.socket.index as u64 + pieces.len() as u64);
        }
    }
    fn settle(&mut self, _: &mut Vec<Short>) {}
    fn shutdown(&mut self, _: SocketId) {}
    fn close(&mut self, _: SocketId) {}
    fn stop_listening(&mut self) {}
    fn poll(&mut self, _: Option<Duration>, _: &mut impl EventHandler) -> io::Result<()> {
        Ok(())
    }
}

struct Plain;
impl Encode for Plain {
    fn encode(&self, publication: &Publication, _: Position, out: &mut Vec<u8>) -> Encoded {
        let start = out.len();
        if let PayloadBytes::Binary(bytes) = &publication.payload {
            out.extend_from_slice(bytes);
        }
        Encoded { is_binary: true, data: 0..out.len() - start }
    }
    fn gap(&self, _: &Gap<'_>, _: &mut Vec<u8>) -> Option<bool> {
        None
    }
}

struct Nowhere;
impl Posts for Nowhere {
    fn post(&mut self, _: u32, mail: RoomMail) -> Result<(), RoomMail> {
        Err(mail)
    }
}

fn room_of(members: u32, driver: &mut Greedy) -> Output {
    let encodings = Encodings::new(vec![Arc::new(Plain)]).unwrap();
    let mut output = Output::new(OutputSettings { encodings, ..OutputSettings::default() });
    for index in 0..members {
        let socket = SocketId { index, generation: 1 };
        output.open(socket, ProfileId::default());
        output
            .join(
                socket,
                &JoinRequest {
                    room: "room",
                    encoding: Encoding(0),
                    delivery: Delivery::Shared,
                    tag: 0,
                    is_positioned: false,
                    is_counted: false,
                    policy: Policy::DropNewest,
                },
            )
            .unwrap();
    }
    settle(&mut output, driver);
    output
}

fn settle(output: &mut Output, driver: &mut Greedy) {
    output.post(&mut Nowhere, true);
    while output.is_pending() {
        output.flush(driver, &mut NoEnvelopes);
        output.post(&mut Nowhere, true);
    }
}

/// One turn: `messages` publications of 64 bytes to a room of 1,000, posted and flushed.
fn room_pass(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("room_pass");
    for messages in [1_u64, 32, 128] {
        let mut driver = Greedy::default();
        let mut output = room_of(1000, &mut driver);
        let room: Arc<str> = "room".into();
        group.throughput(Throughput::Elements(1000 * messages));
        group.bench_with_input(BenchmarkId::from_parameter(messages), &messages, |bencher, n| {
            bencher.iter(|| {
                for _ in 0..*n {
                    output.publish(
                        None,
                        Publication {
                            room: room.clone(),
                            event: "".into(),
                            payload: PayloadBytes::Binary(vec![7; 64].into()),
                            exclude: None,
                        },
                    );
                }
                settle(&mut output, &mut driver);
            });
        });
    }
    group.finish();
}

/// Arming and firing 10,000 timers spread over ten minutes.
fn timer_wheel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timer_wheel");
    group.throughput(Throughput::Elements(10_000));
    group.bench_function("arm_and_fire", |bencher| {
        let mut fired = Vec::new();
        let mut now = 0;
        let mut wheel = TimerWheel::new(Tick(now));
        bencher.iter(|| {
            for index in 0..10_000_u32 {
                wheel.arm(index, Tick(now + 1 + u64::from(index) * 3));
            }
            now += 37_500;
            fired.clear();
            wheel.advance(Tick(now), &mut fired);
            black_box(fired.len())
        });
    });
    group.finish();
}

criterion_group!(parts, room_pass, timer_wheel);
criterion_main!(parts);

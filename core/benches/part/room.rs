//! Rooms: a publication worded once, and the pass over a room's members, without a kernel.

use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use fulmar::output::{
    Broadcast, Delivery, Encode, Encoded, Encoding, Encodings, Exclude, Form, Gap, JoinRequest,
    NoEnvelopes, Output, OutputSettings, PayloadBytes, Policy, Position, Posts, ProfileId,
    Publication, Reach, RoomMail,
};
use fulmar_driver::{
    Driver, EventHandler, Member, Piece, SendBatch, Sending, Short, SocketId, Wake,
};

use super::Operation;

const MEMBERS: u32 = 1000;

/// A message on its way in, until the bytes that all of a node's members share are there and a
/// second shard has asked for them too.
pub(super) fn broadcast() -> Operation {
    let encodings = encodings();
    let room: Arc<str> = "room".into();
    let mut scratch = Vec::new();
    Box::new(move || {
        let broadcast = Broadcast::new(publication(&room), Position::default());
        for _shard in 0..2 {
            let frame = broadcast.rendered(&encodings, Encoding(0), Form::Frame, &mut scratch);
            assert_eq!(black_box(frame).len(), 66);
        }
    })
}

/// A turn: `messages` publications of 64 bytes to a room of 1,000, posted and flushed. On a node of
/// several they are handed over for the others too.
pub(super) fn pass(messages: usize, is_clustered: bool) -> Operation {
    let mut driver = Greedy::default();
    let mut output = room_of(MEMBERS, &mut driver);
    if is_clustered {
        output.join_cluster();
    }
    let (parcels, handed_over) = crossbeam_channel::unbounded();
    let room: Arc<str> = "room".into();
    Box::new(move || {
        for _ in 0..messages {
            output.publish(None, publication(&room));
        }
        let before = driver.offered;
        settle(&mut output, &mut driver);
        assert_eq!(driver.offered - before, u64::from(MEMBERS));
        output.take_upward(|upward| parcels.send(Box::new(upward)).unwrap());
        assert_eq!(handed_over.try_iter().count(), usize::from(is_clustered));
    })
}

fn publication(room: &Arc<str>) -> Publication {
    Publication {
        room: room.clone(),
        event: "".into(),
        payload: PayloadBytes::Binary(black_box([7; 64]).into()),
        exclude: Exclude::Nobody,
        reach: Reach::Cluster,
    }
}

fn encodings() -> Encodings {
    Encodings::new(vec![Arc::new(Plain)]).unwrap()
}

fn room_of(members: u32, driver: &mut Greedy) -> Output {
    let settings = OutputSettings { encodings: encodings(), ..OutputSettings::default() };
    let mut output = Output::new(settings);
    for index in 0..members {
        let socket = SocketId { index, generation: 1 };
        output.open(socket, ProfileId::default());
        let request = JoinRequest {
            room: "room",
            encoding: Encoding(0),
            delivery: Delivery::Shared,
            tag: 0,
            is_positioned: false,
            is_counted: false,
            policy: Policy::DropNewest,
        };
        output.join(socket, &request).unwrap();
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

/// A kernel that takes everything at once.
#[derive(Default)]
struct Greedy {
    /// Members who were offered something.
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
            black_box((member.socket.index, pieces.len()));
            self.offered += 1;
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

/// A dialect that says data as it is.
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

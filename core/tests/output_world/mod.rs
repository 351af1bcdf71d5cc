//! A node of several shards, their mailboxes, kernels and clients, driven by one seed.
#![allow(dead_code, reason = "shared by several tests, each of which uses a part")]
#![allow(unreachable_pub, reason = "a module of tests")]
#![allow(clippy::unwrap_used, reason = "a module of tests")]

pub mod bounds;
pub mod client;
pub mod kernel;
pub mod mailboxes;
pub mod rng;
pub mod toy;

use std::collections::{BTreeMap, VecDeque};

use fulmar::output::{
    BodyPart, ConnectionId, Delivery, Encoding, Exclude, Finish, JoinRequest, Joined, Notice,
    Output, OutputSettings, PayloadBytes, Policy, Position, ProfileId, Publication, Reach, Refused,
    Ticket, home_of, wire,
};
use fulmar_driver::SocketId;

use bounds::Bounds;
use client::{Asked, Client, Record, Said, payload_byte};
use kernel::{Event, Kernel};
use mailboxes::Mailboxes;
use rng::Rng;

const HOME_SEED: u64 = 11;

pub struct Peer {
    pub client: Client,
    pub shard: usize,
    pub socket: SocketId,
    pub joined: Vec<(u32, u32)>,
    /// The newest join of each room and tag.
    pub joins: BTreeMap<(u32, u32), u64>,
    pub is_sealed: bool,
    /// Messages in envelopes that the output says it handed over.
    pub handed: u64,
}

/// A message with the worker that seals it.
pub struct Sealing {
    pub socket: SocketId,
    pub ticket: Ticket,
    pub bytes: Vec<u8>,
}

pub struct World {
    pub rng: Rng,
    pub shards: Vec<Output>,
    pub kernels: Vec<Kernel>,
    pub sealing: Vec<Vec<Sealing>>,
    pub mail: Mailboxes,
    pub peers: Vec<Peer>,
    pub record: Record,
    pub bounds: Bounds,
    pub rooms: u32,
    pub policies: BTreeMap<u32, Policy>,
    pub now: u64,
    pub drained: u64,
    pub slow: u64,
    pub sealed: u64,
    pub moved: u64,
    /// Whether turns are left alone from beginning to end.
    pub is_calm: bool,
    generation: u32,
    notices: Vec<Notice>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let bounds = match seed % 3 {
            0 => bounds::roomy(&mut rng),
            _ => bounds::small(&mut rng),
        };
        let shards = rng.pick(&[1, 1, 2, 3]);
        let deaths = rng.pick(&[0, 0, 20, 200]);
        let eager = rng.pick(&[0, 50, 100]);
        let mut world = Self::with(rng, bounds, shards, deaths, eager);
        world.record.is_lossy = !seed.is_multiple_of(3);
        world
    }

    pub fn with(mut rng: Rng, bounds: Bounds, shards: u32, deaths: u64, eager: u64) -> Self {
        let policies = [Policy::DropNewest, Policy::Skip, Policy::Close];
        let rooms = 1 + rng.below(4) as u32;
        let settings = |shard| OutputSettings {
            shard,
            shards,
            limits: bounds.limits.clone(),
            profile: bounds.profile,
            encodings: toy::encodings(),
            hash_seeds: [u64::from(shard), 2, 3, 4],
            home_seed: HOME_SEED,
            epoch: 0,
        };
        Self {
            shards: (0..shards)
                .map(|shard| {
                    let mut output = Output::new(settings(shard));
                    output.home_mut().take_journal(); // begins to record
                    output
                })
                .collect(),
            kernels: (0..shards).map(|_| Kernel::new(rng.next(), deaths, eager)).collect(),
            sealing: (0..shards).map(|_| Vec::new()).collect(),
            mail: Mailboxes {
                boxes: (0..shards).map(|_| VecDeque::new()).collect(),
                max: bounds.mailbox_max,
                refused: 0,
            },
            peers: Vec::new(),
            record: Record::default(),
            rooms,
            policies: (0..rooms).map(|room| (room, rng.pick(&policies))).collect(),
            bounds,
            now: 0,
            drained: 0,
            slow: 0,
            sealed: 0,
            moved: 0,
            is_calm: false,
            generation: 0,
            notices: Vec::new(),
            rng,
        }
    }

    pub fn open(&mut self, shard: usize, capacity: usize, fickle: bool, sealed: bool) -> usize {
        self.generation += 1;
        let socket = self.kernels[shard].open(self.generation, capacity, fickle);
        self.shards[shard].open(socket, ProfileId(0));
        if sealed {
            self.shards[shard].set_sealed(socket);
        }
        let id = ConnectionId { shard: shard as u32, socket };
        let encoding = self.rng.below(u64::from(toy::ENCODINGS)) as u8;
        let client = Client::new(id, encoding, sealed);
        let (joined, joins) = (Vec::new(), BTreeMap::new());
        let peer = Peer { client, shard, socket, joined, joins, is_sealed: sealed, handed: 0 };
        self.peers.push(peer);
        self.peers.len() - 1
    }

    /// Joins as tag 0 (shared), 1 (enveloped) or 2 (data alone enveloped).
    pub fn join(&mut self, peer: usize, room: u32, tag: u32, is_positioned: bool) {
        let it = &mut self.peers[peer];
        let delivery = match tag {
            0 => Delivery::Shared,
            1 => Delivery::Enveloped(BodyPart::Whole),
            _ => Delivery::Enveloped(BodyPart::Data),
        };
        let request = JoinRequest {
            room: &toy::room_name(room),
            encoding: Encoding(it.client.encoding),
            delivery,
            tag,
            is_positioned,
            is_counted: tag > 0,
            policy: self.policies[&room],
        };
        let joined = self.shards[it.shard].join(it.socket, &request);
        if it.joined.contains(&(room, tag)) {
            assert!(matches!(
                joined,
                Err(Refused::Duplicate | Refused::Gone | Refused::TooManyRooms)
            ));
            return;
        }
        let Ok(joined) = joined else { return };
        let asked = Asked { room, tag, is_positioned, replies: it.client.replies_asked };
        it.joins.insert((room, tag), self.record.joins.len() as u64);
        self.record.joins.push(asked);
        it.client.acks_asked += u64::from(!is_positioned);
        it.joined.push((room, tag));
        match joined {
            Joined::At(position) => self.acknowledge(peer, room, tag, Some(position)),
            Joined::Somewhere => self.acknowledge(peer, room, tag, None),
            Joined::Pending => assert!(is_positioned),
        }
    }

    fn acknowledge(&mut self, peer: usize, room: u32, tag: u32, position: Option<Position>) {
        let join = self.peers[peer].joins[&(room, tag)];
        let (epoch, next) = position.map_or((0, u64::MAX), |p| (u64::from(p.epoch), p.number));
        self.say(peer, &toy::words(toy::JOINED, &[u64::from(room), join, epoch, next]));
    }

    /// Queues an answer: as it is, or with the worker that seals it.
    fn say(&mut self, peer: usize, message: &[u8]) {
        let Peer { shard, socket, is_sealed, .. } = self.peers[peer];
        let output = &mut self.shards[shard];
        if is_sealed {
            assert_eq!(output.reply_with(socket, |_| ()), Err(Refused::Sealed));
            let Ok(ticket) = output.reserve(socket, 0) else {
                return;
            };
            self.sealing[shard].push(Sealing { socket, ticket, bytes: message.to_vec() });
        } else {
            let _closed =
                output.reply_with(socket, |out| out.extend_from_slice(&toy::frame(message)));
        }
    }

    pub fn leave(&mut self, peer: usize, index: usize) {
        let it = &mut self.peers[peer];
        let (room, tag) = it.joined.swap_remove(index);
        if self.shards[it.shard].leave(it.socket, &toy::room_name(room), tag) {
            it.client.acks_asked += 1;
            self.say(peer, &toy::words(toy::LEFT, &[u64::from(room), u64::from(tag)]));
        }
    }

    pub fn publish(
        &mut self,
        shard: usize,
        peer: Option<usize>,
        room: u32,
        len: usize,
        exclude: bool,
    ) {
        let identity = self.record.said.len() as u64;
        let exclude = peer.filter(|_| exclude).map(|peer| self.peers[peer].client.id);
        self.now += 1;
        self.record.said.push(Said { at: self.now, exclude, len });
        let payload = (0..len).map(|index| payload_byte(identity, index)).collect();
        let publisher = peer.map(|peer| self.peers[peer].socket);
        let publication = Publication {
            room: toy::room_name(room),
            event: identity.to_string().into(),
            payload: PayloadBytes::Binary(payload),
            exclude: exclude.map_or(Exclude::Nobody, Exclude::One),
            reach: Reach::Node,
        };
        self.shards[shard].publish(publisher, publication);
    }

    pub fn reply(&mut self, peer: usize) {
        let client = &mut self.peers[peer].client;
        let message = toy::words(toy::REPLY, &[client.replies_asked, client.acks_asked]);
        client.replies_asked += 1;
        self.say(peer, &message);
    }

    /// Direct data that nobody asked for.
    pub fn data(&mut self, peer: usize, len: usize) {
        let it = &mut self.peers[peer];
        let mut message = toy::words(toy::DATA, &[it.client.data_accepted]);
        message.resize(message.len() + len, 7);
        let output = &mut self.shards[it.shard];
        let queued =
            output.data_with(it.socket, |out| out.extend_from_slice(&toy::frame(&message)));
        it.client.data_accepted += u64::from(queued.is_ok());
        assert!(it.is_sealed || queued != Err(Refused::Sealed));
    }

    pub fn ping(&mut self, peer: usize) {
        let it = &mut self.peers[peer];
        let mut frame = vec![0x8a, 8];
        frame.extend_from_slice(&it.client.pongs_asked.to_le_bytes());
        it.client.pongs_asked += 1;
        let _closed = self.shards[it.shard].pong(it.socket, &frame);
    }

    pub fn close(&mut self, peer: usize, mode: Finish) {
        let it = &mut self.peers[peer];
        self.shards[it.shard].finish(it.socket, &wire::close_frame(1001, "away"), mode);
    }

    /// The connection's messages are sealed from now on.
    pub fn seal(&mut self, peer: usize) {
        let it = &mut self.peers[peer];
        if !it.joined.is_empty() {
            self.record.is_lossy = true;
            self.moved += 1;
            it.client.may_move = true;
        }
        it.is_sealed = true;
        self.shards[it.shard].set_sealed(it.socket);
    }

    /// The client reads.
    pub fn read(&mut self, peer: usize, count: usize) {
        let peer = &mut self.peers[peer];
        let bytes = self.kernels[peer.shard].read(peer.socket, count);
        self.now += 1;
        peer.client.receive(&bytes, self.now, &mut self.record);
    }

    /// One turn of a shard's reactor: events, mail, letters out, flush.
    pub fn turn(&mut self, index: usize) {
        while let Some(event) = self.kernels[index].events.pop_front() {
            match event {
                Event::Sent(socket, batch) => self.shards[index].sent(socket, batch),
                Event::Closed(socket) => self.closed(index, socket),
            }
        }
        self.work_seals(index);
        for _ in 0..self.bounds.mail_max {
            let Some(mail) = self.mail.boxes[index].pop_front() else {
                break;
            };
            self.shards[index].on_mail(mail);
        }
        let output = &mut self.shards[index];
        let drained = self.mail.boxes[index].is_empty();
        output.post(&mut self.mail, drained);
        for (name, position, event) in output.home_mut().take_journal() {
            let room = name.strip_prefix("room-").unwrap().parse().unwrap();
            let order = self.record.numbered.entry((room, position.epoch)).or_default();
            assert_eq!(order.len() as u64, position.number, "numbers are contiguous");
            order.push(event.parse().unwrap());
        }
        self.notice(index);
        self.meanwhile(index);
        self.shards[index].flush(&mut self.kernels[index], &mut toy::Tagged);
        self.notice(index);
    }

    /// Workers finish some of what they seal, in any order.
    fn work_seals(&mut self, shard: usize) {
        let mut left = self.sealing[shard].len();
        while left > 0 && (self.is_calm || self.rng.percent(70)) {
            let index = self.rng.below(left as u64) as usize;
            let Sealing { socket, ticket, bytes } = self.sealing[shard].swap_remove(index);
            self.sealed += 1;
            self.shards[shard].fill(socket, ticket, toy::seal(&bytes));
            left -= 1;
        }
    }

    fn notice(&mut self, shard: usize) {
        let mut notices = std::mem::take(&mut self.notices);
        self.shards[shard].take_notices(&mut notices);
        for notice in notices.drain(..) {
            let peer = |socket: SocketId| {
                self.peers.iter().position(|peer| peer.shard == shard && peer.socket == socket)
            };
            match notice {
                Notice::Drained(_) => self.drained += 1,
                Notice::Refused(_) => {}
                Notice::SlowClosed(_) => self.slow += 1,
                Notice::Finished(socket) => self.kernels[shard].end(socket),
                Notice::Joined { socket, room, tag, next } => {
                    let peer = peer(socket).expect("a join of somebody");
                    let room = room.strip_prefix("room-").unwrap().parse().unwrap();
                    self.acknowledge(peer, room, tag, Some(next));
                }
                Notice::Delivered { socket, tag, frames } => {
                    assert!(tag > 0 && frames > 0);
                    if let Some(peer) = peer(socket) {
                        self.peers[peer].handed += frames;
                    }
                }
                Notice::ToSeal { socket, ticket, bytes, .. } => {
                    self.sealing[shard].push(Sealing { socket, ticket, bytes });
                }
            }
        }
        self.notices = notices;
    }

    /// Between two phases of one shard others may do anything: shards are threads.
    fn meanwhile(&mut self, index: usize) {
        let other = self.rng.below(self.shards.len() as u64) as usize;
        if self.is_calm || other == index || !self.rng.percent(40) {
            return;
        }
        if let Some(peer) =
            (0..self.peers.len()).rev().find(|peer| self.peers[*peer].shard == other)
        {
            self.read(peer, usize::MAX);
            let room = self.rng.below(u64::from(self.rooms)) as u32;
            self.publish(other, Some(peer), room, 9, false);
        }
        self.is_calm = true; // one other shard at a time is enough
        self.turn(other);
        self.is_calm = false;
    }

    fn closed(&mut self, shard: usize, socket: SocketId) {
        let is_it = |peer: &Peer| peer.shard == shard && peer.socket == socket;
        if let Some(index) = self.peers.iter().position(is_it) {
            let left = self.kernels[shard].wires[socket.index as usize]
                .take()
                .map(|wire| wire.buffer)
                .unwrap_or_default();
            let mut peer = self.peers.swap_remove(index);
            peer.client.receive(&left, self.now, &mut self.record);
        }
        self.shards[shard].closed(socket);
    }

    pub fn audit(&self, index: usize) {
        let output = &self.shards[index];
        let checked =
            output.audit().and_then(|()| output.audit_memory(self.kernels[index].in_flight()));
        checked.unwrap_or_else(|what| panic!("audit: {what}"));
    }

    /// Lets everything come to rest: clients read, shards turn. Fails if it does not end.
    pub fn come_to_rest(&mut self) {
        self.is_calm = true;
        for round in 0.. {
            assert!(round < 20_000, "no progress: somebody starves");
            for peer in 0..self.peers.len() {
                self.read(peer, usize::MAX);
            }
            for shard in 0..self.shards.len() {
                self.turn(shard);
            }
            let has_bytes =
                |kernel: &Kernel| kernel.wires.iter().flatten().any(|wire| !wire.buffer.is_empty());
            let busy = self.mail.boxes.iter().any(|mailbox| !mailbox.is_empty())
                || self.shards.iter().any(Output::is_pending)
                || self.sealing.iter().any(|sealing| !sealing.is_empty())
                || self.kernels.iter().any(|kernel| !kernel.events.is_empty())
                || self.kernels.iter().any(|kernel| kernel.in_flight().next().is_some())
                || self.kernels.iter().any(has_bytes);
            if !busy {
                break;
            }
        }
    }

    /// At rest: nothing is missing anywhere.
    pub fn check_complete(&self) {
        let shards = self.shards.len() as u32;
        for peer in self.peers.iter().filter(|peer| !peer.client.closed) {
            let position = |room: u32| {
                let name = toy::room_name(room);
                let home = &self.shards[home_of(&name, shards, HOME_SEED) as usize];
                home.home().position(&name).unwrap()
            };
            peer.client.finish(&self.record, &peer.joined, position);
            assert_eq!(peer.handed, peer.client.enveloped, "messages in envelopes, as told");
            let output = &self.shards[peer.shard];
            assert!(!output.is_over(peer.socket), "drained, and nobody was told");
            assert_eq!(output.backlog(peer.socket), 0, "a backlog at rest");
        }
        let acts = |output: &Output| output.counts().policy + output.counts().refused;
        let policy: u64 = self.shards.iter().map(acts).sum();
        assert!(
            self.record.gaps == 0 || policy + self.mail.refused + self.moved > 0,
            "a gap without a reason"
        );
        let is_roomy = self.bounds.limits.retain_bytes_max == 10_000_000;
        assert!(self.record.gaps == 0 || !is_roomy || self.moved > 0, "a gap despite the room");
        for shard in 0..self.shards.len() {
            self.audit(shard);
            assert_eq!(self.shards[shard].active_count(), 0, "an idle connection costs memory");
        }
    }

    /// Everybody goes: nothing is left.
    pub fn empty(&mut self) {
        for peer in &self.peers {
            self.kernels[peer.shard].end(peer.socket);
        }
        self.come_to_rest();
        for output in &self.shards {
            output.audit_empty().unwrap_or_else(|what| panic!("at the end: {what}"));
        }
    }
}

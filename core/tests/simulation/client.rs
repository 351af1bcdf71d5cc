//! A client in the simulation: speaks WebSocket over a simulated socket and remembers everything.

use std::collections::VecDeque;

use fulmar::sim::World;
use fulmar_driver::sim::SimClient;
use fulmar_proto::http::{parse_response, write_upgrade_request};
use fulmar_proto::ws::{
    Decoder, Incoming, MessageLimits, Opcode, Role, Scratch, write_masked_frame,
};

use crate::Random;

/// What a client talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Echo,
    Handler,
    Room(u64),
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: u64,
    pub(crate) kind: Kind,
    shard: usize,
    socket: SimClient,
    head: Vec<u8>,
    decoder: Decoder,
    /// Whether its 101 has come.
    pub(crate) is_open: bool,
    /// What it sent, in order.
    pub(crate) sent: Vec<String>,
    /// How much all clients had sent when it saw its 101.
    pub(crate) opened_at: Option<u64>,
    /// When each message was sent, on the clock of `MOMENT`.
    pub(crate) sent_at: Vec<u64>,
    /// What it got, in order.
    pub(crate) got: Vec<String>,
    /// The close frame it got.
    pub(crate) close: Option<u16>,
    /// It said goodbye, broke off, or saw the end.
    pub(crate) is_over: bool,
    /// It left when everything was at rest.
    pub(crate) stayed: bool,
    /// It may have missed something: it broke off or was reset.
    pub(crate) broke_off: bool,
    inbox: VecDeque<u8>,
    moments: u64,
}

thread_local! {
    /// Counts sends and openings of all clients of this thread's run.
    static MOMENT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

fn moment() -> u64 {
    MOMENT.with(|moment| {
        moment.set(moment.get() + 1);
        moment.get()
    })
}

impl Client {
    pub(crate) fn connect(world: &World, shard: usize, name: u64, kind: Kind) -> Self {
        let network = world.network(shard);
        let socket = network.connect();
        let path = match kind {
            Kind::Echo => "/echo".to_owned(),
            Kind::Handler => "/h".to_owned(),
            Kind::Room(room) => format!("/r/{room}"),
        };
        let mut request = Vec::new();
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        write_upgrade_request(&mut request, "simulation", &path, key, None, None);
        network.write(socket, &request);
        Self {
            name,
            kind,
            shard,
            socket,
            head: Vec::new(),
            decoder: Decoder::new(Role::Client, None),
            is_open: false,
            sent: Vec::new(),
            opened_at: None,
            sent_at: Vec::new(),
            got: Vec::new(),
            close: None,
            is_over: false,
            stayed: false,
            broke_off: false,
            inbox: VecDeque::new(),
            moments: 0,
        }
    }

    /// Sends, mostly; sometimes leaves.
    pub(crate) fn act(&mut self, random: &mut Random, world: &World) {
        if self.is_over || !self.is_open {
            return;
        }
        match random.below(40) {
            0 => self.leave(world),
            1 => {
                self.broke_off = true;
                self.is_over = true;
                if random.one_in(2) {
                    world.network(self.shard).reset(self.socket);
                } else {
                    world.network(self.shard).finish(self.socket);
                }
            }
            2 => self.frame(world, Opcode::Ping, b"are you there"),
            _ => {
                let longest = random_len(random);
                let padding = "x".repeat(random.below(longest) as usize);
                let text = format!("{}:{}:{padding}", self.name, self.sent.len());
                self.frame(world, Opcode::Text, text.as_bytes());
                self.sent.push(text);
                self.sent_at.push(moment());
            }
        }
    }

    fn frame(&self, world: &World, opcode: Opcode, payload: &[u8]) {
        let mut bytes = Vec::new();
        write_masked_frame(&mut bytes, true, false, opcode, payload, [1, 2, 3, 4]);
        world.network(self.shard).write(self.socket, &bytes);
    }

    /// Says goodbye.
    pub(crate) fn leave(&mut self, world: &World) {
        if self.is_over {
            return;
        }
        self.is_over = true;
        if self.is_open {
            self.frame(world, Opcode::Close, &1000_u16.to_be_bytes());
        } else {
            self.broke_off = true;
            world.network(self.shard).finish(self.socket);
        }
    }

    /// Lets go of the socket, whatever is left.
    pub(crate) fn abandon(&self, world: &World) {
        world.network(self.shard).reset(self.socket);
    }

    /// Takes what has come, at most so many bytes.
    pub(crate) fn read(&mut self, world: &World, most: usize) {
        let network = world.network(self.shard);
        let bytes = network.read_some(self.socket, most);
        self.moments += bytes.len() as u64;
        self.inbox.extend(bytes);
        if self.inbox.is_empty() {
            if network.is_ended(self.socket) {
                if !self.is_over && self.close.is_none() {
                    self.broke_off = true;
                }
                self.is_over = true;
                network.finish(self.socket);
            }
            return;
        }
        let mut bytes: Vec<u8> = self.inbox.drain(..).collect();
        if !self.is_open {
            self.head.extend_from_slice(&bytes);
            let Some((response, consumed)) = parse_response(&self.head).unwrap() else { return };
            if response.status != 101 {
                self.is_over = true;
                self.broke_off = true;
                return;
            }
            self.is_open = true;
            self.opened_at = Some(moment());
            bytes = self.head.split_off(consumed);
        }
        self.decode(world, &mut bytes);
    }

    fn decode(&mut self, world: &World, mut bytes: &mut [u8]) {
        let (mut scratch, limits) = (Scratch::default(), MessageLimits::default());
        let mut pongs = 0;
        while let Some(incoming) = self.decoder.next(&mut bytes, &mut scratch, &limits).unwrap() {
            match incoming {
                Incoming::Text(text) => self.got.push(text.to_owned()),
                Incoming::Binary(_) => panic!("nobody sends binary"),
                Incoming::Ping(_) => pongs += 1,
                Incoming::Pong(_) => {}
                Incoming::Close(frame) => {
                    assert!(self.close.is_none(), "one close frame");
                    self.close = Some(frame.map_or(1005, |frame| frame.code));
                }
            }
        }
        for _ in 0..pongs {
            self.frame(world, Opcode::Pong, b"");
        }
        if self.close.is_some() && !self.is_over {
            self.is_over = true;
            self.frame(world, Opcode::Close, &1000_u16.to_be_bytes());
            world.network(self.shard).finish(self.socket);
        }
    }

    /// A number that grows while anything comes.
    pub(crate) fn progress(&self) -> usize {
        self.moments as usize + self.got.len() + usize::from(self.is_over)
    }
}

/// Mostly short, sometimes long enough for 16-bit lengths.
fn random_len(random: &mut Random) -> u64 {
    if random.one_in(10) { 900 } else { 40 }
}

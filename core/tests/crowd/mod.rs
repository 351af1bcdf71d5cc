//! Crowds of silent clients in the simulation.

use fulmar::event::{Authentication, Event, EventOptions};
use fulmar::sim::World;
use fulmar::text::{RoomOptions, Text};
use fulmar::{Config, Endpoint};
use fulmar_driver::sim::{SimClient, SimOptions};
use fulmar_proto::http::write_upgrade_request;
use fulmar_proto::ws::{Opcode, write_masked_frame};

/// Clients that connect at a time.
const BATCH: usize = 20_000;
/// Turns in which any crowd comes to rest.
const TURNS_MAX: usize = 100_000;

/// A server of one shard, and clients that read everything at once and keep nothing.
pub(crate) struct Crowd {
    /// The server.
    pub(crate) world: World,
    /// The clients in the order in which they came.
    pub(crate) clients: Vec<SimClient>,
    request: Vec<u8>,
}

impl Crowd {
    /// A server without clients; `/echo` echoes, `/rooms/NAME` is a room, `/events` takes everybody
    /// who authenticates.
    pub(crate) fn new() -> Self {
        let config = Config { shards: 1, workers: 1, ..Config::default() };
        let network = SimOptions {
            capacity_bytes_max: 1 << 30,
            split_bytes_max: 1 << 30,
            delay_one_in: 1,
            short_one_in: 0,
        };
        let everybody = Authentication::Anybody;
        let events = EventOptions { authentication: everybody, ..EventOptions::default() };
        let endpoints = vec![
            Endpoint::new("/events").speaks(Event::new(events)),
            Endpoint::new("/echo").speaks(Text::echo()),
            Endpoint::new("/rooms/:room").speaks(Text::room(RoomOptions::default())),
        ];
        let world = World::new(1, config, network, (), endpoints).unwrap();
        Self { world, clients: Vec::new(), request: Vec::new() }
    }

    /// So many clients connect, each to the path it is given.
    pub(crate) fn join(&mut self, count: usize, path: impl Fn(usize) -> String) {
        for first in (0..count).step_by(BATCH) {
            for number in first..count.min(first + BATCH) {
                let client = self.world.network(0).connect();
                self.clients.push(client);
                self.request.clear();
                let key = "dGhlIHNhbXBsZSBub25jZQ==";
                let path = path(number);
                write_upgrade_request(&mut self.request, "crowd", &path, key, None, None);
                self.world.network(0).write(client, &self.request);
                self.world.network(0).read_carelessly(client);
            }
            self.rest();
        }
        assert_eq!(self.world.stats().open, self.clients.len() as u64);
    }

    /// The client says something short.
    pub(crate) fn say(&self, client: SimClient) {
        self.say_this(client, b"a short message");
    }

    /// The client says this.
    pub(crate) fn say_this(&self, client: SimClient, text: &[u8]) {
        let mut frame = Vec::with_capacity(64);
        write_masked_frame(&mut frame, true, false, Opcode::Text, text, [1, 2, 3, 4]);
        self.world.network(0).write(client, &frame);
    }

    /// Turns until nothing is under way; returns how many.
    pub(crate) fn rest(&mut self) -> usize {
        let mut before = self.world.stats().output;
        for turn in 0..TURNS_MAX {
            self.world.turn(0);
            let after = self.world.stats().output;
            if self.world.network(0).is_quiet() && before == after {
                return turn;
            }
            before = after;
        }
        panic!("the crowd never came to rest");
    }
}

//! The server that other people's clients are tested against: endpoints of each protocol, with
//! handlers that show everything the protocol has.
//!
//! ```text
//! cargo run -p fulmar --all-features --example conformance -- --port 9000
//! ```
//! Prints `READY <port>` once it accepts connections on 127.0.0.1.
//!
//! | endpoint | protocol |
//! |---|---|
//! | `/ws` | whichever the first message is of |
//! | `/alien/ws` | alien-rpc |
//! | `/ignis/ws` | IGNIS |
#![expect(clippy::needless_pass_by_value, reason = "handlers take their arguments by type")]

mod alien;
mod ignis;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use fulmar::event::{Encryption, Event, EventOptions, JoinPolicy};
use fulmar::rpc::Rpc;
use fulmar::{
    CallError, Config, Endpoint, EndpointOptions, Result, Server, Stopper, Value, fabric,
};

/// What all connections share.
#[derive(Default)]
struct World {
    stopper: OnceLock<Stopper>,
    seen: Mutex<VecDeque<(String, Value)>>,
}

/// So many of the events that were seen last are remembered.
const SEEN_MAX: usize = 1000;

impl World {
    fn remember(&self, event: &str, data: Value) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() == SEEN_MAX {
            seen.pop_front();
        }
        seen.push_back((event.to_owned(), data));
    }

    fn seen(&self) -> Vec<(String, Value)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().cloned().collect()
    }
}

/// The endpoint of both protocols: what neither claims is IGNIS's, which has words for it.
fn either(options: EventOptions) -> Endpoint<World> {
    let endpoint = Endpoint::new("/ws").speaks(Event::new(options)).speaks(Rpc::default());
    alien::serve(ignis::serve(endpoint)).options(as_ignis())
}

fn as_ignis() -> EndpointOptions {
    EndpointOptions {
        message_bytes_max: Some(131_072),
        subprotocols: vec!["*".into()],
        ..EndpointOptions::default()
    }
}

/// The command line: `--name value`, each at most once.
struct Flags(Vec<String>);

impl Flags {
    fn text(&self, name: &str) -> Option<&str> {
        let place = self.0.iter().position(|word| word == name)?;
        self.0.get(place + 1).map(String::as_str)
    }

    fn milliseconds(&self, name: &str, default: Duration) -> Result<Duration> {
        match self.text(name) {
            Some(text) => Ok(Duration::from_millis(text.parse()?)),
            None => Ok(default),
        }
    }

    fn options(&self) -> Result<EventOptions> {
        let default = EventOptions::default();
        let encryption = match self.text("--encryption") {
            None | Some("off") => Encryption::Off,
            Some("offered") => Encryption::Offered,
            Some("required") => Encryption::Required,
            Some(other) => return Err(CallError::new(format!("--encryption {other}?"))),
        };
        Ok(EventOptions {
            auth_timeout: self.milliseconds("--auth-timeout", default.auth_timeout)?,
            heartbeat_interval: self
                .milliseconds("--heartbeat-interval", default.heartbeat_interval)?,
            heartbeat_timeout: self
                .milliseconds("--heartbeat-timeout", default.heartbeat_timeout)?,
            join: JoinPolicy::Ask,
            encryption,
            ..default
        })
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let flags = Flags(std::env::args().collect());
    let options = flags.options().map_err(|error| error.message.into_owned())?;
    let port: u16 = flags.text("--port").unwrap_or("0").parse()?;
    let world = Arc::new(World::default());
    let alien = alien::serve(Endpoint::new("/alien/ws").speaks(Rpc::default()));
    let ignis = Endpoint::new("/ignis/ws").speaks(Event::new(options.clone())).options(as_ignis());
    let mut server = Server::with_shared(world.clone())
        .config(Config { pin: false, ..Config::default() })
        .mount(either(options))
        .mount(alien)
        .mount(ignis::serve(ignis));
    if let Some(url) = flags.text("--redis") {
        server = server.fabric(fabric::Options::new(url));
    }
    let running = server.start(format!("127.0.0.1:{port}"))?;
    let port = running.local_addr().port();
    let (stopper, waiter) = running.split();
    let _first = world.stopper.set(stopper);
    #[expect(clippy::print_stdout, reason = "whoever started it waits for this line")]
    {
        println!("READY {port}");
    }
    Ok(waiter.wait()?)
}

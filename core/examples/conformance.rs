//! The server that other people's clients are tested against: one endpoint of each protocol, with
//! handlers that show everything the protocol has.
//!
//! ```text
//! cargo run -p fulmar --all-features --example conformance -- --port 9000
//! ```
//! Prints `READY <port>` once it accepts connections on 127.0.0.1.
#![expect(clippy::needless_pass_by_value, reason = "handlers take their arguments by type")]

use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use fulmar::event::{Encryption, Event as EventDialect, EventOptions, JoinPolicy};
use fulmar::fabric;
use fulmar::{
    Arg, CallError, Config, Connection, Endpoint, EndpointOptions, Event, Hub, Identity, Promise,
    Result, Server, State, Stopper, Value, encryption,
};
use serde::{Deserialize, Serialize};

#[derive(Default)]
struct World {
    stopper: OnceLock<Stopper>,
}

/// What a client says of itself.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Login {
    token: Value,
    ms: Option<u64>,
}

async fn authenticate(Arg(login): Arg<Login>) -> Result<Option<Identity>> {
    let Value::String(token) = login.token else { return Ok(None) };
    match &*token {
        "throw" => return Err(CallError::new("the authenticator failed")),
        "anon" => return Ok(Some(Identity::default())),
        "slow" => pause(Duration::from_millis(login.ms.unwrap_or(300))).await?,
        bad if bad.starts_with("bad") => return Ok(None),
        _ => {}
    }
    #[derive(Serialize)]
    struct Claims {
        role: &'static str,
    }
    Identity::user(format!("user-{token}")).with_claims(&Claims { role: "x" }).map(Some)
}

/// Waits without holding a worker.
fn pause(time: Duration) -> Promise<()> {
    let (settler, promise) = Promise::pair();
    thread::spawn(move || {
        #[expect(clippy::disallowed_methods, reason = "some authenticators are slow")]
        thread::sleep(time);
        settler.settle(Ok(Value::Undefined));
    });
    promise
}

fn allow_rooms(Arg(rooms): Arg<Vec<String>>) -> Vec<String> {
    rooms.into_iter().filter(|room| !room.starts_with("private")).collect()
}

#[derive(Serialize)]
struct Echo {
    #[serde(skip_serializing_if = "is_undefined")]
    original: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

fn is_undefined(value: &Value) -> bool {
    matches!(value, Value::Undefined)
}

fn echo(peer: Connection, event: Event<Value>) -> Result<()> {
    peer.send_event("echo:response", &Echo { original: event.data, id: event.id })
}

#[derive(Deserialize)]
struct ToRoom {
    room: String,
    text: Value,
}

fn chat(peer: Connection, hub: Hub, Arg(chat): Arg<ToRoom>) -> Result<()> {
    #[derive(Serialize)]
    struct Said {
        from: Option<Box<str>>,
        text: Value,
    }
    let said = Said { from: peer.user(), text: chat.text };
    Ok(hub.send(Some(&chat.room), "chat", &said)?)
}

fn room_except_me(peer: Connection, hub: Hub, Arg(chat): Arg<ToRoom>) -> Result<()> {
    Ok(hub.room(&chat.room).here().except(&peer).publish("chat", &chat.text)?)
}

fn announce(hub: Hub, Arg(what): Arg<Value>) -> Result<()> {
    Ok(hub.send(None, "announce", &what)?)
}

fn announce_except_me(peer: Connection, hub: Hub, Arg(what): Arg<Value>) -> Result<()> {
    Ok(hub.all().here().except(&peer).publish("announce", &what)?)
}

#[derive(Deserialize)]
struct ToUser {
    #[serde(rename = "userId")]
    user: String,
    text: Value,
}

fn to_user(hub: Hub, Arg(note): Arg<ToUser>) -> Result<()> {
    Ok(hub.user(&note.user).here().publish("note", &note.text)?)
}

fn rooms(peer: Connection, hub: Hub) -> Result<()> {
    let client = hub.client(&peer.id()).ok_or_else(CallError::closed)?;
    let rooms: Vec<&str> = client.rooms.iter().map(|room| &**room).collect();
    peer.send_event("rooms", &rooms)
}

fn null_data(peer: Connection, hub: Hub) -> Result<()> {
    Ok(hub.send(Some(&peer.id()), "nothing", &None::<()>)?)
}

fn undefined_data(peer: Connection, hub: Hub) -> Result<()> {
    hub.send(Some(&peer.id()), "nothing", &())?;
    peer.send_event("undef", &())
}

fn boom() -> Result<()> {
    Err(CallError::new("boom"))
}

fn shut_down(world: State<World>) {
    if let Some(stopper) = world.stopper.get().cloned() {
        // Waits for this handler among others, so on a thread of its own.
        thread::spawn(move || stopper.stop());
    }
}

fn events(path: &str, options: EventOptions) -> Endpoint<World> {
    Endpoint::new(path)
        .speaks(EventDialect::new(options))
        .options(EndpointOptions {
            message_bytes_max: Some(131_072),
            subprotocols: vec!["*".into()],
            ..EndpointOptions::default()
        })
        .authenticate(authenticate)
        .handshake(encryption::handshake)
        .allow_rooms(allow_rooms)
        .route("echo", echo)
        .route("chat", chat)
        .route("room-except-me", room_except_me)
        .route("announce", announce)
        .route("announce-except-me", announce_except_me)
        .route("to-user", to_user)
        .route("rooms", rooms)
        .route("null-data", null_data)
        .route("undef-data", undefined_data)
        .route("boom", boom)
        .route("shutdown", shut_down)
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
    let mut server = Server::with_shared(world.clone())
        .config(Config { pin: false, ..Config::default() })
        .mount(events("/ws", options.clone()))
        .mount(events("/ignis/ws", options));
    if let Some(url) = flags.text("--redis") {
        server = server.fabric(fabric::Options::new(url));
    }
    let running = server.start(format!("127.0.0.1:{port}"))?;
    #[expect(clippy::print_stdout, reason = "whoever started it waits for this line")]
    {
        println!("READY {}", running.local_addr().port());
    }
    let (stopper, waiter) = running.split();
    let _first = world.stopper.set(stopper);
    Ok(waiter.wait()?)
}

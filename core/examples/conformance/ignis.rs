//! What IGNIS's clients are given.
use std::thread;
use std::time::Duration;

use fulmar::{
    Arg, CallError, Connection, Endpoint, Event, Hub, Identity, Result, State, Timer, Value,
    encryption,
};
use serde::{Deserialize, Serialize};

use crate::World;

/// Gives an endpoint what IGNIS's clients expect of it.
pub(crate) fn serve(endpoint: Endpoint<World>) -> Endpoint<World> {
    endpoint
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

/// What a client says of itself.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Login {
    token: Value,
    ms: Option<u64>,
}

async fn authenticate(timer: Timer, Arg(login): Arg<Login>) -> Result<Option<Identity>> {
    let Value::String(token) = login.token else { return Ok(None) };
    match &*token {
        "throw" => return Err(CallError::new("the authenticator failed")),
        "anon" => return Ok(Some(Identity::default())),
        "slow" => timer.sleep(Duration::from_millis(login.ms.unwrap_or(300))).await,
        bad if bad.starts_with("bad") => return Ok(None),
        _ => {}
    }
    #[derive(Serialize)]
    struct Claims {
        role: &'static str,
    }
    Identity::user(format!("user-{token}")).with_claims(&Claims { role: "x" }).map(Some)
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

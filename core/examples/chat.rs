//! A chat for alien-rpc's clients: typed routes, a room for each conversation, who is in it, and
//! what is to be done when somebody stops to watch.
//!
//! ```text
//! cargo run --release -p fulmar --features types --example chat         # 127.0.0.1:9000
//! cargo run -p fulmar --features types --example chat -- --types FOLDER
//! ```
//! The second one writes modules for clients: `FOLDER/routes.js` and `FOLDER/routes.d.ts` belong
//! together; `FOLDER/source/routes.ts` is both, to compile; `FOLDER/routes.json` has the JSON
//! Schemas. With alien-rpc's client:
//!
//! ```ts
//! import { defineClient } from "@alien-rpc/client";
//! import routes from "./routes.js";
//!
//! const chat = defineClient(routes, { prefixUrl: "ws://127.0.0.1:9000?name=Ada" });
//! const { number } = await chat.send({ room: "harbour", text: "Ahoy" });
//! for await (const event of chat.watch("harbour")) console.log(event.type);
//! ```
#![expect(clippy::needless_pass_by_value, reason = "handlers take their arguments by type")]

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{env, fs};

use fulmar::rpc::Rpc;
use fulmar::types::ModuleOptions;
use fulmar::types::schemars::{self, JsonSchema};
use fulmar::{
    Args, CallError, Connection, Context, Defer, Endpoint, Rate, Result, Server, State,
    Subscription, inline, worker,
};
use serde::{Deserialize, Serialize};

/// What somebody wants to say.
#[derive(Deserialize, JsonSchema)]
struct Draft {
    /// Where.
    room: String,
    text: String,
    /// Who is meant; everybody, if nobody is named.
    #[serde(default)]
    mentions: Vec<String>,
    reply_to: Option<u64>,
}

/// What somebody has said.
#[derive(Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Posted {
    number: u64,
    text: String,
    reply_to: Option<u64>,
}

/// What happens in a room.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Happening {
    Joined { who: String },
    Said(Posted),
    Typing { who: String },
    Left { who: String },
}

#[derive(Serialize, JsonSchema)]
struct Statistics {
    rooms: usize,
    messages: u64,
}

#[derive(Default)]
struct Chat {
    /// How much has been said in each room.
    said: Mutex<HashMap<String, u64>>,
}

impl Chat {
    /// The number of the next message in a room.
    fn next(&self, room: &str) -> u64 {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let count = said.entry(room.to_owned()).or_default();
        *count += 1;
        *count
    }

    fn statistics(&self) -> Statistics {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        Statistics { rooms: said.len(), messages: said.values().sum() }
    }
}

/// Who calls, by the query of the address: a guard finds out.
struct User(String);

fn named(peer: Connection) -> Result<User> {
    let name = peer.query_parameter("name").filter(|name| !name.is_empty());
    name.map(User).ok_or_else(|| CallError::with_code(401, "Say who you are: ?name=..."))
}

fn add(Args((a, b)): Args<(f64, f64)>) -> f64 {
    a + b
}

fn send(chat: State<Chat>, peer: Connection, Args((draft,)): Args<(Draft,)>) -> Result<Posted> {
    if draft.room.is_empty() {
        return Err(CallError::with_code(404, "no such room"));
    }
    let mentions = draft.mentions.iter().map(|who| format!("@{who} "));
    let text = mentions.collect::<String>() + &draft.text;
    let posted = Posted { number: chat.next(&draft.room), text, reply_to: draft.reply_to };
    peer.room(&draft.room).publish("happening", &Happening::Said(posted.clone()))?;
    Ok(posted)
}

/// Whoever watches a room is in it, until they stop or are gone.
fn watch(
    user: Context<User>,
    peer: Connection,
    defer: Defer,
    Args((name,)): Args<(String,)>,
) -> Result<Subscription<Happening>> {
    let (room, who) = (peer.room(&name), user.0.0.clone());
    room.publish("happening", &Happening::Joined { who: who.clone() })?;
    let subscription = room.subscribe().typed();
    defer.run(move |_end| {
        // The room is busy: those who stay will see it in the list.
        let _busy = room.publish("happening", &Happening::Left { who });
    });
    Ok(subscription)
}

fn typing(user: Context<User>, peer: Connection, Args((room,)): Args<(String,)>) -> Result<()> {
    let who = user.0.0.clone();
    Ok(peer.room(&room).publish("happening", &Happening::Typing { who })?)
}

fn sum(Args(numbers): Args<Vec<f64>>) -> f64 {
    numbers.into_iter().sum()
}

fn statistics(chat: State<Chat>) -> Statistics {
    chat.statistics()
}

fn endpoint() -> Endpoint<Chat> {
    let typing = worker(typing).guard(named).rate(Rate::window(1, Duration::from_secs(1)));
    let send = worker(send).guard(named).rate(Rate::bucket(10, 2.0));
    Endpoint::new("/ws")
        .speaks(Rpc::default())
        .typed_route("add", inline(add))
        .parameters("add", ["a", "b"])
        .described("add", "Adds two numbers.")
        .typed_route("send", send.timeout(Duration::from_secs(5)))
        .parameters("send", ["draft"])
        .typed_route("typing", typing)
        .parameters("typing", ["room"])
        .described("typing", "Tells a room that somebody is about to say something.")
        .typed_route("watch", worker(watch).guard(named))
        .parameters("watch", ["room"])
        .typed_route("sum", inline(sum))
        .parameters("sum", ["numbers"])
        .typed_route("admin.stats", statistics)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--types", folder] => write_types(Path::new(folder))?,
        [] => Server::new(Chat::default()).mount(endpoint()).run("127.0.0.1:9000")?,
        [address] => Server::new(Chat::default()).mount(endpoint()).run(address)?,
        _ => return Err("chat [ADDRESS | --types FOLDER]".into()),
    }
    Ok(())
}

fn write_types(folder: &Path) -> std::io::Result<()> {
    let endpoint = endpoint();
    let module = endpoint.signatures().typescript(&ModuleOptions::default());
    fs::create_dir_all(folder.join("source"))?;
    fs::write(folder.join("routes.js"), module.javascript)?;
    fs::write(folder.join("routes.d.ts"), module.declarations)?;
    fs::write(folder.join("source/routes.ts"), module.typescript)?;
    fs::write(folder.join("routes.json"), endpoint.signatures().json_schema_text())
}

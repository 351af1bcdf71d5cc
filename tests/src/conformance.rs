//! The example `conformance` as a process, the server with a handler for everything; and the few
//! of its handlers that most tests need, for servers in this process.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use fulmar::event::{Event, EventOptions, JoinPolicy};
use fulmar::fabric::Options;
use fulmar::text::{RoomOptions, Text};
use fulmar::{
    Arg, CallError, Config, Connection, Endpoint, Hub, Identity, Result, Running, Server, Value,
};

use crate::{PATIENCE, ended_within, server};

/// A process that serves, and ends when this is dropped.
#[derive(Debug)]
pub struct Conformance {
    child: Child,
    address: SocketAddr,
}

impl Conformance {
    /// Starts one with these flags on a free port of the loopback, and waits until it accepts
    /// connections. The file `FULMAR_CONFORMANCE` names is run, else the one beside this test.
    ///
    /// # Panics
    /// If there is no such file
    /// (`cargo build -p fulmar --all-features --example conformance` makes it), or it does not
    /// start.
    #[must_use]
    pub fn start(flags: &[&str]) -> Self {
        let path = executable();
        let mut child = Command::new(&path)
            .args(["--port", "0"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|error| {
                let how = "cargo build -p fulmar --all-features --example conformance makes it";
                panic!("{}: {error}; {how}", path.display())
            });
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (sender, ready) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ended = output.read_line(&mut line);
            let _gone = sender.send(line);
            // To the end, so that it never waits for being read.
            let _ended = output.read_to_string(&mut String::new());
        });
        let line = ready.recv_timeout(PATIENCE).unwrap_or_default();
        let port = line.trim().strip_prefix("READY ").and_then(|port| port.parse().ok());
        let Some(port) = port else {
            let _ended = child.kill();
            let _waited = child.wait();
            panic!("{line:?} instead of READY <port>")
        };
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as `kill -9` does.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it runs.
    ///
    /// # Panics
    /// If the system cannot tell.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end, at most so long; `None` if it goes on.
    ///
    /// # Panics
    /// If the system cannot tell.
    pub fn wait(&mut self, most: Duration) -> Option<ExitStatus> {
        ended_within(&mut self.child, most)
    }
}

impl Drop for Conformance {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

fn executable() -> PathBuf {
    if let Some(path) = std::env::var_os("FULMAR_CONFORMANCE") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    // target/PROFILE/deps/TEST
    let profile = test.parent().and_then(Path::parent).unwrap();
    profile.join("examples").join("conformance")
}

/// A node in this process with two shards: [`events`] at `/ws`, text rooms at `/rooms/:room`.
///
/// # Panics
/// If it does not start.
#[must_use]
pub fn node(fabric: Option<Options>) -> Running {
    let config = Config { shards: 2, ..server::config() };
    let server = Server::new(())
        .config(config)
        .mount(events(EventOptions { join: JoinPolicy::Anybody, ..EventOptions::default() }))
        .mount(Endpoint::new("/rooms/:room").speaks(Text::room(RoomOptions::default())));
    let server = match fabric {
        Some(options) => server.fabric(options),
        None => server,
    };
    server.start("127.0.0.1:0").unwrap()
}

/// An endpoint at `/ws` that lets in everybody whose token does not begin with `bad`, as
/// `user-<token>`; it knows the events `chat` and `rooms`.
#[must_use]
pub fn events<S: Send + Sync + 'static>(options: EventOptions) -> Endpoint<S> {
    Endpoint::new(crate::event_client::PATH)
        .speaks(Event::new(options))
        .authenticate(authenticate)
        .route("chat", chat)
        .route("rooms", rooms)
}

fn authenticate(Arg(login): Arg<BTreeMap<String, Value>>) -> Option<Identity> {
    let Some(Value::String(token)) = login.get("token") else { return None };
    (!token.starts_with("bad")).then(|| Identity::user(format!("user-{token}")))
}

#[expect(clippy::needless_pass_by_value, reason = "handlers take their arguments by type")]
fn chat(peer: Connection, hub: Hub, Arg(chat): Arg<BTreeMap<String, String>>) -> Result<()> {
    let from = peer.user().unwrap_or_default().into_string();
    let text = chat.get("text").cloned().unwrap_or_default();
    let said = BTreeMap::from([("from", from), ("text", text)]);
    Ok(hub.send(chat.get("room").map(String::as_str), "chat", &said)?)
}

#[expect(clippy::needless_pass_by_value, reason = "handlers take their arguments by type")]
fn rooms(peer: Connection, hub: Hub) -> Result<()> {
    let client = hub.client(&peer.id()).ok_or_else(CallError::closed)?;
    let rooms: Vec<&str> = client.rooms.iter().map(|room| &**room).collect();
    peer.send_event("rooms", &rooms)
}

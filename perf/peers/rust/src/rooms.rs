//! What both servers share: the listener, and rooms whose members each have a channel.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Connections that wait for `accept` at most.
const BACKLOG: u32 = 4096;

/// Rooms by name. There is one thread, so the lock never waits.
pub(crate) struct Rooms<T>(Arc<Mutex<State<T>>>);

struct State<T> {
    next_member: u64,
    members: HashMap<String, Vec<(u64, UnboundedSender<T>)>>,
}

/// What a path asks for.
pub(crate) enum Role {
    /// `/echo`
    Echo,
    /// `/r/NAME`
    Member(String),
    /// `/p/NAME`
    Publisher(String),
}

/// A member's place in its room, which it leaves when this is dropped.
pub(crate) struct Membership<T> {
    rooms: Rooms<T>,
    room: String,
    member: u64,
    /// What is published.
    pub(crate) receiver: UnboundedReceiver<T>,
}

impl Role {
    pub(crate) fn of(path: &str) -> Self {
        match (path.strip_prefix("/r/"), path.strip_prefix("/p/")) {
            (Some(room), _) => Self::Member(room.to_owned()),
            (_, Some(room)) => Self::Publisher(room.to_owned()),
            _ => Self::Echo,
        }
    }
}

impl<T> Clone for Rooms<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Rooms<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { next_member: 0, members: HashMap::new() })))
    }

    pub(crate) fn join(&self, room: String) -> Membership<T> {
        let (sender, receiver) = unbounded_channel();
        let mut state = self.state();
        let member = state.next_member;
        state.next_member += 1;
        state.members.entry(room.clone()).or_default().push((member, sender));
        drop(state);
        Membership { rooms: self.clone(), room, member, receiver }
    }

    pub(crate) fn publish(&self, room: &str, message: &T) {
        if let Some(members) = self.state().members.get(room) {
            for (_, sender) in members {
                // One that has just gone takes itself out of the room.
                let _ = sender.send(message.clone());
            }
        }
    }
}

impl<T> Rooms<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl<T> Drop for Membership<T> {
    fn drop(&mut self) {
        let mut state = self.rooms.state();
        if let Some(members) = state.members.get_mut(&self.room) {
            members.retain(|(member, _)| *member != self.member);
        }
    }
}

/// Listens on a free port of the loopback interface and says which.
pub(crate) fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind("127.0.0.1:0".parse().expect("an address"))?;
    let listener = socket.listen(BACKLOG)?;
    println!("ready {}", listener.local_addr()?);
    Ok(listener)
}

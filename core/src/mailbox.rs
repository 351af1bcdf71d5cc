//! Mail between threads: one mailbox per shard, many posters, first in first out.
//!
//! "Posted before" means "handled before"; the guarantees of rooms rest on it. What may be refused
//! is refused above a length; the rest is bounded by what it is about (connections, rooms, calls).
//! A wake-up system call is made only if the owner sleeps, and once per poster and turn.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use fulmar_dialect::{Ask, CallId};
use fulmar_driver::SocketId;

use crate::awake::AwakeFlag;
use crate::hub::{Client, Of};
use crate::output::{Publication, RoomMail, Ticket};
use crate::stats::Stats;
use crate::worker::OwnedReply;

/// A letter to a shard.
pub(crate) enum Mail {
    /// About a room.
    Room(RoomMail),
    /// What a handle or handler wants of a client.
    Ask { socket: SocketId, ask: Ask },
    /// A publication made through a handle of this connection.
    Publish { publication: Publication },
    /// What became of a call.
    Reply { lane: u32, serial: u32, reply: OwnedReply },
    /// What became of a call that is noted nowhere, in its turn.
    Answer { socket: SocketId, call: CallId, reply: OwnedReply },
    /// A handler returned although its call is not settled.
    Returned { lane: u32, serial: u32 },
    /// A message came back sealed.
    Sealed { socket: SocketId, ticket: Ticket, frame: Vec<u8> },
    /// Please send a copy of your counters.
    Stats(Sender<Stats>),
    /// Please tell of these clients.
    Describe { of: Of, to: Sender<Vec<Client>> },
    /// Accept nothing more and close every connection.
    Stop { restarting: bool },
    /// Let go of what is left.
    Cut,
}

impl Mail {
    fn is_refusable(&self) -> bool {
        match self {
            Self::Room(mail) => mail.is_refusable(),
            Self::Publish { .. } => true,
            _ => false,
        }
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Room(_) => "Room",
            Self::Ask { .. } => "Ask",
            Self::Publish { .. } => "Publish",
            Self::Reply { .. } => "Reply",
            Self::Answer { .. } => "Answer",
            Self::Returned { .. } => "Returned",
            Self::Sealed { .. } => "Sealed",
            Self::Stats(_) => "Stats",
            Self::Describe { .. } => "Describe",
            Self::Stop { .. } => "Stop",
            Self::Cut => "Cut",
        })
    }
}

/// The way into a shard's mailbox, from any thread.
#[derive(Clone)]
pub(crate) struct Post(Arc<Inner>);

struct Inner {
    sender: Sender<Mail>,
    flag: AwakeFlag,
    /// Set by the shard's thread before it first sleeps.
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
    len_max: usize,
}

/// A shard's own end.
#[derive(Debug)]
pub(crate) struct Mailbox {
    receiver: Receiver<Mail>,
    post: Post,
}

/// A mailbox that refuses what may be refused above `len_max` letters.
pub(crate) fn mailbox(len_max: usize) -> Mailbox {
    let (sender, receiver) = crossbeam_channel::unbounded();
    let flag = AwakeFlag::new();
    let post = Post(Arc::new(Inner { sender, flag, wake: OnceLock::new(), len_max }));
    Mailbox { receiver, post }
}

impl Post {
    /// Posts and wakes the owner if it sleeps.
    ///
    /// # Errors
    /// Gives back what a full mailbox refused.
    pub(crate) fn post(&self, mail: Mail) -> Result<(), Mail> {
        self.push(mail)?;
        self.kick();
        Ok(())
    }

    /// Posts without waking; [`kick`](Self::kick) must follow.
    pub(crate) fn push(&self, mail: Mail) -> Result<(), Mail> {
        if self.is_full() && mail.is_refusable() {
            return Err(mail);
        }
        // It can only fail if the shard is gone, and then nobody misses the letter.
        self.0.sender.send(mail).map_err(|refused| refused.0)
    }

    /// Wakes the owner if it sleeps.
    pub(crate) fn kick(&self) {
        if self.0.flag.must_wake()
            && let Some(wake) = self.0.wake.get()
        {
            wake();
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.sender.is_empty()
    }

    /// Whether what may be refused is refused.
    pub(crate) fn is_full(&self) -> bool {
        self.0.sender.len() >= self.0.len_max
    }

    /// Whether publishers should wait.
    pub(crate) fn is_half_full(&self) -> bool {
        self.0.sender.len() >= self.0.len_max.div_ceil(2)
    }

    /// Says how to wake the owner; the first word counts.
    pub(crate) fn wake_with(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _first_counts = self.0.wake.set(Box::new(wake));
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").field("waiting", &self.0.sender.len()).finish()
    }
}

impl Mailbox {
    /// The way in.
    pub(crate) fn post(&self) -> &Post {
        &self.post
    }

    /// Says that the owner is about to sleep. `false`: there is mail, do not.
    pub(crate) fn may_sleep(&self) -> bool {
        self.post.0.flag.about_to_sleep();
        self.receiver.is_empty()
    }

    /// Says that the owner is awake.
    pub(crate) fn awake(&self) {
        self.post.0.flag.awake();
    }

    /// Hands over at most `most` letters; whether that was all.
    pub(crate) fn drain(&self, most: usize, mut handle: impl FnMut(Mail)) -> bool {
        for _ in 0..most {
            match self.receiver.try_recv() {
                Ok(mail) => handle(mail),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
            }
        }
        self.receiver.is_empty()
    }
}

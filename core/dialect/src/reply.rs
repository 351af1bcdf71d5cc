//! What became of a call.
use crate::{CallError, Payload, Verdict};

/// One report about an [`crate::Effect::Call`]. All but [`Item`](Self::Item) and
/// [`Room`](Self::Room) end it.
#[derive(Debug)]
pub enum Reply<'a> {
    /// The result.
    Value(Payload<'a>),
    /// One item of a streaming answer.
    Item(Payload<'a>),
    /// The stream's regular end.
    End,
    /// The answer is a room: the session joins it in its own way. The call stays open as the
    /// membership.
    Room(&'a Subscribed),
    /// What a gate decided.
    Verdict(&'a Verdict),
    /// It failed.
    Error(&'a CallError),
    /// There is no such route, member or gate.
    Missing,
}

/// What became of a call that was over at once; see [`crate::Host::call`].
#[derive(Debug)]
pub enum Answer {
    /// The result.
    Value(Payload<'static>),
    /// It failed. Boxed: answers are passed on several times, and are mostly values.
    Error(Box<CallError>),
    /// There is no such route or member.
    Missing,
}

/// A room as an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subscribed {
    /// Its name.
    pub room: Box<str>,
    /// Whether the client is to learn the numbers of its messages, where the protocol has words
    /// for them.
    pub is_numbered: bool,
}

impl Subscribed {
    /// A room, without numbers.
    #[must_use]
    pub fn to(room: &str) -> Self {
        Self { room: room.into(), is_numbered: false }
    }
}

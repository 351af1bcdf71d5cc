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
    Room(&'a str),
    /// What a gate decided.
    Verdict(&'a Verdict),
    /// It failed.
    Error(&'a CallError),
    /// There is no such route, member or gate.
    Missing,
}

//! The output plane of a shard: what its connections are sent, and how rooms reach their members.
//!
//! A room's output on one shard is a log, the [tape]; a member is a position in it. Members that
//! stand at the same position are one *run* of a dense array and need no cursor of their own
//! ([members]); a member with something of its own to say or to wait for stands *aside* with a
//! cursor ([aside]). What concerns one connection alone is in its two lanes ([connection]). Nothing
//! here does I/O but through [`fulmar_driver::Driver`], and nothing here asks for time or chance.
//!
//! Reading order: [tape], [members], [aside], [connection], [group], [plane], [home].
//!
//! # Cost
//!
//! | what | costs |
//! |---|---|
//! | an idle connection | 32 bytes and two bits, one membership included |
//! | a member of a room | 16 bytes more (the entry in the room's array) |
//! | a further membership | 16 bytes |
//! | a connection with output | a pooled box and pooled buffers, until it is quiet again |
//! | a message to a room | one append per encoding on each shard with members |
//! | a turn's messages to a room | 16 bytes and two bits read per member, one send each |
//! | a member that is slow or was busy | a cursor (112 bytes) until it has caught up |
//! | an enveloped or sealed member | a copy per message |
//!
//! # Order
//!
//! A connection's send is `[rest of a frame begun][control][replies][rooms by turns]`. Whatever is
//! queued keeps casts away from the connection until it has left, so the acknowledgement of a join,
//! queued right after [`Output::join`], comes before the first frame of the room, and after the
//! acknowledgement of a leave nothing of the room follows. A member gets a contiguous run of the
//! room's order (less what excludes it, plus markers), beginning no later than the first message
//! said after its acknowledgement was seen; no order is promised between rooms.

pub mod aside;
pub mod asides;
pub mod bits;
pub mod connection;
pub mod encode;
pub mod group;
pub mod home;
pub mod limits;
pub mod mail;
pub mod members;
pub mod membership;
pub mod plane;
pub mod pool;
pub mod reserved;
pub mod room;
pub mod tape;
pub mod wire;

pub use encode::{
    BodyPart, Encode, Encoded, Encoding, Encodings, Envelopes, Form, Gap, NoEnvelopes,
};
pub use group::{Delivery, GroupKey, Tally, Transport};
pub use home::{Upward, home_of};
pub use limits::{Limits, Policy, Profile, ProfileId};
pub use mail::{
    Broadcast, ConnectionId, Exclude, Excluded, Messages, PayloadBytes, Position, Posts,
    Publication, Reach, RoomMail,
};
pub use plane::{
    Counts, Finish, JoinRequest, Joined, Notice, Output, OutputSettings, Refused, Ticket,
};

/// Place of a frame on one tape: contiguous, never reused, local to that tape.
pub type Ordinal = u64;
/// The room's own number of a message, given by its home; contiguous within an epoch.
pub type Number = u64;
/// Index of a membership inside its connection.
pub type Slot = u32;

/// A length or index of something that is bounded far below four thousand million.
fn narrow(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// A distance on a tape as a size; a tape retains less than the address space.
fn size(distance: u64) -> usize {
    usize::try_from(distance).unwrap_or(usize::MAX)
}

//! Every bound of the output plane in one place.

/// Bounds of a shard's output. [`Limits::default`] is what a server uses; tests shrink them until
/// every edge is hit.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a tape's first chunk. An empty tape holds none.
    pub chunk_bytes_first: usize,
    /// Bytes of the largest chunk; each further chunk of a tape that is not empty is four times the
    /// one before, up to this.
    pub chunk_bytes_max: usize,
    /// Frames larger than this are referenced as a chunk of their own instead of copied.
    pub inline_bytes_max: usize,
    /// Bytes a tape retains. A cursor that lags more falls off and skips ahead, whatever the
    /// policy; if even the runs lag more, because waves cannot keep up, new messages become a gap
    /// for the whole group. At least twice the largest frame, or such a frame can never be sent.
    pub retain_bytes_max: u64,
    /// Bytes of tape in one ordinary send; what the lanes hold goes in addition. Also the bytes of
    /// a sealed connection's messages that are being sealed at any time.
    pub send_bytes_max: usize,
    /// Bytes one room may take of a send before the connection's next room has its turn.
    pub quantum_bytes: usize,
    /// Pieces up to this size are copied into a send, so that a stuck reader pins no chunk.
    pub copy_bytes_max: usize,
    /// Sends of one connection in one flush, if the kernel takes each at once.
    pub sends_max: usize,
    /// Sends to members in one turn, some 3.5 µs each: what a large room may hold up the shard.
    /// A send of many bytes counts once more for every `send_weight_bytes` of them.
    pub turn_sends_max: usize,
    /// See `turn_sends_max`.
    pub send_weight_bytes: u64,
    /// Sends a group may make in any turn that comes to it, so that small rooms stay whole.
    pub group_sends_min: usize,
    /// Runs of one group, that is different positions held without a cursor.
    pub runs_max: usize,
    /// Memberships of one connection.
    pub memberships_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            chunk_bytes_first: 4 << 10,
            chunk_bytes_max: 64 << 10,
            inline_bytes_max: 16 << 10,
            retain_bytes_max: 4 << 20,
            send_bytes_max: 64 << 10,
            quantum_bytes: 16 << 10,
            copy_bytes_max: 4 << 10,
            sends_max: 4,
            turn_sends_max: 96,
            send_weight_bytes: 16 << 10,
            group_sends_min: 16,
            runs_max: 16,
            memberships_max: 4096,
        }
    }
}

impl Limits {
    /// How many sends one of so many bytes counts for.
    pub fn weight(&self, bytes: u64) -> usize {
        let more = bytes.checked_div(self.send_weight_bytes).unwrap_or(0);
        usize::try_from(more).unwrap_or(usize::MAX).saturating_add(1)
    }
}

/// What happens to a slow consumer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// What is new is left out until the member has had what is old; then a gap marker.
    #[default]
    DropNewest,
    /// What is old is left out: a gap marker, then what comes next. For data that is not a room's
    /// this is the same as `DropNewest`: what is queued is already committed.
    Skip,
    /// The connection is closed with 1013 (RFC 6455 registry: "try again later").
    Close,
}

/// Backpressure of a kind of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Backlog in bytes (own queue, send in flight, lag on every tape) above which the policies
    /// act. Replies and control frames are held to four times this.
    pub backlog_bytes_max: u32,
    /// Backlog at which an overfull connection counts as drained.
    pub backlog_bytes_low: u32,
    /// For data sent directly to a connection over its limit; rooms have their own.
    pub policy: Policy,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            backlog_bytes_max: 1 << 20,
            backlog_bytes_low: 256 << 10,
            policy: Policy::DropNewest,
        }
    }
}

/// Index of a [`Profile`] in an output's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProfileId(pub u8);

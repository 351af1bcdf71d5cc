//! The mailbox, private to the server's crate: its own source, and what that finds around it there.
//! A bench that uses it has to have these modules at its root.

#[path = "../../src/awake.rs"]
pub(crate) mod awake;
#[path = "../../src/mailbox.rs"]
pub(crate) mod mailbox;

pub(crate) mod output {
    pub(crate) use fulmar::output::{Publication, RoomMail, Ticket};
}

/// The mailbox only passes these on.
pub(crate) mod hub {
    pub(crate) struct Client;
    #[derive(Clone, Debug)]
    pub(crate) struct Of;
}

pub(crate) mod stats {
    pub(crate) use fulmar::Stats;
}

pub(crate) mod worker {
    /// As large as the server's, whose variants are private; a letter's size is part of its cost.
    pub(crate) type OwnedReply = Result<fulmar::dialect::Payload<'static>, fulmar::CallError>;
}

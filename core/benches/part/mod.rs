//! What a server does per connection, per message, per member and per timer, as operations to be
//! repeated: timed by `parts`, counted in instructions by `instructions`.
#![allow(dead_code, reason = "each of the benches that share this uses its share of it")]

mod calls;
mod letters;
mod room;
pub(crate) mod server;
mod timers;
#[path = "../../proto/benches/part/mod.rs"]
mod wire;

pub(crate) use wire::{Operation, Part};

/// The shard's own parts.
pub(crate) const SHARD: &[Part] = &[
    Part { name: "encode/broadcast", times: 500, elements: 1, make: room::broadcast },
    Part { name: "room/1000-members-1", times: 20, elements: 1000, make: || room::pass(1, false) },
    Part {
        name: "room/1000-members-32",
        times: 10,
        elements: 32_000,
        make: || room::pass(32, false),
    },
    Part {
        name: "room/1000-members-32-clustered",
        times: 10,
        elements: 32_000,
        make: || room::pass(32, true),
    },
    Part { name: "wheel/arm-and-disarm", times: 5000, elements: 1, make: timers::arm_and_disarm },
    Part { name: "wheel/rearm", times: 5000, elements: 1, make: timers::rearm },
    Part { name: "wheel/turn-nothing-due", times: 5000, elements: 1, make: timers::nothing_due },
    Part { name: "wheel/arm-and-fire-1000", times: 50, elements: 1000, make: timers::fire },
    Part { name: "mailbox/letter", times: 2000, elements: 1, make: || letters::turn(1) },
    Part { name: "call/sent-back-16", times: 200, elements: 16, make: calls::sent_back },
    Part { name: "call/on-shard-16", times: 200, elements: 16, make: calls::on_shard },
    Part { name: "call/on-worker-16", times: 100, elements: 16, make: calls::on_worker },
    Part { name: "mailbox/letters-32", times: 100, elements: 32, make: || letters::turn(32) },
];

/// All there are.
pub(crate) fn all() -> impl Iterator<Item = &'static Part> {
    [wire::HANDSHAKE, wire::FRAMES, SHARD].into_iter().flatten()
}

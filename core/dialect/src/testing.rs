//! What the tests of dialects share: a session that is open, chance by a seed, bytes gone wrong.
use std::sync::Arc;

use crate::{
    Ask, Call, Dialect, Host, Link, Object, OpenRequest, Outbox, Outcome, Session, Target,
};

/// A session for a client of whom nothing is known.
pub(crate) fn open(dialect: &dyn Dialect, host: &mut dyn Host) -> Box<dyn Session> {
    let link = Link::new(Arc::new(Nowhere), 1);
    let mut session = dialect.open(&OpenRequest {
        path: "/ws",
        query: "",
        parameters: &[],
        headers: &[],
        subprotocol: None,
        peer: ([127, 0, 0, 1], 1).into(),
        id: 1,
        identity: None,
        link: &link,
        main: &Object::new(Nothing),
    });
    session.on_open(host);
    session
}

/// Numbers that one seed decides.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// The next one, below this.
    pub(crate) fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % most
    }

    /// One of these messages, every other time with a few of the odd bytes in it.
    pub(crate) fn mutated(&mut self, messages: &[&str], odd: &[u8]) -> Vec<u8> {
        let mut bytes = messages[self.below(messages.len())].as_bytes().to_vec();
        if self.below(2) == 0 {
            for _ in 0..=self.below(4) {
                let at = self.below(bytes.len());
                bytes[at] = odd[self.below(odd.len())];
            }
        }
        bytes
    }
}

/// Has no members.
pub(crate) struct Nothing;

impl Target for Nothing {
    fn call(&self, _member: &str, _call: Call<'_>) -> Outcome {
        Outcome::Missing
    }
}

struct Nowhere;

impl Outbox for Nowhere {
    fn post(&self, _connection: u64, _ask: Ask) {}
}

//! Connections whose every message passes through a seal: on a worker, one at a time, in order.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ahash::RandomState;
use fulmar_dialect::{Ask, Seal};
use fulmar_driver::SocketId;
use fulmar_proto::ws::{Opcode, close, write_frame};

use super::Shard;
use crate::mailbox::Mail;
use crate::node::Node;
use crate::output::Ticket;
use crate::worker::Job;

/// The seals of a shard's connections, and how many work at a time: as many as the node's limit
/// grants it, so that what is encrypted leaves workers for everything else.
#[derive(Debug)]
pub(super) struct Seals {
    of: HashMap<SocketId, Sealing, RandomState>,
    /// Connections with something to seal, in the order in which they came.
    ready: VecDeque<SocketId>,
    at_work: usize,
    at_work_max: usize,
}

impl Seals {
    pub(super) fn new(hasher: RandomState, at_work_max: usize) -> Self {
        let of = HashMap::with_hasher(hasher);
        Self { of, ready: VecDeque::new(), at_work: 0, at_work_max: at_work_max.max(1) }
    }

    /// Whether no connection is sealed and nothing is with a worker.
    #[cfg(feature = "sim")]
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty() && self.at_work == 0
    }

    /// The connection has ended; what of it is with a worker comes back all the same.
    pub(super) fn remove(&mut self, socket: SocketId) {
        self.of.remove(&socket);
    }
}

/// The messages of one connection that wait for their seal.
#[derive(Debug)]
pub(super) struct Sealing {
    seal: Arc<dyn Seal>,
    /// Whether one of its messages is with a worker.
    busy: bool,
    waiting: VecDeque<(Ticket, bool, Vec<u8>)>,
}

impl Shard {
    /// From here on nothing leaves the connection unsealed.
    pub(super) fn set_seal(&mut self, socket: SocketId, seal: Arc<dyn Seal>) {
        self.output.set_sealed(socket);
        let sealing = Sealing { seal, busy: false, waiting: VecDeque::new() };
        self.seals.of.insert(socket, sealing);
    }

    pub(super) fn is_sealed(&self, socket: SocketId) -> bool {
        !self.seals.of.is_empty() && self.seals.of.contains_key(&socket)
    }

    /// Keeps the message's place in the connection's order and has it sealed.
    pub(super) fn send_sealed(&mut self, socket: SocketId, is_binary: bool, payload: &[u8]) {
        // Refused only if the connection ends anyway.
        if let Ok(ticket) = self.output.reserve(socket, payload.len()) {
            self.seal(socket, ticket, is_binary, payload.to_vec());
        }
    }

    pub(super) fn seal(
        &mut self,
        socket: SocketId,
        ticket: Ticket,
        is_binary: bool,
        bytes: Vec<u8>,
    ) {
        let Some(sealing) = self.seals.of.get_mut(&socket) else { return };
        sealing.waiting.push_back((ticket, is_binary, bytes));
        if !sealing.busy && sealing.waiting.len() == 1 {
            self.seals.ready.push_back(socket);
        }
        self.seal_more();
    }

    /// A worker brought one back.
    pub(super) fn on_sealed(&mut self, socket: SocketId, ticket: Ticket, frame: Vec<u8>) {
        self.output.fill(socket, ticket, frame);
        self.seals.at_work = self.seals.at_work.saturating_sub(1);
        if let Some(sealing) = self.seals.of.get_mut(&socket) {
            sealing.busy = false;
            if !sealing.waiting.is_empty() {
                self.seals.ready.push_back(socket);
            }
        }
        self.seal_more();
    }

    fn seal_more(&mut self) {
        while self.seals.at_work < self.seals.at_work_max {
            let Some(socket) = self.seals.ready.pop_front() else { return };
            let Some(sealing) = self.seals.of.get_mut(&socket) else { continue };
            let Some((ticket, is_binary, bytes)) = sealing.waiting.pop_front() else { continue };
            sealing.busy = true;
            self.seals.at_work += 1;
            let most = self.stats.sealing_most.max(self.seals.at_work as u64);
            self.stats.sealing_most = most;
            let (seal, post, node) = (sealing.seal.clone(), self.post.clone(), self.node.clone());
            self.node.pool.submit(Job::Run(Box::new(move |_| {
                let work = AssertUnwindSafe(|| sealed(&*seal, &node, is_binary, &bytes));
                let frame = catch_unwind(work).unwrap_or_else(|_panic| {
                    // What cannot be sealed is not sent, and nothing after it.
                    let reason = "the message cannot be encrypted".into();
                    let ask = Ask::Close { code: close::INTERNAL, reason };
                    let _gone = post.post(Mail::Ask { socket, ask });
                    Vec::new()
                });
                // Never refused; a shard that is gone misses nothing.
                let _gone = post.post(Mail::Sealed { socket, ticket, frame });
            })));
        }
    }
}

fn sealed(seal: &dyn Seal, node: &Node, is_binary: bool, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 64);
    let mut entropy = (node.entropy)();
    let is_sealed = seal.seal(bytes, &mut |random| entropy.fill(random), &mut out);
    let message = if is_sealed { &out } else { bytes };
    let opcode = if is_binary { Opcode::Binary } else { Opcode::Text };
    let mut frame = Vec::with_capacity(message.len() + 10);
    write_frame(&mut frame, opcode, message);
    frame
}

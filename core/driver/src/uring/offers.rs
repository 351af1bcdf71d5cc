//! Collecting offers into batches and submitting them.

use io_uring::{opcode, squeue};

use super::ring::Completion;
use super::socket::Socket;
use super::span::{BATCH, BATCH_FIRST, BATCH_MIN, Queued, Span, Target};
use super::tag::{Operation, parse, tag_of};
use super::{UringDriver, live};
use crate::{Member, Piece, Short, Took, system};

impl UringDriver {
    pub(super) fn queue_offers(&mut self, offer: u32, members: &[Member], pieces: &[Piece]) {
        let span = u32::try_from(self.offers.spans.len()).unwrap_or(u32::MAX);
        self.offers.spans.push(Span::new(pieces));
        let mut rest = members;
        while !rest.is_empty() {
            let most = if self.offers.has_begun { BATCH } else { BATCH_FIRST };
            let room = most - self.offers.queue.len();
            let (now, later) = rest.split_at(rest.len().min(room));
            let queued = now.iter().map(|member| Queued { member: *member, offer, span });
            self.offers.queue.extend(queued);
            rest = later;
            if self.offers.queue.len() == most {
                self.flush_offers();
            }
        }
    }

    pub(super) fn end_offers(&mut self) {
        self.flush_offers();
        self.offers.spans.clear();
        self.offers.has_begun = false;
    }

    fn flush_offers(&mut self) {
        self.offers.has_begun = true;
        if self.offers.queue.len() < BATCH_MIN {
            self.send_offers();
        } else {
            self.submit_offers();
        }
    }

    /// Sends what is queued, a call for each.
    fn send_offers(&mut self) {
        let mut queue = std::mem::take(&mut self.offers.queue);
        for queued in queue.drain(..) {
            self.send_offer(queued);
        }
        self.offers.queue = queue;
    }

    fn send_offer(&mut self, queued: Queued) {
        let Some(span) = self.offers.spans.get(queued.span as usize) else {
            return;
        };
        let span = system::Span::new(&span.pieces);
        let Some(socket) = live(&mut self.sockets, queued.member.socket) else {
            return self.report(queued, Took::Dead);
        };
        match socket.stream.offer(&span) {
            Ok(None) => {}
            Ok(Some(sent)) => self.report(queued, Took::Bytes(sent)),
            Err(error) => {
                self.fail(queued.member.socket, error.into());
                self.report(queued, Took::Dead);
            }
        }
    }

    /// Sends what is queued in one call and looks at those that did not take all.
    fn submit_offers(&mut self) {
        let mut queue = std::mem::take(&mut self.offers.queue);
        let mut spans = std::mem::take(&mut self.offers.spans);
        // Nothing moves from here to the end of the call.
        spans.iter_mut().for_each(Span::settle_down);
        for (place, queued) in queue.iter().enumerate() {
            let Some((fd, file)) = self.target(*queued) else {
                continue;
            };
            let Some(span) = spans.get(queued.span as usize) else {
                continue;
            };
            let target = match file.or_else(|| self.register(*queued, fd, place)) {
                Some(file) => Target::File(file),
                None => Target::Descriptor(fd),
            };
            // SAFETY: the span and its pieces stay where they are until `submit` has returned, and
            // by then the operation has completed: it never waits (`MSG_DONTWAIT`), and operations
            // that need not wait complete inside the call.
            unsafe { self.ring.push(&span.entry(target, place)) };
        }
        self.ring.submit();
        self.offers.spans = spans;
        let first = self.completions.len();
        self.ring.take_completions(&mut self.completions);
        let mut place = first;
        // Few if any: whole sends are silent.
        while let Some(completion) = self.completions.get(place).copied() {
            let (operation, id) = parse(completion.tag);
            if operation != Operation::Offer {
                place += 1;
                continue;
            }
            self.completions.remove(place);
            if let Some(queued) = queue.get(id.index as usize).copied() {
                self.offer_ended(queued, completion);
            }
        }
        queue.clear();
        self.offers.queue = queue;
    }

    fn offer_ended(&mut self, queued: Queued, completion: Completion) {
        match completion.result {
            sent @ 0.. => self.fell_short(queued, usize::try_from(sent).unwrap_or(0)),
            error => match -error {
                libc::EAGAIN | libc::EINTR => self.fell_short(queued, 0),
                // The table did not take the socket; its descriptor will do.
                libc::EBADF => {
                    let socket = self.live(queued.member.socket);
                    if let Some(file) = socket.and_then(Socket::take_file) {
                        self.files.give_back(file);
                    }
                    self.send_offer(queued);
                }
                error => {
                    let error = std::io::Error::from_raw_os_error(error);
                    self.fail(queued.member.socket, error.into());
                    self.report(queued, Took::Dead);
                }
            },
        }
    }

    /// Descriptor and place in the table of who can be sent to now; reports who cannot.
    fn target(&mut self, queued: Queued) -> Option<(i32, Option<u32>)> {
        let Some(socket) = self.live(queued.member.socket) else {
            self.report(queued, Took::Dead);
            return None;
        };
        if socket.stream.is_writable() {
            return Some((socket.stream.raw(), socket.file()));
        }
        self.report(queued, Took::Bytes(0));
        None
    }

    /// Enters the socket in the table of files, ahead of its send.
    fn register(&mut self, queued: Queued, fd: i32, place: usize) -> Option<u32> {
        let file = self.files.take()?;
        let descriptor = self.descriptors.get_mut(place)?;
        *descriptor = fd;
        let offset = i32::try_from(file).ok()?;
        let update = opcode::FilesUpdate::new(&raw const *descriptor, 1).offset(offset).build();
        let update = update.flags(squeue::Flags::SKIP_SUCCESS);
        // SAFETY: the descriptor's place is used by nothing else in this batch and belongs to the
        // driver; the operation completes inside the call that submits the batch.
        unsafe { self.ring.push(&update.user_data(tag_of(Operation::Quiet, 0))) };
        self.live(queued.member.socket)?.register(file);
        Some(file)
    }

    fn fell_short(&mut self, queued: Queued, sent: usize) {
        if let Some(socket) = self.live(queued.member.socket) {
            socket.stream.set_full();
        }
        self.report(queued, Took::Bytes(sent as u64));
    }

    fn report(&mut self, queued: Queued, took: Took) {
        self.shorts.push(Short { offer: queued.offer, member: queued.member, took });
    }
}

//! The account of one room: which copies of which messages have arrived.

use super::{Bursts, Tally};

/// Gaps remembered per member, to tell late copies from repeated ones.
const MISSING_MAX: usize = 4096;

/// One connection of a room. 32 bytes: the receive path touches one per message.
#[derive(Debug)]
pub(super) struct Seat {
    /// Which room of this thread.
    pub(super) room: u32,
    /// Whether messages have to arrive here.
    pub(super) counts: bool,
    /// The next number in order.
    next: u64,
    /// Numbers passed over.
    missing: Vec<u64>,
}

impl Seat {
    /// A seat that has received nothing.
    pub(super) fn new(room: u32, counts: bool) -> Self {
        Self { room, counts, next: 0, missing: Vec::new() }
    }
}

/// The messages of one room.
#[derive(Debug)]
pub(super) struct Room {
    /// Its number over all threads.
    pub(super) number: u32,
    /// Copies that every message has to have.
    pub(super) copies: u32,
    /// Messages published.
    pub(super) sent: u64,
    /// Whether it is in the list of rooms to look at.
    pub(super) dirty: bool,
    /// Whether messages are due that the window does not allow.
    pub(super) held: bool,
    /// Whether its publisher is gone.
    pub(super) gone: bool,
    /// All messages before this one are complete.
    oldest: u64,
    window: u64,
    ring: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    intended: u64,
    sent: u64,
    /// When the first copy arrived.
    first: u64,
    got: u32,
}

impl Room {
    /// A room with up to `window` messages under way, each with `copies` receivers.
    pub(super) fn new(number: u32, window: u32, copies: u32) -> Self {
        let ring = vec![Entry::default(); (window as usize).next_power_of_two()];
        Self {
            number,
            copies,
            sent: 0,
            dirty: false,
            held: false,
            gone: false,
            oldest: 0,
            window: u64::from(window),
            ring,
        }
    }

    /// Messages that may be published now.
    pub(super) fn space(&self) -> u64 {
        self.window - (self.sent - self.oldest)
    }

    /// Accounts for a new message and returns its stamp: the room above, the number below.
    pub(super) fn publish(&mut self, intended: u64, sent: u64) -> u64 {
        let number = self.sent;
        let at = self.place(number);
        if let Some(entry) = self.ring.get_mut(at) {
            *entry = Entry { intended, sent, first: 0, got: 0 };
        }
        self.sent += 1;
        self.tag() | (number & 0xffff_ffff)
    }

    /// Accounts for a copy that arrived at `seat`; returns how many messages it completes.
    #[inline]
    pub(super) fn receive(
        &mut self,
        seat: &mut Seat,
        stamp: u64,
        length: u64,
        now: u64,
        tally: &mut Tally,
    ) -> u64 {
        let number = stamp & 0xffff_ffff;
        if stamp >> 32 != self.tag() >> 32 {
            tally.delivery.misdelivered += 1;
            return 0;
        }
        if number >= self.sent {
            tally.delivery.foreign += 1;
            return 0;
        }
        if !seat.accepts(number, tally) {
            return 0;
        }
        tally.delivery.delivered += 1;
        tally.counts.messages += 1;
        tally.counts.bytes += length;
        if number < self.oldest {
            // Given up before; its place in the ring may have another message.
            return 0;
        }
        let at = self.place(number);
        let Some(entry) = self.ring.get_mut(at) else {
            return 0;
        };
        entry.got += 1;
        if entry.got == 1 {
            entry.first = now;
        }
        let complete = entry.got == self.copies;
        if tally.window.contains(entry.intended) {
            tally.response.record(now.saturating_sub(entry.intended));
            if tally.open_loop {
                tally.service.record(now.saturating_sub(entry.sent));
            }
            if complete {
                tally.complete.record(now.saturating_sub(entry.intended));
            }
            if let Some(bursts) = &mut tally.bursts {
                bursts.record(entry, complete, now);
            }
        }
        if complete { self.advance() } else { 0 }
    }

    /// A member has left: nothing waits for it any more. Returns how many messages that completes.
    pub(super) fn member_gone(&mut self, seat: &Seat) -> u64 {
        self.copies = self.copies.saturating_sub(1);
        for number in self.oldest..self.sent.min(seat.next) {
            let at = self.place(number);
            if let Some(entry) = self.ring.get_mut(at).filter(|_| !seat.missing.contains(&number)) {
                entry.got = entry.got.saturating_sub(1);
            }
        }
        self.advance()
    }

    /// Gives up what was sent before `before`; returns how many messages that are.
    pub(super) fn give_up(&mut self, before: u64) -> u64 {
        let oldest = self.oldest;
        while self.oldest < self.sent
            && self.ring.get(self.place(self.oldest)).is_some_and(|entry| entry.sent < before)
        {
            self.oldest += 1;
        }
        self.oldest - oldest
    }

    /// Records how long the missing copies have been under way at least.
    pub(super) fn record_unfinished(&self, now: u64, tally: &mut Tally) {
        for number in self.oldest..self.sent {
            let Some(entry) = self.ring.get(self.place(number)) else {
                break;
            };
            if tally.window.contains(entry.intended) {
                for _ in entry.got..self.copies {
                    tally.response.record(now.saturating_sub(entry.intended));
                }
            }
        }
    }

    fn advance(&mut self) -> u64 {
        let oldest = self.oldest;
        while self.oldest < self.sent
            && self.ring.get(self.place(self.oldest)).is_some_and(|entry| entry.got >= self.copies)
        {
            self.oldest += 1;
        }
        self.oldest - oldest
    }

    fn place(&self, number: u64) -> usize {
        // The ring's length is a power of two.
        usize::try_from(number & (self.ring.len() as u64 - 1)).unwrap_or(0)
    }

    fn tag(&self) -> u64 {
        u64::from(self.number & 0xffff) << 32
    }
}

impl Bursts {
    fn record(&mut self, entry: &Entry, complete: bool, now: u64) {
        if entry.got == 1 {
            self.first.record(now.saturating_sub(entry.sent));
            // It was not there the time before, or that would have brought it.
            self.blind.record(now.saturating_sub(self.looked[1].max(entry.sent)));
        }
        if complete {
            self.last.record(now.saturating_sub(entry.sent));
            self.spread.record(now.saturating_sub(entry.first));
        }
    }
}

impl Seat {
    /// Whether this is the first copy of message `number` here.
    #[inline]
    fn accepts(&mut self, number: u64, tally: &mut Tally) -> bool {
        if number == self.next {
            self.next += 1;
            return true;
        }
        if number > self.next {
            let room = MISSING_MAX.saturating_sub(self.missing.len());
            self.missing.extend((self.next..number).take(room));
            self.next = number + 1;
            return true;
        }
        if let Some(at) = self.missing.iter().position(|missing| *missing == number) {
            self.missing.swap_remove(at);
            tally.delivery.out_of_order += 1;
            return true;
        }
        tally.delivery.duplicated += 1;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Window;
    use super::*;
    use crate::measure::{Counts, Delivery, Series};

    fn tally() -> Tally {
        Tally {
            window: Window { from: 0, until: u64::MAX },
            open_loop: false,
            counts: Counts::default(),
            delivery: Delivery::default(),
            response: Series::new("response"),
            service: Series::new("service"),
            complete: Series::new("complete"),
            bursts: Some(Bursts::new()),
        }
    }

    #[test]
    fn times_the_first_and_the_last_receiver_from_the_write() {
        let (mut room, mut tally) = (Room::new(7, 4, 3), tally());
        let mut seats = [Seat::new(0, true), Seat::new(0, true), Seat::new(0, true)];
        let stamp = room.publish(5, 10);
        tally.bursts.as_mut().unwrap().looked = [45, 35];
        for (seat, now) in seats.iter_mut().zip([50, 70, 110]) {
            room.receive(seat, stamp, 8, now, &mut tally);
        }
        let Bursts { mut first, mut last, mut spread, mut blind, .. } = tally.bursts.unwrap();
        let only = |series: &mut Series| {
            series.settle();
            assert_eq!(series.histogram.len(), 1);
            series.histogram.max()
        };
        assert_eq!((only(&mut first), only(&mut last)), (40, 100));
        assert_eq!((only(&mut spread), only(&mut blind)), (60, 15));
    }

    #[test]
    fn a_message_is_complete_when_every_member_has_it() {
        let (mut room, mut tally) = (Room::new(7, 4, 2), tally());
        let mut seats = [Seat::new(0, true), Seat::new(0, true)];
        let stamps = [room.publish(1, 1), room.publish(2, 2)];
        assert_eq!(room.space(), 2);
        assert_eq!(room.receive(&mut seats[0], stamps[0], 8, 10, &mut tally), 0);
        assert_eq!(room.receive(&mut seats[0], stamps[1], 8, 10, &mut tally), 0);
        assert_eq!(room.receive(&mut seats[1], stamps[0], 8, 10, &mut tally), 1);
        assert_eq!(room.receive(&mut seats[1], stamps[1], 8, 10, &mut tally), 1);
        assert_eq!((room.space(), tally.delivery.delivered), (4, 4));
    }

    #[test]
    fn tells_late_repeated_and_misdelivered_copies_apart() {
        let (mut room, mut tally) = (Room::new(1, 8, 1), tally());
        let mut seat = Seat::new(0, true);
        let stamps: Vec<u64> = (0..4).map(|_| room.publish(0, 0)).collect();
        for at in [0, 2, 1, 1, 2] {
            room.receive(&mut seat, stamps[at], 8, 1, &mut tally);
        }
        room.receive(&mut seat, 2 << 32, 8, 1, &mut tally);
        room.receive(&mut seat, stamps[3] + 1, 8, 1, &mut tally);
        let Delivery { delivered, duplicated, out_of_order, misdelivered, foreign, .. } =
            tally.delivery;
        assert_eq!((delivered, duplicated, out_of_order), (3, 2, 1));
        assert_eq!((misdelivered, foreign, room.space()), (1, 1, 7));
    }

    #[test]
    fn nothing_waits_for_a_member_that_left() {
        let (mut room, mut tally) = (Room::new(0, 4, 2), tally());
        let mut seats = [Seat::new(0, true), Seat::new(0, true)];
        let stamps = [room.publish(0, 0), room.publish(0, 0)];
        room.receive(&mut seats[0], stamps[0], 8, 1, &mut tally);
        room.receive(&mut seats[1], stamps[0], 8, 1, &mut tally);
        room.receive(&mut seats[0], stamps[1], 8, 1, &mut tally);
        assert_eq!(room.member_gone(&seats[1]), 1);
        assert_eq!((room.space(), room.copies), (4, 1));
    }

    #[test]
    fn a_lost_message_is_given_up_in_the_end() {
        let mut room = Room::new(0, 1, 1);
        room.publish(5, 5);
        assert_eq!((room.give_up(5), room.space()), (0, 0));
        assert_eq!((room.give_up(6), room.space()), (1, 1));
    }
}

//! Messages that are answered on the same connection, each by one: the loop that `echo` and
//! `request` share.
//!
//! All frames are encoded before the start, numbered by their place in a ring; a window of any
//! length is one stretch of one block, so sending copies nothing in this process. The place in the
//! reply shows that nothing was lost or repeated.

use std::rc::Rc;
use std::sync::Arc;

use fulmar_driver::{Block, Piece, SendBatch};

use super::{Context, Finished, Load, Manner, Outcome, Share, Window, preflight, run};
use crate::cli::{ExchangeArgs, Refill};
use crate::client::{Fleet, Route, Sink};
use crate::clock::Clock;
use crate::measure::{BEHIND_AFTER, Counts, Delivery, ErrorLog, Series};
use crate::pace::Pace;
use crate::target::Target;
use crate::walker::Message;

/// Frames under way per connection when the loop is open and no depth is given.
pub(super) const OPEN_LOOP_DEPTH: u32 = 64;
/// Most bytes of encoded frames.
const RING_BYTES_MAX: usize = 1 << 30;

/// What is said, and how an answer is known again.
pub(super) trait Wording {
    /// Whether answers come in the order of the messages.
    const IN_ORDER: bool;

    /// Appends the frame of the message with this place in the ring; all are of one length.
    fn append(&mut self, place: u64, out: &mut Vec<u8>);

    /// Reads an answer, `next` being the place of the message that was sent first of those under
    /// way; `None` for what is no answer. What is wrong with it is noted.
    fn read(&self, message: Message<'_>, next: u64, errors: &mut ErrorLog) -> Option<Answer>;

    /// Bytes of every answer that it has to see.
    fn shown_bytes(&self) -> usize;
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The place of the message that it answers.
    pub(super) place: u64,
    /// Whether its message was the next to be answered, where that matters.
    pub(super) is_next: bool,
    /// Whether it says that something has failed: it has no part in rates and latencies.
    pub(super) is_failure: bool,
}

/// How far the rings reach: frames under way per connection, places, and bytes of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    depth: u32,
    /// Places of a ring, a power of two.
    pub(super) ring: u64,
}

impl Reach {
    /// For so many frames under way. Where answers come in any order, a message that waits for its
    /// own must not keep others from being sent, so there are more places.
    pub(super) fn of<W: Wording>(depth: u32) -> Self {
        let places = u64::from(depth).next_power_of_two();
        Self { depth, ring: if W::IN_ORDER { places } else { 2 * places } }
    }
}

/// Runs the loop with messages of `message_bytes` at `url`; `make` has the wording of a thread.
///
/// # Errors
/// Why it could not be run, in words.
pub(super) fn run_exchange<W: Wording>(
    context: &Context,
    url: &str,
    args: &ExchangeArgs,
    message_bytes: usize,
    make: impl Fn(Share, Reach) -> W + Sync,
) -> Result<Outcome, String> {
    let target = Arc::new(Target::parse(url)?);
    let default_depth = if args.rate.is_some() { OPEN_LOOP_DEPTH } else { 1 };
    let depth = args.depth.unwrap_or(default_depth);
    if depth == 0 || args.connections == 0 {
        return Err("there is nothing to do with 0 connections or a depth of 0".to_owned());
    }
    if context.common.threads > args.connections {
        return Err("there are more threads than connections".to_owned());
    }
    let reach = Reach::of::<W>(depth);
    let places = usize::try_from(2 * reach.ring).unwrap_or(usize::MAX);
    let ring_bytes = (message_bytes + 16).checked_mul(places);
    if ring_bytes.is_none_or(|bytes| bytes > RING_BYTES_MAX) {
        return Err("depth times size is too large: more than 1 GiB of frames".to_owned());
    }
    preflight(u64::from(args.connections))?;
    run(context, |share| Exchange::new(context, args, &target, reach, share, make(share, reach)))
}

/// The connections of one thread.
pub(super) struct Exchange<W> {
    clock: Clock,
    wording: W,
    routes: Vec<Route>,
    depth: u64,
    refill: Refill,
    /// Messages per second of this thread, if the loop is open.
    rate: Option<f64>,
    pace: Option<Pace>,
    window: Window,
    stopping: bool,
    lanes: Vec<Lane>,
    /// Lanes to look at in the next [`Load::act`].
    dirty: Vec<u32>,
    /// Intended and actual time of sending, `ring` entries per lane; zeroes where no message is
    /// under way.
    times: Vec<(u64, u64)>,
    ring: u64,
    frames: Vec<u8>,
    frame_bytes: usize,
    block: Option<Rc<Block>>,
    under_way: u64,
    counts: Counts,
    delivery: Delivery,
    response: Series,
    service: Series,
    /// How long replies may have waited for the generator to look, if that is asked for.
    blind: Option<Series>,
    /// When the kernel was asked for news, this time and the time before.
    looked: [u64; 2],
    manner: Manner,
    errors: ErrorLog,
}

/// One connection.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    sent: u64,
    received: u64,
    dirty: bool,
    gone: bool,
    /// Whether messages are due that the depth does not allow.
    held: bool,
}

impl<W: Wording> Exchange<W> {
    /// The part of the connections that is `share`'s.
    pub(super) fn new(
        context: &Context,
        args: &ExchangeArgs,
        target: &Arc<Target>,
        Reach { depth, ring }: Reach,
        share: Share,
        mut wording: W,
    ) -> Self {
        let lanes = share.count(args.connections);
        let route = |at| {
            let number = share.number(at);
            context.route(target, number, number, args.connections)
        };
        let mut frames = Vec::new();
        wording.append(0, &mut frames);
        let frame_bytes = frames.len();
        // Twice around, so that every window is one stretch.
        for place in 1..2 * ring {
            wording.append(place % ring, &mut frames);
        }
        let manner = Manner { shown_bytes: wording.shown_bytes(), ..Manner::default() };
        let all = f64::from(args.connections);
        Self {
            clock: context.clock,
            wording,
            routes: (0..lanes).map(route).collect(),
            depth: u64::from(depth),
            refill: args.refill,
            rate: args.rate.map(|rate| rate * f64::from(lanes) / all),
            pace: None,
            window: Window::default(),
            stopping: false,
            lanes: vec![Lane::default(); lanes as usize],
            dirty: Vec::new(),
            times: vec![(0, 0); lanes as usize * usize::try_from(ring).unwrap_or(0)],
            ring,
            frames,
            frame_bytes,
            block: None,
            under_way: 0,
            counts: Counts::default(),
            delivery: Delivery::default(),
            response: Series::new("response"),
            service: Series::new("service"),
            blind: None,
            looked: [0; 2],
            manner,
            errors: ErrorLog::default(),
        }
    }

    /// Runs next to another load, and watches how that holds up this one.
    pub(super) fn beside_another(self, manner: Manner) -> Self {
        Self { manner, blind: Some(Series::new("blind")), ..self }
    }

    /// Sends what lane `index` may send now, in one batch.
    fn feed(&mut self, fleet: &mut Fleet, index: u32) {
        let Some(lane) = self.lanes.get_mut(index as usize) else {
            return;
        };
        lane.dirty = false;
        if lane.gone {
            return;
        }
        let now = self.clock.now();
        let under_way = lane.sent - lane.received;
        let room = free_places(&self.times, self.ring, index, lane.sent, self.depth - under_way);
        let count = match self.pace {
            None if self.stopping => 0,
            None if self.refill == Refill::Window && under_way > 0 => 0,
            None => room,
            Some(pace) => {
                let due = pace.dealt_to(index) - lane.sent;
                let was_held = std::mem::replace(&mut lane.held, due > room);
                let count = due.min(room);
                for number in lane.sent..lane.sent + count {
                    let late = now.saturating_sub(pace.time(index, number));
                    self.counts.behind += u64::from(late > BEHIND_AFTER && !was_held);
                }
                count
            }
        };
        if count == 0 {
            return;
        }
        let first = lane.sent;
        lane.sent += count;
        for number in first..first + count {
            let intended = self.pace.map_or(now, |pace| pace.time(index, number));
            let at = index_of(self.ring, index, number);
            if let Some(times) = self.times.get_mut(at) {
                *times = (intended, now);
            }
        }
        self.under_way += count;
        self.counts.sent += count;
        self.delivery.published += count;
        self.send(fleet, index, first & (self.ring - 1), count);
    }

    fn send(&mut self, fleet: &mut Fleet, index: u32, place: u64, count: u64) {
        let block =
            self.block.get_or_insert_with(|| fleet.block(std::mem::take(&mut self.frames))).clone();
        // The ring has at most 1 GiB, so offsets fit.
        let offset =
            |frames: u64| u32::try_from(frames * self.frame_bytes as u64).unwrap_or(u32::MAX);
        let mut batch = SendBatch::default();
        batch.push_piece(Piece { block, range: offset(place)..offset(place + count) }, 0);
        drop(fleet.send(index, batch));
    }
}

impl<W: Wording> Sink for Exchange<W> {
    #[inline]
    fn message(&mut self, slot: u32, message: Message<'_>, now: u64) {
        let Some(lane) = self.lanes.get_mut(slot as usize) else {
            return;
        };
        let next = lane.received & (self.ring - 1);
        let answer = self.wording.read(message, next, &mut self.errors);
        let Some(answer) = answer.filter(|answer| answer.place < self.ring) else {
            self.delivery.foreign += 1;
            return;
        };
        let at = index_of(self.ring, slot, answer.place);
        let times = self.times.get_mut(at).map(std::mem::take);
        let Some((intended, sent)) = times.filter(|(_, sent)| *sent > 0) else {
            // Only an id tells what has been answered already from what was never asked.
            self.delivery.duplicated += u64::from(!W::IN_ORDER);
            self.delivery.foreign += u64::from(W::IN_ORDER);
            return;
        };
        lane.received += 1;
        let empty = lane.received == lane.sent;
        let refill = match self.pace {
            Some(_) => lane.held,
            None => empty || self.refill == Refill::Each,
        };
        if refill && !std::mem::replace(&mut lane.dirty, true) {
            self.dirty.push(slot);
        }
        self.under_way -= 1;
        self.delivery.delivered += 1;
        self.delivery.out_of_order += u64::from(!answer.is_next);
        if answer.is_failure {
            return;
        }
        self.counts.messages += 1;
        self.counts.bytes += message.length;
        if self.window.contains(intended) {
            self.response.record(now.saturating_sub(intended));
            if self.pace.is_some() {
                self.service.record(now.saturating_sub(sent));
            }
            if let Some(blind) = &mut self.blind {
                // It was not there the time before, or that would have brought it.
                blind.record(now.saturating_sub(self.looked[1].max(sent)));
            }
        }
    }

    fn ended(&mut self, slot: u32, _expected: bool, _now: u64) {
        let Some(lane) = self.lanes.get_mut(slot as usize) else {
            return;
        };
        self.under_way -= lane.sent - lane.received;
        self.delivery.lost += lane.sent - lane.received;
        lane.received = lane.sent;
        lane.gone = true;
        let from = index_of(self.ring, slot, 0);
        let until = index_of(self.ring, slot + 1, 0);
        if let Some(times) = self.times.get_mut(from..until) {
            times.fill((0, 0));
        }
    }
}

impl<W: Wording> Load for Exchange<W> {
    fn manner(&self) -> Manner {
        self.manner
    }

    fn routes(&self) -> Vec<Route> {
        self.routes.clone()
    }

    fn begin(&mut self, start: u64, window: Window) {
        self.window = window;
        let lanes = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        self.pace = self.rate.map(|rate| Pace::new(rate, lanes, start));
        if self.pace.is_none() {
            self.lanes.iter_mut().for_each(|lane| lane.dirty = true);
            self.dirty.extend(0..lanes);
        }
    }

    fn act(&mut self, fleet: &mut Fleet, now: u64) {
        self.looked = [now, self.looked[0]];
        if let Some(pace) = &mut self.pace {
            let (lanes, dirty) = (&mut self.lanes, &mut self.dirty);
            pace.advance(now.min(self.window.until - 1), |index| {
                if let Some(lane) = lanes.get_mut(index as usize)
                    && !std::mem::replace(&mut lane.dirty, true)
                {
                    dirty.push(index);
                }
            });
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            self.feed(fleet, index);
        }
        self.dirty = dirty;
    }

    fn next_due(&self) -> Option<u64> {
        self.pace.map(|pace| pace.next())
    }

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn outstanding(&self) -> u64 {
        self.under_way + self.dirty.len() as u64
    }

    fn under_way(&self) -> u64 {
        self.under_way
    }

    fn counts(&self) -> Counts {
        self.counts
    }

    fn latency(&self) -> &Series {
        &self.response
    }

    fn finish(mut self, now: u64) -> Finished {
        // What has not come back has waited so long at least; to leave it out would make an
        // overloaded server look fast.
        for &(intended, sent) in &self.times {
            if sent > 0 && self.window.contains(intended) {
                self.response.record(now.saturating_sub(intended));
            }
        }
        for (index, lane) in (0_u32..).zip(&self.lanes) {
            let Some(pace) = self.pace else { break };
            for intended in pace.unsent(index, lane.sent) {
                self.delivery.unsent += 1;
                if self.window.contains(intended) {
                    self.response.record(now.saturating_sub(intended));
                }
            }
        }
        self.delivery.expected = self.delivery.published;
        self.delivery.lost += self.under_way;
        let mut series = vec![self.response];
        if self.pace.is_some() {
            series.push(self.service);
        }
        series.extend(self.blind);
        Finished { series, delivery: Some(self.delivery), errors: self.errors }
    }
}

/// Where a lane keeps the times of a message.
fn index_of(ring: u64, lane: u32, message: u64) -> usize {
    // A lane's index and the place in its ring fit: the vector was allocated so.
    let index = u64::from(lane) * ring + (message & (ring - 1));
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// How many messages, at most `wanted`, a lane can send from number `first` on: those before them
/// at the same places have to be answered.
fn free_places(times: &[(u64, u64)], ring: u64, lane: u32, first: u64, wanted: u64) -> u64 {
    let is_free =
        |number: &u64| times.get(index_of(ring, lane, *number)).is_some_and(|(_, sent)| *sent == 0);
    (first..first + wanted).take_while(is_free).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_waits_for_its_answer_keeps_its_place() {
        let mut times = vec![(0, 0); 8];
        assert_eq!(free_places(&times, 4, 1, 6, 4), 4);
        times[5] = (1, 1);
        assert_eq!(free_places(&times, 4, 1, 6, 4), 3);
        assert_eq!(free_places(&times, 4, 1, 5, 4), 0);
        assert_eq!(free_places(&times, 4, 0, 5, 2), 2);
    }
}

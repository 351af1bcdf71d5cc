//! Publishers and rooms: every message is to reach every member once and in order.
//!
//! Each message carries its room and its number, so every copy can be accounted for. A publisher
//! keeps a window of messages under way; a message is complete once all members have it.

mod plan;
mod room;

use fulmar_driver::SendBatch;

pub(super) use self::plan::{Plan, check};
use self::room::{Room, Seat};
use super::{Context, Finished, Load, Manner, Outcome, Share, Window, preflight, run};
use crate::cli::{BroadcastArgs, Protocol};
use crate::client::{Fleet, Route, Sink};
use crate::clock::Clock;
use crate::frames::{Encoder, Format};
use crate::measure::{BEHIND_AFTER, Counts, Delivery, ErrorLog, Series};
use crate::nats;
use crate::pace::Pace;
use crate::units::SECOND;
use crate::walker::Message;

/// Messages under way per room when the loop is open and no window is given.
pub(super) const OPEN_LOOP_WINDOW: u32 = 1024;
/// Without a copy for so long, a message is given up so that the rest can go on. Nanoseconds.
const PATIENCE: u64 = 5 * SECOND;

/// Runs the scenario with these defaults for the numbers of rooms and members.
///
/// # Errors
/// Why it could not be run, in words.
pub(crate) fn run_broadcast(
    context: &Context,
    args: &BroadcastArgs,
    rooms: u32,
    members: u32,
) -> Result<Outcome, String> {
    let plan = Plan::one_room(&args.url, args.publish_url.as_deref())?;
    let window = if args.rate.is_some() { OPEN_LOOP_WINDOW } else { 1 };
    let plan = Plan {
        rooms: args.rooms.unwrap_or(rooms),
        members: args.members.unwrap_or(members),
        window: args.window.unwrap_or(window),
        publisher_hears: args.publisher_hears,
        rate: args.rate,
        size: args.size,
        protocol: args.protocol,
        ..plan
    };
    run_plan(context, &plan)
}

/// Runs a resolved plan.
///
/// # Errors
/// Why it could not be run, in words.
pub(crate) fn run_plan(context: &Context, plan: &Plan) -> Result<Outcome, String> {
    check(plan)?;
    if context.common.threads > plan.rooms {
        return Err("a room lives on one thread, and there are more threads than rooms".to_owned());
    }
    preflight(plan.connections())?;
    run(context, |share| Broadcast::new(context, plan, share))
}

/// What a room's messages are measured by.
pub(super) struct Tally {
    pub(super) window: Window,
    pub(super) open_loop: bool,
    pub(super) counts: Counts,
    pub(super) delivery: Delivery,
    pub(super) response: Series,
    pub(super) service: Series,
    pub(super) complete: Series,
    pub(super) bursts: Option<Bursts>,
}

/// The first and the last receiver of every message.
pub(super) struct Bursts {
    /// From before the write of the publisher's frame to the first copy.
    pub(super) first: Series,
    /// The same to the last copy.
    pub(super) last: Series,
    /// From the first to the last copy.
    pub(super) spread: Series,
    /// How long the generator had not looked when the first copy was read.
    pub(super) blind: Series,
    /// When the kernel was asked for news, this time and the time before.
    pub(super) looked: [u64; 2],
}

/// The rooms of one thread.
pub(super) struct Broadcast {
    clock: Clock,
    plan: Plan,
    share: Share,
    format: Format,
    /// One for all rooms, or one for each.
    encoders: Vec<Encoder>,
    routes: Vec<Route>,
    pace: Option<Pace>,
    stopping: bool,
    seats: Vec<Seat>,
    rooms: Vec<Room>,
    dirty: Vec<u32>,
    under_way: u64,
    buffer: Vec<u8>,
    check_at: u64,
    tally: Tally,
    errors: ErrorLog,
}

impl Broadcast {
    /// The part of the rooms that is `share`'s.
    pub(super) fn new(context: &Context, plan: &Plan, share: Share) -> Self {
        let rooms = share.count(plan.rooms);
        let format = context.format(plan.size);
        let copies = plan.members + u32::from(plan.publisher_hears);
        let mut seats = Vec::new();
        for room in 0..rooms {
            seats.extend((0..plan.members).map(|_| Seat::new(room, true)));
            seats.extend((0..plan.stuck).map(|_| Seat::new(room, false)));
            seats.push(Seat::new(room, plan.publisher_hears));
        }
        let number = |room| share.number(room);
        Self {
            clock: context.clock,
            format,
            encoders: encoders(context, plan, share, rooms),
            routes: routes(context, plan, share, rooms),
            pace: None,
            stopping: false,
            seats,
            rooms: (0..rooms).map(|room| Room::new(number(room), plan.window, copies)).collect(),
            dirty: Vec::new(),
            under_way: 0,
            buffer: Vec::new(),
            check_at: 0,
            tally: Tally {
                window: Window::default(),
                open_loop: plan.rate.is_some(),
                counts: Counts::default(),
                delivery: Delivery::default(),
                response: Series::new("response"),
                service: Series::new("service"),
                complete: Series::new("complete"),
                bursts: plan.bursts.then(Bursts::new),
            },
            errors: ErrorLog::default(),
            plan: plan.clone(),
            share,
        }
    }

    /// Publishes what room `index` may publish now, in one batch.
    fn feed(&mut self, fleet: &mut Fleet, index: u32) {
        let Some(room) = self.rooms.get_mut(index as usize) else {
            return;
        };
        room.dirty = false;
        if room.gone {
            return;
        }
        let now = self.clock.now();
        let space = room.space();
        let was_held = room.held;
        let count = match &self.pace {
            None if self.stopping => 0,
            None => space,
            Some(pace) => {
                let due = pace.dealt_to(index) - room.sent;
                room.held = due > space;
                due.min(space)
            }
        };
        if count == 0 {
            return;
        }
        let encoder = match self.encoders.as_mut_slice() {
            [only] => Some(only),
            encoders => encoders.get_mut(index as usize),
        };
        let Some(encoder) = encoder else {
            return;
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        for _ in 0..count {
            let intended = self.pace.map_or(now, |pace| pace.time(index, room.sent));
            let late = now.saturating_sub(intended) > BEHIND_AFTER;
            self.tally.counts.behind += u64::from(late && !was_held);
            let stamp = room.publish(intended, now);
            encoder.append(&mut buffer, [stamp, intended]);
            self.tally.delivery.expected += u64::from(room.copies);
        }
        self.under_way += count;
        self.tally.counts.sent += count;
        self.tally.delivery.published += count;
        let slot = (index + 1) * self.plan.seats_per_room() - 1;
        if let Some(batch) = fleet.send(slot, SendBatch::from_bytes(buffer)) {
            self.buffer = batch.into_buffer().unwrap_or_default();
        }
    }

    /// Gives up messages that nobody will bring any more.
    fn give_up(&mut self, now: u64) {
        for (index, room) in (0..).zip(&mut self.rooms) {
            let given_up = room.give_up(now.saturating_sub(PATIENCE));
            if given_up == 0 {
                continue;
            }
            self.under_way -= given_up;
            for _ in 0..given_up {
                let number = room.number;
                self.errors.add("given_up", || {
                    format!("a message to room {number} was not complete after 5 s")
                });
            }
            if !std::mem::replace(&mut room.dirty, true) {
                self.dirty.push(index);
            }
        }
    }
}

fn routes(context: &Context, plan: &Plan, share: Share, rooms: u32) -> Vec<Route> {
    let total = plan.rooms.saturating_mul(plan.seats_per_room());
    let mut routes = Vec::new();
    for room in 0..rooms {
        for seat in 0..plan.seats_per_room() {
            let publisher = seat == plan.members + plan.stuck;
            let target = if publisher { &plan.publishers_at } else { &plan.members_at };
            let number = u32::try_from(routes.len()).unwrap_or(u32::MAX);
            let mut route = context.route(target, share.number(room), number, total);
            route.reads = publisher || seat < plan.members;
            route.nats = (plan.protocol == Protocol::Nats).then(|| nats::Seat {
                subject: target.subject(route.room).into(),
                subscribes: !publisher || plan.publisher_hears,
            });
            routes.push(route);
        }
    }
    routes
}

/// Encoders for as many rooms: messages differ from room to room only where they name it.
fn encoders(context: &Context, plan: &Plan, share: Share, rooms: u32) -> Vec<Encoder> {
    let format = context.format(plan.size);
    if plan.protocol == Protocol::Websocket {
        return vec![Encoder::new(format, context.seed(share.index))];
    }
    let encoder = |room| {
        let number = share.number(room);
        let subject = plan.publishers_at.subject(number);
        let (before, after) = nats::publication(&subject, plan.size);
        Encoder::wrapped(format, &before, after, context.seed(number))
    };
    (0..rooms).map(encoder).collect()
}

impl Bursts {
    /// Series without values.
    pub(super) fn new() -> Self {
        Self {
            first: Series::new("first"),
            last: Series::new("last"),
            spread: Series::new("spread"),
            blind: Series::new("blind"),
            looked: [0; 2],
        }
    }
}

impl Sink for Broadcast {
    #[inline]
    fn message(&mut self, slot: u32, message: Message<'_>, now: u64) {
        let Some(seat) = self.seats.get_mut(slot as usize) else {
            return;
        };
        let Some(room) = self.rooms.get_mut(seat.room as usize) else {
            return;
        };
        let Some(stamp) = self.format.read_stamp(message.start) else {
            self.tally.delivery.foreign += 1;
            return;
        };
        if !seat.counts {
            self.tally.delivery.to_publishers += 1;
            return;
        }
        let completed = room.receive(seat, stamp, message.length, now, &mut self.tally);
        if completed > 0 {
            self.under_way -= completed;
            let refill = !self.tally.open_loop || room.held;
            if refill && !std::mem::replace(&mut room.dirty, true) {
                self.dirty.push(seat.room);
            }
        }
    }

    fn ended(&mut self, slot: u32, _expected: bool, _now: u64) {
        let Some(seat) = self.seats.get_mut(slot as usize) else {
            return;
        };
        let Some(room) = self.rooms.get_mut(seat.room as usize) else {
            return;
        };
        // Without its publisher a room only waits for what is under way.
        room.gone |= (slot + 1).is_multiple_of(self.plan.seats_per_room());
        if std::mem::replace(&mut seat.counts, false) {
            self.under_way -= room.member_gone(seat);
            if !std::mem::replace(&mut room.dirty, true) {
                self.dirty.push(seat.room);
            }
        }
    }
}

impl Load for Broadcast {
    fn manner(&self) -> Manner {
        self.plan.manner
    }

    fn routes(&self) -> Vec<Route> {
        self.routes.clone()
    }

    fn begin(&mut self, start: u64, window: Window) {
        self.tally.window = window;
        self.check_at = start + SECOND;
        let rooms = u32::try_from(self.rooms.len()).unwrap_or(u32::MAX);
        let part = f64::from(rooms) / f64::from(self.plan.rooms);
        // Threads take turns, or all of them would publish at the same moments.
        let rate = self.plan.rate.filter(|_| !self.plan.silent).map(|rate| rate * part);
        let offset = |rate: f64| {
            crate::units::whole(
                crate::units::float(SECOND) / rate * f64::from(self.share.index)
                    / f64::from(self.share.of),
            )
        };
        self.pace = rate.map(|rate| Pace::new(rate, rooms, start + offset(rate)));
        if self.pace.is_none() && !self.plan.silent {
            self.rooms.iter_mut().for_each(|room| room.dirty = true);
            self.dirty.extend(0..rooms);
        }
    }

    fn act(&mut self, fleet: &mut Fleet, now: u64) {
        if let Some(bursts) = &mut self.tally.bursts {
            bursts.looked = [now, bursts.looked[0]];
        }
        if let Some(pace) = &mut self.pace {
            let (rooms, dirty) = (&mut self.rooms, &mut self.dirty);
            pace.advance(now.min(self.tally.window.until - 1), |index| {
                if let Some(room) = rooms.get_mut(index as usize)
                    && !std::mem::replace(&mut room.dirty, true)
                {
                    dirty.push(index);
                }
            });
        }
        if now >= self.check_at {
            self.check_at = now + SECOND;
            self.give_up(now);
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            self.feed(fleet, index);
        }
        self.dirty = dirty;
    }

    fn next_due(&self) -> Option<u64> {
        if self.plan.silent { Some(u64::MAX) } else { self.pace.map(|pace| pace.next()) }
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
        self.tally.counts
    }

    fn latency(&self) -> &Series {
        &self.tally.response
    }

    fn finish(mut self, now: u64) -> Finished {
        let tally = &mut self.tally;
        if let Some(pace) = self.pace {
            for (index, room) in (0..).zip(&self.rooms) {
                for intended in pace.unsent(index, room.sent) {
                    tally.delivery.unsent += 1;
                    // Never sent, so every copy has waited so long at least.
                    if tally.window.contains(intended) {
                        for _ in 0..room.copies {
                            tally.response.record(now.saturating_sub(intended));
                        }
                    }
                }
            }
        }
        for room in &self.rooms {
            room.record_unfinished(now, tally);
        }
        let delivery = &mut tally.delivery;
        delivery.lost = delivery.expected.saturating_sub(delivery.delivered);
        let mut series = Vec::new();
        if let Some(Bursts { first, last, spread, blind, .. }) = self.tally.bursts {
            series.extend([first, last, spread, blind]);
        }
        series.push(self.tally.response);
        if self.tally.open_loop {
            series.push(self.tally.service);
        }
        series.push(self.tally.complete);
        Finished { series, delivery: Some(self.tally.delivery), errors: self.errors }
    }
}

//! The timer wheel, in ticks of 16 ms.

use std::hint::black_box;

use fulmar::clock::Tick;
use fulmar::timer_wheel::TimerWheel;

use super::Operation;

/// As many connections as have a timer while the operation is about one of them.
const CONNECTIONS: u32 = 10_000;
/// Half a minute.
const IDLE_TICKS: u64 = 1875;

/// Every connection's timer set, spread over ten minutes from `now` on.
fn wheel(now: u64) -> TimerWheel {
    let mut wheel = TimerWheel::new(Tick(now));
    for index in 0..CONNECTIONS {
        wheel.arm(index, Tick(now + 1 + u64::from(index) * 3));
    }
    wheel
}

/// A timer that is set and unset again, like that of a call.
pub(super) fn arm_and_disarm() -> Operation {
    let mut wheel = wheel(0);
    Box::new(move || {
        wheel.arm(black_box(CONNECTIONS), Tick(black_box(IDLE_TICKS)));
        wheel.disarm(black_box(CONNECTIONS));
    })
}

/// One connection after the other shows that it lives.
pub(super) fn rearm() -> Operation {
    let mut wheel = wheel(0);
    let mut index = 0;
    Box::new(move || {
        wheel.arm(index, Tick(black_box(IDLE_TICKS) + u64::from(index % 64)));
        index = (index + 7) % CONNECTIONS;
    })
}

/// What every turn of a shard pays: its sleep's length is asked for, and time moves.
pub(super) fn nothing_due() -> Operation {
    // Nothing is due for some four years of turns.
    let mut wheel = TimerWheel::new(Tick(0));
    for index in 0..CONNECTIONS {
        wheel.arm(index, Tick(1 << 30));
    }
    let (mut now, mut fired) = (0, Vec::new());
    Box::new(move || {
        now += 1;
        black_box(wheel.next_due());
        wheel.advance(Tick(now), &mut fired);
        assert!(fired.is_empty());
    })
}

/// A thousand timers over a minute, and that minute.
pub(super) fn fire() -> Operation {
    let mut wheel = TimerWheel::new(Tick(0));
    let (mut now, mut fired) = (0, Vec::new());
    Box::new(move || {
        for index in 0..1000_u32 {
            wheel.arm(index, Tick(now + 1 + u64::from(index) * 15 / 4));
        }
        now += 3750;
        fired.clear();
        wheel.advance(Tick(now), &mut fired);
        assert_eq!(fired.len(), 1000);
    })
}

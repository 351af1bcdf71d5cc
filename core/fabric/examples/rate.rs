//! Letters per second, and how long they take, through one Redis between two fabrics.
//!
//! `cargo run --release --example rate -- redis://127.0.0.1:6379 [seconds] [bytes of data]`

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fulmar_fabric::{Fabric, Inbox, Kind, Letter, Options, Parcel, Received, Topic, server_id};

/// Letters in one parcel, and letters on their way at most.
const PARCEL: usize = 32;
const WINDOW: u64 = 8192;
/// Letters per second while the time of each is taken under a light load.
const PACE: u32 = 1000;

struct Meter {
    begin: Instant,
    received: AtomicU64,
    times: Mutex<Vec<u64>>,
}

impl Inbox for Meter {
    fn receive(&self, received: Received) -> bool {
        let now = nanoseconds(self.begin);
        let sent = received.data.as_deref().and_then(|data| data[1..].split('"').next());
        let sent = sent.and_then(|text| text.split('x').next()?.parse::<u64>().ok());
        self.times.lock().expect("no panic").push(now - sent.expect("a time"));
        self.received.fetch_add(1, Relaxed);
        true
    }
}

struct Bundle {
    letters: usize,
    data: String,
}

impl Parcel for Bundle {
    fn unpack(self: Box<Self>, each: &mut dyn FnMut(&Letter<'_>)) {
        for _ in 0..self.letters {
            each(&Letter {
                kind: Kind::Room,
                target: "lobby",
                event: "chat",
                data: Some(&self.data),
                exclude: &[],
            });
        }
    }

    fn letters(&self) -> usize {
        self.letters
    }
}

#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "this program measures")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "redis://127.0.0.1:6379".into());
    let seconds: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let bytes: usize = arguments.next().map_or(Ok(64), |text| text.parse())?;
    let begin = Instant::now();
    let meter = Arc::new(Meter { begin, received: AtomicU64::new(0), times: Mutex::default() });
    let sender = Fabric::start(Options::new(&*url), &server_id(), Arc::clone(&meter) as _)?;
    let receiver = Fabric::start(Options::new(&*url), &server_id(), Arc::clone(&meter) as _)?;
    receiver.subscribe(Topic::Room("lobby".into()));
    while receiver.counters().subscriptions < 2 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let bundle = |letters| {
        let mut data = format!("\"{}x", nanoseconds(begin));
        data.extend(std::iter::repeat_n('x', bytes.saturating_sub(data.len() + 1)));
        data.push('"');
        Box::new(Bundle { letters, data })
    };

    let (full, mut sent) = (Instant::now(), 0);
    while full.elapsed() < Duration::from_secs(seconds) {
        if sent - meter.received.load(Relaxed) < WINDOW {
            sender.publish(bundle(PARCEL));
            sent += PARCEL as u64;
        } else {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
    let received = meter.received.load(Relaxed);
    let rate = u128::from(received) * 1_000_000 / full.elapsed().as_micros();
    println!("full      {rate} letters/s of {bytes} bytes{}", percentiles(&meter));
    while meter.received.load(Relaxed) < sent {
        std::thread::sleep(Duration::from_millis(1));
    }
    meter.times.lock().expect("no panic").clear();

    let (paced, mut number) = (Instant::now(), 0);
    while paced.elapsed() < Duration::from_secs(seconds) {
        sender.publish(bundle(1));
        number += 1;
        let due = number * Duration::from_secs(1) / PACE;
        std::thread::sleep(due.saturating_sub(paced.elapsed()));
    }
    println!("paced     {PACE} letters/s{}", percentiles(&meter));
    sender.stop();
    println!("sender    {:?}", sender.counters());
    println!("receiver  {:?}", receiver.counters());
    Ok(())
}

fn nanoseconds(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_nanos()).expect("less than five hundred years")
}

fn percentiles(meter: &Meter) -> String {
    let mut times = meter.times.lock().expect("no panic").clone();
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 1000).map_or(0, |time| time / 1000);
    format!("   p50 {} us   p99 {} us   p99.9 {} us", at(500), at(990), at(999))
}

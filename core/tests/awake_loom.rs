//! Every order of steps of mailbox and wake-up, explored by loom.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p fulmar --test awake_loom --release`.
#![cfg(loom)]
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::collections::VecDeque;

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

#[path = "../src/awake.rs"]
mod awake;

use awake::AwakeFlag;

/// A mailbox as the server has it: a queue, the flag, and something to wake the owner with.
struct Mailbox {
    queue: Mutex<VecDeque<u32>>,
    flag: AwakeFlag,
    wake: Wake,
}

/// Stands for the eventfd: a wake before the sleep makes the sleep return at once.
struct Wake {
    is_set: Mutex<bool>,
    set: Condvar,
}

impl Wake {
    fn notify(&self) {
        *self.is_set.lock().unwrap() = true;
        self.set.notify_one();
    }

    fn wait(&self) {
        let mut is_set = self.is_set.lock().unwrap();
        while !*is_set {
            is_set = self.set.wait(is_set).unwrap();
        }
        *is_set = false;
    }
}

fn post(mailbox: &Mailbox, mail: u32) {
    mailbox.queue.lock().unwrap().push_back(mail);
    if mailbox.flag.must_wake() {
        mailbox.wake.notify();
    }
}

/// The owner's turns until it has everything. Loom reports a deadlock if it sleeps for ever.
fn own(mailbox: &Mailbox, expected: usize) -> Vec<u32> {
    let mut got = Vec::new();
    while got.len() < expected {
        mailbox.flag.about_to_sleep();
        if mailbox.queue.lock().unwrap().is_empty() {
            mailbox.wake.wait();
        }
        mailbox.flag.awake();
        got.extend(mailbox.queue.lock().unwrap().drain(..));
    }
    got
}

#[test]
fn no_mail_is_left_with_an_owner_asleep() {
    let mut builder = loom::model::Builder::new();
    // All orders with at most three preemptions: seconds instead of minutes.
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let mailbox = Arc::new(Mailbox {
            queue: Mutex::new(VecDeque::new()),
            flag: AwakeFlag::new(),
            wake: Wake { is_set: Mutex::new(false), set: Condvar::new() },
        });
        let posters: Vec<_> = (0..2)
            .map(|n| {
                let mailbox = mailbox.clone();
                thread::spawn(move || post(&mailbox, n))
            })
            .collect();
        let mut got = own(&mailbox, 2);
        got.sort_unstable();
        assert_eq!(got, [0, 1]);
        posters.into_iter().for_each(|poster| poster.join().unwrap());
    });
}

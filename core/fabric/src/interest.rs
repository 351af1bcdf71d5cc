//! Which channels the node wants, and which Redis has: pure, with the time given.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The table of channels. Its size follows the node's rooms, users and clients, and those of the
/// last `linger`.
#[derive(Debug)]
pub(crate) struct Interest {
    linger: Duration,
    connected: bool,
    /// Channels that Redis has.
    live: usize,
    channels: HashMap<Arc<str>, Channel>,
    /// Channels without interest, by the time at which they go.
    leaving: BTreeSet<(Instant, Arc<str>)>,
    /// Channels to subscribe; empty while disconnected.
    pending: VecDeque<Arc<str>>,
}

#[derive(Debug, Default)]
struct Channel {
    wanted: u32,
    leaves: Option<Instant>,
    live: bool,
    pending: bool,
}

impl Interest {
    pub(crate) fn new(linger: Duration) -> Self {
        Self {
            linger,
            connected: false,
            live: 0,
            channels: HashMap::new(),
            leaving: BTreeSet::new(),
            pending: VecDeque::new(),
        }
    }

    /// Counts: each call is undone by one [`remove`](Self::remove).
    pub(crate) fn add(&mut self, name: &str) {
        let key = match self.channels.get_key_value(name) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::from(name),
        };
        let channel = self.channels.entry(Arc::clone(&key)).or_default();
        channel.wanted = channel.wanted.saturating_add(1);
        if let Some(leaves) = channel.leaves.take() {
            self.leaving.remove(&(leaves, Arc::clone(&key)));
        }
        if self.connected && !channel.live && !channel.pending {
            channel.pending = true;
            self.pending.push_back(key);
        }
    }

    /// Does nothing for a channel that nobody wants.
    pub(crate) fn remove(&mut self, name: &str, now: Instant) {
        let Some((key, _)) = self.channels.get_key_value(name) else { return };
        let key = Arc::clone(key);
        let Some(channel) = self.channels.get_mut(name).filter(|channel| channel.wanted > 0) else {
            return;
        };
        channel.wanted -= 1;
        if channel.wanted > 0 {
            return;
        }
        if self.connected {
            let leaves = now + self.linger;
            channel.leaves = Some(leaves);
            self.leaving.insert((leaves, key));
        } else {
            self.channels.remove(name);
        }
    }

    /// A new connection has no channels yet.
    pub(crate) fn connected(&mut self) {
        self.connected = true;
        for (name, channel) in &mut self.channels {
            channel.pending = true;
            self.pending.push_back(Arc::clone(name));
        }
    }

    /// Without a connection only what is wanted is kept.
    pub(crate) fn disconnected(&mut self) {
        self.connected = false;
        self.live = 0;
        self.leaving.clear();
        self.pending.clear();
        self.channels.retain(|_, channel| channel.wanted > 0);
        for channel in self.channels.values_mut() {
            (channel.live, channel.pending, channel.leaves) = (false, false, None);
        }
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Channels that Redis has.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// The next channels to subscribe. [`confirm`](Self::confirm) follows before anything else.
    pub(crate) fn take_new(&mut self, max: usize) -> Vec<Arc<str>> {
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(name) = self.pending.pop_front()
        {
            let Some(channel) = self.channels.get_mut(&name) else { continue };
            channel.pending = false;
            if channel.wanted > 0 {
                taken.push(name);
                continue;
            }
            // It left before it was there.
            if let Some(leaves) = channel.leaves {
                self.leaving.remove(&(leaves, Arc::clone(&name)));
            }
            self.channels.remove(&name);
        }
        taken
    }

    /// Redis has these now.
    pub(crate) fn confirm(&mut self, names: &[Arc<str>]) {
        for name in names {
            if let Some(channel) = self.channels.get_mut(name)
                && !channel.live
            {
                channel.live = true;
                self.live += 1;
            }
        }
    }

    /// Channels to unsubscribe now. They are forgotten: whoever wants one meanwhile gets it
    /// subscribed afterwards, in this order.
    pub(crate) fn take_stale(&mut self, now: Instant, max: usize) -> Vec<Arc<str>> {
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some((leaves, _)) = self.leaving.first()
            && *leaves <= now
            && let Some((_, name)) = self.leaving.pop_first()
        {
            if self.channels.remove(&name).is_some_and(|channel| channel.live) {
                self.live -= 1;
                taken.push(name);
            }
        }
        taken
    }

    /// When [`take_stale`](Self::take_stale) next has something.
    pub(crate) fn next_leaving(&self) -> Option<Instant> {
        self.leaving.first().map(|(leaves, _)| *leaves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(10);

    fn connected() -> (Interest, Instant) {
        let mut interest = Interest::new(LINGER);
        interest.connected();
        (interest, crate::clock::now())
    }

    fn settle(interest: &mut Interest) -> Vec<String> {
        let taken = interest.take_new(usize::MAX);
        interest.confirm(&taken);
        taken.iter().map(|name| (**name).to_owned()).collect()
    }

    #[test]
    fn interest_is_counted() {
        let (mut interest, now) = connected();
        interest.add("a");
        interest.add("a");
        assert_eq!(settle(&mut interest), ["a"]);
        interest.remove("a", now);
        assert_eq!(interest.next_leaving(), None);
        interest.remove("a", now);
        assert_eq!(interest.next_leaving(), Some(now + LINGER));
        interest.remove("a", now);
        interest.remove("never", now);
        assert!(interest.take_stale(now + LINGER / 2, 9).is_empty());
        assert_eq!(interest.take_stale(now + LINGER, 9), [Arc::<str>::from("a")]);
        assert_eq!((interest.live(), interest.channels.len()), (0, 0));
    }

    #[test]
    fn interest_that_returns_within_the_linger_keeps_the_channel() {
        let (mut interest, now) = connected();
        interest.add("a");
        settle(&mut interest);
        interest.remove("a", now);
        interest.add("a");
        assert!(interest.take_stale(now + 2 * LINGER, 9).is_empty());
        assert!(settle(&mut interest).is_empty(), "it was never unsubscribed");
        interest.remove("a", now + LINGER);
        assert!(interest.take_stale(now + LINGER + LINGER / 2, 9).is_empty());
        assert_eq!(interest.take_stale(now + 2 * LINGER, 9).len(), 1);
        interest.add("a");
        assert_eq!(settle(&mut interest), ["a"]);
    }

    #[test]
    fn a_channel_that_leaves_before_it_was_subscribed_costs_nothing() {
        let (mut interest, now) = connected();
        for _ in 0..1000 {
            interest.add("a");
            interest.remove("a", now);
        }
        assert_eq!(interest.pending(), 1);
        assert!(settle(&mut interest).is_empty());
        assert!(interest.channels.is_empty() && interest.leaving.is_empty());
    }

    #[test]
    fn a_pending_channel_that_left_in_time_is_forgotten() {
        let (mut interest, now) = connected();
        interest.add("a");
        interest.remove("a", now);
        assert!(interest.take_stale(now + LINGER, 9).is_empty(), "Redis never had it");
        assert!(settle(&mut interest).is_empty());
        interest.add("a");
        assert_eq!(settle(&mut interest), ["a"]);
    }

    #[test]
    fn all_of_interest_is_pending_after_a_new_connection() {
        let (mut interest, now) = connected();
        for name in ["a", "b", "c"] {
            interest.add(name);
        }
        settle(&mut interest);
        interest.remove("a", now);
        interest.disconnected();
        assert_eq!((interest.live(), interest.pending(), interest.next_leaving()), (0, 0, None));
        interest.add("d");
        interest.add("e");
        interest.remove("e", now);
        interest.remove("b", now);
        assert_eq!(interest.pending(), 0);
        interest.connected();
        let mut names = settle(&mut interest);
        names.sort();
        assert_eq!(names, ["c", "d"]);
        assert_eq!(interest.live(), 2);
    }

    #[test]
    fn churn_while_disconnected_leaves_nothing_behind() {
        let mut interest = Interest::new(LINGER);
        let now = crate::clock::now();
        for number in 0..1000 {
            let name = format!("room {number}");
            interest.add(&name);
            interest.remove(&name, now);
        }
        assert!(interest.channels.is_empty() && interest.pending.is_empty());
        assert!(interest.leaving.is_empty());
    }

    #[test]
    fn batches_are_bounded() {
        let (mut interest, now) = connected();
        for number in 0..600 {
            interest.add(&number.to_string());
        }
        let sizes = |mut take: Box<dyn FnMut() -> usize + '_>| -> Vec<usize> {
            (0..4).map(|_| take()).collect()
        };
        assert_eq!(
            sizes(Box::new(|| {
                let taken = interest.take_new(256);
                interest.confirm(&taken);
                taken.len()
            })),
            [256, 256, 88, 0]
        );
        for number in 0..600 {
            interest.remove(&number.to_string(), now);
        }
        let later = now + LINGER;
        assert_eq!(sizes(Box::new(|| interest.take_stale(later, 256).len())), [256, 256, 88, 0]);
    }
}

//! Bounds for random runs.

use fulmar::output::{Limits, Policy, Profile};

use super::rng::Rng;

/// Everything that is bounded in a world.
#[derive(Clone)]
pub struct Bounds {
    pub limits: Limits,
    pub profile: Profile,
    /// Mail handled in one turn.
    pub mail_max: usize,
    /// Deliveries and publications are refused beyond this many letters in a mailbox.
    pub mailbox_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            profile: Profile::default(),
            mail_max: 4096,
            mailbox_max: 65_536,
        }
    }
}

/// Bounds small enough for every edge to be met in a few hundred steps.
pub fn small(rng: &mut Rng) -> Bounds {
    let chunk = rng.pick(&[64, 128, 512]);
    let limits = Limits {
        chunk_bytes_first: chunk,
        chunk_bytes_max: chunk * rng.pick(&[1, 4]),
        inline_bytes_max: rng.pick(&[40, 90, 200]).min(chunk),
        retain_bytes_max: rng.pick(&[600, 1_000, 10_000]),
        send_bytes_max: rng.pick(&[1, 100, 300, 2_000]),
        quantum_bytes: rng.pick(&[1, 60, 200, 1_000]),
        copy_bytes_max: rng.pick(&[0, 30, 100]),
        sends_max: rng.pick(&[1, 2, 4]),
        turn_sends_max: rng.pick(&[1, 4, 12, 100]),
        send_weight_bytes: rng.pick(&[0, 50, 1_000]),
        group_sends_min: rng.pick(&[0, 1, 3, 8]),
        runs_max: rng.pick(&[2, 3, 4, 16]),
        memberships_max: rng.pick(&[2, 100]),
    };
    let profile = Profile {
        backlog_bytes_max: rng.pick(&[200, 600, 3_000, 1_000_000]),
        backlog_bytes_low: rng.pick(&[0, 100]),
        policy: rng.pick(&[Policy::DropNewest, Policy::Skip, Policy::Close]),
    };
    let (mail_max, mailbox_max) = (rng.pick(&[1, 3, 100]), rng.pick(&[2, 6, 1_000]));
    Bounds { limits, profile, mail_max, mailbox_max }
}

/// Nothing may be lost under these: no policy, no refusal, so no gap. Slices, runs and sends stay
/// small.
pub fn roomy(rng: &mut Rng) -> Bounds {
    let small = small(rng);
    Bounds {
        limits: Limits { retain_bytes_max: 10_000_000, ..small.limits },
        profile: Profile { backlog_bytes_max: 10_000_000, ..small.profile },
        mail_max: rng.pick(&[1, 5, 100]),
        mailbox_max: 1_000_000,
    }
}

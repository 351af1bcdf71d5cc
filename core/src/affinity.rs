//! Which core each shard is bound to.

use crate::config::Config;

/// A core per shard, if they are to be pinned and there are enough of them.
pub(crate) fn cores(config: &Config) -> Vec<core_affinity::CoreId> {
    if !config.pin {
        return Vec::new();
    }
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if cores.len() < config.shards { Vec::new() } else { cores }
}

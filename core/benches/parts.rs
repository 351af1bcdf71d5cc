//! How long the parts of a shard take that run for every message, member, letter or timer.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

mod part;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use part::server::{awake, hub, mailbox, output, stats, worker};

fn shard(criterion: &mut Criterion) {
    for part in part::SHARD {
        let (group, name) = part.name.split_once('/').unwrap();
        let mut group = criterion.benchmark_group(group);
        group.throughput(Throughput::Elements(part.elements));
        let mut operation = (part.make)();
        group.bench_function(name, |bencher| bencher.iter(&mut operation));
        group.finish();
    }
}

criterion_group!(parts, shard);
criterion_main!(parts);

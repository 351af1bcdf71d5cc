//! How long the wire formats take: masking, frames, heads, and the handshake.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

mod part;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fulmar_proto::ws::{self, Decoder, Incoming, MessageLimits, Opcode, Role, Scratch};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn pipelined(frames: usize, payload_bytes: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    let payload = vec![b'x'; payload_bytes];
    for _ in 0..frames {
        ws::write_masked_frame(&mut wire, true, false, Opcode::Text, &payload, KEY);
    }
    wire
}

fn decode(decoder: &mut Decoder, scratch: &mut Scratch, mut input: &mut [u8]) -> usize {
    let limits = MessageLimits::default();
    let mut bytes = 0;
    while let Ok(Some(Incoming::Text(text))) = decoder.next(&mut input, scratch, &limits) {
        bytes += black_box(text).len();
    }
    bytes
}

fn masking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for length in [20, 125, 4096, 65_536] {
        let mut bytes = vec![b'x'; length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(length.to_string(), |bencher| {
            bencher.iter(|| ws::mask(black_box(&mut bytes), black_box(KEY)));
        });
    }
    group.finish();
}

fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (frames, payload_bytes) in [(16, 20), (16, 125), (16, 200), (1, 65_536)] {
        let wire = pipelined(frames, payload_bytes);
        let (mut decoder, mut scratch) = (Decoder::new(Role::Server, None), Scratch::default());
        group.throughput(Throughput::Elements(frames as u64));
        group.bench_function(format!("{frames}x{payload_bytes}"), |bencher| {
            bencher.iter_batched_ref(
                || wire.clone(),
                |wire| assert_eq!(decode(&mut decoder, &mut scratch, wire), frames * payload_bytes),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    let payload = [b'x'; 200];
    let mut out = Vec::with_capacity(1024);
    for length in [20, 200] {
        group.bench_function(format!("write_frame/{length}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                ws::write_frame(&mut out, Opcode::Text, black_box(&payload[..length]));
                out.len()
            });
        });
    }
    group.finish();
}

/// Per connection: a request's head read, its answer written, and both.
fn handshake(criterion: &mut Criterion) {
    for part in part::HANDSHAKE {
        let mut operation = (part.make)();
        criterion.bench_function(part.name, |bencher| bencher.iter(&mut operation));
    }
}

criterion_group!(benches, masking, decoding, encoding, handshake);
criterion_main!(benches);

//! Calls in a whole shard, on a simulated network: read, decoded, run, answered.

use std::time::Duration;

use fulmar::handler::Placed;
use fulmar::rpc::Rpc;
use fulmar::sim::World;
use fulmar::text::Text;
use fulmar::{Args, Config, Endpoint, inline, worker};
use fulmar_driver::sim::SimOptions;
use fulmar_proto::http::write_upgrade_request;
use fulmar_proto::ws::{Opcode, write_masked_frame};

use super::Operation;

/// Calls that arrive in one read.
const CALLS: usize = 16;

/// What the calls are measured against: messages of the same length, sent back.
pub(super) fn sent_back() -> Operation {
    turn(Endpoint::new("/calls").speaks(Text::echo()), |call| call.len())
}

/// A handler that runs on the shard.
pub(super) fn on_shard() -> Operation {
    turn(rpc(inline(echo)), |_| ANSWER.len())
}

/// A handler that runs on a worker, in the same thread here: without what waking one takes.
pub(super) fn on_worker() -> Operation {
    turn(rpc(worker(echo)), |_| ANSWER.len())
}

const ANSWER: &str = r#"{"id":100,"result":"abcdefghijklmnopqrst"}"#;

fn echo(Args((text,)): Args<(String,)>) -> String {
    text
}

fn rpc<M>(handler: impl Placed<M, ()>) -> Endpoint<()> {
    Endpoint::new("/calls").speaks(Rpc::default()).route("echo", handler)
}

/// A read of 16 messages, and their answers of so many bytes each.
fn turn(endpoint: Endpoint<()>, answer_bytes: fn(&str) -> usize) -> Operation {
    let mut config = Config { shards: 1, workers: 1, ..Config::default() };
    config.timeouts.ping_interval = None;
    // Nothing is split, delayed or short.
    let network = SimOptions {
        capacity_bytes_max: 1 << 30,
        split_bytes_max: 1 << 30,
        delay_one_in: 1,
        short_one_in: 0,
    };
    let mut world = World::new(1, config, network, (), vec![endpoint]).unwrap();
    let client = world.network(0).connect();
    let mut request = Vec::new();
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    write_upgrade_request(&mut request, "parts", "/calls", key, None, None);
    world.network(0).write(client, &request);
    rest(&mut world);
    assert!(world.network(0).read(client).starts_with(b"HTTP/1.1 101"));
    world.network(0).read_carelessly(client);
    let (mut frames, mut expected) = (Vec::new(), 0);
    for id in 100..100 + CALLS {
        let text = format!(r#"{{"method":"echo","params":["abcdefghijklmnopqrst"],"id":{id}}}"#);
        write_masked_frame(&mut frames, true, false, Opcode::Text, text.as_bytes(), [1, 2, 3, 4]);
        // A head of two bytes each.
        expected += 2 + answer_bytes(&text) as u64;
    }
    let mut before = 0;
    Box::new(move || {
        world.network(0).write(client, &frames);
        rest(&mut world);
        let now = world.network(0).forgotten(client);
        assert_eq!(now - before, expected);
        before = now;
    })
}

/// Two turns, with all jobs that the first has left.
fn rest(world: &mut World) {
    world.turn(0);
    while world.run_job() {}
    world.turn(0);
    world.advance(Duration::from_micros(10));
}

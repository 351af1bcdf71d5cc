//! What a call costs: the same text sent back as a message, by a handler on the shard that reads
//! it, and by one on a worker. `perf/calls` measures it.
//!
//! ```text
//! cargo run --release -p fulmar --example calls
//! ```
//! `ws://127.0.0.1:9000/raw` sends messages back; `ws://127.0.0.1:9000/rpc` speaks alien-rpc and
//! has the methods `echo` and `echo_worker`.

use std::io::Write as _;

use fulmar::rpc::Rpc;
use fulmar::text::Text;
use fulmar::{Args, Config, Endpoint, Error, Io, Server, inline, worker};

fn echo(Args((text,)): Args<(String,)>) -> String {
    text
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let io = if arguments.next().as_deref() == Some("epoll") { Io::Epoll } else { Io::default() };
    let config = Config { shards: 1, workers: 1, pin: false, io, ..Config::default() };
    let rpc = Endpoint::new("/rpc")
        .speaks(Rpc::default())
        .route("echo", inline(echo))
        .route("echo_worker", worker(echo));
    Server::new(())
        .config(config)
        .mount(Endpoint::new("/raw").speaks(Text::echo()))
        .mount(rpc)
        .on_start(|address| {
            // Whoever does not read it does not need it.
            let _unread = writeln!(std::io::stderr(), "ready {address}");
        })
        .run(address)
}

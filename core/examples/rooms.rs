//! Rooms named by their path: what one member says, the others hear. A feed that only the server
//! publishes to shows how to reach rooms from outside any connection.
//!
//! ```text
//! cargo run --release -p fulmar --example rooms
//! ```

use std::time::Duration;

use fulmar::text::{Role, RoomOptions, Text};
use fulmar::{Backpressure, Endpoint, EndpointOptions, Error, Server, SlowPolicy};

fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let chat = Endpoint::new("/rooms/:room").speaks(Text::room(RoomOptions::default()));

    // Members only receive; whoever cannot keep up is closed with 1013 instead of missing ticks.
    let feed = RoomOptions { role: Role::Member, ..RoomOptions::default() };
    let backpressure = Backpressure { policy: SlowPolicy::Close, ..Backpressure::default() };
    let options =
        EndpointOptions { backpressure: Some(backpressure), ..EndpointOptions::default() };
    let feed = Endpoint::new("/feed/:room").speaks(Text::room(feed)).options(options);

    let server = Server::new(()).mount(chat).mount(feed).start(address)?;
    eprintln!("listening on {}", server.local_addr());

    let clock = server.room("clock");
    let ticker = std::thread::spawn(move || {
        for tick in 0_u64.. {
            std::thread::park_timeout(Duration::from_secs(1));
            if let Err(error) = clock.publish("tick", &tick.to_string()) {
                eprintln!("tick {tick} was not published: {error}");
            }
        }
    });
    let result = server.wait();
    drop(ticker);
    result
}

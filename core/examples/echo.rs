//! The smallest server: every message goes back to where it came from.
//!
//! ```text
//! cargo run --release -p fulmar --example echo
//! ```
//! Then connect any WebSocket client to `ws://127.0.0.1:9000/echo`.

use fulmar::text::Text;
use fulmar::{Endpoint, Error, Server};

fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    Server::new(()).mount(Endpoint::new("/echo").speaks(Text::echo())).run(address)
}

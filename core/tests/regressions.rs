//! One test per mistake that was made once.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use fulmar::text::Text;
use fulmar::{Config, Endpoint, Server};

const REQUEST: &[u8] = b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Deadlines were counted from before the poll slept, so that the first connection after a quiet
/// time had no time left for its request.
#[test]
fn a_connection_after_a_quiet_time_has_its_whole_handshake_timeout() {
    let mut config = Config { shards: 1, workers: 1, ..Config::default() };
    config.timeouts.handshake = Duration::from_millis(150);
    let server = Server::new(())
        .config(config)
        .mount(Endpoint::new("/echo").speaks(Text::echo()))
        .start("127.0.0.1:0")
        .unwrap();
    // Nothing to wait for but time itself.
    std::thread::park_timeout(Duration::from_millis(400));
    let mut client = TcpStream::connect(server.local_addr()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.write_all(REQUEST).unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    drop(client);
    server.stop();
}

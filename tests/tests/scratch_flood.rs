//! Scratch.
use std::io::{Read, Write};
use std::time::Duration;
use fulmar_proto::ws::Opcode;
use fulmar_tests::client::{Client, frame};
use fulmar_tests::{memory, server};
#[test]
fn flood() {
    let mut config = server::config();
    config.shards = std::env::var("SHARDS").unwrap().parse().unwrap();
    let rooms: usize = std::env::var("ROOMS").unwrap().parse().unwrap();
    let reads = std::env::var("READS").is_ok();
    let server = server::echo(config);
    for n in 0..40 {
        let client = Client::open(server.local_addr(), &format!("/rooms/{}", n % rooms));
        let (mut w, mut r) = (client.stream(), client.stream());
        let bytes = frame(true, false, Opcode::Text, b"123").repeat(5000);
        std::thread::spawn(move || while w.write_all(&bytes).is_ok() {});
        if reads { std::thread::spawn(move || { let mut b = vec![0; 65536]; while r.read(&mut b).is_ok_and(|n| n > 0) {} }); } else { std::mem::forget(client); }
    }
    for _ in 0..8 {
        std::thread::park_timeout(Duration::from_secs(1));
        let s = server.stats();
        println!("rss {} MB in {} pub {} {:?} {:?}", memory::resident(std::process::id()) >> 20, s.messages_in, s.published, s.reasons.iter().collect::<Vec<_>>(), s.output);
    }
    std::process::exit(0);
}

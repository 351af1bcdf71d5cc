//! A server tells its embedder when it begins and when it has ended.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use fulmar::text::Text;
use fulmar::{Config, Endpoint, Server, Stopped};

#[test]
fn the_embedder_is_told_of_the_beginning_and_the_end() {
    let started = Arc::new(Mutex::new(None));
    let stopped = Arc::new(AtomicBool::new(false));
    let (tell_start, tell_stop) = (started.clone(), stopped.clone());
    let server = Server::new(())
        .config(Config { shards: 2, workers: 1, ..Config::default() })
        .mount(Endpoint::new("/echo").speaks(Text::echo()))
        .on_start(move |address| *tell_start.lock().unwrap() = Some(address))
        .on_stop(move || tell_stop.store(true, Ordering::SeqCst))
        .start("127.0.0.1:0")
        .unwrap();
    assert_eq!(*started.lock().unwrap(), Some(server.local_addr()));
    let (mut client, _) =
        tungstenite::connect(format!("ws://{}/echo", server.local_addr())).unwrap();
    client.send(tungstenite::Message::text("hello")).unwrap();
    assert_eq!(client.read().unwrap(), tungstenite::Message::text("hello"));
    assert!(!stopped.load(Ordering::SeqCst));
    let reader = std::thread::spawn(move || while client.read().is_ok() {});
    assert_eq!(server.stop(), Stopped::Drained);
    assert!(stopped.load(Ordering::SeqCst));
    reader.join().unwrap();
}

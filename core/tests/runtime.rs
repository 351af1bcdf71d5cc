//! Handlers that need a runtime, on the embedder's.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fulmar::rpc::Rpc;
use fulmar::{Args, CallError, Defer, Endpoint, Server, State, Stream};
use tungstenite::Message;

#[derive(Default)]
struct Seen {
    begun: AtomicUsize,
    dropped: AtomicUsize,
    ended: AtomicUsize,
}

/// Counts that it is dropped.
struct Guarded(Arc<Seen>);

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

async fn sleep(seen: State<Arc<Seen>>, defer: Defer, Args((ms,)): Args<(u64,)>) -> String {
    let guarded = Guarded((*seen).clone());
    seen.begun.fetch_add(1, Ordering::SeqCst);
    defer.run(move |_| {
        seen.ended.fetch_add(1, Ordering::SeqCst);
    });
    tokio::time::sleep(Duration::from_millis(ms)).await;
    let nested = tokio::spawn(async { "slept" });
    drop(guarded);
    format!("{} {ms}", nested.await.unwrap_or_default())
}

async fn fail() -> Result<(), CallError> {
    tokio::task::yield_now().await;
    panic!("on purpose");
}

fn count(Args((to, ms)): Args<(u64, u64)>) -> Stream<u64> {
    Stream::produce(move |items| async move {
        for number in 0..to {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            items.send(number).await?;
        }
        Ok(())
    })
}

#[test]
fn futures_and_streams_have_timers_and_tasks_and_end_when_they_are_cancelled() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_time().build().unwrap();
    let endpoint = Endpoint::new("/ws")
        .speaks(Rpc::default())
        .route("sleep", sleep)
        .route("fail", fail)
        .route("count", count)
        .runtime(runtime.handle());
    let seen = Arc::new(Seen::default());
    let server = Server::new(seen.clone()).mount(endpoint).start("127.0.0.1:0").unwrap();
    let (mut client, _) = tungstenite::connect(format!("ws://{}/ws", server.local_addr())).unwrap();
    let mut ask = |frame: &str, answers: usize| -> Vec<String> {
        client.send(Message::text(frame)).unwrap();
        (0..answers).map(|_| client.read().unwrap().into_text().unwrap().to_string()).collect()
    };
    let slept = ask(r#"{"method":"sleep","params":[20],"id":1}"#, 1);
    assert_eq!(slept, [r#"{"id":1,"result":"slept 20"}"#]);
    let failed = ask(r#"{"method":"fail","params":[],"id":2}"#, 1);
    assert_eq!(failed, [r#"{"id":2,"error":{"code":500,"message":"Internal error"}}"#]);
    let counted = ask(r#"{"method":"count","params":[2,5],"id":3}"#, 3);
    let expected = [r#"{"id":3,"result":0}"#, r#"{"id":3,"result":1}"#, r#"{"id":3,"close":true}"#];
    assert_eq!(counted, expected);
    ask(r#"{"method":"sleep","params":[60000],"id":4}"#, 0);
    await_that("it has begun", || seen.begun.load(Ordering::SeqCst) == 2);
    let aborted = ask(r#"{"method":".cancel","id":4}"#, 1);
    assert!(aborted[0].contains("AbortError"), "{aborted:?}");
    await_that("the task has ended", || seen.dropped.load(Ordering::SeqCst) == 2);
    await_that("what was deferred is done", || seen.ended.load(Ordering::SeqCst) == 2);
    drop(client);
    server.stop();
}

fn await_that(what: &str, is_so: impl Fn() -> bool) {
    let so_at_last = (0..10_000).any(|_| {
        std::thread::park_timeout(Duration::from_millis(1));
        is_so()
    });
    assert!(so_at_last, "{what}");
}

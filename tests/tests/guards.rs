//! Guards: requests that are looked at before they become connections, and identities that expire.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fulmar::text::Text;
use fulmar::{
    Arg, CallError, Connection, Endpoint, Identity, Promise, Reason, Running, Timeouts, Value,
};
use fulmar_proto::ws::Opcode;
use fulmar_tests::client::{Client, frame, request};
use fulmar_tests::{eventually, server, timed};

fn one(endpoint: Endpoint<()>) -> Running {
    server::start(server::config(), vec![endpoint])
}

/// Lets in whoever names a user; answers a message with the user's name.
fn guarded() -> Endpoint<()> {
    let guard = |peer: Connection| match peer.query_parameter("user").as_deref() {
        None => Ok(None),
        Some("blocked") => Err(CallError::with_code(403, "not you")),
        Some("broken") => Err(CallError::with_code(500, "no idea")),
        Some(user) => Ok(Some(Identity::user(user))),
    };
    let answer = |peer: Connection, Arg(text): Arg<String>| {
        format!("{} {text}", peer.user().unwrap_or_default())
    };
    Endpoint::new("/guarded").speaks(Text::default()).guard(guard).on_message(answer)
}

#[test]
fn a_guard_says_who_it_is_and_the_connection_knows() {
    let server = one(guarded());
    let mut client = Client::open(server.local_addr(), "/guarded?user=ada");
    client.text("hello");
    assert_eq!(client.expect_text(), "ada hello");
    server.kill();
}

#[test]
fn a_guard_refuses_with_the_status_that_tells_whose_fault_it_is() {
    let server = one(guarded());
    let refused = |target: &str| {
        let mut client = Client::tcp(server.local_addr());
        client.send(request(target, "").as_bytes());
        let response = client.response();
        client.expect_end();
        response
    };
    let response = refused("/guarded");
    assert_eq!((response.status, response.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(refused("/guarded?user=blocked").status, 403);
    let response = refused("/guarded?user=broken");
    assert_eq!((response.status, response.header("retry-after")), (503, Some("5")));
    let reasons = server.stats().reasons;
    let counted = [Reason::Unauthorized, Reason::Forbidden, Reason::GuardUnavailable]
        .map(|reason| reasons.of(reason));
    assert_eq!(counted, [1, 1, 1]);
    assert_eq!((server.stats().open, server.stats().calls_now), (0, 0));
    server.kill();
}

/// A gate that guards wait at.
#[derive(Default)]
struct Barrier {
    is_open: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicUsize,
}

impl Barrier {
    fn pass(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        let most = Duration::from_secs(10);
        drop(self.opened.wait_timeout_while(is_open, most, |is_open| !*is_open));
    }

    fn open(&self) {
        *self.is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }
}

fn slow(barrier: &Arc<Barrier>) -> Endpoint<()> {
    let barrier = barrier.clone();
    let guard = move || {
        barrier.pass();
        Some(Identity::user("ada"))
    };
    let answer = |Arg(text): Arg<String>| text;
    Endpoint::new("/slow").speaks(Text::default()).guard(guard).on_message(answer)
}

#[test]
fn frames_that_come_before_the_guard_has_answered_are_served_after_it_has() {
    let barrier = Arc::new(Barrier::default());
    let server = one(slow(&barrier));
    let mut client = Client::tcp(server.local_addr());
    let mut bytes = request("/slow", "").into_bytes();
    bytes.extend_from_slice(&frame(true, false, Opcode::Text, b"with the request"));
    client.send(&bytes);
    eventually("the guard is asked", || barrier.waiting.load(Ordering::SeqCst) == 1);
    client.text("while it thinks");
    client.expect_silence(Duration::from_millis(50));
    barrier.open();
    assert_eq!(client.response_head().status, 101);
    assert_eq!(client.expect_text(), "with the request");
    assert_eq!(client.expect_text(), "while it thinks");
    server.kill();
}

#[test]
fn a_client_that_goes_while_the_guard_thinks_leaves_nothing_behind() {
    let barrier = Arc::new(Barrier::default());
    let server = one(slow(&barrier));
    let mut client = Client::tcp(server.local_addr());
    client.send(request("/slow", "").as_bytes());
    eventually("the guard is asked", || barrier.waiting.load(Ordering::SeqCst) == 1);
    client.reset();
    barrier.open();
    eventually("all is gone", || {
        let stats = server.stats();
        (stats.connections, stats.calls_now) == (0, 0)
    });
    server.kill();
}

#[test]
fn a_guard_that_takes_too_long_is_the_requests_timeout() {
    let barrier = Arc::new(Barrier::default());
    let mut config = server::config();
    config.timeouts = Timeouts { handshake: Duration::from_millis(200), ..config.timeouts };
    let server = server::start(config, vec![slow(&barrier)]);
    let (status, took) = timed(|| {
        let mut client = Client::tcp(server.local_addr());
        client.send(request("/slow", "").as_bytes());
        client.response().status
    });
    assert_eq!(status, 408);
    assert!(took >= Duration::from_millis(200), "{took:?}");
    barrier.open();
    eventually("the call is over", || server.stats().calls_now == 0);
    server.kill();
}

#[test]
fn a_guard_may_answer_later_without_holding_a_worker() {
    let settlers = Arc::new(Mutex::new(Vec::new()));
    let kept = settlers.clone();
    let guard = move || {
        let (settler, promise) = Promise::<()>::pair();
        kept.lock().unwrap().push(settler);
        async move {
            promise.await?;
            Ok::<_, CallError>(Some(Identity::default()))
        }
    };
    let answer = |Arg(text): Arg<String>| text;
    let endpoint = Endpoint::new("/later").speaks(Text::default()).guard(guard).on_message(answer);
    let server = one(endpoint);
    let mut clients: Vec<Client> = (0..20)
        .map(|_| {
            let mut client = Client::tcp(server.local_addr());
            client.send(request("/later", "").as_bytes());
            client
        })
        .collect();
    eventually("all are waiting", || settlers.lock().unwrap().len() == 20);
    for settler in settlers.lock().unwrap().drain(..) {
        settler.settle(Ok(Value::Undefined));
    }
    for client in &mut clients {
        assert_eq!(client.response_head().status, 101);
    }
    server.kill();
}

#[test]
fn a_connection_is_closed_when_its_identity_expires() {
    let guard = || {
        #[expect(clippy::disallowed_methods, reason = "an expiry is a time of day")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        Some(Identity::user("ada").until(u64::try_from(now).unwrap() + 1000))
    };
    let server = one(Endpoint::new("/short").speaks(Text::echo()).guard(guard));
    let (closed, took) = timed(|| {
        let mut client = Client::open(server.local_addr(), "/short");
        client.text("still here");
        assert_eq!(client.expect_text(), "still here");
        client.expect_close()
    });
    assert_eq!(closed, (4005, "token_expired (endpoint.auth)".to_owned()));
    assert!(took >= Duration::from_millis(950), "{took:?}");
    assert_eq!(server.stats().reasons.of(Reason::TokenExpired), 1);
    server.kill();
}

#[test]
fn an_identity_that_has_expired_already_is_no_use() {
    let guard = || Some(Identity::user("ada").until(1));
    let server = one(Endpoint::new("/old").speaks(Text::echo()).guard(guard));
    let mut client = Client::open(server.local_addr(), "/old");
    assert_eq!(client.expect_close().0, 4005);
    server.kill();
}

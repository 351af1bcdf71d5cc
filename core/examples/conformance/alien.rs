//! What alien-rpc's clients are given.
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use fulmar::{
    Args, CallError, Connection, Defer, End, Endpoint, Result, State, Stream, Timer, Value,
};
use serde::Serialize;

use crate::World;

/// Gives an endpoint what alien-rpc's clients expect of it.
pub(crate) fn serve(endpoint: Endpoint<World>) -> Endpoint<World> {
    endpoint
        .route("logEvent", log_event)
        .route("boomNotify", boom_notify)
        .route("seenEvents", |world: State<World>| world.seen())
        .route("getUserData", user_data)
        .route("returnsUndefined", || ())
        .route("noArgs", |Args(()): Args<()>| "ok")
        .route("add", add)
        .route("throwError", throw_error)
        .route("throwString", throw_string)
        .route("throwBad", throw_bad)
        .route("throwUnauthorized", throw_unauthorized)
        .route("throwJson", throw_json)
        .route("slow", slow)
        .route("whoami", whoami)
        .route("count", count)
        .route("countFail", count_and_fail)
        .route("undefStream", || Stream::iter([Value::Undefined, Value::Null, Value::from("x")]))
        .route("admin.stats", || BTreeMap::from([("up", true)]))
}

fn log_event(world: State<World>, Args((event, data)): Args<(String, Value)>) {
    world.remember(&event, data);
}

fn boom_notify() -> Result<()> {
    Err(CallError::new("boom"))
}

#[derive(Serialize)]
struct User {
    id: String,
    name: String,
}

fn user_data(Args((id,)): Args<(String,)>) -> User {
    User { name: format!("User {id}"), id }
}

fn add(Args((a, b)): Args<(f64, f64)>) -> Value {
    let sum = a + b;
    // JavaScript writes 5 where Rust writes 5.0.
    #[expect(clippy::cast_possible_truncation, reason = "there is nothing behind the point")]
    if sum.fract() == 0.0 && sum.abs() < 1e15 { Value::Int(sum as i64) } else { sum.into() }
}

fn throw_error(Args((message,)): Args<(String,)>) -> Result<()> {
    Err(CallError::new(message))
}

fn throw_string() -> Result<()> {
    Err(CallError::thrown("just a string"))
}

fn throw_bad() -> Result<()> {
    Err(CallError::with_code(4711, "bad input").field("field", "x"))
}

fn throw_unauthorized() -> Result<()> {
    Err(CallError::with_code(401, ""))
}

fn throw_json() -> Result<()> {
    Err(CallError::with_code(418, "teapot").field("hint", 1))
}

/// What waits when it is cancelled is dropped there.
async fn slow(
    world: State<World>,
    timer: Timer,
    defer: Defer,
    Args((milliseconds,)): Args<(f64,)>,
) -> String {
    defer.run(move |end| world.remember("defer", reason(end)));
    timer.sleep(duration(milliseconds)).await;
    format!("slept {milliseconds}")
}

fn reason(end: &End) -> Value {
    match end {
        End::Done => Value::Null,
        End::Failed(error) => error.message.clone().into_owned().into(),
        End::Cancelled => "cancelled".into(),
        End::TimedOut => "timed out".into(),
        End::Disconnected => "disconnected".into(),
    }
}

fn duration(milliseconds: f64) -> Duration {
    Duration::try_from_secs_f64(milliseconds / 1e3).unwrap_or_default()
}

#[derive(Serialize)]
struct Caller {
    id: String,
    ip: IpAddr,
    #[serde(rename = "hasHeaders")]
    has_headers: bool,
    ua: Option<String>,
    x: Option<String>,
    keys: [&'static str; 6],
}

fn whoami(peer: Connection) -> Caller {
    let header = |name| peer.header(name).map(str::to_owned);
    Caller {
        id: peer.id(),
        ip: peer.ip(),
        has_headers: peer.headers().next().is_some(),
        ua: header("user-agent"),
        x: header("x-test"),
        // What handlers here can take of what they are passed there.
        keys: ["defer", "headers", "id", "ip", "signal", "user"],
    }
}

fn count(
    timer: Timer,
    Args((n, milliseconds)): Args<(f64, f64)>,
) -> Stream<BTreeMap<&'static str, u32>> {
    Stream::produce(move |items| async move {
        for number in (0..).take_while(|number| f64::from(*number) < n) {
            if number > 0 {
                timer.sleep(duration(milliseconds)).await;
            }
            items.send(BTreeMap::from([("number", number)])).await?;
        }
        Ok(())
    })
}

fn count_and_fail(Args((n,)): Args<(u32,)>) -> Stream<u32> {
    Stream::produce(move |items| async move {
        for number in 0..n {
            items.send(number).await?;
        }
        Err(CallError::new("stream broke"))
    })
}

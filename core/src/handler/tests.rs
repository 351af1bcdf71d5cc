//! Handlers against a fake connection: what they take, what they answer, where they run.
#![expect(clippy::needless_pass_by_value, reason = "handlers take their arguments by type")]

use std::{
    any::Any,
    cell::OnceCell,
    sync::{Arc, Mutex},
    task::{self, Poll, Waker},
    time::Duration,
};

use fulmar_dialect::{
    self as dialect, Ask, Bytes, Call, CallError, Form, Identity, Link, Object, Order, Outbox,
    Payload, Publication, Value,
};
use serde::{Deserialize, Serialize};

use super::*;
use crate::{
    connection::{Connection, ConnectionDetails},
    room::{PublishError, Rooms, Route},
};

#[derive(Default)]
struct Node {
    asked: Mutex<Vec<String>>,
    published: Mutex<Vec<String>>,
    busy: bool,
}

impl Outbox for Node {
    fn post(&self, connection: u64, ask: Ask) {
        let ask = match ask {
            Ask::Join { room, settler, .. } => {
                settler.settle(Ok(Value::Undefined));
                format!("join {room}")
            }
            other => format!("{other:?}"),
        };
        self.asked.lock().unwrap().push(format!("{connection} {ask}"));
    }
}

impl Rooms for Node {
    fn publish(&self, publication: Publication, route: Route<'_>) -> Result<(), PublishError> {
        if self.busy {
            return Err(PublishError::Busy);
        }
        let Publication { room, event, payload } = publication;
        let line = format!("{room} {event} {payload:?} {:?}", route.except);
        self.published.lock().unwrap().push(line);
        Ok(())
    }
}

fn connection(node: Arc<Node>, form: Form) -> Connection {
    let pair = |name: &str, value: &str| (Box::from(name), Box::from(value));
    Connection::new(ConnectionDetails {
        id: 0xa925_b2a5_d553_4033_ac90_5690_237d_a265,
        opened_at: 1_700_000_000_000,
        peer: ([127, 0, 0, 1], 4711).into(),
        path: "/rooms/lobby/7".into(),
        query: "page=2&name=a%20b".into(),
        parameters: [pair("room", "lobby"), pair("seat", "7")].into(),
        headers: [pair("User-Agent", "test")].into(),
        link: Link::new(node.clone(), 7),
        form,
        rooms: node,
        hub: None,
    })
}

struct World {
    name: &'static str,
}

/// Calls a handler as the host would; its outcome as a line.
fn call<M>(handler: impl Placed<M, World>, args: dialect::Args<'_>) -> String {
    call_as(&connection(Arc::default(), Form::Raw), Form::Raw, handler, args)
}

fn call_as<M>(
    connection: &Connection,
    form: Form,
    handler: impl Placed<M, World>,
    args: dialect::Args<'_>,
) -> String {
    let erased = connection.erase();
    let state = Arc::new(World { name: "world" });
    let (link, connection) = (connection.link(), &erased);
    let (cancelled, at) = (&OnceCell::new(), Duration::ZERO);
    let call = Call { args, form, link, connection, cancelled, at, known: None };
    settled(handler.place().call(&state, call), form)
}

fn settled(outcome: Outcome, form: Form) -> String {
    let mut context = task::Context::from_waker(Waker::noop());
    match outcome {
        Outcome::Ready(Ok(payload)) => shown(&payload),
        Outcome::Ready(Err(error)) => format!("error {:?} {}", error.code, error.message),
        Outcome::Verdict(verdict) => format!("{verdict:?}"),
        Outcome::Later(mut future) => match future.as_mut().poll(&mut context) {
            Poll::Ready(outcome) => format!("later {}", settled(outcome, form)),
            Poll::Pending => "pending".to_owned(),
        },
        Outcome::Stream(mut source) => {
            let mut items = Vec::new();
            for _ in 0..100 {
                match source.poll_next(form, &mut context) {
                    Poll::Ready(Some(Ok(item))) => items.push(shown(&item)),
                    Poll::Ready(Some(Err(error))) => {
                        items.push(format!("error {}", error.message));
                        break;
                    }
                    Poll::Ready(None) => break,
                    Poll::Pending => items.push("pending".to_owned()),
                }
            }
            format!("stream [{}]", items.join(", "))
        }
        Outcome::Room(answer) => format!("room {}", answer.room),
        Outcome::Missing => "missing".to_owned(),
    }
}

fn shown(payload: &Payload<'_>) -> String {
    match payload {
        Payload::Undefined => "undefined".to_owned(),
        Payload::Json(text) => format!("json {text}"),
        Payload::Text(text) => format!("text {text}"),
        Payload::Binary(bytes) => format!("binary {bytes:?}"),
        Payload::Rich(value) => format!("rich {value:?}"),
    }
}

fn text(text: &str) -> dialect::Args<'_> {
    dialect::Args::One(Payload::Text(text.into()))
}

fn list(json: &str) -> dialect::Args<'_> {
    dialect::Args::List(Payload::json(json))
}

#[test]
fn arguments_are_taken_by_type() {
    let greet = |world: State<World>, Arg(name): Arg<String>| format!("{} {name}", world.name);
    assert_eq!(call(greet, text("ada")), "text world ada");
    let add = |Args((a, b)): Args<(i64, i64)>| a + b;
    assert_eq!(call(add, list("[1,2]")), "json 3");
    assert!(call(add, list("[1]")).starts_with("error Some(400)"));
    let sum = |Args(all): Args<Vec<i64>>| all.iter().sum::<i64>();
    assert_eq!(call(sum, list("[1,2,3]")), "json 6");
    let reversed = |Arg(Bytes(mut bytes)): Arg<Bytes>| {
        bytes.reverse();
        Bytes(bytes)
    };
    let binary = dialect::Args::One(Payload::Binary(vec![1, 2].into()));
    assert_eq!(call(reversed, binary), "binary [2, 1]");
    let kind = |message: Message| match message {
        Message::Text(text) => format!("text {text}"),
        Message::Binary(bytes) => format!("binary {}", bytes.len()),
    };
    assert_eq!(call(kind, text("x")), "text text x");
    assert_eq!(call(kind, dialect::Args::One(Payload::Binary(vec![1].into()))), "text binary 1");
    assert_eq!(call(|| "none taken", list("[1,2]")), "text none taken");
    let many = |_: State<World>, c: Connection, _: Cancelled, Path(p): Path<(String, u8)>| {
        (c.ip().to_string(), p)
    };
    assert_eq!(call(many, list("[]")), r#"json ["127.0.0.1",["lobby",7]]"#);
}

#[test]
fn parameters_of_path_and_query_become_types() {
    #[derive(Deserialize, Serialize)]
    struct Place {
        room: String,
        seat: u16,
    }
    let path = |Path(place): Path<Place>| place;
    assert_eq!(call(path, list("[]")), r#"json {"room":"lobby","seat":7}"#);
    #[derive(Deserialize, Serialize)]
    struct Search {
        page: u32,
        name: String,
        missing: Option<bool>,
    }
    let query = |Query(search): Query<Search>| search;
    assert_eq!(call(query, list("[]")), r#"json {"page":2,"name":"a b","missing":null}"#);
    let wrong = |Path((_, _)): Path<(u8, u8)>| ();
    assert_eq!(call(wrong, list("[]")), "error Some(400) 'lobby' is not a number that fits");
}

#[test]
fn anything_that_serialises_is_an_answer() {
    assert_eq!(call(|| (), list("[]")), "undefined");
    assert_eq!(call(|| "plain \"text\"", list("[]")), "text plain \"text\"");
    assert_eq!(call(|| vec![1, 2], list("[]")), "json [1,2]");
    assert_eq!(call(|| Ok::<_, CallError>("fine"), list("[]")), "text fine");
    let refused = || Err::<(), _>(CallError::with_code(403, "no"));
    assert_eq!(call(refused, list("[]")), "error Some(403) no");
    let broken = || Err::<(), _>(std::io::Error::other("secret"));
    assert_eq!(call(broken, list("[]")), "error Some(500) Internal error");
    assert_eq!(call(|c: Connection| c.room("r").subscribe(), list("[]")), "room r");
    let json = connection(Arc::default(), Form::Json);
    assert_eq!(call_as(&json, Form::Json, || "quoted", list("[]")), "json \"quoted\"");
}

#[test]
fn async_handlers_answer_later() {
    async fn later(Arg(name): Arg<String>) -> Result<String, CallError> {
        Ok(format!("hello {name}"))
    }
    assert_eq!(call(later, text("ada")), "later text hello ada");
    let joined = |c: Connection| async move { c.join("lobby").await };
    assert_eq!(call(joined, list("[]")), "later undefined");
    let stub = |c: Connection| c.join("lobby");
    assert_eq!(call(stub, list("[]")), "later undefined");
    assert_eq!(call(std::future::pending::<()>, list("[]")), "pending");
    let streamed = || async { Ok::<_, CallError>(Stream::iter([1])) };
    assert_eq!(call(streamed, list("[]")), "later stream [json 1]");
}

#[test]
fn streams_say_item_after_item() {
    assert_eq!(call(|| Stream::iter(["a", "b"]), list("[]")), "stream [text a, text b]");
    let produced = || {
        Stream::produce(|out| async move {
            for number in 0..3 {
                out.send(number).await?;
            }
            Ok(())
        })
    };
    assert_eq!(call(produced, list("[]")), "stream [json 0, json 1, json 2]");
    let broken = || {
        Stream::produce(|out| async move {
            out.send("a").await?;
            Err(CallError::new("broke"))
        })
    };
    assert_eq!(call(broken, list("[]")), "stream [text a, error broke]");
    let polled = || {
        let mut left = 2;
        Stream::poll_fn(move |_| {
            left -= 1;
            Poll::Ready((left >= 0).then_some(Ok(left)))
        })
    };
    assert_eq!(call(polled, list("[]")), "stream [json 1, json 0]");
}

#[test]
fn two_branches_of_a_producer_share_one_slot() {
    let produced = || {
        Stream::produce(|out| async move {
            let (mut one, mut two) = (Box::pin(out.send("one")), Box::pin(out.send("two")));
            let (mut first, mut second) = (false, false);
            std::future::poll_fn(move |context| {
                first = first || one.as_mut().poll(context).is_ready();
                second = second || two.as_mut().poll(context).is_ready();
                if first && second { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            Ok(())
        })
    };
    assert_eq!(call(produced, list("[]")), "stream [text one, text two]");
}

#[test]
fn local_state_belongs_to_one_connection_and_ends_with_it() {
    let count = |counter: Local<u64>| {
        counter.with(|value| {
            *value += 1;
            *value
        })
    };
    let (one, two) = (connection(Arc::default(), Form::Raw), connection(Arc::default(), Form::Raw));
    assert_eq!(call_as(&one, Form::Raw, count, list("[]")), "json 1");
    assert_eq!(call_as(&one, Form::Raw, count, list("[]")), "json 2");
    assert_eq!(call_as(&two, Form::Raw, count, list("[]")), "json 1");
    assert!(!one.is_closed());
    assert!(one.end().is_some());
    assert!(one.is_closed());
    assert!(one.end().is_none());
    let gone = "error None Peer closed WebSocket.";
    assert_eq!(call_as(&one, Form::Raw, count, list("[]")), gone);
}

#[test]
fn a_cancelled_call_can_be_asked() {
    let connection = connection(Arc::default(), Form::Raw);
    let (erased, flag) = (connection.erase(), Cancelled::default());
    flag.cancel();
    let route = (|cancelled: Cancelled| cancelled.is_cancelled()).place();
    let call = Call {
        args: dialect::Args::none(),
        form: Form::Raw,
        link: connection.link(),
        connection: &erased,
        cancelled: &OnceCell::from(flag),
        at: Duration::ZERO,
        known: None,
    };
    assert_eq!(settled(route.call(&Arc::new(World { name: "" }), call), Form::Raw), "json true");
}

#[test]
fn placements_are_told_before_the_call() {
    let table = Methods::<()>::new()
        .method("plain", || 1)
        .method("inline", inline(|| 2))
        .method("concurrent", concurrent(|| 3))
        .method("ordered", ordered(|| async { 4 }));
    assert_eq!(table.names(), ["concurrent", "inline", "ordered", "plain"]);
    let object = Arc::new(table).object(());
    let placement = |member: &str| {
        let Placement { place, order, .. } = object.target().placement(member);
        (place, order)
    };
    assert_eq!(placement("plain"), (Place::Worker, None));
    assert_eq!(placement("inline"), (Place::Shard, None));
    assert_eq!(placement("concurrent"), (Place::Worker, Some(Order::Free)));
    assert_eq!(placement("ordered"), (Place::Worker, Some(Order::Strict)));
    assert_eq!(placement("unknown"), (Place::Worker, None));
}

/// A call of an object without a connection.
fn on(object: &Object, member: &str, get: bool, args: dialect::Args<'_>) -> Outcome {
    let nobody: Arc<dyn Any + Send + Sync> = Arc::new(());
    let link = Link::new(Arc::<Node>::default(), 0);
    let (cancelled, at) = (&OnceCell::new(), Duration::ZERO);
    let (link, connection) = (&link, &nobody);
    let call = Call { args, form: Form::Rich, link, connection, cancelled, at, known: None };
    if get { object.target().get(member, call) } else { object.target().call(member, call) }
}

#[test]
fn objects_have_methods_getters_and_hidden_names() {
    struct Counter(Mutex<i64>);
    let table = Methods::new()
        .method("add", |counter: State<Counter>, Args((by,)): Args<(i64,)>| {
            let mut value = counter.0.0.lock().unwrap();
            *value += by;
            *value
        })
        .getter("value", |counter: State<Counter>| *counter.0.0.lock().unwrap())
        .hide("secret");
    let counter = Arc::new(table).object(Counter(Mutex::new(1)));
    let said = |outcome| settled(outcome, Form::Rich);
    assert_eq!(said(on(&counter, "add", false, list("[2]"))), "rich Int(3)");
    assert_eq!(said(on(&counter, "value", true, list("[]"))), "rich Int(3)");
    assert_eq!(said(on(&counter, "value", false, list("[]"))), "missing");
    assert_eq!(said(on(&counter, "unknown", true, list("[]"))), "missing");
    assert!(said(on(&counter, "secret", true, list("[]"))).contains("instance property"));
    let Outcome::Ready(Ok(Payload::Rich(Value::Object(add)))) =
        on(&counter, "add", true, list("[]"))
    else {
        panic!("a method that is read is a function");
    };
    assert_eq!(said(on(&add, "", false, list("[4]"))), "rich Int(7)");
    assert_eq!(said(on(&add, "other", false, list("[4]"))), "missing");
    let double = function(|Arg(x): Arg<i64>| x * 2);
    assert_eq!(said(on(&double, "", false, list("[4]"))), "rich Int(8)");
    let who = function(|_: Connection| ());
    assert!(said(on(&who, "", false, list("[]"))).contains("does not come from a connection"));
}

#[test]
fn handles_post_what_they_are_asked_for() {
    let node = Arc::new(Node::default());
    let peer = connection(node.clone(), Form::Raw);
    assert_eq!(peer.id(), "a925b2a5-d553-4033-ac90-5690237da265");
    assert_eq!(peer.header("user-agent"), Some("test"));
    assert_eq!(peer.parameter("room"), Some("lobby"));
    assert_eq!(peer.query_parameter("name").as_deref(), Some("a b"));
    assert_eq!(peer.user(), None);
    peer.identify(Identity { user: Some("ada".into()), ..Identity::default() });
    assert_eq!(peer.user().as_deref(), Some("ada"));
    drop(peer.join("lobby"));
    peer.leave("lobby");
    peer.send("plain").unwrap();
    peer.send_event("e", &[1, 2]).unwrap();
    peer.send_text("text");
    peer.send_binary([7]);
    peer.close(1000, "done");
    let expected = [
        "7 join lobby",
        "7 Leave { room: \"lobby\" }",
        "7 Send { event: \"\", payload: Text(\"plain\"), receipt: None }",
        "7 Send { event: \"e\", payload: Json(\"[1,2]\"), receipt: None }",
        "7 Send { event: \"\", payload: Text(\"text\"), receipt: None }",
        "7 Send { event: \"\", payload: Binary([7]), receipt: None }",
        "7 Close { code: 1000, reason: \"done\" }",
    ];
    assert_eq!(*node.asked.lock().unwrap(), expected);
}

#[test]
fn rooms_publish_strings_unquoted_and_refuse_when_busy() {
    let node = Arc::new(Node::default());
    let peer = connection(node.clone(), Form::Json);
    peer.room("r").publish("line", "hi").unwrap();
    peer.room("r").except(&peer).publish("", &vec![1]).unwrap();
    let expected = [r#"r line Text("hi") []"#, r#"r  Json("[1]") [7]"#];
    assert_eq!(*node.published.lock().unwrap(), expected);
    let object = function(|| ());
    let refused = peer.room("r").publish("", &object).unwrap_err();
    assert!(refused.to_string().contains("an object cannot travel"), "{refused}");
    let busy = connection(Arc::new(Node { busy: true, ..Node::default() }), Form::Json);
    let error = CallError::from(busy.room("r").publish("", "x").unwrap_err());
    assert_eq!(error.code, Some(503));
    let publish = |peer: Connection| peer.room("r").publish("", "x");
    let answer = call_as(&busy, Form::Raw, publish, list("[]"));
    assert_eq!(answer, "error Some(503) The room is busy.");
}

struct User(String);

fn signed_in(peer: Connection, Args((name, _)): Args<(String, u8)>) -> Result<User, CallError> {
    assert!(peer.user().is_none());
    if name.is_empty() { Err(CallError::with_code(401, "Who?")) } else { Ok(User(name)) }
}

fn shouting(user: Context<User>) -> Result<User, CallError> {
    Ok(User(user.0.0.to_uppercase()))
}

fn even(Args((_, number)): Args<(String, u8)>) -> crate::Result<()> {
    if number % 2 == 0 { Ok(()) } else { Err(CallError::with_code(403, "Odd")) }
}

fn greeted(user: Context<User>, Args((name, number)): Args<(String, u8)>) -> String {
    format!("{} {name} {number}", user.0.0)
}

#[test]
fn guards_refuse_in_order_and_hand_on_what_they_found() {
    let guarded = || worker(greeted).guard(signed_in).guard(shouting).guard(even);
    assert_eq!(call(guarded(), list(r#"["ada",2]"#)), "text ADA ada 2");
    assert_eq!(call(guarded(), list(r#"["",1]"#)), "error Some(401) Who?");
    assert_eq!(call(guarded(), list(r#"["ada",1]"#)), "error Some(403) Odd");
    assert!(call(guarded(), list("[1]")).starts_with("error Some(400) "));
    assert_eq!(call(greeted, list(r#"["ada",2]"#)), "error Some(500) Internal error");
    let table = Methods::<World>::new().method("greet", inline(greeted).guard(shouting));
    let object = Arc::new(table.guard(signed_in).guard(even));
    let on = |args| {
        let bound = object.bind(Arc::new(World { name: "" }));
        let erased = connection(Arc::default(), Form::Json).erase();
        let link = Link::new(Arc::<Node>::default(), 0);
        let (cancelled, at) = (&OnceCell::new(), Duration::ZERO);
        let (link, connection, form) = (&link, &erased, Form::Json);
        let call = Call { args, form, link, connection, cancelled, at, known: None };
        settled(bound.target().call("greet", call), Form::Json)
    };
    assert_eq!(on(list(r#"["ada",2]"#)), r#"json "ADA ada 2""#);
    assert_eq!(on(list(r#"["ada",3]"#)), "error Some(403) Odd");
}

#[test]
fn a_rate_is_each_connections_own_and_each_routes() {
    let route = worker(|| 1).rate(Rate::window(2, Duration::from_secs(60))).place();
    let other = worker(|| 2).rate(Rate::window(1, Duration::from_secs(60))).place();
    let call = |connection: &Connection, route: &super::Route<World>, at| {
        let erased = connection.erase();
        let (args, form, link) = (dialect::Args::none(), Form::Json, connection.link());
        let (connection, cancelled, at) = (&erased, &OnceCell::new(), Duration::from_secs(at));
        let call = Call { args, form, link, connection, cancelled, at, known: None };
        settled(route.call(&Arc::new(World { name: "" }), call), Form::Json)
    };
    let (one, two) =
        (connection(Arc::default(), Form::Json), connection(Arc::default(), Form::Json));
    let refused = "error Some(429) Rate limit exceeded";
    let said: Vec<_> = (0..3).map(|at| call(&one, &route, at)).collect();
    assert_eq!(said, ["json 1", "json 1", refused]);
    assert_eq!((call(&one, &other, 3), call(&two, &route, 3)), ("json 2".into(), "json 1".into()));
    assert_eq!((call(&one, &other, 4), call(&one, &route, 60)), (refused.into(), "json 1".into()));
}

//! `[[endpoint.route]]`: what clients of dialects `rpc` and `auto` can call, and what answers.

use super::low::{Node, Value};
use super::read::{Reader, Scope};
use super::schema::Schema;
use super::secret::Secret;
use super::service::{self, check_url, optional};
use super::template::{Part, Template, parse_route_template};
use super::units::{parse_rate, show_count};
use std::collections::HashMap;
use std::time::Duration;

/// `endpoint[].rpc`, `endpoint[].upstream` and the routes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Rpc {
    /// Calls of one client that may be pending.
    pub(crate) calls_max: usize,
    /// Subscriptions that one client may have.
    pub(crate) subscriptions_max: usize,
    /// In the order in which they were typed.
    pub(crate) routes: Vec<Route>,
    /// `endpoint[].upstream`.
    pub(crate) upstream: Upstream,
}

/// How the HTTP services of an endpoint are called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Upstream {
    /// From the call to the end of the answer.
    pub(crate) timeout: Duration,
    /// Calls under way at once.
    pub(crate) concurrency_max: usize,
    /// Calls that may wait.
    pub(crate) queue_max: usize,
    /// The longest answer, in bytes.
    pub(crate) answer_bytes_max: usize,
    /// The header `authorization`.
    pub(crate) authorization: Option<Secret>,
    /// Names of header fields that are passed on.
    pub(crate) headers: Vec<String>,
}

/// One route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Route {
    /// What clients call it.
    pub(crate) name: String,
    /// What answers.
    pub(crate) backing: Backing,
    /// How long a call may take.
    pub(crate) timeout: Option<Duration>,
    /// How often each client may call it.
    pub(crate) rate: Option<Rate>,
    /// What its parameters must be; none for anything.
    pub(crate) params: Option<Vec<Schema>>,
    /// What it answers.
    pub(crate) result: Option<Schema>,
    /// How generated clients call it.
    pub(crate) pattern: Pattern,
}

impl Route {
    /// The room that it is about.
    pub(crate) fn room(&self) -> Option<&Template> {
        match &self.backing {
            Backing::Subscribe(room) | Backing::Publish { room, .. } => Some(room),
            Backing::Http(_) | Backing::Echo => None,
        }
    }
}

/// How often a route may be called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rate {
    /// So often,
    pub(crate) calls: u32,
    /// in so much time.
    pub(crate) per: Duration,
    /// Whether calls that have become possible add up evenly.
    pub(crate) is_bucket: bool,
}

/// What answers a route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Backing {
    /// The messages of a room.
    Subscribe(Template),
    /// Nothing; it is published.
    Publish {
        /// Where.
        room: Template,
        /// As what.
        event: String,
        /// Whether the publisher hears itself.
        echo_to_self: bool,
    },
    /// An HTTP service at this URL.
    Http(String),
    /// The first parameter.
    Echo,
}

/// How a route is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pattern {
    /// A notification.
    Notification,
    /// A request.
    Request,
    /// A subscription.
    Subscription,
}

impl Pattern {
    /// In the order of the key's words.
    const ALL: [Self; 3] = [Self::Notification, Self::Request, Self::Subscription];
}

/// The most routes of an endpoint.
const ROUTES_MAX: usize = 1024;

/// The longest name of a route, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Reads what an endpoint has besides its dialect; `parameters` are those of its path, `rooms_max`
/// the rooms that a connection may be in.
pub(crate) fn resolve(
    reader: &mut Reader,
    scope: Scope<'_>,
    parameters: &[String],
    rooms_max: usize,
) -> Rpc {
    Rpc {
        calls_max: reader.number(scope, "endpoint[].rpc.calls_max"),
        subscriptions_max: resolve_subscriptions(reader, scope, rooms_max),
        upstream: resolve_upstream(reader, scope),
        routes: resolve_routes(reader, scope, parameters),
    }
}

/// Reports keys of an endpoint that speaks something else.
pub(crate) fn report_unused(reader: &mut Reader, scope: Scope<'_>) {
    for table in ["rpc", "upstream", "route"] {
        let name = format!("endpoint[].{table}");
        if scope.find(&name).is_some() {
            let message = "this applies only with dialect = \"rpc\" or \"auto\"".to_owned();
            reader.report(scope, &name, message);
        }
    }
}

/// A client with more rooms than it may be in would be closed; one with too many subscriptions is
/// only told so.
fn resolve_subscriptions(reader: &mut Reader, scope: Scope<'_>, rooms_max: usize) -> usize {
    let name = "endpoint[].rpc.subscriptions_max";
    let most = reader.number(scope, name);
    if most > rooms_max && scope.find(name).is_some() {
        let message = format!(
            "{} is above limits.rooms_per_connection_max ({})",
            show_count(most as u64),
            show_count(rooms_max as u64)
        );
        reader.report(scope, name, message);
    }
    most.min(rooms_max)
}

fn resolve_upstream(reader: &mut Reader, scope: Scope<'_>) -> Upstream {
    Upstream {
        timeout: reader.duration(scope, "endpoint[].upstream.timeout"),
        concurrency_max: reader.number(scope, "endpoint[].upstream.concurrency_max"),
        queue_max: reader.number(scope, "endpoint[].upstream.queue_max"),
        answer_bytes_max: reader.number(scope, "endpoint[].upstream.answer_bytes_max"),
        authorization: service::authorization(reader, scope, "endpoint[].upstream.authorization"),
        headers: service::header_names(reader, scope, "endpoint[].upstream.headers"),
    }
}

fn resolve_routes(reader: &mut Reader, scope: Scope<'_>, parameters: &[String]) -> Vec<Route> {
    let items = match scope.find("endpoint[].route").map(|node| &node.value) {
        Some(Value::List(items)) => items.as_slice(),
        // What is no list has been reported with the unknown keys.
        _ => &[],
    };
    if items.len() > ROUTES_MAX {
        let message = format!("there are more than {ROUTES_MAX} routes");
        reader.report(scope, "endpoint[].route", message);
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut routes = Vec::new();
    for (index, node) in items.iter().enumerate().take(ROUTES_MAX) {
        if !matches!(node.value, Value::Table(_)) {
            continue;
        }
        let scope = Scope { node, route: Some(index), ..scope };
        let route = resolve_route(reader, scope, parameters);
        if let Some(first) = seen.get(&route.name).filter(|_| !route.name.is_empty()) {
            let message = format!("'{}' is the name of route[{first}], too", route.name);
            reader.report(scope, NAME, message);
        } else {
            seen.insert(route.name.clone(), index);
        }
        routes.push(route);
    }
    routes
}

const NAME: &str = "endpoint[].route[].name";
const ROOM: &str = "endpoint[].route[].room";
const HTTP: &str = "endpoint[].route[].http";
const ECHO: &str = "endpoint[].route[].echo";
const ACTION: &str = "endpoint[].route[].action";
const EVENT: &str = "endpoint[].route[].event";
const ECHO_TO_SELF: &str = "endpoint[].route[].echo_to_self";
const PATTERN: &str = "endpoint[].route[].pattern";
const RATE: &str = "endpoint[].route[].rate";
const RATE_KIND: &str = "endpoint[].route[].rate_kind";

fn resolve_route(reader: &mut Reader, scope: Scope<'_>, parameters: &[String]) -> Route {
    let name = resolve_name(reader, scope);
    let params = resolve_params(reader, scope);
    let result = reader
        .schema(scope, "endpoint[].route[].result")
        .and_then(|node| read_schema(reader, scope, "endpoint[].route[].result", node));
    let count = params.as_ref().map(Vec::len);
    let backing = resolve_backing(reader, scope, &name, parameters, count);
    let pattern = resolve_pattern(reader, scope, &backing);
    let timeout = reader.optional_duration(scope, "endpoint[].route[].timeout");
    let rate = resolve_rate(reader, scope);
    Route { name, backing, timeout, rate, params, result, pattern }
}

fn resolve_rate(reader: &mut Reader, scope: Scope<'_>) -> Option<Rate> {
    let is_bucket = reader.choice(scope, RATE_KIND, &[false, true]);
    let Some(typed) = optional(reader, scope, RATE) else {
        if scope.find(RATE_KIND).is_some() {
            reader.report(scope, RATE_KIND, "this key applies only with rate".to_owned());
        }
        return None;
    };
    match parse_rate(&typed) {
        Ok((calls, per)) => Some(Rate { calls, per, is_bucket }),
        Err(expected) => {
            reader.report(scope, RATE, format!("'{typed}': {expected}"));
            None
        }
    }
}

fn resolve_name(reader: &mut Reader, scope: Scope<'_>) -> String {
    let name = reader.text(scope, NAME);
    let is_typed = scope.find(NAME).is_some_and(|node| matches!(node.value, Value::Text(_)));
    let message = if !is_typed {
        return name;
    } else if name.is_empty() || name.len() > NAME_BYTES_MAX {
        format!("the name of a route has 1 to {NAME_BYTES_MAX} bytes")
    } else if name.starts_with('.') {
        format!("'{name}' begins with a dot, as only the protocol's own methods do")
    } else if name.chars().any(char::is_control) {
        format!("{name:?} has characters in it that nobody can see")
    } else {
        return name;
    };
    reader.report(scope, NAME, message);
    name
}

fn resolve_params(reader: &mut Reader, scope: Scope<'_>) -> Option<Vec<Schema>> {
    let name = "endpoint[].route[].params";
    let node = reader.schema(scope, name)?;
    let Value::List(items) = &node.value else { return None };
    items.iter().map(|item| read_schema(reader, scope, name, item)).collect()
}

fn read_schema(reader: &mut Reader, scope: Scope<'_>, name: &str, node: &Node) -> Option<Schema> {
    Schema::read(node).map_err(|mistake| reader.report_at(scope, name, mistake)).ok()
}

fn resolve_backing(
    reader: &mut Reader,
    scope: Scope<'_>,
    name: &str,
    parameters: &[String],
    count: Option<usize>,
) -> Backing {
    let (room, http) = (optional(reader, scope, ROOM), optional(reader, scope, HTTP));
    let is_echo = reader.switch(scope, ECHO);
    let publishes = reader.choice(scope, ACTION, &[false, true]);
    let event = optional(reader, scope, EVENT).unwrap_or_else(|| name.to_owned());
    let echo_to_self = reader.switch(scope, ECHO_TO_SELF);
    let given = [(ROOM, room.is_some()), (HTTP, http.is_some()), (ECHO, is_echo)];
    let mut given = given.iter().filter(|(_, is_given)| *is_given).map(|(key, _)| *key);
    match (given.next(), given.next()) {
        (None, _) => {
            let message = "nothing answers it: set room, http or echo = true".to_owned();
            reader.report(scope, NAME, message);
        }
        (Some(one), Some(other)) => {
            let one = one.rsplit('.').next().unwrap_or_default();
            let message = format!("{one} is set too: expected one of room, http and echo");
            reader.report(scope, other, message);
        }
        (Some(_), None) => {}
    }
    let mut only_with = |keys: &[&str], holds: bool, words: &str| {
        for key in keys.iter().filter(|key| !holds && scope.find(key).is_some()) {
            reader.report(scope, key, format!("this key applies only with {words}"));
        }
    };
    only_with(&[ACTION], room.is_some(), "room");
    let published = room.is_some() && publishes;
    only_with(&[EVENT, ECHO_TO_SELF], published, "action = \"publish\"");
    match (room, http) {
        (Some(room), _) => {
            let room = resolve_room(reader, scope, &room, parameters, count);
            if publishes {
                Backing::Publish { room, event, echo_to_self }
            } else {
                Backing::Subscribe(room)
            }
        }
        (None, Some(url)) => {
            check_url(reader, scope, HTTP, &url, true, "upstream.authorization");
            Backing::Http(url)
        }
        (None, None) => Backing::Echo,
    }
}

fn resolve_room(
    reader: &mut Reader,
    scope: Scope<'_>,
    room: &str,
    parameters: &[String],
    count: Option<usize>,
) -> Template {
    let template = match parse_route_template(room, parameters) {
        Ok(template) => template,
        Err(message) => {
            reader.report(scope, ROOM, message);
            return Template { parts: Vec::new() };
        }
    };
    let indexes = template.parts.iter().filter_map(|part| match part {
        Part::Parameter { index, .. } => Some(*index),
        _ => None,
    });
    if let (Some(most), Some(count)) = (indexes.max(), count)
        && most >= count
    {
        let message = format!("'{{params.{most}}}' is not there: params has {count}, from 0");
        reader.report(scope, ROOM, message);
    }
    template
}

fn resolve_pattern(reader: &mut Reader, scope: Scope<'_>, backing: &Backing) -> Pattern {
    let typed = reader.choice(scope, PATTERN, &Pattern::ALL);
    let streams = matches!(backing, Backing::Subscribe(_));
    if scope.find(PATTERN).is_none() {
        return if streams { Pattern::Subscription } else { Pattern::Request };
    }
    if streams != (typed == Pattern::Subscription) {
        let message = "a route with action = \"subscribe\" is an 's', every other one 'n' or 'r'";
        reader.report(scope, PATTERN, message.to_owned());
    }
    typed
}

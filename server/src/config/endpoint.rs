//! `[[endpoint]]` tables: paths, room templates, origins, overrides.

use super::auth::Auth;
use super::event::{self, Events};
use super::high::{Backpressure, Configuration, Limits, Policy, Timeouts};
use super::keys::ENDPOINTS_MAX;
use super::low::{Node, Value};
use super::read::{Reader, Scope};
use super::route::{self, Route, Rpc};
use super::template::{Part, Template, check_path, parse_template, shape};
use fulmar_auth::RoomPatterns;
use std::collections::HashMap;
use std::time::Duration;

/// One path that clients connect to, with everything resolved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct EndpointConfiguration {
    /// Begins with `/`; a segment `:name` matches any one segment.
    pub(crate) path: String,
    /// The protocol on top of WebSocket messages, and what happens to a message.
    pub(crate) mode: Mode,
    /// Whether clients must prove who they are.
    pub(crate) auth: Access,
    /// Patterns of the rooms that clients may be in; none where nothing was typed.
    pub(crate) join: Option<Vec<String>>,
    /// The origins that browsers may connect from; empty allows any.
    pub(crate) origins: Vec<String>,
    /// The subprotocols that are accepted, best first.
    pub(crate) subprotocols: Vec<String>,
    /// The longest message, in bytes.
    pub(crate) message_bytes_max: usize,
    /// None is off.
    pub(crate) idle: Option<Duration>,
    /// None is off.
    pub(crate) ping_interval: Option<Duration>,
    /// What happens to slow clients.
    pub(crate) backpressure: Backpressure,
}

/// Whether clients must prove who they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Access {
    /// Nobody is asked.
    Off,
    /// Those without a token are nobody in particular.
    Optional,
    /// All of them.
    Required,
}

impl Access {
    /// In the order of the key's words.
    const ALL: [Self; 3] = [Self::Off, Self::Optional, Self::Required];

    /// The key's word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

/// What happens to a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// It is sent back.
    Echo,
    /// It is published to a room.
    Room {
        /// The room's name.
        room: Template,
        /// What the client may do.
        role: Role,
        /// Whether the client also receives what it has sent.
        echo_to_self: bool,
    },
    /// It is an event: dialect `event`.
    Events(Events),
    /// It is a call: dialect `rpc`.
    Rpc(Rpc),
    /// It is either: dialect `auto`.
    Auto(Events, Rpc),
}

impl EndpointConfiguration {
    /// What is allowed but probably not wanted: keys, and words about each. `asks_for_rooms` is
    /// whether an HTTP service decides which rooms clients may join.
    pub(crate) fn unwanted(&self, asks_for_rooms: bool) -> Vec<(&'static str, &'static str)> {
        let mut found = Vec::new();
        let routes = match &self.mode {
            Mode::Rpc(rpc) | Mode::Auto(_, rpc) => rpc.routes.as_slice(),
            Mode::Echo | Mode::Room { .. } | Mode::Events(_) => &[],
        };
        let joins_by_identity = self.join.iter().flatten().any(|pattern| pattern.contains('{'));
        if self.auth == Access::Off && joins_by_identity {
            found
                .push(("join", "patterns with {user_id} or {claim.NAME} fit nothing without auth"));
        }
        let mut parts = routes.iter().filter_map(Route::room).flat_map(|room| &room.parts);
        let is_identity = |part: &Part| matches!(part, Part::User | Part::Claim(_));
        if self.auth == Access::Off && parts.any(is_identity) {
            let words = "rooms with {user_id} or {claim.NAME} are nobody's without auth";
            found.push(("route", words));
        }
        let mut parts = routes.iter().filter_map(Route::room).flat_map(|room| &room.parts);
        let is_chosen = |part: &Part| !matches!(part, Part::Literal(_)) && !is_identity(part);
        if asks_for_rooms && self.join.is_none() && parts.any(is_chosen) {
            found.push(("join", "routes do not ask auth.callback.rooms_url: set the rooms here"));
        }
        found
    }
}

/// What a client is to its room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    /// Sends and receives.
    Both,
    /// Only receives.
    Member,
    /// Only sends.
    Publisher,
}

/// What endpoints take from the rest of the configuration.
pub(crate) struct Inherited<'a> {
    /// `[limits]`.
    pub(crate) limits: &'a Limits,
    /// `[timeouts]`.
    pub(crate) timeouts: &'a Timeouts,
    /// `[backpressure]`.
    pub(crate) backpressure: Backpressure,
    /// `[auth]`.
    pub(crate) auth: &'a Auth,
}

/// Reads all endpoints; without any, the two of the demo page.
pub(crate) fn resolve_all(
    reader: &mut Reader,
    root: &Node,
    inherited: &Inherited<'_>,
) -> Vec<EndpointConfiguration> {
    let items = match root.find("endpoint").map(|node| &node.value) {
        Some(Value::List(items)) => items.as_slice(),
        _ => &[],
    };
    if items.is_empty() {
        return demonstration(inherited);
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut endpoints = Vec::new();
    for (index, node) in items.iter().enumerate().take(ENDPOINTS_MAX) {
        // What is not a table has been reported with the unknown keys.
        if let Value::Table(_) = node.value {
            let scope = Scope { node, endpoint: Some(index), route: None };
            let endpoint = resolve(reader, scope, inherited);
            report_duplicate(reader, scope, &endpoint.path, &mut seen);
            endpoints.push(endpoint);
        }
    }
    if let Some(node) = items.get(ENDPOINTS_MAX) {
        let scope = Scope { node, endpoint: Some(ENDPOINTS_MAX), route: None };
        let message = format!("there are more than {ENDPOINTS_MAX} endpoints");
        reader.report(scope, "endpoint[].path", message);
    }
    endpoints
}

/// Whether the endpoints that the demo page uses are there.
pub(crate) fn serve_the_demo(configuration: &Configuration) -> bool {
    let has = |path: &str, fits: fn(&Mode) -> bool| {
        let endpoints = &configuration.endpoints;
        endpoints.iter().any(|one| shape(&one.path) == shape(path) && fits(&one.mode))
    };
    has("/echo", |mode| *mode == Mode::Echo)
        && has("/rooms/:room", |mode| matches!(mode, Mode::Room { .. }))
}

fn demonstration(inherited: &Inherited<'_>) -> Vec<EndpointConfiguration> {
    let endpoint = |path: &str, mode| EndpointConfiguration {
        path: path.to_owned(),
        mode,
        auth: inherited.auth.default_access(),
        join: None,
        origins: Vec::new(),
        subprotocols: Vec::new(),
        message_bytes_max: inherited.limits.message_bytes_max,
        idle: inherited.timeouts.idle,
        ping_interval: inherited.timeouts.ping_interval,
        backpressure: inherited.backpressure,
    };
    let room = Template { parts: vec![Part::Path("room".to_owned())] };
    let rooms = Mode::Room { room, role: Role::Both, echo_to_self: true };
    vec![endpoint("/echo", Mode::Echo), endpoint("/rooms/:room", rooms)]
}

fn resolve(
    reader: &mut Reader,
    scope: Scope<'_>,
    inherited: &Inherited<'_>,
) -> EndpointConfiguration {
    let path = reader.text(scope, "endpoint[].path");
    let parameters = match check_path(&path) {
        Ok(parameters) => parameters,
        Err(message) => {
            if scope.find("endpoint[].path").is_some_and(|node| is_text(&node.value)) {
                reader.report(scope, "endpoint[].path", message);
            }
            Vec::new()
        }
    };
    let mode = resolve_dialect(reader, scope, &parameters, inherited.limits);
    let given = |name: &str| scope.find(name).is_some();
    let limits = inherited.limits;
    let message_bytes_max = if given("endpoint[].message_bytes_max") {
        reader.number(scope, "endpoint[].message_bytes_max")
    } else if let Mode::Events(_) | Mode::Auto(..) = mode {
        limits.message_bytes_max.min(event::MESSAGE_BYTES_MAX)
    } else {
        limits.message_bytes_max
    };
    let idle = if given("endpoint[].idle") {
        reader.optional_duration(scope, "endpoint[].idle")
    } else {
        inherited.timeouts.idle
    };
    let ping_interval = if given("endpoint[].ping_interval") {
        reader.optional_duration(scope, "endpoint[].ping_interval")
    } else {
        inherited.timeouts.ping_interval
    };
    EndpointConfiguration {
        path,
        auth: resolve_access(reader, scope, inherited.auth),
        join: resolve_join(reader, scope, &mode),
        mode,
        origins: resolve_origins(reader, scope),
        subprotocols: resolve_subprotocols(reader, scope),
        message_bytes_max,
        idle,
        ping_interval,
        backpressure: resolve_backpressure(reader, scope, inherited.backpressure),
    }
}

fn is_text(value: &Value) -> bool {
    matches!(value, Value::Text(_))
}

fn resolve_dialect(
    reader: &mut Reader,
    scope: Scope<'_>,
    parameters: &[String],
    limits: &Limits,
) -> Mode {
    let dialects = [Dialect::Text, Dialect::Event, Dialect::Rpc, Dialect::Auto];
    let dialect = reader.choice(scope, "endpoint[].dialect", &dialects);
    let events = event::resolve(reader, scope);
    let rpc = route::resolve(reader, scope, parameters, limits.rooms_per_connection_max);
    if let Dialect::Text | Dialect::Rpc = dialect {
        event::report_unused(reader, scope);
    }
    if let Dialect::Text | Dialect::Event = dialect {
        route::report_unused(reader, scope);
    }
    if dialect == Dialect::Text {
        return resolve_mode(reader, scope, parameters);
    }
    for leaf in ["mode", "room", "role", "echo_to_self"] {
        let name = format!("endpoint[].{leaf}");
        if scope.find(&name).is_some() {
            let message = "this key applies only with dialect = \"text\"".to_owned();
            reader.report(scope, &name, message);
        }
    }
    match dialect {
        Dialect::Rpc => Mode::Rpc(rpc),
        Dialect::Auto => Mode::Auto(events, rpc),
        Dialect::Text | Dialect::Event => Mode::Events(events),
    }
}

/// The words of the key `dialect`.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Dialect {
    Text,
    Event,
    Rpc,
    Auto,
}

fn resolve_access(reader: &mut Reader, scope: Scope<'_>, auth: &Auth) -> Access {
    let name = "endpoint[].auth";
    let typed = reader.choice(scope, name, &Access::ALL);
    if scope.find(name).is_none() {
        return auth.default_access();
    }
    if typed != Access::Off && auth.methods.is_empty() {
        let message = "there is no method to prove it with: set auth.methods".to_owned();
        reader.report(scope, name, message);
    }
    typed
}

fn resolve_join(reader: &mut Reader, scope: Scope<'_>, mode: &Mode) -> Option<Vec<String>> {
    let name = "endpoint[].join";
    let patterns = reader.text_list(scope, name);
    scope.find(name)?;
    if *mode == Mode::Echo {
        let message = "this key applies only where there are rooms: with mode = \"room\" or \
                       another dialect than \"text\"";
        reader.report(scope, name, message.to_owned());
    }
    if let Err(error) = RoomPatterns::parse(&patterns) {
        let pattern = patterns.get(error.index).map_or("", String::as_str);
        let message =
            format!("the pattern '{pattern}' at byte {}: {}", error.position, error.message);
        reader.report_item(scope, name, error.index, message);
    }
    Some(patterns)
}

fn resolve_mode(reader: &mut Reader, scope: Scope<'_>, parameters: &[String]) -> Mode {
    let room_mode = reader.choice(scope, "endpoint[].mode", &[false, true]);
    let room = reader.text(scope, "endpoint[].room");
    let role =
        reader.choice(scope, "endpoint[].role", &[Role::Both, Role::Member, Role::Publisher]);
    let echo_to_self = reader.switch(scope, "endpoint[].echo_to_self");
    if !room_mode {
        for name in ["endpoint[].room", "endpoint[].role", "endpoint[].echo_to_self"] {
            if scope.find(name).is_some() {
                reader.report(scope, name, "this key applies only with mode = \"room\"".to_owned());
            }
        }
        return Mode::Echo;
    }
    if role != Role::Both && echo_to_self {
        let message = "only a client that both sends and receives (role = \"both\") can receive \
                       what it has sent";
        reader.report(scope, "endpoint[].echo_to_self", message.to_owned());
    }
    let room = match parse_template(&room, parameters) {
        Ok(template) => template,
        Err(message) => {
            reader.report(scope, "endpoint[].room", message);
            Template { parts: Vec::new() }
        }
    };
    Mode::Room { room, role, echo_to_self }
}

fn resolve_backpressure(
    reader: &mut Reader,
    scope: Scope<'_>,
    server: Backpressure,
) -> Backpressure {
    let given = |name: &str| scope.find(name).is_some();
    let mut own = server;
    if given("endpoint[].backpressure.bytes_max") {
        own.bytes_max = reader.number(scope, "endpoint[].backpressure.bytes_max");
    }
    if given("endpoint[].backpressure.low_bytes") {
        own.low_bytes = reader.number(scope, "endpoint[].backpressure.low_bytes");
    }
    if given("endpoint[].backpressure.policy") {
        own.policy = reader.choice(scope, "endpoint[].backpressure.policy", &Policy::ALL);
    }
    if own != server {
        super::high::check_backpressure(reader, scope, "endpoint[].backpressure", own);
    }
    own
}

fn resolve_origins(reader: &mut Reader, scope: Scope<'_>) -> Vec<String> {
    let origins = reader.text_list(scope, "endpoint[].origins");
    for origin in &origins {
        if !is_origin(origin) {
            let message = format!(
                "'{origin}' is not an origin: expected scheme://host or scheme://host:port in \
                 lower case, such as https://example.com; an empty list allows any"
            );
            reader.report(scope, "endpoint[].origins", message);
        }
    }
    origins
}

/// RFC 6454 section 6.2: a scheme, a host, perhaps a port; no path, not even a slash.
fn is_origin(origin: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else {
        return false;
    };
    let in_scheme = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    let in_host = |b: u8| b.is_ascii_graphic() && !b.is_ascii_uppercase() && !b"/?#@*".contains(&b);
    !scheme.is_empty()
        && scheme.bytes().all(in_scheme)
        && !host.is_empty()
        && host.bytes().all(in_host)
}

fn resolve_subprotocols(reader: &mut Reader, scope: Scope<'_>) -> Vec<String> {
    let names = reader.text_list(scope, "endpoint[].subprotocols");
    for (index, name) in names.iter().enumerate() {
        // RFC 6455 section 4.1: subprotocols are tokens, each named once.
        let token = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            let message = format!("'{name}' is not a token as RFC 6455 asks of a subprotocol");
            reader.report(scope, "endpoint[].subprotocols", message);
        } else if names[..index].contains(name) {
            let message = format!("'{name}' stands twice in this list");
            reader.report(scope, "endpoint[].subprotocols", message);
        }
    }
    names
}

fn report_duplicate(
    reader: &mut Reader,
    scope: Scope<'_>,
    path: &str,
    seen: &mut HashMap<String, usize>,
) {
    let Some(index) = scope.endpoint.filter(|_| !path.is_empty()) else {
        return;
    };
    if let Some(first) = seen.get(&shape(path)) {
        let message = format!("'{path}' matches the same requests as endpoint[{first}].path");
        reader.report(scope, "endpoint[].path", message);
    } else {
        seen.insert(shape(path), index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_no_path() {
        for origin in ["https://example.com", "http://localhost:8080", "http://[::1]:1"] {
            assert!(is_origin(origin), "{origin}");
        }
        for origin in ["", "*", "example.com", "https://example.com/", "https://EXAMPLE.com"] {
            assert!(!is_origin(origin), "{origin}");
        }
    }
}

//! Endpoints of dialects `rpc` and `auto`: their keys, their routes, and every mistake in them.

use super::super::endpoint::Mode;
use super::super::profile;
use super::super::route::{Backing, Pattern, Rpc};
use super::{accepted, load_text, refused};
use fulmar::dialect::rpc::RpcOptions;
use std::time::Duration;

const ENDPOINT: &str = "[[endpoint]]\npath = '/ws/:team'\ndialect = 'rpc'\n";

fn rpc(name: &str, text: &str) -> Rpc {
    let configuration = accepted(name, &format!("{ENDPOINT}{text}"));
    match &configuration.endpoints[0].mode {
        Mode::Rpc(rpc) => rpc.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_rpc_endpoint_has_the_defaults_of_its_protocol() {
    let rpc = rpc("rpc-defaults", "");
    let defaults = RpcOptions::default();
    assert_eq!(rpc.calls_max, defaults.calls_max);
    assert_eq!(rpc.subscriptions_max, defaults.subscriptions_max);
    assert_eq!(rpc.upstream.timeout, Duration::from_secs(5));
    assert!(rpc.routes.is_empty() && rpc.upstream.authorization.is_none());
    let text = format!("limits.rooms_per_connection_max = 10\n{ENDPOINT}");
    let few = accepted("rpc-few-rooms", &text);
    assert!(matches!(&few.endpoints[0].mode, Mode::Rpc(rpc) if rpc.subscriptions_max == 10));
}

#[test]
fn routes_are_backed_by_rooms_services_and_echoes() {
    let text = "
upstream = { timeout = '1s', headers = ['cookie'], authorization = 'Bearer x' }
[[endpoint.route]]
name = 'listen'
room = 'chat:{team}:{params.0}'
[[endpoint.route]]
name = 'say'
room = 'chat:{params.0.room}:{user_id}'
action = 'publish'
pattern = 'n'
[[endpoint.route]]
name = 'ask'
http = 'https://a.example/x'
params = [{ type = 'string' }, {}]
result = { type = 'number' }
[[endpoint.route]]
name = 'echo'
echo = true
";
    let rpc = rpc("rpc-routes", text);
    assert_eq!(rpc.upstream.headers, ["cookie"]);
    let patterns: Vec<Pattern> = rpc.routes.iter().map(|route| route.pattern).collect();
    let (request, notification) = (Pattern::Request, Pattern::Notification);
    assert_eq!(patterns, [Pattern::Subscription, notification, request, request]);
    assert!(matches!(&rpc.routes[0].backing, Backing::Subscribe(room)
        if room.to_string() == "chat:{team}:{params.0}"));
    assert!(matches!(&rpc.routes[1].backing, Backing::Publish { event, echo_to_self: false, .. }
        if event == "say"));
    assert_eq!(rpc.routes[2].backing, Backing::Http("https://a.example/x".to_owned()));
    assert_eq!(rpc.routes[2].params.as_ref().map(Vec::len), Some(2));
    assert_eq!(rpc.routes[3].backing, Backing::Echo);
}

#[test]
fn the_rpc_profile_is_valid_and_names_the_options_of_alien_rpc() {
    let configuration = accepted("rpc-profile", profile::RPC);
    let Mode::Rpc(rpc) = &configuration.endpoints[0].mode else { panic!() };
    assert_eq!(rpc.routes.len(), 3);
    for option in ["maxConnections", "maxMessageSize", "handshakeTimeout", "compression"] {
        assert!(profile::RPC.contains(option), "{option}");
    }
    assert!(load_text("rpc-profile-warnings", profile::RPC).unwrap().warnings.is_empty());
}

#[test]
fn an_endpoint_of_both_dialects_has_the_keys_of_both() {
    let text = "[[endpoint]]\npath = '/ws'\ndialect = 'auto'\nevent.default_rooms = ['a']\n\
                rpc.calls_max = 5\njoin = ['*']\n[[endpoint.route]]\nname = 'e'\necho = true\n";
    let configuration = accepted("auto", text);
    let Mode::Auto(events, rpc) = &configuration.endpoints[0].mode else { panic!() };
    assert_eq!((events.default_rooms.len(), rpc.calls_max, rpc.routes.len()), (1, 5, 1));
    assert_eq!(configuration.endpoints[0].message_bytes_max, 128 << 10);
}

#[test]
fn a_mistake_in_a_route_is_marked_and_suggested() {
    let text = format!("{ENDPOINT}[[endpoint.route]]\nname = 'a'\nrom = 'x'\necho = true\n");
    let expected = "\
error: fulmar.toml:6:1: unknown key 'endpoint[0].route[0].rom'
    6 | rom = 'x'
      | ^^^ did you mean 'room'?
1 error. Nothing was started.";
    assert_eq!(refused("route-key", &text), expected);
    let text = format!(
        "{ENDPOINT}[[endpoint.route]]\nname = 'a'\necho = true\n\
                        params = [{{ type = 'strin' }}]\n"
    );
    let expected = "\
error: fulmar.toml:7:20: endpoint[0].route[0].params: 'strin' is not one of null, boolean, \
integer, number, string, array, object
    7 | params = [{ type = 'strin' }]
      |                    ^^^^^^^ did you mean 'string'?
1 error. Nothing was started.";
    assert_eq!(refused("route-schema", &text), expected);
}

#[test]
fn wrong_routes_are_explained() {
    let cases = [
        ("echo = true", "endpoint[0].route[0].name: this key is required, such as name ="),
        ("name = 'a'", "nothing answers it: set room, http or echo = true"),
        ("name = ''\necho = true", "the name of a route has 1 to 256 bytes"),
        ("name = '.ping'\necho = true", "begins with a dot"),
        ("name = \"a\\u0007\"\necho = true", "characters in it that nobody can see"),
        ("name = 'a'\necho = true\nroom = 'x'", "room is set too: expected one of room, http"),
        ("name = 'a'\necho = true\naction = 'publish'", "this key applies only with room"),
        ("name = 'a'\nroom = 'x'\nevent = 'e'", "applies only with action = \"publish\""),
        ("name = 'a'\nroom = 'x'\naction = 'publsh'", "'publsh' is not one of subscribe, publish"),
        ("name = 'a'\nroom = '{param.0}'", "'{param.0}' is not a parameter of the path"),
        ("name = 'a'\nroom = '{params.x}'", "write {params.0} or {params.0.member}"),
        ("name = 'a'\nroom = '{params.1}'\nparams = [{}]", "params has 1, from 0"),
        ("name = 'a'\nroom = 'x'\npattern = 'r'", "is an 's', every other one 'n' or 'r'"),
        ("name = 'a'\necho = true\npattern = 's'", "is an 's', every other one 'n' or 'r'"),
        ("name = 'a'\necho = true\npattern = 'x'", "'x' is not one of n, r, s"),
        ("name = 'a'\nhttp = 'hunter2'", "the URL does not begin with https:// or http://"),
        ("name = 'a'\nhttp = 'http://u:hunter2@x/'", "use upstream.authorization"),
        ("name = 'a'\necho = true\nrate = '100'", "expected a number of calls and a time, such"),
        ("name = 'a'\necho = true\nrate = '0/1s'", "expected at least one call, in 1ms to 24h"),
        ("name = 'a'\necho = true\nrate = '5/60'", "a duration needs a unit"),
        ("name = 'a'\necho = true\nrate_kind = 'bucket'", "this key applies only with rate"),
        ("name = 'a'\necho = true\ntimeout = '1'", "a duration needs a unit"),
        (
            "name = 'a'\necho = true\nparams = { type = 'string' }",
            "expected a list of JSON Schemas",
        ),
        ("name = 'a'\necho = true\nresult = 'string'", "expected a JSON Schema as a table"),
        ("name = 'a'\necho = true\nparams = [5]", "expected a JSON Schema as a table, found a"),
        (
            "name = 'a'\necho = true\n[[endpoint.route]]\nname = 'a'\necho = true",
            "endpoint[0].route[1].name: 'a' is the name of route[0], too",
        ),
    ];
    for (text, expected) in cases {
        let rendered = refused("routes", &format!("{ENDPOINT}[[endpoint.route]]\n{text}\n"));
        assert!(rendered.contains(expected), "{text}\n{rendered}");
        assert!(rendered.contains("1 error."), "{text}\n{rendered}");
        assert!(!rendered.contains("hunter2"), "{text}\n{rendered}");
    }
}

#[test]
fn wrong_tables_of_an_rpc_endpoint_are_explained() {
    let cases = [
        ("rpc.calls = 5", "unknown key 'endpoint[0].rpc.calls'"),
        ("rpc.calls_max = 0", "0 is out of range"),
        ("rpc.subscriptions_max = 2000", "2,000 is above limits.rooms_per_connection_max (1,024)"),
        ("upstream.concurrency_max = 1000", "1,000 is out of range: expected 1 to 256"),
        ("upstream.headers = ['a b']", "'a b' is not the name of a header field"),
        ("upstream.authorization = \"hunter2\\n\"", "not the value of a header"),
        ("upstream = { authorization = \"hunter2\\n\" }", "not the value of a header"),
        (
            "upstream = { authorization = 'hunter2', authorization_file = 'x' }",
            "endpoint[0].upstream.authorization is set too: expected one of the two",
        ),
        ("route = { name = 'a' }", "expected a list of tables, found a table"),
        ("route = [5]", "endpoint[0].route[0]: expected a table, found a number"),
        ("event.encryption = 'off'", "only with dialect = \"event\" or \"auto\""),
        ("mode = 'echo'", "only with dialect = \"text\""),
    ];
    for (text, expected) in cases {
        let rendered = refused("rpc-tables", &format!("{ENDPOINT}{text}\n"));
        assert!(rendered.contains(expected), "{text}\n{rendered}");
        assert!(rendered.contains("1 error."), "{text}\n{rendered}");
        assert!(!rendered.contains("hunter2"), "{text}\n{rendered}");
    }
    for (text, expected) in [
        ("dialect = 'event'\nrpc.calls_max = 5", "endpoint[0].rpc: this applies only with"),
        ("upstream.timeout = '1s'", "only with dialect = \"rpc\" or \"auto\""),
        ("[[endpoint.route]]\nname = 'a'\necho = true", "endpoint[0].route: this applies only"),
    ] {
        let rendered = refused("rpc-elsewhere", &format!("[[endpoint]]\npath = '/a'\n{text}\n"));
        assert!(rendered.contains(expected), "{text}\n{rendered}");
    }
}

#[test]
fn routes_without_effect_warn() {
    let text = "auth.callback.rooms_url = 'http://127.0.0.1:1/'\n[[endpoint]]\npath = '/a'\n\
                dialect = 'auto'\n[[endpoint.route]]\nname = 'a'\nroom = '{params.0}'\n\
                [[endpoint.route]]\nname = 'b'\nroom = 'user:{user_id}'\n";
    let warnings = load_text("route-warnings", text).unwrap().warnings;
    let keys: Vec<&str> = warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(keys, ["endpoint[0].route", "endpoint[0].join"]);
    assert!(load_text("route-warnings", &text.replace("'/a'", "'/a'\njoin = ['*']")).is_ok());
}

#[test]
fn a_parameter_of_the_path_is_never_taken_for_the_user() {
    let text = "[[endpoint]]\npath = '/ws/:user_id'\ndialect = 'rpc'\n[[endpoint.route]]\n\
                name = 'a'\nroom = 'user:{user_id}'\n";
    let rendered = refused("route-user", text);
    assert!(rendered.contains("the path must not have ':user_id'"), "{rendered}");
}

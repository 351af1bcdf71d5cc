//! Who may do what: `[auth]`, event endpoints, the fabric between nodes, and that no secret shows.

use super::super::auth::{JwtKeys, Method};
use super::super::endpoint::{Access, Mode};
use super::super::{fabric, load, profile};
use super::{Directory, Inputs, accepted, inputs, load_text, refused, variables};
use fulmar::event::{Encryption, EventOptions};
use std::time::Duration;

/// A file in the tests' directory of the crate that checks tokens.
fn key(name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/auth/tests/keys");
    format!("{path}/{name}")
}

const SECRET: &str = "a secret of more than 32 bytes, for tests only";

#[test]
fn an_event_endpoint_has_the_defaults_of_its_protocol() {
    let configuration = accepted("events", "[[endpoint]]\npath = '/ws'\ndialect = 'event'\n");
    let endpoint = &configuration.endpoints[0];
    let Mode::Events(events) = &endpoint.mode else { panic!("{:?}", endpoint.mode) };
    let defaults = EventOptions::default();
    assert_eq!(events.auth_timeout, Some(defaults.auth_timeout));
    assert_eq!(events.heartbeat_interval, Some(defaults.heartbeat_interval));
    assert_eq!(events.heartbeat_timeout, Some(defaults.heartbeat_timeout));
    let rooms: Vec<&str> = defaults.default_rooms.iter().map(|room| &**room).collect();
    assert_eq!(events.default_rooms, rooms);
    assert_eq!(events.encryption, Encryption::Off);
    assert_eq!(endpoint.message_bytes_max, 131_072);
    assert_eq!((endpoint.auth, &endpoint.join), (Access::Off, &None));
}

#[test]
fn the_message_limit_of_an_event_endpoint_is_its_own_or_the_lower_one() {
    let limit = |before: &str, own: &str| {
        let text = format!("{before}[[endpoint]]\npath = '/ws'\ndialect = 'event'\n{own}");
        accepted("event-limit", &text).endpoints[0].message_bytes_max
    };
    assert_eq!(limit("", "message_bytes_max = '2MiB'"), 2 << 20);
    assert_eq!(limit("limits.message_bytes_max = 1000\n", ""), 1000);
    assert_eq!(limit("limits.message_bytes_max = '8MiB'\n", ""), 131_072);
}

#[test]
fn the_ignis_profile_has_the_defaults_of_ignis() {
    let configuration = accepted("ignis", profile::IGNIS);
    let [endpoint] = configuration.endpoints.as_slice() else { panic!() };
    let Mode::Events(events) = &endpoint.mode else { panic!() };
    assert_eq!(endpoint.path, "/ws");
    assert_eq!(events.default_rooms, ["ws-default", "ws-notification"]);
    assert_eq!(endpoint.message_bytes_max, 131_072);
    assert_eq!(endpoint.idle, Some(Duration::from_secs(60)));
    assert_eq!(endpoint.backpressure.bytes_max, 1_048_576);
    assert!(endpoint.ping_interval.is_some());
    assert_eq!(events.auth_timeout, Some(Duration::from_millis(5000)));
    assert_eq!(events.heartbeat_interval, Some(Duration::from_millis(30_000)));
    assert_eq!(events.heartbeat_timeout, Some(Duration::from_millis(90_000)));
    assert_eq!(events.encryption, Encryption::Off);
    assert_eq!(configuration.limits.sealing_max, 10);
    for line in ["PATH = \"/ws\"", "ROOM = \"ws-default\"", "PUBLISH_TO_SELF = false"] {
        assert!(profile::IGNIS.contains(line), "{line}");
    }
}

#[test]
fn keys_of_another_dialect_are_refused() {
    let cases = [
        ("dialect = 'event'\nmode = 'echo'", "applies only with dialect = \"text\""),
        ("dialect = 'event'\nroom = 'x'", "applies only with dialect = \"text\""),
        ("event = { auth_timeout = '1s' }", "applies only with dialect = \"event\""),
        ("event.encryption = 'off'", "applies only with dialect = \"event\""),
        ("join = ['a']", "applies only where there are rooms"),
        ("auth = 'required'", "there is no method to prove it with: set auth.methods"),
        ("dialect = 'event'\njoin = ['a{b']", "the pattern 'a{b' at byte 1: '{' without '}'"),
        ("dialect = 'event'\nevent.default_rooms = ['ws:x']", "begins with 'ws:'"),
        ("dialect = 'event'\nevent.default_rooms = ['']", "1 to 256 characters"),
    ];
    for (text, expected) in cases {
        let rendered = refused("dialects", &format!("[[endpoint]]\npath = '/a'\n{text}"));
        assert!(rendered.contains(expected), "{text}\n{rendered}");
        assert!(rendered.contains("1 error."), "{text}\n{rendered}");
    }
}

#[test]
fn endpoints_ask_for_what_there_are_methods_for() {
    let text = "\
[auth]
methods = ['tokens', 'anonymous']
tokens = ['abc==ada', 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad=bob']
[[endpoint]]
path = '/a'
[[endpoint]]
path = '/b'
auth = 'optional'
dialect = 'event'
join = ['chat:*', 'user:{user_id}']
";
    let configuration = accepted("methods", text);
    assert_eq!(configuration.auth.methods, [Method::Tokens, Method::Anonymous]);
    let users: Vec<&str> =
        configuration.auth.tokens.iter().map(|(_, user)| user.as_str()).collect();
    assert_eq!(users, ["ada", "bob"]);
    assert_eq!(configuration.auth.tokens[0].0.reveal(), "abc=");
    assert_eq!(configuration.endpoints[0].auth, Access::Required);
    assert_eq!(configuration.endpoints[1].auth, Access::Optional);
    let join = ["chat:*".to_owned(), "user:{user_id}".to_owned()];
    assert_eq!(configuration.endpoints[1].join.as_deref(), Some(join.as_slice()));
    assert!(!format!("{configuration:?}").contains("abc="));
}

#[test]
fn keys_of_tokens_are_tried() {
    let rsa = key("rsa.public.pem");
    for (keys, expected) in [
        (format!("secret = '{SECRET}'"), None),
        (format!("public_key_file = '{rsa}'"), None),
        (format!("public_key_file = '{}'\nalgorithms = ['ES256']", key("ec.public.pem")), None),
        ("jwks_url = 'https://issuer.example/keys'".to_owned(), None),
        ("jwks_url = 'http://127.0.0.1:9/keys'\naudience = ['a', 'b']".to_owned(), None),
        (String::new(), Some("the method \"jwt\" needs keys")),
        ("secret = 'too short'".to_owned(), Some("HS256 needs at least 32")),
        (format!("secret_file = '{rsa}'"), Some("is PEM; configure it as a public key")),
        ("secret_file = '/nonexistent'".to_owned(), Some("cannot read /nonexistent: No such")),
        (format!("public_key_file = '{}'", key("README.txt")), Some("public_key_file: ")),
        (format!("public_key_file = '{}'", key("rsa1024.public.pem")), Some("1024 bits")),
        (format!("jwks_file = '{rsa}'"), Some("is not a JSON Web Key Set")),
        (
            format!("secret = '{SECRET}'\npublic_key_file = '{rsa}'"),
            Some("auth.jwt.secret is set too: expected one source of keys"),
        ),
        (
            format!("public_key_file = '{rsa}'\nalgorithms = ['HS256']"),
            Some("there can be no key for HS256"),
        ),
        (format!("secret = '{SECRET}'\nalgorithms = ['none']"), Some("is not one of HS256")),
        (format!("secret = '{SECRET}'\nleeway = '1h'"), Some("is more than 10 minutes")),
        (format!("secret = '{SECRET}'\nuser_claim = ''"), Some("auth.jwt.user_claim: is empty")),
        (
            "jwks_url = 'http://issuer.example/keys'".to_owned(),
            Some("plain http to another machine"),
        ),
        ("jwks_url = 'ftp://x'".to_owned(), Some("does not begin with https://")),
        (
            "jwks_url = 'https://issuer.example/keys'\nalgorithms = ['HS256']".to_owned(),
            Some("HS256 needs a secret"),
        ),
    ] {
        let text = format!("[auth]\nmethods = ['jwt']\n[auth.jwt]\n{keys}\n");
        match expected {
            None => assert!(accepted("jwt", &text).auth.jwt.is_some()),
            Some(expected) => {
                let rendered = refused("jwt", &text);
                assert!(rendered.contains(expected), "{text}\n{rendered}");
                assert!(rendered.contains("1 error."), "{text}\n{rendered}");
                assert!(!rendered.contains(SECRET), "{rendered}");
            }
        }
    }
}

#[test]
fn a_secret_in_a_file_ends_before_its_line_end() {
    let directory = Directory::new("secret-file");
    let path = directory.write("secret", &format!("{SECRET}\r\n"));
    let text = format!("[auth]\nmethods = ['jwt']\njwt.secret_file = '{}'\n", path.display());
    let jwt = accepted("secret-file-configuration", &text).auth.jwt.unwrap();
    let JwtKeys::Secret(secret) = jwt.keys else { panic!() };
    assert_eq!(secret.reveal(), SECRET);
}

#[test]
fn wrong_authentication_is_explained() {
    let cases = [
        ("methods = ['jtw']", "'jtw' is not one of anonymous, tokens, jwt, callback"),
        ("methods = ['anonymous', 'anonymous']", "'anonymous' stands twice in this list"),
        (
            "methods = ['callback', 'anonymous']\ncallback.url = 'https://x/'",
            "\"callback\" must be the last",
        ),
        ("methods = ['tokens']", "needs auth.tokens = [\"TOKEN=USER\"]"),
        ("methods = ['callback']", "needs auth.callback.url"),
        ("methods = ['tokens']\ntokens = ['hunter2']", "token 1 is not of the form TOKEN=USER"),
        ("methods = ['tokens']\ntokens = ['hunter2=a', 'hunter2=b']", "a token is listed twice"),
        ("methods = ['tokens']\ntokens = ['sha256:12=a']", "64 hexadecimal digits"),
        ("token = ['hunter2=a']", "unknown key 'auth.token'"),
        ("callback.url = 'http://user:hunter2@x/'", "has a user or a password in it"),
        ("callback.rooms_url = 'hunter2'", "does not begin with https:// or http://"),
        ("callback.authorization = \"hunter2\\n\"", "not the value of a header"),
        ("callback.headers = ['a b']", "'a b' is not the name of a header field"),
        ("cookie = 'a b'", "'a b' is not a name"),
        ("query = '?'", "'?' is not a name"),
        ("token_bytes_max = 5", "expected 64 to 64KiB"),
    ];
    for (text, expected) in cases {
        let rendered = refused("auth", &format!("[auth]\n{text}\n"));
        assert!(rendered.contains(expected), "{text}\n{rendered}");
        assert!(rendered.contains("1 error."), "{text}\n{rendered}");
        assert!(rendered.contains("fulmar.toml:"), "{text}\n{rendered}");
        assert!(!rendered.contains("hunter2"), "{text}\n{rendered}");
    }
}

#[test]
fn secrets_in_overrides_are_not_shown() {
    let sets = vec![
        "auth.tokens=[\"hunter2\"]".to_owned(),
        "auth.jwt.secrt=hunter2".to_owned(),
        "auth tokens=hunter2".to_owned(),
    ];
    let environment = variables(&[("FULMAR_FABRIC__URLS", "http://:hunter2@x")]);
    let rendered = load(&Inputs { sets, environment, ..inputs() }).unwrap_err().render("");
    assert!(rendered.contains("--set auth.tokens=...: auth.tokens: token 1 is not"), "{rendered}");
    assert!(rendered.contains("FULMAR_FABRIC__URLS: fabric.urls: address 1"), "{rendered}");
    assert!(rendered.contains("did you mean 'auth.jwt.secret'?"), "{rendered}");
    assert!(!rendered.contains("hunter2"), "{rendered}");
}

#[test]
fn the_fabric_is_read_and_its_mistakes_are_explained() {
    let text = "\
[fabric]
urls = ['redis://a', 'redis://user:pass@b:6380']
subscriptions = 'patterns'
linger = '0s'
start = 'serve'
";
    let read = accepted("fabric", text).fabric;
    assert_eq!((read.urls.len(), read.start), (2, fabric::Start::Serve));
    assert_eq!(read.subscriptions, fabric::Subscriptions::Patterns);
    assert_eq!((read.linger, read.start_timeout), (Duration::ZERO, Duration::from_secs(30)));
    for (text, expected) in [
        ("urls = ['redis://a', 'hunter2']", "address 2 is not one of Redis: expected redis://"),
        ("urls = ['redis://:hunter2@']", "address 1 is not one of Redis"),
        ("name = 'a b'", "'a b' is not a name"),
        ("start = 'later'", "'later' is not one of wait, serve"),
        ("url = 'redis://:hunter2@a'", "unknown key 'fabric.url'"),
    ] {
        let rendered = refused("fabric", &format!("[fabric]\n{text}\n"));
        assert!(rendered.contains(expected), "{text}\n{rendered}");
        assert!(rendered.contains("1 error."), "{text}\n{rendered}");
        assert!(!rendered.contains("hunter2"), "{text}\n{rendered}");
    }
}

#[test]
fn authentication_without_effect_warns() {
    let text = "\
auth.cookie = 'session'
auth.methods = ['anonymous']
auth.tokens = ['a=b']
[[endpoint]]
path = '/a'
[[endpoint]]
path = '/b'
dialect = 'event'
auth = 'off'
join = ['user:{user_id}']
";
    let warnings = load_text("auth-warnings", text).unwrap().warnings;
    let keys: Vec<&str> = warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(keys, ["endpoint[0].origins", "endpoint[1].join", "auth.tokens"]);
}

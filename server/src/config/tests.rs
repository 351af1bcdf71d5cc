//! Whole configurations: precedence, discovery, and every kind of mistake with its message.

mod access;
mod routes;

use super::endpoint::{Mode, Role};
use super::error::Rejected;
use super::high::{Configuration, Policy};
use super::template::{Part, Template};
use super::{Inputs, Loaded, document, keys, load};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// A directory of its own that is removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let process = std::process::id();
        let path = std::env::temp_dir().join(format!("fulmar-config-{process}-{name}"));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn inputs() -> Inputs {
    Inputs { cores: 4, ..Inputs::default() }
}

fn load_text(name: &str, text: &str) -> Result<Loaded, Rejected> {
    let directory = Directory::new(name);
    load(&Inputs { files: vec![directory.write("fulmar.toml", text)], ..inputs() })
}

fn accepted(name: &str, text: &str) -> Configuration {
    let loaded = load_text(name, text);
    loaded.unwrap_or_else(|rejected| panic!("{}", rejected.render(""))).configuration
}

/// The rendered errors, with the directory cut away.
fn refused(name: &str, text: &str) -> String {
    let rendered = load_text(name, text).unwrap_err().render("Nothing was started.");
    let lines = rendered.lines().map(|line| match line.find("/fulmar.toml:") {
        Some(at) => format!("error: {}", &line[at + 1..]),
        None => line.to_owned(),
    });
    lines.collect::<Vec<String>>().join("\n")
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

#[test]
fn without_anything_there_are_useful_defaults() {
    let loaded = load(&inputs()).unwrap();
    let configuration = loaded.configuration;
    assert_eq!(configuration.listen.to_string(), "127.0.0.1:9000");
    assert_eq!((configuration.shards, configuration.workers), (4, 4));
    assert_eq!(configuration.limits.connections_max, 100_000);
    assert_eq!(configuration.limits.connections_per_address_max, None);
    assert_eq!(configuration.timeouts.ping_interval, Some(Duration::from_secs(25)));
    assert_eq!(configuration.backpressure.policy, Policy::DropNewest);
    assert!(configuration.demo && !configuration.deflate.enabled);
    assert_eq!(configuration.endpoints.len(), 2);
    assert_eq!(configuration.endpoints[0].mode, Mode::Echo);
    let room = Template { parts: vec![Part::Path("room".to_owned())] };
    let expected = Mode::Room { room, role: Role::Both, echo_to_self: true };
    assert_eq!(configuration.endpoints[1].mode, expected);
    assert!(loaded.warnings.is_empty() && loaded.files.is_empty());
}

#[test]
fn the_generated_file_means_the_defaults() {
    assert_eq!(accepted("generated", &document::example()), load(&inputs()).unwrap().configuration);
}

#[test]
fn the_generated_file_is_valid_with_every_line_in_force() {
    let example = document::example();
    let lines = example.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest,
        _ => line,
    });
    let text = lines.collect::<Vec<&str>>().join("\n");
    assert!(text.contains("\nheaders_max = 64\n"));
    assert_eq!(accepted("in-force", &text), load(&inputs()).unwrap().configuration);
}

#[test]
fn every_key_of_the_table_is_read() {
    use super::low::parse_file;
    use super::read::Reader;
    use super::source::{Origin, Sources};
    let text = "[[endpoint]]\npath = '/a/:room'\nmode = 'room'\nidle = '1m'\nping_interval = '1s'\n\
                message_bytes_max = 1\nbackpressure = { bytes_max = 4096, low_bytes = 1, policy = \
                'skip' }\n[[endpoint]]\npath = '/b'\ndialect = 'rpc'\n[[endpoint.route]]\n\
                name = 'a'\necho = true\n";
    let mut sources = Sources::default();
    let source = sources.add(Origin::File, "x", text.to_owned());
    let root = parse_file(&mut sources, source);
    let mut reader = Reader::new(4);
    super::high::resolve(&mut reader, &root);
    assert!(reader.problems.is_empty(), "{:?}", reader.problems);
    for key in keys::KEYS {
        assert!(reader.asked.contains(key.name), "{} is never read", key.name);
    }
}

#[test]
fn words_stand_for_the_values_they_name() {
    for (word, policy) in
        [("drop_newest", Policy::DropNewest), ("skip", Policy::Skip), ("close", Policy::Close)]
    {
        let text = format!("backpressure.policy = '{word}'");
        assert_eq!(accepted("policy", &text).backpressure.policy, policy);
    }
    for (word, expected) in
        [("both", Role::Both), ("member", Role::Member), ("publisher", Role::Publisher)]
    {
        let text = format!("[[endpoint]]\npath='/a'\nmode='room'\nroom='x'\nrole='{word}'");
        let Mode::Room { role, .. } = accepted("role", &text).endpoints.remove(0).mode else {
            panic!("{word}");
        };
        assert_eq!(role, expected);
    }
    for level in crate::log::Level::ALL {
        let text = format!("log_level = '{}'", level.name());
        assert_eq!(accepted("level", &text).log_level, level);
    }
    for (word, format) in ["auto", "text", "json"].into_iter().zip(crate::log::Format::ALL) {
        assert_eq!(accepted("log", &format!("log = '{word}'")).log, format);
    }
}

#[test]
fn later_layers_win() {
    let directory = Directory::new("layers");
    let first = directory.write("a.toml", "shards = 1\nworkers = 1\nlog = 'text'\npin = false\n");
    let second = directory.write("b.toml", "shards = 2\n[limits]\nheaders_max = 10\n");
    let mut inputs = Inputs {
        files: vec![first, second],
        environment: variables(&[
            ("FULMAR_WORKERS", "3"),
            ("FULMAR_LIMITS__HEADERS_MAX", "11"),
            ("FULMAR_TIMEOUTS__IDLE", "7m"),
            ("FULMAR_LISTEN", ""),
            ("OTHER", "x"),
        ]),
        ..inputs()
    };
    let loaded = load(&inputs).unwrap();
    let configuration = &loaded.configuration;
    assert_eq!((configuration.shards, configuration.workers), (2, 3));
    assert!(!configuration.pin);
    assert_eq!(configuration.limits.headers_max, 11);
    assert_eq!(configuration.timeouts.idle, Some(Duration::from_secs(420)));
    let names = ["FULMAR_LIMITS__HEADERS_MAX", "FULMAR_TIMEOUTS__IDLE", "FULMAR_WORKERS"];
    assert_eq!(loaded.overrides, names);

    inputs.sets = vec!["limits.headers_max=12".to_owned(), "workers=5".to_owned()];
    inputs.flags = vec![("--workers", "workers", "6".to_owned())];
    let configuration = load(&inputs).unwrap().configuration;
    assert_eq!((configuration.limits.headers_max, configuration.workers), (12, 6));
}

#[test]
fn the_file_is_found() {
    let directory = Directory::new("discovery");
    directory.write("fulmar.toml", "shards = 1\n");
    let other = directory.write("other.toml", "shards = 2\n");
    let mut inputs = Inputs { directory: Some(directory.0.clone()), ..inputs() };
    assert_eq!(load(&inputs).unwrap().configuration.shards, 1);
    inputs.environment = variables(&[("FULMAR_CONFIG", other.to_str().unwrap())]);
    assert_eq!(load(&inputs).unwrap().configuration.shards, 2);
    inputs.files = vec![directory.write("third.toml", "shards = 3\n")];
    assert_eq!(load(&inputs).unwrap().configuration.shards, 3);
}

#[test]
fn a_missing_or_binary_file_is_an_error() {
    let files = vec![PathBuf::from("/nonexistent/fulmar.toml")];
    let rendered = load(&Inputs { files, ..inputs() }).unwrap_err().render("");
    assert!(rendered.starts_with("error: cannot read /nonexistent/fulmar.toml: No such file"));
    let directory = Directory::new("binary");
    let path = directory.0.join("x.toml");
    std::fs::write(&path, [0xff, 0xfe, 0]).unwrap();
    let rendered = load(&Inputs { files: vec![path], ..inputs() }).unwrap_err().render("");
    assert!(rendered.contains("it is not UTF-8 text"), "{rendered}");
}

#[test]
fn unknown_variables_warn() {
    let environment = variables(&[("FULMAR_LIMITS__MAX_CONN", "5"), ("FULMAR_ZEBRA", "1")]);
    let warnings = load(&Inputs { environment, ..inputs() }).unwrap().warnings;
    assert_eq!(warnings[0].key, "FULMAR_LIMITS__MAX_CONN");
    let expected = "this variable is not known, did you mean FULMAR_LIMITS__CONNECTIONS_MAX?";
    assert_eq!(warnings[0].message, expected);
    assert_eq!(warnings[1].message, "this variable is not known");
}

#[test]
fn a_wrong_word_is_marked_and_suggested() {
    let text = "[[endpoint]]\npath = \"/a\"\nmode = \"rom\"\n";
    let expected = "\
error: fulmar.toml:3:8: endpoint[0].mode: 'rom' is not one of echo, room
    3 | mode = \"rom\"
      |        ^^^^^ did you mean 'room'?
1 error. Nothing was started.";
    assert_eq!(refused("word", text), expected);
}

#[test]
fn unknown_keys_are_marked_and_suggested() {
    let text = "lisen = 1\n[limits]\nmax_conn = 5\n[[endpoint]]\npath = '/a'\norigin = 3\n";
    let expected = "\
error: fulmar.toml:1:1: unknown key 'lisen'
    1 | lisen = 1
      | ^^^^^ did you mean 'listen'?
error: fulmar.toml:3:1: unknown key 'limits.max_conn'
    3 | max_conn = 5
      | ^^^^^^^^ did you mean 'limits.connections_max'?
error: fulmar.toml:6:1: unknown key 'endpoint[0].origin'
    6 | origin = 3
      | ^^^^^^ did you mean 'origins'?
3 errors. Nothing was started.";
    assert_eq!(refused("unknown", text), expected);
}

#[test]
fn overrides_are_named_in_errors() {
    let sets = vec!["limits.max_conn=5".to_owned(), "shards=many".to_owned(), "x".to_owned()];
    let environment = variables(&[("FULMAR_TIMEOUTS__PONG", "20")]);
    let rendered = load(&Inputs { sets, environment, ..inputs() }).unwrap_err().render("");
    let expected = "\
error: FULMAR_TIMEOUTS__PONG: timeouts.pong: a duration needs a unit: ms, s, m or h; \
did you mean \"20s\" or \"20ms\"?
error: --set limits.max_conn=5: unknown key 'limits.max_conn'; did you mean \
'limits.connections_max'?
error: --set shards=many: shards: expected a number from 1 to 1,024, found a text
error: --set x: expected key=value, such as limits.headers_max=32
4 errors.";
    assert_eq!(rendered, expected);
}

#[test]
fn a_syntax_error_names_its_line() {
    let rendered = refused("syntax", "shards = 1\nlisten = 127.0.0.1:9000\n");
    assert!(rendered.starts_with("error: fulmar.toml:2:"), "{rendered}");
    assert!(rendered.contains("    2 | listen = 127.0.0.1:9000\n"), "{rendered}");
    assert!(refused("repeated", "shards = 1\nshards = 2\n").contains("duplicate key"));
}

#[test]
fn wrong_shapes_are_explained() {
    let cases = [
        ("limits = 5", "limits: expected a table, found a number"),
        ("[endpoint]\npath = '/a'", "endpoint: expected a list of tables, found a table"),
        ("endpoint = [5]", "endpoint[0]: expected a table, found a number"),
        (
            "shards = 1.5",
            "shards: expected a number from 1 to 1,024, found a number with a fraction",
        ),
        ("shards = 0", "shards: 0 is out of range: expected 1 to 1,024"),
        ("listen = 9000", "listen: a port alone is not an address"),
        ("listen = 'x'", "listen: 'x' is not an address"),
        ("pin = 'yes'", "pin: expected true or false, found a text"),
        ("timeouts.idle = 30", "timeouts.idle: a duration needs a unit"),
        ("timeouts.close = 'off'", "timeouts.close: 'off' is not a duration"),
        ("limits.head_bytes_max = '64K'", "this unit is ambiguous: write KiB, MiB or GiB"),
        ("backpressure.bytes_max = '64KiB'", "low_bytes (256KiB) is above bytes_max (64KiB)"),
        ("deflate.window_bits = 8", "deflate.window_bits: 8 is out of range: expected 9 to 15"),
    ];
    for (text, expected) in cases {
        let rendered = refused("shapes", text);
        assert!(rendered.contains(expected), "{text}\n{rendered}");
        assert!(rendered.contains("1 error."), "{text}\n{rendered}");
    }
}

#[test]
fn wrong_endpoints_are_explained() {
    let cases = [
        ("mode = 'echo'", "endpoint[0].path: this key is required"),
        ("path = 'a'", "endpoint[0].path: 'a' does not begin with '/'"),
        ("path = 3", "endpoint[0].path: expected a text, found a number"),
        ("path = '/a'\nroom = 'x'", "endpoint[0].room: this key applies only with mode = \"room\""),
        ("path = '/a'\nmode = 'room'", "'{room}' is not a parameter of the path, which has no"),
        ("path = '/a/:b'\nmode = 'room'\nroom = '{c}'", "which has {b};"),
        ("path = '/a'\norigins = ['*']", "endpoint[0].origins: '*' is not an origin"),
        ("path = '/a'\norigins = [1]", "expected a text in this list, found a number"),
        ("path = '/a'\nsubprotocols = ['a b']", "'a b' is not a token"),
        ("path = '/a'\nsubprotocols = ['a', 'a']", "'a' stands twice"),
        ("path = '/a'\nbackpressure = 5", "endpoint[0].backpressure: expected a table"),
        ("path = '/a'\nbackpressure = { bytes_max = 4096 }", "is above bytes_max (4KiB)"),
        (
            "path = '/a/:x'\n[[endpoint]]\npath = '/a/:y'",
            "matches the same requests as endpoint[0]",
        ),
        (
            "path = '/a'\nmode = 'room'\nroom = 'x'\nrole = 'member'\necho_to_self = true",
            "only a client that both sends and receives",
        ),
    ];
    for (text, expected) in cases {
        let rendered = refused("endpoints", &format!("[[endpoint]]\n{text}"));
        assert!(rendered.contains(expected), "{text}\n{rendered}");
        assert!(rendered.contains("1 error."), "{text}\n{rendered}");
    }
}

#[test]
fn endpoints_inherit_and_override() {
    let text = "\
[limits]
message_bytes_max = '2MiB'
[timeouts]
idle = 'off'
[backpressure]
bytes_max = '8MiB'
[[endpoint]]
path = '/a'
[[endpoint]]
path = '/b'
message_bytes_max = 100
idle = '5m'
ping_interval = 'off'
backpressure = { policy = 'close' }
";
    let configuration = accepted("inherit", text);
    assert!(!configuration.demo);
    let [a, b] = configuration.endpoints.as_slice() else { panic!() };
    assert_eq!((a.message_bytes_max, a.idle), (2 << 20, None));
    assert_eq!(a.ping_interval, Some(Duration::from_secs(25)));
    assert_eq!((b.message_bytes_max, b.idle), (100, Some(Duration::from_secs(300))));
    assert_eq!(b.ping_interval, None);
    assert_eq!((b.backpressure.bytes_max, b.backpressure.policy), (8 << 20, Policy::Close));
}

#[test]
fn unwanted_combinations_warn_and_name_their_key() {
    let text = "listen = '0.0.0.0:0'\nshards = 9\ndemo = true\ntimeouts.idle = '10s'\n\
                [[endpoint]]\npath = '/a'\n";
    let warnings = load_text("warnings", text).unwrap().warnings;
    let keys: Vec<&str> = warnings.iter().map(|warning| warning.key.as_str()).collect();
    let expected = ["shards", "demo", "endpoint[0].origins", "timeouts.idle", "auth.methods"];
    assert_eq!(keys, expected);
    let expected = "anybody who can reach 0.0.0.0:0 can connect to /a";
    assert_eq!(warnings[4].message, expected);
}

#[test]
fn hostile_files_do_not_panic() {
    let deep = format!("a = {}", "[".repeat(5000));
    let dotted = format!("{}x = 1", "a.".repeat(5000));
    for text in [deep.as_str(), dotted.as_str(), "", "\u{feff}shards = 2", "=", "[[", "\"\\u{0}"] {
        let _ = load_text("hostile", text).map_err(|rejected| rejected.render(""));
    }
}

//! The binary from outside: commands, messages, exit codes.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let process = std::process::id();
        let path = std::env::temp_dir().join(format!("fulmar-cli-{process}-{name}"));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn with(self, name: &str, text: &str) -> Self {
        std::fs::write(self.0.join(name), text).unwrap();
        self
    }

    fn fulmar(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fulmar"));
        // Only what a test sets itself may take part.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FULMAR_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).current_dir(&self.0).stdin(Stdio::null());
        command
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn prints_its_version() {
    let output = Directory::new("version").fulmar(&["--version"]);
    assert_eq!((code(&output), out(&output)), (0, "fulmar 0.1.0\n"));
}

#[test]
fn help_names_every_command_and_flag() {
    let output = Directory::new("help").fulmar(&["--help"]);
    assert_eq!(code(&output), 0);
    for word in ["run", "check", "configdoc", "genconfig", "--set", "--listen", "--shards", "78"] {
        assert!(out(&output).contains(word), "{word}");
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    let directory = Directory::new("usage");
    for arguments in [["--nope"], ["frobnicate"], ["--listen=nowhere"], ["--shards=0"]] {
        let output = directory.fulmar(&arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(out(&output).is_empty() && err(&output).starts_with("error: "), "{arguments:?}");
    }
}

#[test]
fn check_accepts_a_valid_file() {
    let directory = Directory::new("valid").with("fulmar.toml", "shards = 1\n");
    for arguments in [["check", "-c", "fulmar.toml"].as_slice(), &["check"]] {
        let output = directory.fulmar(arguments);
        assert_eq!((code(&output), out(&output)), (0, "fulmar.toml is valid\n"), "{arguments:?}");
        assert_eq!(err(&output), "");
    }
}

#[test]
fn check_explains_an_invalid_file_and_exits_with_78() {
    let text = "[[endpoint]]\npath = \"/a\"\nmode = \"eco\"\n";
    let directory = Directory::new("invalid").with("fulmar.toml", text);
    let output = directory.fulmar(&["check", "-c", "fulmar.toml"]);
    let expected = "\
error: fulmar.toml:3:8: endpoint[0].mode: 'eco' is not one of echo, room
    3 | mode = \"eco\"
      |        ^^^^^ did you mean 'echo'?
1 error.
";
    assert_eq!((code(&output), out(&output), err(&output)), (78, "", expected));
}

#[test]
fn check_speaks_json() {
    use sonic_rs::JsonValueTrait;
    let directory = Directory::new("json")
        .with("good.toml", "listen = '0.0.0.0:0'\n[[endpoint]]\npath = '/a'\n")
        .with("bad.toml", "\nshard = 1\n");
    let output = directory.fulmar(&["check", "--json", "-c", "good.toml"]);
    let good: sonic_rs::Value = sonic_rs::from_str(out(&output)).unwrap();
    assert_eq!((code(&output), good["valid"].as_bool()), (0, Some(true)));
    assert_eq!(good["warnings"][0]["key"].as_str(), Some("endpoint[0].origins"));
    let output = directory.fulmar(&["check", "--json", "-c", "bad.toml"]);
    let bad: sonic_rs::Value = sonic_rs::from_str(out(&output)).unwrap();
    assert_eq!((code(&output), bad["valid"].as_bool()), (78, Some(false)));
    assert_eq!(bad["errors"][0]["line"].as_u64(), Some(2));
    assert_eq!(bad["errors"][0]["hint"].as_str(), Some("did you mean 'shards'?"));
}

#[test]
fn an_invalid_configuration_starts_nothing() {
    let directory = Directory::new("refused").with("fulmar.toml", "shards = 'x'\n");
    for arguments in [[].as_slice(), &["run"], &["run", "-c", "fulmar.toml"]] {
        let output = directory.fulmar(arguments);
        assert_eq!(code(&output), 78, "{arguments:?}");
        assert!(err(&output).ends_with("1 error. Nothing was started.\n"), "{arguments:?}");
    }
    let output = Directory::new("set").fulmar(&["--set", "limits.max_conn=5"]);
    let expected = "error: --set limits.max_conn=5: unknown key 'limits.max_conn'; did you mean \
                    'limits.connections_max'?\n1 error. Nothing was started.\n";
    assert_eq!((code(&output), err(&output)), (78, expected));
}

#[test]
fn a_missing_file_is_an_invalid_configuration() {
    let output = Directory::new("missing").fulmar(&["check", "-c", "nope.toml"]);
    assert_eq!(code(&output), 78);
    assert!(err(&output).starts_with("error: cannot read nope.toml: "), "{}", err(&output));
}

#[test]
fn the_environment_takes_part_in_a_check() {
    let directory = Directory::new("environment");
    let mut command = directory.command(&["check"]);
    let output = command.env("FULMAR_SHARDS", "none").env("FULMAR_SHRDS", "1").output().unwrap();
    assert_eq!(code(&output), 78);
    assert!(err(&output).starts_with("error: FULMAR_SHARDS: shards: expected a number"));
    let output = directory.command(&["check"]).env("FULMAR_SHRDS", "1").output().unwrap();
    let expected =
        "warning: FULMAR_SHRDS: this variable is not known, did you mean FULMAR_SHARDS?\n";
    assert_eq!((code(&output), err(&output)), (0, expected));
}

#[test]
fn the_generated_file_is_valid() {
    let directory = Directory::new("generate");
    let output = directory.fulmar(&["genconfig"]);
    assert_eq!(code(&output), 0);
    std::fs::write(directory.0.join("fulmar.toml"), &output.stdout).unwrap();
    let output = directory.fulmar(&["check"]);
    assert_eq!((code(&output), out(&output)), (0, "fulmar.toml is valid\n"), "{}", err(&output));
}

#[test]
fn a_profile_is_a_valid_file_of_its_own() {
    let directory = Directory::new("profile");
    let output = directory.fulmar(&["genconfig", "--profile", "ignis"]);
    assert!(out(&output).contains("MAX_PAYLOAD_LENGTH = 131072"), "{}", out(&output));
    std::fs::write(directory.0.join("fulmar.toml"), &output.stdout).unwrap();
    let output = directory.fulmar(&["check"]);
    assert_eq!((code(&output), err(&output)), (0, ""));
    assert_eq!(code(&directory.fulmar(&["genconfig", "--profile", "other"])), 2);
}

#[test]
fn emit_refuses_what_cannot_be_sent_before_it_looks_for_redis() {
    let directory = Directory::new("emit").with("bad.toml", "fabric.urls = ['x']\n");
    let cases: [(&[&str], i32, &str); 6] = [
        (&["all", "note", "hello"], 2, "error: the data is not JSON; did you mean '\"hello\"'?\n"),
        (&["all", "note", "{\"a\":"], 2, "error: the data is not JSON\n"),
        (&["room", "", "note"], 2, "error: the client, user, room or event is empty\n"),
        (&["user", "ada", "note", "1"], 2, "no Redis: set fabric.urls in the configuration"),
        (&["all", "note", "--url", "http://x"], 2, "expected redis://"),
        (&["-c", "bad.toml", "all", "note"], 78, "error: bad.toml:1:16: fabric.urls: address 1"),
    ];
    for (arguments, expected, message) in cases {
        let output = directory.fulmar(&[&["emit"], arguments].concat());
        assert_eq!((code(&output), out(&output)), (expected, ""), "{arguments:?}");
        assert!(err(&output).contains(message), "{arguments:?}\n{}", err(&output));
    }
}

#[test]
fn a_token_is_made_and_checked() {
    const SECRET: &str = "a secret of more than 32 bytes, for tests only";
    let text = format!("[auth]\nmethods = ['jwt']\n[auth.jwt]\nsecret = '{SECRET}'\n");
    let directory = Directory::new("token").with("fulmar.toml", &text);
    let make = ["token", "--user", "ada", "--secret", SECRET, "--claim", "team=red"];
    let output = directory.fulmar(&make);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let output = directory.fulmar(&["token", "check", out(&output).trim()]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).starts_with("{\"user\":\"ada\",\"expires\":\""), "{}", out(&output));
    assert!(out(&output).contains("\"team\":\"red\""), "{}", out(&output));
    let output = directory.fulmar(&[&make[..], &["--claim", "exp=1000"]].concat());
    let output = directory.fulmar(&["token", "check", out(&output).trim()]);
    assert_eq!((code(&output), err(&output)), (1, "error: the token is refused: expired\n"));
    let output = directory.fulmar(&[&make[..], &["--algorithm", "ES256"]].concat());
    assert_eq!((code(&output), out(&output)), (2, ""));
    assert!(err(&output).contains("this key is for HS256"), "{}", err(&output));
    for wrong in [&["token"][..], &["token", "--user", "ada"]] {
        assert_eq!(code(&directory.fulmar(wrong)), 2, "{wrong:?}");
    }
}

#[test]
fn no_secret_is_shown_by_a_check() {
    let text = "[auth]\nmethods = ['tokens']\ntokens = ['hunter2=ada']\n[fabric]\n\
                urls = ['redis://:hunter2@127.0.0.1']\n";
    let directory = Directory::new("secrets")
        .with("good.toml", text)
        .with("bad.toml", &text.replace("=ada", ""))
        .with("worse.toml", &text.replace("hunter2=ada'", "hunter2"));
    for (file, expected) in [("good.toml", 0), ("bad.toml", 78), ("worse.toml", 78)] {
        for json in [&["--json"][..], &[]] {
            let output = directory.fulmar(&[&["check", "-c", file], json].concat());
            assert_eq!(code(&output), expected, "{file}");
            let said = format!("{}{}", out(&output), err(&output));
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}

#[test]
fn configdoc_prints_the_table() {
    let directory = Directory::new("document");
    let output = directory.fulmar(&["configdoc"]);
    assert_eq!(code(&output), 0);
    assert!(out(&output).contains("limits.connections_max\n"));
    assert!(out(&output).contains("environment: FULMAR_LIMITS__CONNECTIONS_MAX"));
    let output = directory.fulmar(&["configdoc", "--markdown"]);
    assert!(out(&output).starts_with("# Configuration\n"));
}

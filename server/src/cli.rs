//! The command line.

use crate::config::Inputs;
use crate::config::units::{parse_address, parse_duration};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// The whole command line. The flags of `run` are accepted without the word.
#[derive(Debug, Parser)]
#[command(
    name = "fulmar",
    version,
    about = "Fulmar, a realtime WebSocket edge server",
    long_about = "Fulmar, a realtime WebSocket edge server.\n\nWithout arguments it runs with \
                  ./fulmar.toml, or with built-in defaults on 127.0.0.1:9000.",
    after_help = EXIT_CODES,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArguments,
}

const EXIT_CODES: &str = "Exit codes: 0 clean stop, 1 failure while running, 2 wrong usage, 69 \
                          Redis not there at the start, 70 internal error, 75 graceful stop timed \
                          out, 77 permission denied, 78 configuration invalid";

impl CommandLine {
    /// The command that was asked for.
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or(Command::Run(self.run))
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server (also without the word `run`)
    Run(RunArguments),
    /// Validate the configuration and start nothing
    Check(CheckArguments),
    /// Print every configuration key: type, default, meaning
    Configdoc {
        /// Print the whole document, as docs/CONFIG.md
        #[arg(long)]
        markdown: bool,
    },
    /// Print a commented configuration file with the defaults
    Genconfig {
        /// Print one with the defaults of another server
        #[arg(long, value_name = "NAME")]
        profile: Option<Profile>,
    },
    /// Publish an event to clients, from outside and through Redis
    Emit(EmitArguments),
    /// Make a JSON Web Token for tests, or check one
    Token(TokenArguments),
    /// Generate clients of the configured routes
    Gen {
        #[command(subcommand)]
        what: GenWhat,
    },
}

/// A server whose defaults can be had.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Profile {
    /// IGNIS's WebSocket helper
    Ignis,
    /// alien-rpc's WebSocket server
    Rpc,
}

/// What `fulmar gen` is to generate.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum GenWhat {
    /// Routes for alien-rpc's client: prints them as TypeScript
    Ts {
        #[command(flatten)]
        of: GenArguments,
        /// Write routes.js and routes.d.ts to this directory instead
        #[arg(long, value_name = "DIRECTORY")]
        out: Option<PathBuf>,
        /// Write nothing: fail if what is there is not what would be written
        #[arg(long, requires = "out")]
        check: bool,
        /// The package of the client
        #[arg(long, value_name = "PACKAGE", default_value = "@alien-rpc/client")]
        client_import: String,
    },
    /// JSON Schemas of the routes: prints one document
    Schema {
        #[command(flatten)]
        of: GenArguments,
    },
}

/// The flags that say which routes `fulmar gen` is about.
#[derive(Args, Clone, Debug)]
pub(crate) struct GenArguments {
    #[command(flatten)]
    configuration: ConfigurationArguments,
    /// Path of the endpoint [default: the only one that has routes]
    #[arg(long, value_name = "PATH")]
    pub(crate) endpoint: Option<String>,
}

/// The flags of `fulmar emit`.
#[derive(Args, Clone, Debug)]
pub(crate) struct EmitArguments {
    #[command(flatten)]
    configuration: ConfigurationArguments,
    /// Address of Redis, repeatable [default: fabric.urls of the configuration]
    #[arg(long = "url", value_name = "URL", global = true)]
    pub(crate) urls: Vec<String>,
    /// Print how many nodes Redis has passed the event to
    #[arg(short = 'v', long = "verbose", global = true)]
    pub(crate) tell_nodes: bool,
    #[command(subcommand)]
    pub(crate) to: EmitTo,
}

/// Whom to tell.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum EmitTo {
    /// One connection
    Client {
        /// The id of the connection
        id: String,
        #[command(flatten)]
        what: EmitWhat,
    },
    /// All connections of a user
    User {
        /// The user
        id: String,
        #[command(flatten)]
        what: EmitWhat,
    },
    /// The members of a room
    Room {
        /// The room
        name: String,
        #[command(flatten)]
        what: EmitWhat,
        /// A connection to leave out, repeatable
        #[arg(long, value_name = "ID")]
        exclude: Vec<String>,
    },
    /// Everybody who is authenticated
    All {
        #[command(flatten)]
        what: EmitWhat,
    },
}

/// What to tell.
#[derive(Args, Clone, Debug)]
pub(crate) struct EmitWhat {
    /// The event's name
    pub(crate) event: String,
    /// Its data as JSON
    #[arg(default_value = "null")]
    pub(crate) data: String,
}

/// The flags of `fulmar token`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct TokenArguments {
    #[command(subcommand)]
    pub(crate) command: Option<TokenCommand>,
    #[command(flatten)]
    pub(crate) make: TokenMake,
}

/// What to do with a token, if not to make one.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Check a token against the configuration: prints who it is, or why it is refused
    Check(TokenCheck),
}

/// The flags of `fulmar token check`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TokenCheck {
    #[command(flatten)]
    configuration: ConfigurationArguments,
    /// The token
    pub(crate) token: String,
}

/// What a new token says and how it is signed.
#[derive(Args, Clone, Debug)]
pub(crate) struct TokenMake {
    /// The user: the claim `sub`
    #[arg(long, required = true)]
    pub(crate) user: Option<String>,
    /// How long it is valid
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = check_duration)]
    pub(crate) expires_in: std::time::Duration,
    /// One more claim, or another value of one, as JSON or a bare word; repeatable
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    pub(crate) claims: Vec<String>,
    /// Sign with this secret (HS256)
    #[arg(long, conflicts_with_all = ["secret_file", "key"])]
    pub(crate) secret: Option<String>,
    /// Sign with the secret in this file (HS256)
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Sign with the private key in this file (PEM, PKCS#8)
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The algorithm, to be sure that it is the one of the key
    #[arg(long, value_name = "NAME")]
    pub(crate) algorithm: Option<String>,
    /// The id of the key: `kid` in the header
    #[arg(long, value_name = "ID")]
    pub(crate) key_id: Option<String>,
}

/// Where the configuration comes from.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConfigurationArguments {
    /// Configuration file, repeatable, later ones win [default: $FULMAR_CONFIG, ./fulmar.toml]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Override one key with a TOML value or a bare word, repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

/// The flags of `fulmar run`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    configuration: ConfigurationArguments,
    /// Address to accept connections on, such as :9000 or 0.0.0.0:9000
    #[arg(long, value_name = "ADDRESS", value_parser = check_address)]
    listen: Option<String>,
    /// Number of event loops [default: number of cores]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1024))]
    shards: Option<u16>,
    /// Number of threads for handlers that may block [default: number of cores]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// Kernel interface; auto is io_uring where it can be used [default: auto]
    #[arg(long, value_name = "INTERFACE")]
    io: Option<IoWord>,
    /// Form of log lines; auto is text on a terminal and JSON elsewhere
    #[arg(long, value_name = "FORMAT")]
    log: Option<LogFormat>,
    /// Log more: -v debug, -vv trace
    #[arg(short, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Log less: -q warnings and errors, -qq errors
    #[arg(short, action = ArgAction::Count)]
    quiet: u8,
}

/// The flags of `fulmar check`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    configuration: ConfigurationArguments,
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum IoWord {
    Auto,
    Epoll,
    #[value(name = "io_uring")]
    IoUring,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
    Auto,
}

impl ConfigurationArguments {
    fn inputs(&self) -> Inputs {
        Inputs {
            files: self.files.clone(),
            sets: self.sets.clone(),
            flags: Vec::new(),
            environment: std::env::vars_os().collect(),
            directory: Some(PathBuf::from(".")),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }
}

impl RunArguments {
    /// What takes part in the configuration of a run.
    pub(crate) fn inputs(&self) -> Inputs {
        let mut inputs = self.configuration.inputs();
        let mut flag = |flag, key, value: Option<String>| {
            inputs.flags.extend(value.map(|value| (flag, key, value)));
        };
        flag("--listen", "listen", self.listen.clone());
        flag("--shards", "shards", self.shards.map(|number| number.to_string()));
        flag("--io", "io", self.io.map(|io| io.name().to_owned()));
        flag("--workers", "workers", self.workers.map(|number| number.to_string()));
        flag("--log", "log", self.log.map(|format| format.name().to_owned()));
        let level = match (self.verbose, self.quiet) {
            (0, 0) => None,
            (0, 1) => Some(("-q", "warn")),
            (0, _) => Some(("-qq", "error")),
            (1, _) => Some(("-v", "debug")),
            _ => Some(("-vv", "trace")),
        };
        if let Some((name, level)) = level {
            flag(name, "log_level", Some(level.to_owned()));
        }
        inputs
    }
}

impl GenArguments {
    /// The configuration that has the routes.
    pub(crate) fn inputs(&self) -> Inputs {
        self.configuration.inputs()
    }
}

impl EmitArguments {
    /// The configuration that names the Redis to emit through.
    pub(crate) fn inputs(&self) -> Inputs {
        self.configuration.inputs()
    }
}

impl TokenCheck {
    /// The configuration to check against.
    pub(crate) fn inputs(&self) -> Inputs {
        self.configuration.inputs()
    }
}

impl CheckArguments {
    /// What takes part in the configuration to check: what a run would read, less its flags.
    pub(crate) fn inputs(&self) -> Inputs {
        self.configuration.inputs()
    }
}

impl IoWord {
    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Epoll => "epoll",
            Self::IoUring => "io_uring",
        }
    }
}

impl LogFormat {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Auto => "auto",
        }
    }
}

/// Keeps the typed text: the key's own reader turns it into an address later.
fn check_address(typed: &str) -> Result<String, String> {
    parse_address(typed).map(|_| typed.to_owned()).map_err(str::to_owned)
}

fn check_duration(typed: &str) -> Result<std::time::Duration, String> {
    parse_duration(typed).map_err(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run(arguments: &[&str]) -> RunArguments {
        let line = CommandLine::try_parse_from([&["fulmar"], arguments].concat()).unwrap();
        match line.command() {
            Command::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        <CommandLine as CommandFactory>::command().debug_assert();
    }

    #[test]
    fn emit_takes_its_flags_behind_the_words() {
        let line = ["fulmar", "emit", "room", "a", "b", "1", "--exclude", "x", "-v", "--url", "y"];
        let command = CommandLine::try_parse_from(line).unwrap().command();
        let Command::Emit(arguments) = command else { panic!("{command:?}") };
        assert!(arguments.tell_nodes && arguments.urls == ["y"]);
        let EmitTo::Room { name, what, exclude } = arguments.to else { panic!() };
        assert_eq!((name.as_str(), what.event.as_str(), what.data.as_str()), ("a", "b", "1"));
        assert_eq!(exclude, ["x"]);
    }

    #[test]
    fn run_flags_work_with_and_without_the_word() {
        let flags = ["-c", "a.toml", "--set", "shards=2", "--listen", ":0", "-vv"];
        for arguments in [flags.to_vec(), [&["run"], flags.as_slice()].concat()] {
            let inputs = run(&arguments).inputs();
            assert_eq!(inputs.files, [PathBuf::from("a.toml")]);
            assert_eq!(inputs.sets, ["shards=2"]);
            let expected =
                [("--listen", "listen", ":0".to_owned()), ("-vv", "log_level", "trace".to_owned())];
            assert_eq!(inputs.flags, expected);
        }
    }

    #[test]
    fn wrong_flag_values_are_wrong_usage() {
        for arguments in [["--listen", "nowhere"], ["--shards", "0"], ["--io", "kqueue"]] {
            let error = CommandLine::try_parse_from([["fulmar"].as_slice(), &arguments].concat());
            assert_eq!(error.unwrap_err().exit_code(), 2);
        }
    }
}

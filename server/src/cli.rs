//! The command line.

use crate::config::Inputs;
use crate::config::units::parse_address;
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

const EXIT_CODES: &str = "Exit codes: 0 clean stop, 1 failure while running, 2 wrong usage, 70 \
                          internal error, 75 graceful stop timed out, 77 permission denied, 78 \
                          configuration invalid";

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
    Genconfig,
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

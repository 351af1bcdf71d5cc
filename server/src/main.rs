//! The binary `fulmar`: the command line, the configuration, the log and the signals around the
//! library of the same name.
#![forbid(unsafe_code)]

mod announce;
mod auth;
mod cli;
mod clock;
mod config;
mod emit;
mod exit;
mod fabric;
mod generate;
mod json;
mod log;
mod mount;
mod routes;
mod signal;
mod start;
mod token;

use clap::Parser;
use cli::{CheckArguments, Command, CommandLine, Profile, RunArguments, TokenCommand};
use config::{document, profile};
use exit::{Code, Failure};
use log::{Level, Logger};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let command = match CommandLine::try_parse() {
        Ok(line) => line.command(),
        Err(message) => {
            // Help and version are such messages too, with the code 0.
            let _ = message.print();
            return ExitCode::from(u8::try_from(message.exit_code()).unwrap_or(2));
        }
    };
    let outcome = std::panic::catch_unwind(|| match command {
        Command::Run(arguments) => run(&arguments),
        Command::Check(arguments) => check(&arguments),
        Command::Configdoc { markdown: true } => print(&document::markdown()),
        Command::Configdoc { markdown: false } => print(&document::plain()),
        Command::Genconfig { profile: None } => print(&document::example()),
        Command::Genconfig { profile: Some(Profile::Ignis) } => print(profile::IGNIS),
        Command::Genconfig { profile: Some(Profile::Rpc) } => print(profile::RPC),
        Command::Emit(arguments) => tell(emit::emit(&arguments)),
        Command::Gen { what } => tell(generate::generate(&what)),
        Command::Token(arguments) => tell(match &arguments.command {
            Some(TokenCommand::Check(arguments)) => token::check(arguments),
            None => token::make(&arguments.make),
        }),
    });
    // The panic's message is on standard error already.
    outcome.unwrap_or(Code::Internal).into()
}

/// Prints what a command found, or why it did not.
fn tell(outcome: Result<String, Failure>) -> Code {
    match outcome {
        Ok(text) => print(&text),
        Err(Failure { code, message }) => {
            eprintln!("error: {message}");
            code
        }
    }
}

fn run(arguments: &RunArguments) -> Code {
    let began = clock::monotonic();
    let inputs = arguments.inputs();
    let loaded = match config::load(&inputs) {
        Ok(loaded) => loaded,
        Err(rejected) => {
            eprintln!("{}", rejected.render("Nothing was started."));
            return rejected.code;
        }
    };
    let configuration = &loaded.configuration;
    let logger = Arc::new(Logger::to_standard_error(configuration.log, configuration.log_level));
    let outcome = start::run(&loaded, &inputs, &logger, began);
    logger.finish();
    match outcome {
        Ok(code) => code,
        Err(Failure { code, message }) => {
            report_failure(code, &message, &logger);
            code
        }
    }
}

/// A failure is a log line where a machine reads the log, and a sentence where a person does.
fn report_failure(code: Code, message: &str, logger: &Logger) {
    if logger.is_text() {
        eprintln!("error: {message}");
    } else {
        let fields = [("exit_code", log::Field::Number(u64::from(code.number())))];
        logger.event(Level::Error, "start", message, &fields);
    }
}

fn check(arguments: &CheckArguments) -> Code {
    match config::load(&arguments.inputs()) {
        Ok(loaded) if arguments.json => {
            let mut object = json::Object::new();
            object.raw("valid", &true);
            object.raw("files", &json::list(loaded.files.iter().map(|name| json::Quoted(name))));
            object.raw("errors", &"[]");
            let warnings = loaded.warnings.iter().map(|warning| {
                let mut object = json::Object::new();
                object.string("key", &warning.key).string("message", &warning.message);
                object.finish()
            });
            object.raw("warnings", &json::list(warnings));
            print(&format!("{}\n", object.finish()))
        }
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("warning: {}: {}", warning.key, warning.message);
            }
            print(&match loaded.files.as_slice() {
                [] => "no configuration file: the built-in defaults are valid\n".to_owned(),
                [file] => format!("{file} is valid\n"),
                files => format!("{} are valid\n", files.join(", ")),
            })
        }
        Err(rejected) if arguments.json => {
            let mut object = json::Object::new();
            object.raw("valid", &false).raw("errors", &rejected.json()).raw("warnings", &"[]");
            print(&format!("{}\n", object.finish()));
            rejected.code
        }
        Err(rejected) => {
            eprintln!("{}", rejected.render(""));
            rejected.code
        }
    }
}

/// Writes a result to standard output. A reader that went away (`| head`) is no failure.
fn print(text: &str) -> Code {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Code::Clean
}

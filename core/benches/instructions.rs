//! One part of the server, run a given number of times: what `perf/instructions/run` starts under
//! callgrind to count instructions.
//!
//! ```text
//! instructions list              # every part: name, times to count, elements per operation
//! instructions run NAME TIMES
//! ```
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

mod part;

use std::process::ExitCode;

use part::server::{awake, hub, mailbox, output, stats, worker};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["list"] => {
            for part in part::all() {
                println!("{} {} {}", part.name, part.times, part.elements);
            }
            ExitCode::SUCCESS
        }
        ["run", name, times] => run(name, times),
        // Cargo runs all benches so; this one says nothing without callgrind.
        ["--bench", ..] | [] => {
            println!("instructions: counted by perf/instructions/run");
            ExitCode::SUCCESS
        }
        _ => usage("usage: instructions list | instructions run NAME TIMES"),
    }
}

fn run(name: &str, times: &str) -> ExitCode {
    let Some(part) = part::all().find(|part| part.name == name) else {
        return usage("instructions: there is no such part; `instructions list` names them");
    };
    let Ok(times) = times.parse::<u32>() else {
        return usage("instructions: TIMES is not a number");
    };
    let mut operation = (part.make)();
    for _ in 0..times {
        operation();
    }
    ExitCode::SUCCESS
}

fn usage(text: &str) -> ExitCode {
    eprintln!("{text}");
    ExitCode::from(2)
}

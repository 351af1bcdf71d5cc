//! `fulmar-bench`: a load generator for WebSocket servers.
//!
//! One thread saturates a server of one core: it polls without sleeping, counts frames by their
//! heads, and sends frames encoded before the start. It reports what the server's CPU spent on a
//! message, latencies free of coordinated omission, and every message that was lost, repeated or
//! out of order. When it was itself the limit it says so.
//!
//! | module | what |
//! |---|---|
//! | `cli`, `target`, `units` | what was asked for |
//! | `client`, `handshake`, `walker`, `frames`, `nats` | connections |
//! | `call` | a single call, for scripts |
//! | `scenario`, `pace`, `measure` | loads, schedules, sums |
//! | `server_usage`, `progress`, `report`, `threshold` | results |
#![forbid(unsafe_code)]

mod call;
mod cli;
mod client;
mod clock;
mod frames;
mod handshake;
mod measure;
mod nats;
mod pace;
mod progress;
mod report;
mod scenario;
mod server_usage;
mod target;
mod threshold;
mod units;
mod walker;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, Common, Scenario};
use crate::clock::Clock;
use crate::progress::Live;
use crate::report::Report;
use crate::scenario::{Context, Outcome};
use crate::server_usage::Watched;

/// The run failed.
const FAILED: u8 = 1;
/// The command line is wrong; the same as for those clap finds.
const USAGE: u8 = 2;
/// The generator did not keep its own schedule, so the result does not count.
const LIMITED: u8 = 3;
/// A threshold is not met.
const NOT_MET: u8 = 99;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Scenario(scenario) => measure(&scenario),
        Command::Call(args) => match call::run_call(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => fail(FAILED, &why),
        },
    }
}

fn measure(scenario: &Scenario) -> ExitCode {
    let watched = match check(scenario.common()) {
        Ok(watched) => watched,
        Err(why) => return fail(USAGE, &why),
    };
    let context = Context {
        clock: Clock::start(),
        common: scenario.common().clone(),
        watched,
        live: Live::default(),
    };
    let (name, open_loop, outcome) = run(&context, scenario);
    match outcome {
        Ok(outcome) => conclude(&context, &Report::new(&context, name, open_loop, &outcome)),
        Err(why) => fail(FAILED, &why),
    }
}

fn run(context: &Context, scenario: &Scenario) -> (&'static str, bool, Result<Outcome, String>) {
    use crate::scenario::{beside, broadcast, burst, churn, echo, idle, request, slow};
    match scenario {
        Scenario::Echo(args) => {
            ("echo", args.exchange.rate.is_some(), echo::run_echo(context, args))
        }
        Scenario::Request(args) => {
            ("request", args.exchange.rate.is_some(), request::run_request(context, args))
        }
        Scenario::Broadcast(args) => {
            let outcome = broadcast::run_broadcast(context, args, 1, 100);
            ("broadcast", args.rate.is_some(), outcome)
        }
        Scenario::Rooms(args) => {
            let outcome = broadcast::run_broadcast(context, args, 1_000, 10);
            ("rooms", args.rate.is_some(), outcome)
        }
        Scenario::Burst(args) => ("burst", true, burst::run_burst(context, args)),
        Scenario::Beside(args) => ("beside", true, beside::run_beside(context, args)),
        Scenario::Churn(args) => ("churn", false, churn::run_churn(context, args)),
        Scenario::Idle(args) => ("idle", false, idle::run_idle(context, args)),
        Scenario::Slow(args) => ("slow", true, slow::run_slow(context, args)),
    }
}

/// Checks what the parser cannot, before anything is connected.
fn check(common: &Common) -> Result<Option<Watched>, String> {
    if common.duration.is_zero() {
        return Err("the duration has to be more than 0".to_owned());
    }
    if common.pid.is_none()
        && let Some(threshold) = common.thresholds.iter().find(|t| t.needs_pid())
    {
        return Err(format!("the threshold `{threshold}` needs --pid"));
    }
    common.pid.map(|pid| Watched::new(pid, common.server_cpu)).transpose()
}

fn conclude(context: &Context, report: &Report) -> ExitCode {
    let json = context.common.json.as_deref();
    if json != Some(Path::new("-")) {
        let text = report::text::render(report);
        // A reader that went away has seen what it wanted.
        let _unread = std::io::stdout().write_all(text.as_bytes());
    }
    if let Some(path) = json
        && let Err(error) = report::json::write(report, path)
    {
        return fail(FAILED, &format!("cannot write {}: {error}", path.display()));
    }
    if report.is_void() {
        ExitCode::from(LIMITED)
    } else if !report.passes() {
        ExitCode::from(NOT_MET)
    } else {
        ExitCode::SUCCESS
    }
}

fn fail(status: u8, why: &str) -> ExitCode {
    let _unread = writeln!(std::io::stderr(), "fulmar-bench: {why}");
    ExitCode::from(status)
}

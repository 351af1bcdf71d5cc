//! The report for people, on stdout.

use std::fmt::{self, Write};

use super::{Latency, Report};
use crate::units::{show_bytes, show_count, show_rate, show_time, whole};

/// Share of time without a CPU from which that explains a missed schedule.
const WAITED_MAX: f64 = 0.05;
/// Widest bar of the histogram.
const BAR: u64 = 48;

/// The report as text, from the verdict down to the thresholds.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _whole = write_all(&mut text, report);
    text
}

fn write_all(out: &mut String, report: &Report) -> fmt::Result {
    verdict(out, report)?;
    setup(out, report)?;
    throughput(out, report)?;
    latency(out, report)?;
    comparison(out, report)?;
    histogram(out, report)?;
    errors(out, report)?;
    delivery(out, report)?;
    server(out, report)?;
    generator(out, report)?;
    for note in &report.notes {
        writeln!(out, "note        {note}")?;
    }
    for threshold in &report.thresholds {
        let mark = if threshold.met { "✓" } else { "✗" };
        let value = threshold.value.map_or_else(
            || "not measured".to_owned(),
            |value| value_text(&threshold.condition, value),
        );
        writeln!(out, "  {mark} {}  ({value})", threshold.condition)?;
    }
    Ok(())
}

fn verdict(out: &mut String, report: &Report) -> fmt::Result {
    let Report { setup, throughput, thresholds, .. } = report;
    let met = thresholds.iter().filter(|threshold| threshold.met).count();
    let judged = format!("{met} of {} thresholds", thresholds.len());
    let verdict = match report.verdict {
        "limited" => "GENERATOR LIMITED".to_owned(),
        "pass" => format!("PASS ({judged})"),
        "fail" => format!("FAIL ({judged})"),
        _ if report.generator.limited => "GENERATOR LIMITED".to_owned(),
        _ => "done".to_owned(),
    };
    writeln!(
        out,
        "{}  {} connections, {} {}/s over {:.1} s   {verdict}",
        setup.scenario.to_uppercase(),
        show_count(setup.connections),
        show_rate(throughput.per_second),
        throughput.unit,
        throughput.seconds,
    )
}

fn setup(out: &mut String, report: &Report) -> fmt::Result {
    let setup = &report.setup;
    let threads = if setup.threads == 1 { "thread" } else { "threads" };
    let kind = if setup.open_loop { "open loop" } else { "closed loop" };
    writeln!(
        out,
        "setup       {} {threads}, {kind}, warm-up {:.1} s; {} x {}, Linux {}, fulmar-bench {}",
        setup.threads, setup.warmup_seconds, setup.cpus, setup.cpu, setup.kernel, setup.version,
    )?;
    writeln!(out, "command     {}", setup.command)
}

fn throughput(out: &mut String, report: &Report) -> fmt::Result {
    let throughput = &report.throughput;
    writeln!(
        out,
        "throughput  {} {} in {:.3} s = {}/s, {}/s payload; {} sent",
        show_count(throughput.messages),
        throughput.unit,
        throughput.seconds,
        show_count(whole(throughput.per_second)),
        show_bytes(whole(throughput.bytes_per_second).cast_signed()),
        show_count(throughput.sent),
    )
}

fn latency(out: &mut String, report: &Report) -> fmt::Result {
    if report.latency.is_empty() {
        return Ok(());
    }
    let names = ["p50", "p75", "p90", "p99", "p99.9", "p99.99", "max"];
    write!(out, "{:<18}", "latency")?;
    for name in names {
        write!(out, "{name:>10}")?;
    }
    writeln!(out)?;
    for latency in &report.latency {
        let Latency { p50, p75, p90, p99, p99_9, p99_99, max, .. } = latency;
        write!(out, "  {:<16}", label(&latency.name))?;
        for value in [p50, p75, p90, p99, p99_9, p99_99, max] {
            write!(out, "{:>10}", show_time(*value))?;
        }
        writeln!(out, "   {}", explanation(&latency.name, report.setup.open_loop))?;
    }
    Ok(())
}

fn comparison(out: &mut String, report: &Report) -> fmt::Result {
    for row in &report.comparison {
        let sign = if row.difference < 0 { '-' } else { '+' };
        writeln!(
            out,
            "  {:<6} {} without, {} with: {sign}{}",
            row.percentile,
            show_time(row.alone),
            show_time(row.beside),
            show_time(row.difference.unsigned_abs()),
        )?;
    }
    Ok(())
}

fn label(name: &str) -> String {
    match name {
        "response" | "service" => format!("{name} time"),
        other => other.replace('_', " "),
    }
}

fn explanation(name: &str, open_loop: bool) -> &'static str {
    match name {
        "response" if open_loop => "from the intended time of sending",
        "response" => "from sending; in a closed loop the service time is the same",
        "service" => "from the actual time of sending",
        "complete" => "from publishing to the last member",
        "handshake" => "from connect to the 101 response",
        "cycle" => "from connect to the end of the connection",
        "first" => "from before the publisher's write to the first receiver",
        "last" => "from there to the last receiver",
        "spread" => "between the two",
        "blind" => "at most so much of it is the generator's own",
        "alone" => "response time in the first phase",
        _ => "",
    }
}

fn histogram(out: &mut String, report: &Report) -> fmt::Result {
    let most = report.histogram.iter().map(|row| row.count).max().unwrap_or(0);
    for row in &report.histogram {
        let bar = (row.count * BAR).div_ceil(most.max(1));
        let bar = "#".repeat(usize::try_from(bar).unwrap_or(0));
        writeln!(out, "  {:>9} |{bar:<48}| {}", show_time(row.to), show_count(row.count))?;
    }
    Ok(())
}

fn errors(out: &mut String, report: &Report) -> fmt::Result {
    if report.errors.is_empty() {
        return writeln!(out, "errors      none");
    }
    for line in &report.errors {
        let count = show_count(line.count);
        writeln!(out, "errors      {count} x {} (such as: {})", line.kind, line.example)?;
    }
    Ok(())
}

fn delivery(out: &mut String, report: &Report) -> fmt::Result {
    let Some(delivery) = report.delivery else {
        return Ok(());
    };
    writeln!(
        out,
        "delivery    {} of {}   lost {}   duplicated {}   out of order {}   misdelivered {}",
        show_count(delivery.delivered),
        show_count(delivery.expected),
        show_count(delivery.lost),
        show_count(delivery.duplicated),
        show_count(delivery.out_of_order),
        show_count(delivery.misdelivered),
    )?;
    for (count, what) in [
        (delivery.unsent, "were due and could not be sent: the server did not keep up"),
        (delivery.to_publishers, "came back to publishers (see --publisher-hears)"),
        (delivery.foreign, "were not from this run"),
    ] {
        if count > 0 {
            writeln!(out, "            {} messages {what}", show_count(count))?;
        }
    }
    Ok(())
}

fn server(out: &mut String, report: &Report) -> fmt::Result {
    if let Some(server) = &report.server {
        let softirq = server
            .softirq
            .map(|softirq| format!(" (soft interrupts {})", show_time(softirq)))
            .unwrap_or_default();
        let each = server
            .cpu_per_message
            .map(|each| format!("{each:.0} ns per message, "))
            .unwrap_or_default();
        writeln!(
            out,
            "server      {each}{:.2} CPUs, {} CPU time{softirq}; RSS {} ({} growth)",
            server.cpus_used,
            show_time(server.cpu),
            show_bytes(server.rss.cast_signed()),
            show_bytes(server.rss_growth),
        )?;
    }
    for memory in &report.memory {
        writeln!(
            out,
            "memory      {}: {:.0} bytes per connection ({} for {})",
            memory.name,
            memory.bytes_per_connection,
            show_bytes(memory.growth),
            show_count(memory.connections),
        )?;
    }
    Ok(())
}

fn generator(out: &mut String, report: &Report) -> fmt::Result {
    let generator = &report.generator;
    if report.setup.scenario == "idle" {
        return Ok(());
    }
    writeln!(
        out,
        "generator   busy {:.0}%, CPU {:.0}%, kept from a CPU {:.1}%, behind {:.2}%",
        100.0 * (1.0 - generator.idle_share),
        100.0 * generator.cpu_share,
        100.0 * generator.waited_share,
        100.0 * generator.behind_share,
    )?;
    if generator.limited && report.setup.open_loop {
        let remedy = if generator.waited_share > WAITED_MAX {
            "others used its CPU"
        } else {
            "lower the rate or add threads"
        };
        writeln!(out, "            GENERATOR LIMITED: it missed its own schedule; {remedy}")
    } else if generator.limited {
        let known = if report.server.is_some() { "" } else { " (give --pid to be sure)" };
        writeln!(out, "            GENERATOR LIMITED: the server can do more than this{known}")
    } else {
        Ok(())
    }
}

/// A measured value in the unit its condition is written in.
fn value_text(condition: &str, value: f64) -> String {
    let metric = condition.split(['<', '>', '=']).next().unwrap_or_default().trim();
    match metric {
        "behind" => format!("{:.2}%", 100.0 * value),
        "rate" => format!("{}/s", show_rate(value)),
        "bytes_per_connection" | "rss_growth" => format!("{value:.0} B"),
        "cpu_per_message" => format!("{value:.0}ns"),
        "lost" | "duplicated" | "out_of_order" | "misdelivered" | "errors" => {
            show_count(whole(value))
        }
        _ => show_time(whole(value)),
    }
}

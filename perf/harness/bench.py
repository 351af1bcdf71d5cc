"""Runs the load generator against a server and reads its report."""

import functools
import json
import os
import subprocess
import tempfile

from harness import process
from harness.paths import BENCH
from harness.process import Failed, RunningServer

WARMUP_SECONDS = 1.0
# Connecting, draining, and scenarios with several phases or a message for each of 10,000.
EXTRA_SECONDS_MAX = 120.0
CANNOT_KEEP_UP = 3  # the generator's exit status when it fell behind its own schedule
WRONG = ("lost", "duplicated", "out_of_order", "misdelivered")


def measure(scenario, server, command, options):
    """One run: figures by name, or Failed."""
    with RunningServer(command, options.server_cpu, server.environment, server.ready) as running:
        return measure_running(scenario, server, running, options)


def measure_running(scenario, server, running, options):
    """The same with a server that runs already."""
    with tempfile.TemporaryDirectory() as folder:
        report_path = os.path.join(folder, "report.json")
        arguments = [
            str(BENCH),
            scenario.command,
            *scenario.arguments(server, running.address),
            *server.bench_options,
            *_common_options(running, options),
            "--json",
            report_path,
        ]
        status, said = _run(arguments, options.seconds * 2 + EXTRA_SECONDS_MAX)
        if not running.is_alive():
            raise Failed(f"the server ended: {running.last_line()}")
        if status not in (0, CANNOT_KEEP_UP):
            raise Failed(_last_line(said) or f"fulmar-bench ended with {status}")
        with open(report_path, encoding="utf-8") as file:
            report = json.load(file)
    return figures_of(scenario, report)


def figures_of(scenario, report):
    """The figures of a report, or Failed if what it tells of is not what was asked for."""
    delivery = report.get("delivery") or {}
    wrong = [f"{delivery[name]:,} {name}" for name in WRONG if delivery.get(name)]
    if wrong:
        raise Failed("messages " + ", ".join(wrong).replace("_", " "))
    try:
        figures = scenario.figures(report)
    except (KeyError, ValueError) as error:
        raise Failed(f"the report cannot be read: {error!r}") from error
    if report["generator"]["limited"]:
        figures["limited"] = True
    if report["errors"]:
        figures["errors"] = sum(line.get("count", 1) for line in report["errors"])
    return figures


@functools.cache
def usage(command=None):
    """What the load generator says of itself or of one of its scenarios."""
    words = [str(BENCH), *([command] if command else []), "--help"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    return done.stdout if done.returncode == 0 else ""


def why_not(scenario, server):
    """Why a server cannot be asked to do a scenario, or None."""
    if not usage(scenario.command):
        return f"this fulmar-bench has no `{scenario.command}`"
    if scenario.is_echo and server.echo is None:
        return "it has no echo"
    speaks_otherwise = "--protocol" in server.bench_options
    if speaks_otherwise and not scenario.is_protocol_bound:
        return "this scenario does not speak its protocol"
    if speaks_otherwise and "--protocol" not in usage(scenario.command):
        return f"this fulmar-bench has no `{scenario.command} --protocol`"
    return None


def _common_options(running, options):
    return [
        "-z",
        f"{options.seconds}s",
        "--warmup",
        f"{WARMUP_SECONDS}s",
        "--pid",
        str(running.pid),
        "--server-cpu",
        str(options.server_cpu),
        "--pin",
        str(options.generator_cpu),
        "--no-progress",
    ]


def _run(arguments, seconds_max):
    """Runs the generator; its exit status and what it said on standard error."""
    with tempfile.TemporaryFile() as errors:
        generator = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        try:
            status = generator.wait(seconds_max)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"fulmar-bench did not end in {seconds_max:.0f} s") from error
        finally:
            process.stop(generator)
        errors.seek(0)
        return status, errors.read().decode(errors="replace")


def _last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("fulmar-bench: ") if lines else ""

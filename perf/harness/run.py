"""The command perf/run: build, measure in turn, print."""

import argparse
import os
import signal
import socket
import sys
import time
from datetime import date
from pathlib import Path

from harness import bench, build, scenarios, servers, table
from harness.build import Unavailable
from harness.paths import RUNS
from harness.process import Failed
from harness.results import Results

QUICK_ROUNDS, QUICK_SECONDS = 1, 1.0


def main(arguments=None):
    """Runs the command; its exit status."""
    options = _options(arguments)
    # Also where a shell started this in the background, which ignores Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if os.cpu_count() < 2:
        sys.exit("perf/run needs two cores: one for the server, one for the load")
    results = Results.begin(options.out, options, options.servers, options.scenarios)
    try:
        commands = _prepare(options, results)
        # Away from the server's core, whatever little there is to do here.
        os.sched_setaffinity(0, {options.generator_cpu})
        _measure_all(options, commands, results)
    except KeyboardInterrupt:
        _tell("stopped; what is there so far:")
    text = table.full(results)
    (results.folder / "table.txt").write_text(text, encoding="utf-8")
    print(text)
    return 1 if results.failures() else 0


def plan(options):
    """Yields (round, scenario, server), in the order of measuring.

    The servers of a scenario follow each other, so that what they are compared in is the same
    minute; who begins changes from round to round.
    """
    for number in range(options.rounds):
        start = number % len(options.servers)
        turn = options.servers[start:] + options.servers[:start]
        for scenario in options.scenarios:
            for server in turn:
                yield number + 1, scenario, server


def _prepare(options, results):
    """Command lines by server, of those that can be had."""
    if not options.no_build:
        _tell("building Fulmar")
        try:
            build.build_fulmar()
        except Unavailable as error:
            sys.exit(f"perf/run: {error}")
    commands = {}
    for server in options.servers:
        _tell(f"preparing {server.name}")
        try:
            commands[server.name] = server.command(not options.no_build)
        except Unavailable as error:
            _tell(f"{server.name} is not measured: {error}")
            results.add_absence(server.name, str(error))
    return commands


def _measure_all(options, commands, results):
    steps = list(plan(options))
    for step, (number, scenario, server) in enumerate(steps, start=1):
        if server.name not in commands:
            continue
        label = f"[{step}/{len(steps)}] round {number} {scenario.name} {server.name}"
        reason = bench.why_not(scenario, server)
        if reason:
            if number == 1:
                _tell(f"{label}: not measured, {reason}")
                results.add_skip(server.name, scenario.name, reason)
            continue
        try:
            figures = bench.measure(scenario, server, commands[server.name], options)
        except Failed as error:
            _tell(f"{label}: FAILED, {error}")
            results.add(number, scenario.name, server.name, failed=str(error))
            continue
        _tell(f"{label}: {figures['value']:,.0f} {scenario.unit}")
        results.add(number, scenario.name, server.name, figures)


def _tell(line):
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


# ---- options -----------------------------------------------------------------------------------


def _options(arguments):
    parser = argparse.ArgumentParser(
        prog="perf/run",
        description="Measures Fulmar beside other servers, each on one core, and compares.",
    )
    default = f"{date.today()}-{socket.gethostname().split('.')[0]}"
    add = parser.add_argument
    add("--rounds", type=int, default=3, help="times everything is measured (3)")
    add("--seconds", type=float, default=3.0, help="length of one run (3)")
    add("--servers", type=_chosen(servers.BY_NAME), default=servers.SERVERS, metavar="A,B",
        help=f"some of {', '.join(servers.BY_NAME)}")
    add("--scenarios", type=_chosen(scenarios.BY_NAME), metavar="X,Y",
        help=f"some of {', '.join(scenarios.BY_NAME)}")
    add("--quick", action="store_true", help="one round of a few short runs")
    add("--out", type=Path, default=RUNS / default, metavar="FOLDER",
        help="where results go (perf/runs/DATE-HOST)")
    add("--no-build", action="store_true", help="take what is built and installed already")
    add("--server-cpu", type=int, default=0, help="core of the server (0)")
    add("--generator-cpu", type=int, default=1, help="core of the load generator (1)")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = QUICK_ROUNDS, QUICK_SECONDS
    if options.rounds < 1 or not 0 < options.seconds <= 600:
        parser.error("there must be a round at least, of up to 600 seconds a run")
    if not options.scenarios:
        options.scenarios = _default_scenarios(options.quick)
    return options


def _default_scenarios(is_quick):
    if is_quick:
        return [scenarios.BY_NAME[name] for name in scenarios.QUICK]
    return [scenario for scenario in scenarios.SCENARIOS if scenario.is_default]


def _chosen(by_name):
    def parse(text):
        names = [name.strip() for name in text.split(",") if name.strip()]
        unknown = [name for name in names if name not in by_name]
        if unknown or not names:
            known = ", ".join(by_name)
            raise argparse.ArgumentTypeError(f"no {', '.join(unknown)}; there are {known}")
        return [by_name[name] for name in names]

    return parse

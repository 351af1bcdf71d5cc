"""The command perf/scale: one server, one quantity at a time, cost per message."""

import argparse
import contextlib
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import median

from harness import bench, build, process, scenarios, servers
from harness.paths import BENCH, RUNS
from harness.process import Failed, RunningServer
from harness.scenarios import NANOSECONDS, Scenario

CONNECT_SECONDS_MAX = 60.0
MEMBERS = (1, 10, 100, 1_000, 5_000, 15_000)
ROOMS = (1, 10, 100, 1_000, 1_500)
IDLE = (0, 5_000, 10_000, 18_000)


def main(arguments=None):
    """Runs the command; its exit status."""
    options = _options(arguments)
    if not options.no_build:
        build.build_fulmar()
    os.sched_setaffinity(0, {options.generator_cpu})
    head = "| what grows | to | ns of server CPU per message | against the first |"
    lines = [head, "|---|---|---|---|"]
    for what, cases in (
        ("members of one room, window 1", [_members(number) for number in MEMBERS]),
        ("rooms of 10 members", [_rooms(number) for number in ROOMS]),
        ("connections that do nothing, beside 64 that echo", [_idle(number) for number in IDLE]),
        ("shards, a room of 1,000 over them, window 1", [_shards(1, 1), _shards(2, 1)]),
        ("shards, a room of 1,000 over them, window 32", [_shards(1, 32), _shards(2, 32)]),
    ):
        lines += _rows(what, cases, options)
    text = "\n".join(lines) + "\n"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"scale-{options.io}.txt").write_text(text, encoding="utf-8")
    print(text)
    return 0


def _rows(what, cases, options):
    """Interleaved rounds of all cases; a line of the table each."""
    costs = {case.name: [] for case in cases}
    for _ in range(options.rounds):
        for case in cases:
            try:
                costs[case.name].append(case.cost(options))
            except Failed as error:
                print(f"{what}, {case.name}: FAILED, {error}", file=sys.stderr)
    first = None
    for case in cases:
        runs = costs[case.name]
        if not runs:
            yield f"| {what} | {case.name} | failed | |"
            continue
        cost = median(runs)
        first = first or cost
        spread = f"{min(runs):,.0f} to {max(runs):,.0f}"
        yield f"| {what} | {case.name} | {cost:,.0f} ({spread}) | {cost / first:.2f} |"


class _Case:
    """One size of one thing."""

    def __init__(self, name, scenario, shards=1, idle=0):
        self.name, self.scenario, self.shards, self.idle = name, scenario, shards, idle

    def cost(self, options):
        """Server CPU time per message."""
        server = servers.BY_NAME["fulmar-epoll" if options.io == "epoll" else "fulmar-uring"]
        command = [*server.command(False), "--shards", str(self.shards), "--set", "pin=false"]
        cpus = options.server_cpu
        if self.shards > 1:
            cpus = f"{options.server_cpu},{options.generator_cpu}"
        with RunningServer(command, cpus) as running, _idlers(running, self.idle):
            figures = bench.measure_running(self.scenario, server, running, options)
        return figures["value"]


def _fan(name, members, window):
    scenario = scenarios.BY_NAME["fan-64-w1"]

    def arguments(server, address):
        room = ["--rooms", "1", "--members", str(members), "--window", str(window), "--size", "64"]
        return [f"ws://{address}{server.member}", *room]

    return replace(scenario, name=name, arguments=arguments)


def _members(number):
    return _Case(f"{number:,}", _fan("members", number, 1))


def _shards(number, window):
    # Both cases may use both cores, which the generator needs too.
    return _Case(str(number), _fan("shards", 1_000, window), shards=number)


def _rooms(number):
    def arguments(server, address):
        rooms = ["--rooms", str(number), "--members", "10", "--size", "64"]
        return [f"ws://{address}{server.member}", *rooms]

    cost = scenarios.BY_NAME["rooms-1000x10"].figures
    return _Case(f"{number:,}", Scenario("rooms", "", NANOSECONDS, "rooms", arguments, cost))


def _idle(number):
    return _Case(f"{number:,}", scenarios.BY_NAME["echo-d1-20"], idle=number)


@contextlib.contextmanager
def _idlers(running, number):
    """Holds so many connections that say nothing."""
    if number == 0:
        yield
        return
    command = [str(BENCH), "idle", f"ws://{running.address}/rooms/0", "-c", str(number)]
    holder = subprocess.Popen(
        [*command, "--pid", str(running.pid), "--hold", "10m", "--no-progress"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + CONNECT_SECONDS_MAX
        while len(os.listdir(f"/proc/{running.pid}/fd")) < number:
            if time.monotonic() > until or holder.poll() is not None:
                raise Failed(f"{number:,} connections could not be opened")
            time.sleep(0.1)
        time.sleep(0.5)
        yield
    finally:
        process.stop(holder)


def _options(arguments):
    parser = argparse.ArgumentParser(prog="perf/scale", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=3, help="times everything is measured (3)")
    add("--seconds", type=float, default=2.0, help="length of one run (2)")
    add("--io", choices=["epoll", "io_uring"], default="io_uring", help="kernel interface")
    add("--out", type=Path, default=RUNS / f"{date.today()}-scale", metavar="FOLDER")
    add("--no-build", action="store_true", help="take what is built already")
    add("--server-cpu", type=int, default=0, help="core of the server (0)")
    add("--generator-cpu", type=int, default=1, help="core of the load generator (1)")
    return parser.parse_args(arguments)

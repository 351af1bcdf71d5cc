"""The command perf/calls: calls of alien-rpc beside messages of the same length sent back."""

import argparse
import os
import sys
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median

from harness import bench, build, scenarios
from harness.compare import cell_of, ratio_of
from harness.paths import CALLS, RUNS
from harness.process import Failed, RunningServer
from harness.scenarios import ECHO_CONNECTIONS, NANOSECONDS, Scenario

DEPTHS, SIZES = (1, 16), (20, 512)
# What is around the text in a call, as the load generator writes it.
AROUND_BYTES = len('{"method":"echo","params":[""],"id":100}')
SENT_BACK, ON_SHARD, ON_WORKER = WAYS = ("sent back", "on the shard", "on a worker")
METHODS = {ON_SHARD: "echo", ON_WORKER: "echo_worker"}
# Of what a worker can do at depth 1, the load at which latencies are those of a server at ease.
PACED_SHARE = 0.5


@dataclass(frozen=True)
class _Server:
    """What the load generator has to know of the example `calls`: nothing."""

    bench_options: tuple = ()


@dataclass
class _Runs:
    """The runs of one load, by way and round."""

    name: str
    figures: dict = field(default_factory=lambda: {way: {} for way in WAYS})

    def by_round(self, way, figure="value"):
        """A figure of every round that has it."""
        return {number: run[figure] for number, run in self.figures[way].items()}


def main(arguments=None):
    """Runs the command; its exit status."""
    options = _options(arguments)
    if not options.no_build:
        build.build_fulmar()
        build.build_calls()
    os.sched_setaffinity(0, {options.generator_cpu})
    depths = DEPTHS if options.depth is None else (options.depth,)
    loads = [(depth, size) for depth in depths for size in SIZES]
    costs = {load: _Runs(f"depth {load[0]}, {load[1]} B") for load in loads}
    single, paced = _Runs("one call at a time"), _Runs("paced")
    for number in range(1, options.rounds + 1):
        for (depth, size), runs in costs.items():
            load = ["-c", str(ECHO_CONNECTIONS), "--depth", str(depth)]
            _round(runs, number, load, size, options)
        if options.depth is not None:
            continue
        _round(single, number, ["-c", "1"], SIZES[0], options)
        rate = options.rate = options.rate or _half(costs[DEPTHS[0], SIZES[0]])
        if rate:
            load = ["-c", str(ECHO_CONNECTIONS), "-q", str(rate)]
            _round(paced, number, load, SIZES[0], options)
            paced.name = f"{rate:,} a second over {ECHO_CONNECTIONS} connections"
    lines, only = list(_costs(costs.values())), ""
    if options.depth is None:
        lines += ["", *_latencies((single, paced))]
    else:
        only = f"-depth-{options.depth}"
    text = "\n".join(lines) + "\n"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"calls-{options.io}{only}.txt").write_text(text, encoding="utf-8")
    print(text)
    return 0


def _round(runs, number, load, size, options):
    """A run of every way, one after the other; who begins changes from round to round."""
    for shift in range(len(WAYS)):
        way = WAYS[(number + shift) % len(WAYS)]
        try:
            figures = _measure(way, load, size, options)
        except Failed as error:
            print(f"{runs.name}, {way}: FAILED, {error}", file=sys.stderr)
            continue
        if "errors" in figures:
            print(f"{runs.name}, {way}: FAILED, {figures['errors']} errors", file=sys.stderr)
            continue
        runs.figures[way][number] = figures


def _measure(way, load, size, options):
    def arguments(_server, address):
        if way == SENT_BACK:
            return [f"ws://{address}/raw", *load, "--size", str(AROUND_BYTES + size)]
        return [f"ws://{address}/rpc", *load, "--size", str(size), "--method", METHODS[way]]

    command = "echo" if way == SENT_BACK else "request"
    figures = scenarios.BY_NAME["echo-d1-20"].figures
    scenario = Scenario("calls", "", NANOSECONDS, command, arguments, figures)
    server = [CALLS, "127.0.0.1:0", options.io]
    with RunningServer(server, options.server_cpu) as running:
        return bench.measure_running(scenario, _Server(), running, options)


def _half(runs):
    """Half of what a worker does, in round numbers."""
    rates = runs.by_round(ON_WORKER, "rate").values()
    return int(median(rates) * PACED_SHARE) // 1000 * 1000 if rates else 0


def _costs(all_runs):
    yield "Server CPU time per message or call, ns, and its ratio to messages sent back."
    yield ""
    yield "| load | " + " | ".join(WAYS) + " | shard, ratio | worker, ratio |"
    yield "|---" * (len(WAYS) + 3) + "|"
    for runs in all_runs:
        cells = [_cell(runs.by_round(way)) for way in WAYS]
        ratios = [_ratio(runs, way) for way in (ON_SHARD, ON_WORKER)]
        yield f"| {runs.name} | " + " | ".join(cells + ratios) + " |"


def _cell(by_round):
    cell = cell_of(by_round.values())
    if cell is None:
        return "failed"
    return f"{cell.value:,.0f} ({cell.least:,.0f}–{cell.most:,.0f}, {cell.quiet}/{cell.runs})"


def _ratio(runs, way):
    ratio = ratio_of(runs.by_round(way), runs.by_round(SENT_BACK))
    if ratio is None:
        return "–"
    return f"{ratio.value:.2f} ({ratio.least:.2f}–{ratio.most:.2f}, median {ratio.median:.2f})"


def _latencies(all_runs):
    yield "From sending to the answer, µs, median of all rounds (least to most)."
    yield ""
    yield "| load | | " + " | ".join(WAYS) + " | worker over shard |"
    yield "|---" * (len(WAYS) + 3) + "|"
    for runs in all_runs:
        for which in ("p50", "p99"):
            by_way = {way: runs.by_round(way, which) for way in WAYS}
            cells = [_spread(list(by_way[way].values())) for way in WAYS]
            shard, worker = by_way[ON_SHARD], by_way[ON_WORKER]
            both = sorted(set(shard) & set(worker))
            over = _spread([worker[number] - shard[number] for number in both])
            yield f"| {runs.name} | {which} | " + " | ".join([*cells, over]) + " |"


def _spread(values):
    if not values:
        return "–"
    return f"{median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def _options(arguments):
    parser = argparse.ArgumentParser(prog="perf/calls", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="times everything is measured (5)")
    add("--seconds", type=float, default=2.0, help="length of one run (2)")
    add("--depth", type=int, help="costs at this depth only, no latencies")
    add("--rate", type=int, default=0, help="paced calls a second (half of a worker's)")
    add("--io", choices=["epoll", "auto"], default="auto", help="kernel interface (auto)")
    add("--out", type=Path, default=RUNS / f"{date.today()}-calls", metavar="FOLDER")
    add("--no-build", action="store_true", help="take what is built already")
    add("--server-cpu", type=int, default=0, help="core of the server (0)")
    add("--generator-cpu", type=int, default=1, help="core of the load generator (1)")
    return parser.parse_args(arguments)

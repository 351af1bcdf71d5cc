"""Tables of a file of results, in Markdown."""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from harness import scenarios
from harness.compare import Ratio, ratio_of
from harness.paths import README, RUNS, TARGETS
from harness.results import FILE, Results
from harness.scenarios import MICROSECONDS, NANOSECONDS, Scenario
from harness.servers import FULMAR_KIND, PEER_KIND

BEGIN, END = "<!-- table:begin -->", "<!-- table:end -->"
NOTHING = "–"
# What `io = "auto"` takes where it can, and what it falls back to.
DEFAULT, OTHER = "fulmar-uring", "fulmar-epoll"
# (heading, scenario, figure) of the tables that have a server a row.
LATENCY_COLUMNS = [
    ("first p50", "burst-5000", "first_p50"),
    ("first p99", "burst-5000", "first_p99"),
    ("last p50", "burst-5000", "last_p50"),
    ("last p99", "burst-5000", "last_p99"),
    ("paced p50", "paced-half", "p50"),
    ("paced p99", "paced-half", "value"),
    ("echo alone p50", "beside", "alone_p50"),
    ("echo alone p99", "beside", "alone_p99"),
    ("echo beside p50", "beside", "p50"),
    ("echo beside p99", "beside", "value"),
    ("stuck: alone p99", "slow-1000", "alone_p99"),
    ("stuck: p99", "slow-1000", "value"),
]
MEMORY_COLUMNS = [
    ("silent, in a room", "idle-10000", "value"),
    ("silent, echo", "idle-10000-echo", "silent"),
    ("after an echo", "idle-10000-echo", "value"),
]


@dataclass(frozen=True)
class Comparison:
    """Fulmar as it runs by default beside a scenario's best peer."""

    scenario: Scenario
    ours: str
    peer: str | None
    ratio: Ratio | None


def main(arguments=None):
    """The command perf/table; its exit status."""
    parser = argparse.ArgumentParser(prog="perf/table", description="Prints results as tables.")
    parser.add_argument("folder", nargs="?", type=Path, help="of results (the latest)")
    parser.add_argument("--write", action="store_true", help="put them into perf/README.md")
    options = parser.parse_args(arguments)
    text = full(load(options.folder))
    if options.write:
        page = README.read_text(encoding="utf-8")
        README.write_text(with_figures(page, text), encoding="utf-8")
    else:
        print(text)
    return 0


def load(folder=None):
    """The results in a folder, or the latest in perf/runs; ends the program without any."""
    if folder is None:
        found = sorted(RUNS.glob(f"*/{FILE}"), key=lambda path: path.stat().st_mtime)
        if not found:
            sys.exit(f"there are no results in {RUNS}: run perf/run first")
        folder = found[-1].parent
    try:
        return Results.load(folder)
    except (OSError, ValueError) as error:
        sys.exit(str(error))


def full(results):
    """All tables."""
    parts = [_about(results), "### Fulmar and its best peer", summary(results)]
    costs = [_scenario(name) for name in results.scenarios if _unit(name) == NANOSECONDS]
    if costs:
        parts += ["### Server CPU time per message, ns", _costs(results, costs)]
    for heading, columns in (
        ("### Latency, µs", LATENCY_COLUMNS),
        ("### Memory per connection, bytes in user space", MEMORY_COLUMNS),
    ):
        columns = [column for column in columns if column[1] in results.scenarios]
        if columns:
            parts += [heading, _by_server(results, columns)]
    problems = _problems(results)
    if problems:
        parts += ["### Not measured, failed, or doubtful", problems]
    return "\n\n".join(parts)


def with_figures(page, text):
    """A page with the text between its two markers replaced."""
    before, rest = page.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    return f"{before}{BEGIN}\n## Figures\n\n{text}\n\n{END}{after}"


# ---- comparing ---------------------------------------------------------------------------------


def compare(results, scenario):
    """Compares Fulmar with the best peer, or None without a run of Fulmar."""
    ours = _ours(results, scenario)
    if ours is None:
        return None
    peer = _best(results, scenario, PEER_KIND)
    ratio = None
    if peer:
        ratio = ratio_of(
            results.by_round(scenario.name, ours), results.by_round(scenario.name, peer)
        )
    return Comparison(scenario, ours, peer, ratio)


def summary(results):
    """A row for each scenario: Fulmar, the best peer, their ratio, and what it should be."""
    targets = json.loads(TARGETS.read_text(encoding="utf-8"))["scenarios"]
    head = ["scenario", "Fulmar", "best peer", "ratio", "in each round", "must", "aim", "met"]
    head.append("io_uring to epoll")
    rows = []
    for scenario in map(_scenario, results.scenarios):
        comparison = compare(results, scenario)
        if comparison:
            rows.append(_summary_row(results, comparison, targets.get(scenario.name)))
    return _markdown(head, rows)


def _summary_row(results, comparison, target):
    scenario, ratio = comparison.scenario, comparison.ratio
    ours = results.cell(scenario.name, comparison.ours)
    row = [scenario.title, _named(ours, scenario, comparison.ours.removeprefix("fulmar-"))]
    if comparison.peer:
        row.append(_named(results.cell(scenario.name, comparison.peer), scenario, comparison.peer))
    else:
        row.append(NOTHING)
    if ratio:
        row += [f"{ratio.value:.2f}", f"{ratio.least:.2f}–{ratio.most:.2f}"]
    else:
        row += [NOTHING, NOTHING]
    row += _targets(target, scenario, ours.value, ratio)
    return [*row, _drivers(results, scenario)]


def _targets(target, scenario, value, ratio):
    if not target:
        return [NOTHING] * 3
    if target["kind"] == "ratio":
        reached = ratio.value if ratio else None
        shown = [f"{target[name]:.2f}" for name in ("must", "aim")]
    else:
        reached = value
        shown = [f"{target[name]:,} {scenario.unit}" for name in ("must", "aim")]
    return [*shown, verdict(reached, target)]


def verdict(reached, target):
    """Which of its targets a figure reaches."""
    if reached is None:
        return NOTHING
    if reached <= target["aim"]:
        return "aim"
    return "must" if reached <= target["must"] else "**no**"


def _ours(results, scenario):
    """The driver that Fulmar takes by itself, or the other one where it was not measured."""
    if results.cell(scenario.name, DEFAULT) and not results.has_failed(scenario.name, DEFAULT):
        return DEFAULT
    return _best(results, scenario, FULMAR_KIND)


def _drivers(results, scenario):
    """The cost of the default driver in ratio to the other one's."""
    cells = [results.cell(scenario.name, name) for name in (DEFAULT, OTHER)]
    return f"{cells[0].value / cells[1].value:.2f}" if all(cells) else NOTHING


def _best(results, scenario, kind):
    """The server of a kind that costs least; one that ever failed here cannot be the best."""
    cells = {
        server: results.cell(scenario.name, server)
        for server in results.servers(kind)
        if not results.has_failed(scenario.name, server)
    }
    cells = {server: cell for server, cell in cells.items() if cell}
    return min(cells, key=lambda server: cells[server].value, default=None)


# ---- other tables ------------------------------------------------------------------------------


def _costs(results, rows):
    servers = [name for name in results.servers() if _has_any(results, name, rows)]
    lines = []
    for scenario in rows:
        cells = [_cost(results, scenario.name, server) for server in servers]
        lines.append([scenario.title, *cells])
    return _markdown(["scenario", *servers], lines)


def _has_any(results, server, rows):
    return any(
        results.by_round(row.name, server) or results.has_failed(row.name, server) for row in rows
    )


def _cost(results, scenario, server):
    cell = results.cell(scenario, server)
    failed = "failed" if results.has_failed(scenario, server) else ""
    if not cell:
        return failed or NOTHING
    spread = ""
    if cell.runs > 1:
        spread = f" ({cell.least:,.0f}–{cell.most:,.0f}, {cell.quiet}/{cell.runs})"
    return f"{cell.value:,.0f}{spread} {failed}".rstrip()


def _by_server(results, columns):
    rows = []
    for server in results.servers():
        cells = [results.cell(scenario, server, figure) for _, scenario, figure in columns]
        if any(cells):
            rows.append([server, *(f"{cell.value:,.0f}" if cell else NOTHING for cell in cells)])
    return _markdown(["server", *(heading for heading, _, _ in columns)], rows)


def _problems(results):
    lines = [f"- {server}: {reason}" for server, reason in results.absences()]
    for (server, reason), names in results.skips().items():
        lines.append(f"- {server}, {len(names)} scenarios not measured: {reason}")
    for scenario, server, reason, count in results.failures():
        times = f" ({count} times)" if count > 1 else ""
        lines.append(f"- {server}, {scenario}: failed{times}: {reason}")
    return "\n".join(lines + _doubts(results))


def _doubts(results):
    """Latencies for which the generator was late; a closed loop costs the server the same."""
    lines = []
    for scenario in results.scenarios:
        late = {
            server: len(results.by_round(scenario, server, "limited"))
            for server in results.servers()
        }
        late = [f"{server} {runs}" for server, runs in late.items() if runs]
        if late and _unit(scenario) == MICROSECONDS:
            lines.append(f"- {scenario}: runs in which the generator was late: {', '.join(late)}")
    return lines


# ---- form --------------------------------------------------------------------------------------


def _about(results):
    machine, options = results.document["machine"], results.document["options"]
    rounds = f"{options['rounds']} interleaved rounds of {options['seconds']:g} s"
    return (
        f"{machine['cpus']} x {machine['cpu']}, {machine['kernel']};\n"
        f"{rounds}; Fulmar {machine['fulmar']}."
    )


def _named(cell, scenario, name):
    return f"{cell.value:,.0f} {scenario.unit} ({name})"


def _scenario(name):
    return scenarios.BY_NAME[name]


def _unit(name):
    return _scenario(name).unit


def _markdown(head, rows):
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]

    def line(row):
        return "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])

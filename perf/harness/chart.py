"""Draws server CPU time per message as bars relative to the best peer, as an SVG."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from harness import scenarios
from harness.paths import CHART
from harness.servers import FLOOR_KIND, FULMAR_KIND, PEER_KIND
from harness.table import compare, load

SCENARIOS = [
    "fan-64-w1", "fan-64-w32", "fan-1k-w32", "fan-64-w128", "fan-1k-w128", "rooms-1000x10",
    "echo-d1-20", "echo-d16-20", "echo-d16-16k", "accept",
]
RATIO_MAX = 3.0  # longer bars are cut, and say so
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 880, 132, 132, 76, 40
BAR, BAR_STEP, GROUP_HEAD, GROUP_GAP = 12, 16, 22, 16
STYLE = """
    text { font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2933; }
    .title { font-size: 17px; font-weight: 600; }
    .group { font-size: 13px; font-weight: 600; }
    .quiet { fill: #616e7c; }
    .own { font-weight: 600; }
    .page { fill: #ffffff; }
    .peer { fill: #b8c2cc; }
    .best { fill: #7b8794; }
    .fulmar { fill: #0b69a3; }
    .grid { stroke: #e4e7eb; }
    .one { stroke: #52606d; stroke-dasharray: 3 3; }
    .floor { stroke: #de911d; stroke-width: 2; }
    .cut { fill: #ffffff; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e4e7eb; }
      .quiet { fill: #9aa5b1; }
      .page, .cut { fill: #11161c; }
      .peer { fill: #3e4c59; }
      .best { fill: #7b8794; }
      .fulmar { fill: #40a9e8; }
      .grid { stroke: #27313b; }
      .one { stroke: #9aa5b1; }
      .floor { stroke: #f7c948; }
    }
"""


@dataclass(frozen=True)
class Bar:
    """A server's cost in a scenario; `kind` is the class of its looks."""

    name: str
    kind: str
    ratio: float
    value: float


@dataclass(frozen=True)
class Group:
    """A scenario's bars, and the bound of its best floor server."""

    title: str
    bars: list
    floor: float | None


def main(arguments=None):
    """The command perf/chart.py; its exit status."""
    parser = argparse.ArgumentParser(prog="perf/chart.py", description="Draws results as bars.")
    parser.add_argument("folder", nargs="?", type=Path, help="of results (the latest)")
    parser.add_argument("--out", type=Path, default=CHART, help="the file (perf/chart.svg)")
    options = parser.parse_args(arguments)
    options.out.write_text(draw(groups_of(load(options.folder))), encoding="utf-8")
    return 0


def groups_of(results):
    """What is drawn, from the scenarios in which Fulmar and a peer were measured."""
    groups = []
    for name in SCENARIOS:
        if name not in results.scenarios:
            continue
        comparison = compare(results, scenarios.BY_NAME[name])
        if comparison and comparison.ratio:
            groups.append(_group(results, comparison))
    return groups


def draw(groups):
    """The picture."""
    height = TOP + BOTTOM + sum(map(_height, groups))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'width="{WIDTH}" height="{height}" aria-label="CPU time per message by server">',
        f"  <style>{STYLE}  </style>",
        f'  <rect class="page" width="{WIDTH}" height="{height}" rx="8"/>',
        _text(24, 32, "Server CPU time per message, best peer = 1.0", "title"),
        _text(24, 52, "one core for the server; shorter is better; the mark is the least "
              "possible server in C", "quiet"),
        *_axis(height),
    ]
    top = TOP
    for group in groups:
        parts += _draw_group(group, top)
        top += _height(group)
    parts += [*_one(height), "</svg>", ""]
    return "\n".join(parts)


# ---- groups ------------------------------------------------------------------------------------


def _group(results, comparison):
    name = comparison.scenario.name
    cells = {server: results.cell(name, server) for server in results.servers()}
    unit = cells[comparison.peer].value

    def bar(server, label, kind):
        return Bar(label, kind, cells[server].value / unit, cells[server].value)

    peers = [server for server in results.servers(PEER_KIND) if cells[server]]
    peers.sort(key=lambda server: cells[server].value)
    bars = [bar(comparison.ours, "Fulmar", FULMAR_KIND)]
    for server in peers:
        bars.append(bar(server, server, "best" if server == comparison.peer else PEER_KIND))
    floors = [cells[server].value for server in results.servers(FLOOR_KIND) if cells[server]]
    floor = min(floors) / unit if floors else None
    return Group(comparison.scenario.title, bars, floor)


def _height(group):
    return GROUP_HEAD + BAR_STEP * len(group.bars) + GROUP_GAP


def _draw_group(group, top):
    parts = [_text(24, top + 14, group.title, "group")]
    first = top + GROUP_HEAD
    for place, bar in enumerate(group.bars):
        mark = group.floor if place == 0 else None
        parts += _draw_bar(bar, first + place * BAR_STEP, mark or 0)
    if group.floor:
        at = _place(group.floor)
        parts.append(_line(at, first - 2, at, first + BAR + 2, "floor"))
    return parts


def _draw_bar(bar, top, floor):
    end = _place(min(bar.ratio, RATIO_MAX))
    clear = _place(min(max(bar.ratio, floor, 1.0), RATIO_MAX))  # of all marks
    middle = top + BAR - 2
    own = "own" if bar.kind == FULMAR_KIND else ""
    parts = [
        _text(LEFT - 8, middle, bar.name, own or "quiet", "end"),
        f'  <rect class="{bar.kind}" x="{LEFT}" y="{top}" width="{end - LEFT:.1f}" '
        f'height="{BAR}" rx="2"/>',
    ]
    if bar.ratio > RATIO_MAX:
        left, right = end - 12, end - 8
        points = f"{left},{top + BAR} {left + 4},{top} {right + 4},{top} {right},{top + BAR}"
        parts.append(f'  <polygon class="cut" points="{points}"/>')
    ratio = f"{bar.ratio:.2f}" if bar.ratio < 10 else f"{bar.ratio:.0f}"
    label = f"{ratio}   {bar.value:,.0f} ns"
    parts.append(_text(clear + 8, middle, label, own or "quiet"))
    return parts


# ---- marks -------------------------------------------------------------------------------------


def _axis(height):
    parts = []
    for step in (0.0, 0.5, 1.5, 2.0, 2.5, 3.0):
        at = _place(step)
        parts.append(_line(at, TOP - 6, at, height - BOTTOM, "grid"))
        parts.append(_text(at, height - BOTTOM + 18, f"{step:g}", "quiet", "middle"))
    return parts


def _one(height):
    at = _place(1.0)
    label = _text(at, height - BOTTOM + 18, "1.0, best peer", "own", "middle")
    return [_line(at, TOP - 6, at, height - BOTTOM, "one"), label]


def _place(ratio):
    return LEFT + ratio / RATIO_MAX * (WIDTH - LEFT - RIGHT)


def _line(x1, y1, x2, y2, kind):
    ends = f'x1="{x1:.1f}" y1="{y1}" x2="{x2:.1f}" y2="{y2}"'
    return f'  <line class="{kind}" {ends}/>'


def _text(x, y, text, kind="", anchor="start"):
    attributes = f'x="{x:.1f}" y="{y}" text-anchor="{anchor}"'
    return f'  <text class="{kind}" {attributes} xml:space="preserve">{escape(text)}</text>'

"""What is measured: a run of the load generator each, and the figure that is compared."""

from dataclasses import dataclass
from typing import Callable

NANOSECONDS, MICROSECONDS, BYTES = "ns", "µs", "B"

ECHO_CONNECTIONS = 64
MEMBERS = 1000
# Half of what one core delivers here to a room of a thousand without coalescing.
PACED_MESSAGES_PER_SECOND = 135
BURST_MEMBERS = 5000
# So few that a message to all members is over before the next one, with the slowest peer too.
BURSTS_PER_SECOND = 10
IDLE_CONNECTIONS = 10_000
ACCEPT_PARALLEL = 128  # the server is never out of work


class NoFigure(ValueError):
    """A report lacks what the scenario is about."""


@dataclass(frozen=True)
class Scenario:
    """A scenario.

    `arguments` makes the load generator's command line from a server and its address; `figures`
    takes from its report what is kept, of which `value` is compared and less is better.
    """

    name: str
    title: str
    unit: str
    command: str
    arguments: Callable
    figures: Callable
    is_echo: bool = False
    is_protocol_bound: bool = False
    is_default: bool = True


def _url(address, path):
    return f"ws://{address}{path}"


def _rooms(server, address):
    urls = [_url(address, server.member)]
    if server.publisher:
        urls += ["--publish-url", _url(address, server.publisher)]
    return urls


# ---- figures -----------------------------------------------------------------------------------


def percentile(report, name, which):
    """A percentile of a named latency series, in µs."""
    for series in report["latency"]:
        if series["name"] == name:
            return series[which] / 1000
    raise NoFigure(f"the report has no latency `{name}`")


def _cost(report):
    """Server CPU time per message, with the rate and the latency for the reader."""
    server = report.get("server")
    if not server or not server.get("cpu_per_message"):
        raise NoFigure("the report has no server CPU time")
    figures = {"value": server["cpu_per_message"], "rate": report["throughput"]["per_second"]}
    figures["cpus"] = server["cpus_used"]
    if report["latency"]:
        name = report["latency"][0]["name"]
        figures["p50"], figures["p99"] = (percentile(report, name, p) for p in ("p50", "p99"))
    return figures


def _paced(report):
    cost = _cost(report)
    return {
        "value": percentile(report, "response", "p99"),
        "p50": percentile(report, "response", "p50"),
        "cpu": cost["value"],
        "rate": cost["rate"],
    }


def _burst(report):
    figures = {"value": percentile(report, "first", "p50")}
    for name in ("first", "last", "spread"):
        for which in ("p50", "p99"):
            figures[f"{name}_{which}"] = percentile(report, name, which)
    figures["cpu"] = _cost(report)["value"]
    return figures


def _beside(report):
    with_room, alone = "response", "alone"
    return {
        "value": percentile(report, with_room, "p99"),
        "p50": percentile(report, with_room, "p50"),
        "alone_p50": percentile(report, alone, "p50"),
        "alone_p99": percentile(report, alone, "p99"),
    }


def _slow(report):
    return {
        "value": percentile(report, "response", "p99"),
        "alone_p99": percentile(report, "alone", "p99"),
        "rss_growth": report["server"]["rss_growth"],
    }


def _memory(name):
    def figures(report):
        by_name = {entry["name"]: entry["bytes_per_connection"] for entry in report["memory"]}
        if name not in by_name:
            raise NoFigure(f"the report has no memory `{name}`")
        return {"value": by_name[name], **by_name}

    return figures


# ---- scenarios ---------------------------------------------------------------------------------


def _size(size):
    return f"{size // 1024} KiB" if size >= 1024 else f"{size} B"


def _echo(depth, size):
    def arguments(server, address):
        load = ["-c", str(ECHO_CONNECTIONS), "--depth", str(depth), "--size", str(size)]
        return [_url(address, server.echo), *load]

    name = f"echo-d{depth}-{'16k' if size == 16384 else size}"
    title = f"echo, {ECHO_CONNECTIONS} connections, depth {depth}, {_size(size)}"
    return Scenario(name, title, NANOSECONDS, "echo", arguments, _cost, is_echo=True)


def _fan(size, window):
    def arguments(server, address):
        room = ["--rooms", "1", "--members", str(MEMBERS)]
        load = ["--window", str(window), "--size", str(size)]
        return [*_rooms(server, address), *room, *load]

    name = f"fan-{'1k' if size == 1024 else size}-w{window}"
    title = f"broadcast to {MEMBERS:,}, window {window}, {_size(size)}"
    return Scenario(
        name, title, NANOSECONDS, "broadcast", arguments, _cost, is_protocol_bound=True
    )


def _small_rooms(server, address):
    return [*_rooms(server, address), "--rooms", "1000", "--members", "10", "--size", "64"]


def _paced_half(server, address):
    room = ["--rooms", "1", "--members", str(MEMBERS), "--size", "64"]
    return [*_rooms(server, address), *room, "-q", str(PACED_MESSAGES_PER_SECOND)]


def _burst_arguments(server, address):
    return [*_rooms(server, address), "--members", str(BURST_MEMBERS), "-q", str(BURSTS_PER_SECOND)]


def _beside_arguments(server, address):
    rooms = _rooms(server, address)
    load = ["--members", str(BURST_MEMBERS), "--room-rate", "10", "-q", "200"]
    return [_url(address, server.echo), *rooms, *load]


def _accept(server, address):
    return [_url(address, server.echo), "-c", str(ACCEPT_PARALLEL)]


def _idle(path):
    def arguments(server, address):
        url = _url(address, path(server))
        return [url, "-c", str(IDLE_CONNECTIONS), "--hold", "1s"]

    return arguments


def _slow_arguments(server, address):
    room = ["--members", "1000", "--stuck", "1000", "-q", "20", "--size", "4096"]
    return [*_rooms(server, address), *room]


SCENARIOS = [
    *(_echo(depth, size) for depth in (1, 16) for size in (20, 512, 16384)),
    *(_fan(size, window) for window in (1, 32, 128) for size in (64, 1024)),
    Scenario(
        "rooms-1000x10", "1,000 rooms of 10, 64 B", NANOSECONDS, "rooms", _small_rooms, _cost,
        is_protocol_bound=True,
    ),
    Scenario(
        "accept", "handshake and close", NANOSECONDS, "churn", _accept, _cost, is_echo=True
    ),
    Scenario(
        "burst-5000", "time to the first of 5,000 members, p50", MICROSECONDS, "burst",
        _burst_arguments, _burst, is_protocol_bound=True,
    ),
    Scenario(
        "paced-half", "broadcast to 1,000 at 135,000 deliveries/s, p99", MICROSECONDS,
        "broadcast", _paced_half, _paced, is_protocol_bound=True,
    ),
    Scenario(
        "beside", "echo beside a busy room of 5,000, p99", MICROSECONDS, "beside",
        _beside_arguments, _beside, is_echo=True,
    ),
    Scenario(
        "idle-10000", "memory per silent member of a room of 10,000", BYTES, "idle",
        _idle(lambda server: server.member.replace("{room}", "0")), _memory("silent"),
    ),
    Scenario(
        "idle-10000-echo", "memory per connection after one echo each, 10,000", BYTES, "idle",
        _idle(lambda server: server.echo), _memory("spoken"), is_echo=True,
    ),
    Scenario(
        "slow-1000", "broadcast to 1,000 beside 1,000 that never read, p99", MICROSECONDS,
        "slow", _slow_arguments, _slow, is_default=False,
    ),
]

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
QUICK = ["echo-d1-20", "echo-d16-20", "fan-64-w1", "fan-64-w32", "fan-64-w128", "accept"]

"""The servers that are compared: how each is had, started and addressed."""

import subprocess
from dataclasses import dataclass, field
from typing import Callable

from harness import build
from harness.build import Unavailable
from harness.paths import FULMAR, PEERS, PERF
from harness.process import READY

# What is made by hand is shown, but it is nobody's server: it is not among the peers.
FULMAR_KIND, FLOOR_KIND, PEER_KIND, HAND_KIND = "fulmar", "floor", "peer", "by hand"


@dataclass(frozen=True)
class Server:
    """A server that can be measured.

    `command` makes its command line; it takes whether to install and build first, and raises
    Unavailable.
    """

    name: str
    kind: str
    command: Callable[[bool], list]
    member: str = "/r/{room}"
    publisher: str | None = "/p/{room}"
    echo: str | None = "/echo"
    ready: str = READY
    bench_options: tuple = ()
    environment: dict = field(default_factory=dict)


def _fulmar(driver):
    def command(_build):
        options = _fulmar_options()
        listen = ["run", "-c", PERF / "fulmar.toml", "--listen", "127.0.0.1:0", "--log", "text"]
        if "--io" in options:
            return [FULMAR, *listen, "--io", driver]
        if driver == "epoll":
            return [FULMAR, *listen]
        raise Unavailable("this build of fulmar has no --io")

    return command


def _fulmar_options():
    if not FULMAR.exists():
        raise Unavailable("fulmar is not built")
    command = [FULMAR, "run", "--help"]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout


def _floor(driver):
    return lambda build_first: [build.floor_binary(build_first), "--io", driver]


def _rust(binary):
    return lambda build_first: [build.rust_peer(binary, build_first)]


def _node(name, *options):
    def command(build_first):
        folder = build.node_folder(name, build_first)
        return [build.node(), folder / "server.js", *options]

    return command


def _bun(build_first):
    folder = build.node_folder("bun", build_first)
    return [build.bun_binary(folder), folder / "server.js"]


def _nats(build_first):
    return [build.nats_binary(build_first), "-c", PEERS / "nats" / "nats.conf"]


# The floor takes every handshake with one answer.
_ANY_ACCEPT = ("--any-accept",)

SERVERS = [
    Server("floor-epoll", FLOOR_KIND, _floor("epoll"), bench_options=_ANY_ACCEPT),
    Server("floor-uring", FLOOR_KIND, _floor("uring"), bench_options=_ANY_ACCEPT),
    # In Fulmar's rooms a publisher is a member that does not hear itself.
    Server("fulmar-epoll", FULMAR_KIND, _fulmar("epoll"), "/rooms/{room}", None),
    Server("fulmar-uring", FULMAR_KIND, _fulmar("io_uring"), "/rooms/{room}", None),
    Server("bun", PEER_KIND, _bun),
    Server("uwsjs", PEER_KIND, _node("uwsjs")),
    Server("ws", PEER_KIND, _node("ws")),
    Server("tungstenite", PEER_KIND, _rust("tungstenite-peer")),
    Server("fastwebsockets", PEER_KIND, _rust("fastwebsockets-peer")),
    Server(
        "nats",
        PEER_KIND,
        _nats,
        echo=None,
        ready=r"websocket clients on ws://(127\.0\.0\.1:\d+)",
        bench_options=("--protocol", "nats"),
        environment={"GOMAXPROCS": "1"},
    ),
    Server("ws-by-hand", HAND_KIND, _node("ws", "--by-hand"), echo=None),
]

BY_NAME = {server.name: server for server in SERVERS}

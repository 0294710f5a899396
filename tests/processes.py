"""Starting real programs: the exporter's own commands, and those that read what it says."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import re
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, CompletedProcess, Popen
from tempfile import TemporaryFile
from typing import Any

from tests import forkserver

Process = Popen[Any] | forkserver.Forked

PATIENCE = 60.0
"""Seconds after which something that never comes is given up; nothing is measured by it."""


def replace(path: Path, text: str) -> None:
    """Replaces a file at once: one that is written in place is seen empty, now and then."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


class Program:
    """A program running in the background; ``lines`` is what it has said so far, both streams together."""

    def __init__(self, start: Callable[[int], Process]) -> None:
        self.lines: list[str] = []
        self._said: queue.Queue[str | None] = queue.Queue()
        reading, writing = os.pipe()
        self._output = open(reading)  # noqa: SIM115 - closed by stop
        try:
            self.process = start(writing)
        finally:
            os.close(writing)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._output:
            self._said.put(line.rstrip("\n"))
        self._said.put(None)

    def expect(self, pattern: str) -> re.Match[str]:
        """Waits for a line that matches, and returns the match."""
        deadline = time.monotonic() + PATIENCE
        while (line := self._said.get(timeout=max(0.0, deadline - time.monotonic()))) is not None:
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found
        self._said.put(None)
        raise AssertionError(f"{pattern!r} was never said:\n" + "\n".join(self.lines))

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ends the program and returns its exit code."""
        if self.process.poll() is None:
            self.send(number)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        while (line := self._said.get(timeout=PATIENCE)) is not None:
            self.lines.append(line)
        self._output.close()
        return code

    @property
    def stopped(self) -> bool:
        return self._output.closed

    @property
    def output(self) -> str:
        return "\n".join(self.lines)


@contextlib.contextmanager
def _running(start: Callable[[int], Process]) -> Iterator[Program]:
    """What is started with its output there. It is stopped at the end, at the latest."""
    running = Program(start)
    try:
        yield running
    finally:
        if not running.stopped:
            running.stop(signal.SIGKILL)


def program(
    *command: str, cwd: Path, env: dict[str, str] | None = None
) -> contextlib.AbstractContextManager[Program]:
    """A program in the background."""
    return _running(lambda output: Popen(command, cwd=cwd, env=env, stdout=output, stderr=output))


def exporter(
    *arguments: str, cwd: Path, env: dict[str, str] | None = None, fresh: bool = False
) -> contextlib.AbstractContextManager[Program]:
    """``smsc-exporter`` with these arguments; ``fresh`` where its start is tested, or its cost measured."""
    start = _start(arguments, env, fresh=fresh)
    return _running(lambda output: start(cwd=cwd, env=env, stdin=None, stdout=output, stderr=output))


def run(
    *arguments: str,
    cwd: Path,
    env: dict[str, str] | None = None,
    stdin: int = DEVNULL,
    encoding: str | None = None,
) -> CompletedProcess[str]:
    """What ``smsc-exporter`` with these arguments has said at its end."""
    with (
        TemporaryFile("w+", encoding=encoding) as output,
        TemporaryFile("w+", encoding=encoding) as errors,
        open(os.devnull) as nothing,
    ):
        stdin = nothing.fileno() if stdin == DEVNULL else stdin
        start = _start(arguments, env)
        process = start(cwd=cwd, env=env, stdin=stdin, stdout=output.fileno(), stderr=errors.fileno())
        try:
            code = process.wait(3 * PATIENCE)
        finally:
            process.kill()
        output.seek(0)
        errors.seek(0)
        return CompletedProcess(arguments, code, output.read(), errors.read())


def _start(
    arguments: Sequence[str], env: dict[str, str] | None, *, fresh: bool = False
) -> Callable[..., Process]:
    """What starts the exporter: a fork unless only an exec will do."""
    if fresh or not forkserver.serves(env):
        return partial(Popen, [sys.executable, "-m", "exporter", *arguments])
    return partial(forkserver.Forked, arguments)


@contextlib.contextmanager
def hanging(path: Path) -> Iterator[Callable[[], bool]]:
    """A file that nobody can open meanwhile, as on a network disk that hangs: they wait.

    Gives what says whether somebody waits. It is a lease: the kernel lets who opens the file wait for its
    holder, for 45 seconds at most (fcntl(2), ``/proc/sys/fs/lease-break-time``).
    """
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # what it tells the holder
    lease = os.open(path, os.O_RDWR)
    try:
        fcntl.fcntl(lease, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        yield lambda: fcntl.fcntl(lease, fcntl.F_GETLEASE) != fcntl.F_WRLCK
    finally:
        os.close(lease)
        signal.signal(signal.SIGIO, before)


def until(ready: Callable[[], Any], what: str, patience: float = PATIENCE, pause: float = 0.05) -> Any:
    """Asks again and again, after each ``pause``, until there is a true answer."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            if answer := ready():
                return answer
        time.sleep(pause)
    raise AssertionError(f"never came about: {what}")


def get(url: str, **headers: str) -> tuple[int, str]:
    """Status and body."""
    request = urllib.request.Request(url, headers={k.replace("_", "-"): v for k, v in headers.items()})  # noqa: S310 - local
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:  # noqa: S310 - local
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def get_json(url: str) -> Any:
    status, body = get(url)
    assert status == 200, body
    return json.loads(body)


def post(url: str, body: str = "") -> int:
    request = urllib.request.Request(url, data=body.encode(), method="POST")  # noqa: S310 - local
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:  # noqa: S310 - local
        return int(response.status)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port

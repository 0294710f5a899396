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
from subprocess import DEVNULL, PIPE, STDOUT, CompletedProcess, Popen
from typing import TYPE_CHECKING, Any

from tests import forkserver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    Start = type[Popen[str]]

PATIENCE = 60.0
"""Seconds after which something that never comes is given up; nothing is measured by it."""


def replace(path: Path, text: str) -> None:
    """Replaces a file at once: one that is written in place is seen empty, now and then."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


class Program:
    """A program running in the background; ``lines`` is what it has said so far, both streams together."""

    def __init__(self, process: Popen[str]) -> None:
        self.lines: list[str] = []
        self._said: queue.Queue[str | None] = queue.Queue()
        self.process = process
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
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
        assert self.process.stdout
        self.process.stdout.close()
        return code

    @property
    def output(self) -> str:
        return "\n".join(self.lines)


@contextlib.contextmanager
def program(
    *command: str, cwd: Path, env: dict[str, str] | None = None, start: Start = Popen
) -> Iterator[Program]:
    """A program that is stopped at the end, at the latest."""
    running = Program(start(command, cwd=cwd, env=env, text=True, stdout=PIPE, stderr=STDOUT))
    try:
        yield running
    finally:
        if running.process.stdout and not running.process.stdout.closed:
            running.stop(signal.SIGKILL)


def exporter(
    *arguments: str, cwd: Path, env: dict[str, str] | None = None, fresh: bool = False
) -> contextlib.AbstractContextManager[Program]:
    """``smsc-exporter`` with these arguments; ``fresh`` where its start is tested, or its cost measured."""
    start, command = _start(arguments, env, fresh)
    return program(*command, cwd=cwd, env=env, start=start)


def run(
    *arguments: str,
    cwd: Path,
    env: dict[str, str] | None = None,
    stdin: int = DEVNULL,
    encoding: str | None = None,
) -> CompletedProcess[str]:
    """What ``smsc-exporter`` with these arguments has said at its end."""
    start, command = _start(arguments, env)
    with start(
        command, cwd=cwd, env=env, text=True, encoding=encoding, stdin=stdin, stdout=PIPE, stderr=PIPE
    ) as process:
        try:
            said = process.communicate(timeout=3 * PATIENCE)
        finally:
            process.kill()
    return CompletedProcess(command, process.returncode, *said)


def _start(
    arguments: Sequence[str], env: dict[str, str] | None, fresh: bool = False
) -> tuple[Start, Sequence[str]]:
    """What starts the exporter, and with which command: a fork unless only an exec will do."""
    if fresh or not forkserver.serves(env):
        return Popen, [sys.executable, "-m", "exporter", *arguments]
    return forkserver.Forked, arguments


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

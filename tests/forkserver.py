"""Starts the exporter without its imports, most of what a start costs: a process that has them forks.

What comes of it is what ``python -m exporter`` would be: a process of its own, and a child of ours.
"""

from __future__ import annotations

import ctypes
import gc
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_MOST = 1 << 17
"""Bytes of a request."""
_SUBREAPER = 36
"""prctl(2): the children of our children are ours once those have ended."""
_READ_EARLY = ("FAKETIME", "LANG", "LC_", "LD_", "PYTHON", "SSL_CERT_")
"""How variables begin that nobody reads again after the imports."""

_running: list[tuple[socket.socket, subprocess.Popen[bytes]]] = []
_lock = threading.Lock()


def serves(env: dict[str, str] | None) -> bool:
    """Whether a fork can have this environment: it cannot if the imports would have read another."""
    theirs, ours = env if env is not None else os.environ, os.environ
    early = [name for name in {*theirs, *ours} if name.startswith(_READ_EARLY)]
    return all(theirs.get(name, "") == ours.get(name, "") for name in early)


class Forked:
    """The exporter with these arguments: what the tests use of ``subprocess.Popen``, under the same names."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: dict[str, str] | None,
        stdin: int | None,
        stdout: int,
        stderr: int,
    ) -> None:
        request = json.dumps([arguments, str(cwd), dict(os.environ if env is None else env)])
        with _lock:
            self.pid = _ask(request.encode(), [0 if stdin is None else stdin, stdout, stderr])
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float) -> int:
        if self.poll() is None:
            ended = os.pidfd_open(self.pid)
            select.select([ended], [], [], timeout)
            os.close(ended)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired("smsc-exporter", timeout)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _ask(request: bytes, streams: list[int]) -> int:
    """The pid of the process that was forked, which is our child."""
    if not _running:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command, fd = [sys.executable, "-m", "tests.forkserver"], theirs.fileno()
        with theirs:  # its streams, too: what goes wrong is said where a pid is expected
            process = subprocess.Popen(command, cwd=_ROOT, stdin=fd, stdout=fd, stderr=fd)
        _running.append((ours, process))
    control, prctl = _running[0][0], ctypes.CDLL(None).prctl
    prctl(_SUBREAPER, 1, 0, 0, 0)
    try:
        socket.send_fds(control, [request], streams)
        pid = int(control.recv(_MOST))
        control.recv(_MOST)  # its parent has ended
    finally:
        prctl(_SUBREAPER, 0, 0, 0, 0)
    return pid


def end() -> None:
    """Ends the process that forks."""
    while _running:
        control, process = _running.pop()
        control.close()
        process.wait()


def _serve(control: socket.socket) -> bool:
    """Forks for each request until the tests end. Returns True in what was forked, and at the end False."""
    import exporter.cli.run
    import exporter.journal.redis  # noqa: F401 - which is imported only where it is used

    gc.freeze()  # who runs soon after does not copy all that by looking for garbage in it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from the keyboard it is for the tests, which end us
    while True:
        request, streams, _, _ = socket.recv_fds(control, _MOST, 3)
        if not request:
            return False
        if (between := os.fork()) == 0:
            if child := os.fork():
                control.send(str(child).encode())
                os.kill(os.getpid(), signal.SIGKILL)  # nothing is to be run at this end
            control.close()
            _become(streams, *json.loads(request))
            return True
        for stream in streams:
            os.close(stream)
        os.waitpid(between, 0)
        control.send(b"ended")


def _become(streams: list[int], arguments: list[str], cwd: str, env: dict[str, str]) -> None:
    """Makes this process what it would be after an exec."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    os.chdir(cwd)
    sys.path[0] = os.getcwd()
    sys.argv[1:] = arguments
    signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__" and _serve(socket.socket(fileno=os.dup(0))):
    runpy.run_module("exporter", run_name="__main__", alter_sys=True)

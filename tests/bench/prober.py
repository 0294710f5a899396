"""``python -m tests.bench.prober PORT``: how long a request that costs nothing waits, 200 times a second.

It asks for ``/-/healthy`` on a connection of its own until its standard input ends, and prints what it saw as
JSON. What the machine's other programs hold up is none of the exporter's doing: so it asks, beside it and at
the same times, a process that does nothing but answer.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

PERIOD = 0.005


@dataclass(frozen=True)
class Waits:
    """In milliseconds: the longest and the 99th percentile, of the exporter's answers and the idle process's.

    The percentile is of moments, not of questions: a wait counts for all questions that it kept from being
    asked.
    """

    longest: float
    p99: float
    idle_longest: float
    idle_p99: float


@contextlib.contextmanager
def probing(port: int) -> Iterator[Callable[[], Waits]]:
    """Probes in a process of its own; what is yielded ends that, and tells what it saw."""
    command = [sys.executable, "-m", "tests.bench.prober", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()  # it has begun
        try:
            yield lambda: Waits(**json.loads(process.communicate()[0]))
        finally:
            process.terminate()


def _idle() -> socket.socket:
    """A connection to a process that answers each byte with a byte."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        while byte := theirs.recv(1):
            theirs.send(byte)
        os._exit(0)
    theirs.close()
    return ours


def main(port: int) -> None:
    """Probes both, each from a thread of its own, until standard input ends."""
    idle = _idle()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.connect()
    ended = threading.Event()
    with ThreadPoolExecutor() as threads:
        asks = (lambda: _healthy(connection)), (lambda: _echo(idle))
        probes = [threads.submit(_probe, ask, ended) for ask in asks]
        print("probing", flush=True)
        sys.stdin.read()
        ended.set()
    exporter_waits, idle_waits = (_worst(probe.result()) for probe in probes)
    print(json.dumps(Waits(*exporter_waits, *idle_waits).__dict__))


def _probe(ask: Callable[[], None], ended: threading.Event) -> list[float]:
    waits: list[float] = []
    due = perf_counter()
    while not ended.wait(max(0.0, due - perf_counter())):
        waits += _waits(ask)
        due = max(due + PERIOD, perf_counter())
    return waits


def _healthy(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/-/healthy")
    assert connection.getresponse().read()


def _echo(idle: socket.socket) -> None:
    idle.send(b"x")
    idle.recv(1)


def _waits(ask: Callable[[], None]) -> list[float]:
    """How long it waited, and those waited that would have asked meanwhile (seconds)."""
    start = perf_counter()
    ask()
    wait = perf_counter() - start
    return [wait - PERIOD * missed for missed in range(1 + int(wait / PERIOD))]


def _worst(waits: list[float]) -> tuple[float, float]:
    waits.sort()
    return waits[-1] * 1000, waits[-1 - len(waits) // 100] * 1000


if __name__ == "__main__":
    main(int(sys.argv[1]))

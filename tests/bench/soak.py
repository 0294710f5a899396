"""A quarter of an hour of everything at once, in real time, and whether the exporter grows meanwhile.

The exporter and the simulator as processes of their own: faults that come and go, scrapes of all kinds, some
given up half way, and reloads of another configuration. What is looked at: memory and open descriptors in
``/proc``, and what the simulator's auditor has to say.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.processes import exporter, get, get_json, post

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.processes import Program

LINKS = 2000
_FAULTS = (
    "",
    "http_502:0.1,reset:0.05,empty:0.05,truncated:0.05",
    "",
    "error_9:0.002,error_17:0.05,wrong_link:0.05",
    "http_503:0.002,hang:0.002,html:0.1,garbage:0.05,cut:0.05",
    "error_3:0.01,numbers:0.3,other_format:0.3,bom:0.1,negative:0.05,huge:0.001",
)
_FAULT_SECONDS, _RELOAD_SECONDS, _SCRAPE_SECONDS = 20.0, 7.0, 0.25


@dataclass(frozen=True)
class Sample:
    """``minutes`` after the start: memory in megabytes, descriptors, and what was done until then."""

    minutes: float
    memory: float
    descriptors: int
    requests: int
    scrapes: int
    reloads: int


@dataclass(frozen=True)
class Result:
    """The samples, and the auditor's findings in the end."""

    samples: list[Sample]
    audit: dict[str, object]


def measure(minutes: float = 15.0) -> Result:
    """Runs for ``minutes``."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        options = ["--listen-address=127.0.0.1:0", f"--links={LINKS}", "--latency=20ms-200ms"]
        with exporter("simulate", *options, cwd=home) as simulator:
            provider = simulator.expect(r"on (http://\S+)")[1]
            configs = cycle(_configs(provider))
            (home / "config.yaml").write_text(next(configs))
            # warnings, for links that begin to fail, fill nothing that counts: nobody reads them here
            with exporter("--web.listen-address=127.0.0.1:0", "--log.level=info", cwd=home) as running:
                url = running.expect(r"event=listening url=(\S+)")[1]
                samples = _run(running, url, provider, home, configs, minutes)
                audit = get_json(f"{provider}/audit")
                running.stop()
            simulator.stop()
    return Result(samples, audit)


def _configs(provider: str) -> list[str]:
    """Two configurations in turns: all links, and nine in ten of them, a few renamed, at other intervals."""
    return [_config(provider, kept, interval) for kept, interval in ((10, "30s"), (9, "45s"))]


def _config(provider: str, kept: int, interval: str) -> str:
    links = [
        {"id": str(100_001 + n), "name": f"link-{n}-{interval if n % 50 == 0 else ''}"}
        for n in range(LINKS)
        if n % 10 < kept
    ]
    account = {"name": "main", "login": "demo", "password": "demo", "base_url": provider, "links": links}
    return json.dumps(
        {"refresh": "adaptive", "refresh_interval": interval, "max_interval": "2m"}
        | {"accounts": [account | {"max_concurrent_requests": 14, "timeout": "2s"}]}
    )


class _Every:
    """Says when it is time again."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = time.monotonic()

    def due(self) -> bool:
        if time.monotonic() < self._next:
            return False
        self._next += self._seconds
        return True


def _run(
    running: Program, url: str, provider: str, home: Path, configs: Iterator[str], minutes: float
) -> list[Sample]:
    start = time.monotonic()
    faults, fault_turn, reload_turn = cycle(_FAULTS), _Every(_FAULT_SECONDS), _Every(_RELOAD_SECONDS)
    marks = [0.0, 1.0, *(minutes * part for part in (0.25, 0.5, 0.75, 1.0) if minutes * part > 1)]
    samples: list[Sample] = []
    scrapes = reloads = 0
    while marks:
        if time.monotonic() >= start + 60 * marks[0]:
            requests = get_json(f"{provider}/audit")["requests"]
            samples.append(_sample(running.process.pid, marks.pop(0), requests, scrapes, reloads))
            print("  measured", samples[-1], file=sys.stderr)
        if fault_turn.due():
            post(f"{provider}/control/faults", next(faults))
        if reload_turn.due():
            (home / "config.yaml").write_text(next(configs))
            running.send(signal.SIGHUP)
            reloads += 1
        _scrape(url, scrapes)
        scrapes += 1
        time.sleep(_SCRAPE_SECONDS)
    return samples


def _scrape(url: str, number: int) -> None:
    """A scrape of one of the kinds there are; the last is given up before the answer has come."""
    kind = number % 4
    if kind == 0:
        get(f"{url}/metrics")
    elif kind == 1:
        get(
            f"{url}/metrics", Accept="application/openmetrics-text; version=1.0.0", Accept_Encoding="identity"
        )
    elif kind == 2:
        get(f"{url}/metrics?name[]=smsc_link_up")
    else:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
            connection.recv(100)


def _sample(pid: int, minutes: float, requests: int, scrapes: int, reloads: int) -> Sample:
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    memory = pages * 4096 / 1e6
    return Sample(minutes, memory, len(list((process / "fd").iterdir())), requests, scrapes, reloads)


def table(result: Result) -> str:
    """The samples as Markdown, and below them what the auditor found."""
    head = [
        "| after, min | memory, MB | descriptors | requests | scrapes | reloads |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    body = [
        f"| {s.minutes:g} | {s.memory:.1f} | {s.descriptors} | {s.requests} | {s.scrapes} | {s.reloads} |"
        for s in result.samples
    ]
    names = ("worst_window", "most_in_flight", "worst_failed_logins", "followed_redirects")
    findings = ", ".join(f"{name.replace('_', ' ')} {result.audit[name]}" for name in names)
    return "\n".join([*head, *body, "", f"The auditor: {findings}."])

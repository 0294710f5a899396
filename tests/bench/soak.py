"""A quarter of an hour of everything at once, in real time, and whether the exporter holds out.

The exporter and the simulator as processes of their own: faults that come and go, scrapes of all kinds, some
given up half way, and reloads of another configuration. What is looked at: memory and open descriptors in
``/proc``, and what the simulator's auditor has to say. ``faults`` judges it.
"""

from __future__ import annotations

import json
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.bench.tables import markdown, say
from tests.processes import Program, exporter, get, get_json, post, replace

COLUMNS = "after, min | memory, MB | descriptors | requests | scrapes | reloads"
LINKS = 2000
CONCURRENCY = 14
GROWTH = 2.5
"""Megabytes that the exporter may grow by in the second half: a leak of 20 MB an hour is told in 15 minutes.

A reload takes more for a moment, which Python keeps; and minutes pass until every kind of fault has met every
other, so that the first half says little.
"""
WARM_UP = 3.0
DESCRIPTORS = CONCURRENCY + 6
"""Descriptors that may come on top of those at the start: connections to the provider, and a few scrapes."""

ALLOWED = {
    "worst_window": 3,
    "most_in_flight": CONCURRENCY,
    "worst_failed_logins": 0,
    "followed_redirects": 0,
}
"""What the auditor may have seen at most: the provider's rules; and no fault here has to do with logins."""

_FAULTS = (
    "",
    "http_502:0.1,reset:0.05,empty:0.05,truncated:0.05",
    "",
    "error_9:0.002,error_17:0.05,wrong_link:0.05",
    "http_503:0.002,hang:0.002,html:0.1,garbage:0.05,cut:0.05",
    "drip:0.002,redirect:0.05,null:0.05,float:0.05,error_1:0.002",
    "error_3:0.01,numbers:0.3,other_format:0.3,bom:0.1,negative:0.05,huge:0.001",
)
_FAULT_SECONDS, _SCRAPE_SECONDS = 20.0, 0.25
RELOAD_SECONDS = 7.0


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
    """The samples, the auditor's findings in the end, scrapes that failed, and the exporter's exit code."""

    samples: list[Sample]
    audit: dict[str, Any]
    failed_scrapes: int = 0
    failed_reloads: int = 0
    exit_code: int = 0


def faults(result: Result) -> list[str]:
    """Sentences on what is not as it must be; none when all is well."""
    found = [
        f"The auditor saw {name.replace('_', ' ')} {result.audit[name]}; {most} at most are allowed."
        for name, most in ALLOWED.items()
        if result.audit[name] > most
    ]
    if result.failed_scrapes:
        found.append(f"{result.failed_scrapes} scrapes were not answered with 200.")
    if result.failed_reloads:
        found.append(f"{result.failed_reloads} reloads did not take effect.")
    if result.exit_code:
        found.append(f"The exporter ended with {result.exit_code} when it was asked to stop.")
    return found + _growth(result.samples)


def _growth(samples: list[Sample]) -> list[str]:
    first, last = samples[0], samples[-1]
    settled = [sample for sample in samples if sample.minutes >= max(WARM_UP, last.minutes / 2)]
    found = []
    if settled and (grown := last.memory - settled[0].memory) > GROWTH:
        found.append(
            f"Memory grew by {grown:.1f} MB after minute {settled[0].minutes:g}; {GROWTH:g} are allowed."
        )
    if (most := max(sample.descriptors for sample in samples)) > first.descriptors + DESCRIPTORS:
        found.append(
            f"Descriptors grew from {first.descriptors} to {most}; {DESCRIPTORS} more at most are allowed."
        )
    return found


def measure(minutes: float, reload_seconds: float = RELOAD_SECONDS) -> Result:
    """Runs for ``minutes``, with another configuration every ``reload_seconds``."""
    say(f"{LINKS} links among faults, scrapes and reloads, for {minutes:g} min; a line for each look")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        options = ["--listen-address=127.0.0.1:0", f"--links={LINKS}", "--latency=20ms-200ms"]
        with exporter("simulate", *options, cwd=home, fresh=True) as simulator:
            provider = simulator.expect(r"on (http://\S+)")[1]
            configs = cycle(_configs(provider))
            (home / "config.yaml").write_text(next(configs))
            # warnings, for links that begin to fail, fill nothing that counts: nobody reads them here
            with exporter(
                "--web.listen-address=127.0.0.1:0", "--log.level=info", cwd=home, fresh=True
            ) as running:
                url = running.expect(r"event=listening url=(\S+)")[1]
                reloads = _Every(reload_seconds)
                samples, failed = _run(running, url, provider, home, configs, reloads, minutes)
                audit = get_json(f"{provider}/audit")
                code = running.stop()
            simulator.stop()
    return Result(samples, audit, failed, _failed_reloads(running.lines, samples[-1].reloads), code)


def _failed_reloads(said: list[str], asked: int) -> int:
    """Those that the exporter says have failed; or all, if it took none. Some signals may be one reload."""
    failed = sum("event=reload_failed" in line or "event=reload_crashed" in line for line in said)
    return failed if any("event=reloaded" in line for line in said) else asked


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
        | {"accounts": [account | {"max_concurrent_requests": CONCURRENCY, "timeout": "2s"}]}
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
    running: Program,
    url: str,
    provider: str,
    home: Path,
    configs: Iterator[str],
    reload_turn: _Every,
    minutes: float,
) -> tuple[list[Sample], int]:
    start = time.monotonic()
    weather, fault_turn = cycle(_FAULTS), _Every(_FAULT_SECONDS)
    marks = sorted({0.0, min(1.0, minutes), *(minutes * part for part in (0.25, 0.5, 0.75, 1.0))})
    samples: list[Sample] = []
    scrapes = reloads = failed = 0
    while marks:
        if time.monotonic() >= start + 60 * marks[0]:
            requests = get_json(f"{provider}/audit")["requests"]
            samples.append(_sample(running.process.pid, marks.pop(0), requests, scrapes, reloads))
            say(str(samples[-1]))
        if fault_turn.due():
            post(f"{provider}/control/faults", next(weather))
        if reload_turn.due():
            replace(home / "config.yaml", next(configs))
            running.send(signal.SIGHUP)
            reloads += 1
        failed += not _scrape(url, scrapes)
        scrapes += 1
        time.sleep(_SCRAPE_SECONDS)
    return samples, failed


def _scrape(url: str, number: int) -> bool:
    """A scrape of one of the kinds there are; the last is given up before the answer has come."""
    kind = number % 4
    if kind == 0:
        return get(f"{url}/metrics")[0] == 200
    if kind == 1:
        openmetrics = "application/openmetrics-text; version=1.0.0"
        return get(f"{url}/metrics", Accept=openmetrics, Accept_Encoding="identity")[0] == 200
    if kind == 2:
        return get(f"{url}/metrics?name[]=smsc_link_up")[0] == 200
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
        return connection.recv(100).startswith(b"HTTP/1.1 200 ")


def _sample(pid: int, minutes: float, requests: int, scrapes: int, reloads: int) -> Sample:
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    memory = pages * 4096 / 1e6
    return Sample(minutes, memory, len(list((process / "fd").iterdir())), requests, scrapes, reloads)


def table(result: Result) -> str:
    """The samples as Markdown, and below them what the auditor found."""
    findings = ", ".join(f"{name.replace('_', ' ')} {result.audit[name]}" for name in ALLOWED)
    return f"{markdown(COLUMNS, map(_cells, result.samples))}\n\nThe auditor: {findings}."


def _cells(s: Sample) -> list[str]:
    counts = (s.descriptors, s.requests, s.scrapes, s.reloads)
    return [f"{s.minutes:g}", f"{s.memory:.1f}", *map(str, counts)]

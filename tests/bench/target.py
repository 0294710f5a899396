"""The real exporter polling the real simulator at full rate, each a process of its own.

It begins with a file in which every link has a reading, as after a restart.
"""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.bench.asking import CONCURRENCY, LATENCY
from tests.bench.stored import prefill
from tests.factories import make_link
from tests.processes import Program, exporter, free_port, get, get_json

CLIMB = 15.0
"""Seconds in which the number of requests in flight, which begins with one, has climbed to its limit."""


@dataclass(frozen=True)
class Target:
    """An exporter and its provider. ``start``: to the end of a first scrape, in seconds; also in CPU."""

    url: str
    running: Program
    home: Path
    links: int
    provider: str
    start: float
    start_cpu: float

    @property
    def pid(self) -> int:
        return self.running.process.pid

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def audit(self) -> Any:
        """What the simulator's auditor says."""
        return get_json(f"{self.provider}/audit")

    def polls(self) -> int:
        """Questions answered so far; the provider is asked, which costs the exporter nothing."""
        return answered(self.provider)

    def cpu(self) -> float:
        """Seconds of CPU of the exporter's process so far."""
        return cpu_of(self.pid)

    def memory(self) -> float:
        """The resident set, in megabytes."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return int(fields["VmRSS"].split()[0]) / 1000

    def reload(self, label: str) -> float:
        """Loads the configuration again, every link with this label; how long it took, in seconds."""
        _configure(self.home, self.provider, self.links, {"of": label})
        start = time.monotonic()
        self.running.send(signal.SIGHUP)
        self.running.expect("event=reloaded")
        return time.monotonic() - start


def answered(provider: str) -> int:
    """Questions that a simulator has answered with figures."""
    return int(get_json(f"{provider}/audit")["answers"].get("ok", 0))


def cpu_of(pid: int) -> float:
    """Seconds of CPU of a process so far, to the nanosecond: Linux' clock of that process."""
    return time.clock_gettime((~pid << 3) | 2)


@contextmanager
def simulator(links: int) -> Iterator[str]:
    """A simulator's address."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--listen-address=127.0.0.1:0", f"--links={links}", f"--latency={LATENCY}"]
        with exporter("simulate", *arguments, cwd=Path(folder), fresh=True) as running:
            yield running.expect(r"on (http://\S+)")[1]
            running.stop()


@contextmanager
def polling(links: int) -> Iterator[Target]:
    """An exporter at work, from the end of its first scrape on."""
    with simulator(links) as provider, _started(links, provider) as target:
        yield target


@contextmanager
def reloading(links: int) -> Iterator[Target]:
    """An exporter whose provider is not there."""
    with _started(links, f"http://127.0.0.1:{free_port()}") as target:
        yield target


@contextmanager
def _started(links: int, provider: str) -> Iterator[Target]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder)
        names = (make_link(f"link-{n}", "bench", id=str(100_001 + n)) for n in range(links))
        asyncio.run(prefill(home / "data" / "exporter.db", names))
        _configure(home, provider, links, {})
        began = time.monotonic()
        running = stack.enter_context(exporter("--web.listen-address=127.0.0.1:0", cwd=home, fresh=True))
        url = running.expect(r"event=listening url=(\S+)")[1]
        page = get(f"{url}/metrics")[1]
        start = time.monotonic() - began
        assert page.count("\nsmsc_link_clicks_total{") == links
        del page
        yield Target(url, running, home, links, provider, start, cpu_of(running.process.pid))
        running.stop()


def _configure(home: Path, provider: str, links: int, labels: dict[str, str]) -> None:
    account = {
        "name": "bench",
        "login": "demo",
        "password": "demo",
        "base_url": provider,
        "max_concurrent_requests": CONCURRENCY,
        "labels": labels,
        "links": [{"id": str(100_001 + n), "name": f"link-{n}"} for n in range(links)],
    }
    config = {"refresh_interval": "21s", "stale_after": "1h", "accounts": [account]}
    (home / "config.yaml").write_text(json.dumps(config))

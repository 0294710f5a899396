"""What the embedded store costs: an attempt that survives a kill, the file, and a restart with it."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING

from exporter.clock import SystemClock
from exporter.exposition import Exposition
from exporter.model import Snapshot
from exporter.store import Attempt, Grant, Store
from exporter.store.sqlite import SqliteBackend
from tests.factories import make_account, make_links, make_reading

if TYPE_CHECKING:
    from collections.abc import Iterator

CLAIMS = 2000


@dataclass(frozen=True)
class Row:
    """Times in microseconds per poll and in seconds, the file in megabytes."""

    links: int
    wait: float
    cpu: float
    file: float
    restore: float


def measure(sizes: tuple[int, ...] = (10_000, 100_000)) -> Iterator[Row]:
    """A row for each number of links."""
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "exporter.db"
            wait, cpu = asyncio.run(_fill(path, size))
            megabytes = sum(part.stat().st_size for part in Path(folder).glob("exporter.db*")) / 1e6
            yield Row(size, wait, cpu, megabytes, asyncio.run(_restore(path, size)))


async def _fill(path: Path, size: int) -> tuple[float, float]:
    """Reads every link once, one poll after the other at the end; how long a poll waits, and its CPU."""
    clock = SystemClock()
    backend = SqliteBackend(path, clock)
    await backend.open(lambda kept: None)
    links = make_links(size)
    for link in links:
        backend.keep(Snapshot(link).succeeded(make_reading(id=link.id), clock.time()))
    waits = []
    cpu = process_time()
    for link in links[:CLAIMS]:
        attempt = Attempt("h", "l", "s", link.target, apart=10.5, lasts=70.0, proven=True)
        start = perf_counter()
        grant = await backend.claim(attempt)
        waits.append((perf_counter() - start) * 1e6)
        assert isinstance(grant, Grant)
        backend.end(grant, login_failed=False)
        backend.keep(Snapshot(link).succeeded(make_reading(id=link.id), clock.time()))
    cpu = (process_time() - cpu) / CLAIMS * 1e6
    await backend.close()
    return median(waits), cpu


async def _restore(path: Path, size: int) -> float:
    """From an empty process to a first page with every link's figures."""
    start = perf_counter()
    clock = SystemClock()
    exposition = Exposition(clock)
    store = Store(SqliteBackend(path, clock), exposition.update)
    account = make_account(links=make_links(size))
    await store.open()
    exposition.configure([account], store.configure(account.links))
    page = exposition.render(openmetrics=False)
    seconds = perf_counter() - start
    assert page.count(b"smsc_link_clicks_total{") == size
    await store.backend.close()
    return seconds


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    head = [
        "| links | wait for the attempt, µs | CPU per poll, µs | file, MB | restore to first page, s |",
        "|---:|---:|---:|---:|---:|",
    ]
    body = [f"| {r.links} | {r.wait:.0f} | {r.cpu:.0f} | {r.file:.1f} | {r.restore:.2f} |" for r in rows]
    return "\n".join(head + body)

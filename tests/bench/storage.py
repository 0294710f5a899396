"""What the embedded store costs: an attempt that survives a kill, the file, and a restart with it.

Restarts are measured in seconds of CPU: they wait for nothing, so that on an idle machine they take as long.
"""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING

from exporter.clock import SystemClock
from exporter.exposition import Exposition
from exporter.garbage import uncollected
from exporter.model import Snapshot
from exporter.store import Attempt, Grant, Store
from exporter.store.sqlite import SqliteBackend
from tests.bench.tables import SIZES, Asked, markdown, say
from tests.factories import make_account, make_link, make_links, make_reading, show
from tests.processes import exporter, get

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from exporter.clock import Clock
    from exporter.model import Link
    from exporter.store.backend import Backend

COLUMNS = (
    "links | wait for the attempt, µs | CPU per poll, µs | file, MB | restore to first page, CPU s"
    " | command to first scrape, CPU s"
)
LASTS = 70.0  # seconds after which an attempt is over at the latest
CLAIMS = 2000


@dataclass(frozen=True)
class Row:
    """Times in microseconds per poll and in seconds of CPU, the file in megabytes."""

    links: int
    wait: float
    cpu: float
    file: float
    restore: float
    start: float


def measure(asked: Asked) -> Iterator[Row]:
    """A row for each number of links."""
    for size in asked.sizes or SIZES:
        say(f"{size} links in an SQLite file: written, polled, restored three times, started")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "exporter.db"
            wait, cpu = asyncio.run(_poll(path, size))
            megabytes = sum(part.stat().st_size for part in Path(folder).glob("exporter.db*")) / 1e6
            clock = SystemClock()
            restored = min(asyncio.run(restore(SqliteBackend(path, clock), clock, size)) for _ in range(3))
            yield Row(size, wait, cpu, megabytes, restored, start(Path(folder), f"sqlite:{path}", size))


def attempt_for(link: Link) -> Attempt:
    """To ask for ``link``, under a login that is known to be right."""
    return Attempt("h", "l", "s", link.target, apart=10.5, lasts=LASTS, proven=True)


async def fill(backend: Backend, links: Iterable[Link], clock: Clock) -> None:
    """Has a reading of every link kept, and returns once they are written: a claim waits for that."""
    for link in links:
        backend.keep(Snapshot(link).succeeded(make_reading(id=link.id), clock.time()))
    await backend.claim(attempt_for(make_link("another", id="another")))


async def _poll(path: Path, size: int) -> tuple[float, float]:
    """Reads every link once, one poll after the other at the end; how long a poll waits, and its CPU."""
    clock = SystemClock()
    backend = SqliteBackend(path, clock)
    await backend.open(lambda kept: None)
    links = make_links(size)
    await fill(backend, links, clock)
    waits = []
    cpu = process_time()
    claims = links[:CLAIMS]
    for link in claims:
        start = perf_counter()
        grant = await backend.claim(attempt_for(link))
        waits.append((perf_counter() - start) * 1e6)
        assert isinstance(grant, Grant)
        backend.end(grant, login_failed=False)
        backend.keep(Snapshot(link).succeeded(make_reading(id=link.id), clock.time()))
    cpu = (process_time() - cpu) / len(claims) * 1e6
    await backend.close()
    return median(waits), cpu


async def restore(backend: Backend, clock: Clock, size: int) -> float:
    """From a store to a first page with every link's figures, as the exporter does it (seconds of CPU)."""
    exposition = Exposition(clock)
    store = Store(backend, exposition.update)
    account = make_account(links=make_links(size))
    began = process_time()
    with uncollected():
        await store.open()
        show(exposition, [account], store.configure(account.links))
    page = b"".join(exposition.render(openmetrics=False))
    seconds = process_time() - began
    assert page.count(b"smsc_link_clicks_total{") == size
    await backend.close()
    return seconds


def start(folder: Path, storage: str, size: int) -> float:
    """From the command to the end of a first scrape with every link's figures (seconds of CPU)."""
    links = [{"id": link.id, "name": link.name} for link in make_links(size)]
    account = {"name": "main", "login": "x", "password": "x", "base_url": "http://127.0.0.1:9"}
    document = {"storage": {"url": storage}, "refresh_interval": "1d", "stale_after": "2d"}
    text = json.dumps({**document, "accounts": [{**account, "links": links}]}, indent=0)
    (folder / "config.yaml").write_text(text)
    began = _cpu_of_children()
    with exporter("--web.listen-address=127.0.0.1:0", cwd=folder) as running:
        page = get(running.expect(r"event=listening url=(\S+)")[1] + "/metrics")[1]
        assert page.count("smsc_link_clicks_total{") == size
        running.stop(signal.SIGKILL)
    return _cpu_of_children() - began


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    return markdown(COLUMNS, map(_cells, rows))


def _cells(r: Row) -> list[str]:
    return [
        f"{r.links}",
        f"{r.wait:.0f}",
        f"{r.cpu:.0f}",
        f"{r.file:.1f}",
        f"{r.restore:.2f}",
        f"{r.start:.2f}",
    ]

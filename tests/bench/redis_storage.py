"""What the store costs that several exporters share: round trips to Redis, waits, CPU, and a restart."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING

from exporter.clock import SystemClock
from exporter.model import Snapshot
from exporter.rules import SPAN
from exporter.store import Grant
from exporter.store.redis import RedisBackend
from tests.bench.storage import LASTS, attempt_for, fill, restore, start
from tests.bench.tables import SIZES, Asked, markdown, say
from tests.factories import make_links, make_reading
from tests.redis_servers import redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.model import Link
    from tests.redis_servers import Server

COLUMNS = (
    "links | polls | round trips per poll | wait for the attempt, µs | CPU per poll, µs"
    " | of Redis, µs | restore to first page, CPU s | command to first scrape, CPU s"
)
POLLS = 500
TOGETHER = 10
ANSWER = 0.01  # seconds that the provider takes


@dataclass(frozen=True)
class Polls:
    """Per poll: round trips, the median wait for the attempt, and CPU of ours and of Redis (microseconds)."""

    trips: float
    wait: float
    cpu: float
    server_cpu: float


@dataclass(frozen=True)
class Row:
    """One size: polls one after another, several at once, and what a restart takes (seconds of CPU)."""

    links: int
    single: Polls
    several: Polls
    restore: float
    start: float


class _LaterClock(SystemClock):
    """Of an exporter that has waited out the window which a Redis that has just begun asks for."""

    later = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.later


def measure(asked: Asked) -> Iterator[Row]:
    """A row for each number of links; none where there is no server."""
    if shutil.which("redis-server") is None:
        say("redis skipped: redis-server is missing (apt-get install redis-server)")
        return
    for size in asked.sizes or SIZES:
        say(f"{size} links in Redis: written, polled, restored three times, started")
        with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as server:
            single, several = asyncio.run(_poll(server, size))
            clock = SystemClock()
            restored = min(
                asyncio.run(restore(RedisBackend(server.url, clock), clock, size)) for _ in range(3)
            )
            url = server.url.get_secret_value()
            yield Row(size, single, several, restored, start(Path(folder), url, size))


async def _poll(server: Server, size: int) -> tuple[Polls, Polls]:
    clock = _LaterClock()
    backend = RedisBackend(server.url, clock)
    await backend.open(lambda kept: None)
    clock.later = SPAN + LASTS
    links = make_links(size)
    await fill(backend, links, clock)
    polls = min(POLLS, size // 2)
    single = await _measured(server, backend, [(link,) for link in links[:polls]])
    later = links[polls : 2 * polls]
    groups = [later[at : at + TOGETHER] for at in range(0, polls, TOGETHER)]
    several = await _measured(server, backend, groups)
    await backend.close()
    return single, several


async def _measured(server: Server, backend: RedisBackend, groups: list[tuple[Link, ...]]) -> Polls:
    trips, theirs, cpu = _reads(server), _cpu(server), process_time()
    waits: list[float] = []
    for group in groups:
        waits += await asyncio.gather(*(_one(backend, link) for link in group))
        await asyncio.sleep(ANSWER)
    cpu, theirs = process_time() - cpu, _cpu(server) - theirs
    trips = _reads(server) - trips - 3  # three questions of our own
    polls = len(waits)
    return Polls(trips / polls, median(waits), cpu / polls * 1e6, theirs / polls * 1e6)


async def _one(backend: RedisBackend, link: Link) -> float:
    """A poll; how long it waited for its attempt (microseconds)."""
    began = perf_counter()
    grant = await backend.claim(attempt_for(link))
    waited = (perf_counter() - began) * 1e6
    assert isinstance(grant, Grant), grant
    await asyncio.sleep(ANSWER)
    backend.end(grant, login_failed=False)
    backend.keep(Snapshot(link).succeeded(make_reading(id=link.id), SystemClock().time()))
    return waited


def _reads(server: Server) -> int:
    """How often the server found something to read: once for each pipeline of ours."""
    return int(server.look.info("stats")["total_reads_processed"])


def _cpu(server: Server) -> float:
    used = server.look.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def table(rows: list[Row]) -> str:
    """The rows as Markdown, two for each."""
    return markdown(COLUMNS, [_cells(row, *polls) for row in rows for polls in _kinds(row)])


def _kinds(row: Row) -> list[tuple[str, Polls]]:
    return [("one after another", row.single), (f"{TOGETHER} at once", row.several)]


def _cells(r: Row, kind: str, p: Polls) -> list[str]:
    return [
        f"{r.links}",
        kind,
        f"{p.trips:.2f}",
        f"{p.wait:.0f}",
        f"{p.cpu:.0f}",
        f"{p.server_cpu:.0f}",
        f"{r.restore:.2f}",
        f"{r.start:.2f}",
    ]

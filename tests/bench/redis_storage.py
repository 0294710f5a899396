"""What the journal in Redis costs: round trips and waits, alone, several at once, and beside other writers.

Each writer is a process that records requests as fast as it may, so several of them meet far more often than
exporters do. Waits and rates are given against those of one writer in the same run: the machine's own speed
then matters less.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench.tables import Asked, markdown, say
from tests.redis_servers import Server, redis_server
from tests.unit.journal.redis_places import RedisPlace
from tests.unit.journal.redis_writers import write

COLUMNS = (
    "links | writers | at once | trips per request | tries per request | wait, µs | wait, times one alone"
    " | requests a second | rate, times one alone | CPU per request, µs | of Redis, µs"
)
CASES = ((1, 1), (1, 10), (3, 1), (3, 10))
LINKS = 900


@dataclass(frozen=True)
class Row:
    """One case: each writer records a request for each link.

    ``wait`` is the median time to a record, in microseconds; ``rate`` is of all writers together.
    """

    links: int
    writers: int
    width: int
    trips: float
    tries: float
    wait: float
    rate: float
    cpu: float
    server_cpu: float


def measure(asked: Asked) -> Iterator[Row]:
    """A row for each case; none where there is no server."""
    if shutil.which("redis-server") is None:
        say("redis skipped: redis-server is missing (apt-get install redis-server)")
        return
    for links in asked.sizes or (LINKS,):
        for writers, width in CASES:
            say(f"{links} links in Redis: recorded by {writers} writers, {width} at once")
            with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as server:
                RedisPlace(server).mature()
                yield _measured(server, links, writers, width)


def _measured(server: Server, links: int, writers: int, width: int) -> Row:
    trips, cpu = _scripts(server), _cpu(server)
    told = write(server, writers, links, width)
    trips, cpu = _scripts(server) - trips, _cpu(server) - cpu
    requests = writers * links
    return Row(
        links,
        writers,
        width,
        trips / requests,
        sum(one["asked"] for one in told) * width / requests,
        median(one["wait"] for one in told) * 1e6,
        requests / max(one["took"] for one in told),
        sum(one["cpu"] for one in told) / requests * 1e6,
        cpu / requests * 1e6,
    )


def _scripts(server: Server) -> int:
    """How many round trips of journals the server has seen."""
    stats = server.look.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


def _cpu(server: Server) -> float:
    used = server.look.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    return markdown(COLUMNS, [_cells(row, rows[0]) for row in rows])


def _cells(row: Row, alone: Row) -> list[str]:
    return [
        f"{row.links}",
        f"{row.writers}",
        f"{row.width}",
        f"{row.trips:.2f}",
        f"{row.tries:.2f}",
        f"{row.wait:.0f}",
        f"{row.wait / alone.wait:.1f}",
        f"{row.rate:.0f}",
        f"{row.rate / alone.rate:.2f}",
        f"{row.cpu:.0f}",
        f"{row.server_cpu:.0f}",
    ]

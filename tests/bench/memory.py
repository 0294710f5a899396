"""Memory for each link, and how long the exporter takes from the command to the end of its first scrape.

What one link more costs is counted from an exporter with a single link. Both are looked at after the first
scrape, and again after polling at full rate with scrapes of both kinds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.serving import Client
from tests.bench.tables import SIZES, Asked, markdown, say
from tests.bench.target import polling

COLUMNS = (
    "links | start to first scrape, s | in CPU, s | memory after it, MB | a link over the base, kB"
    " | after polling and scrapes, MB | a link over the base, kB"
)
SECONDS = 10.0
SCRAPES = 5


@dataclass(frozen=True)
class Row:
    """Memory in megabytes, time in seconds; ``base`` is what an exporter with one link takes by then."""

    links: int
    start: float
    start_cpu: float
    started: float
    polled: float
    base: tuple[float, float]


def measure(asked: Asked) -> Iterator[Row]:
    """A row for each number of links."""
    seconds = asked.seconds or SECONDS
    _, _, *base = _run(1, seconds)
    for size in asked.sizes or SIZES:
        yield Row(size, *_run(size, seconds), base=(base[0], base[1]))


def _run(links: int, seconds: float) -> tuple[float, float, float, float]:
    """Start, in seconds and in CPU; memory after it, and after ``seconds`` of polling and scrapes."""
    say(f"{links} links: an exporter started, and polling for {seconds:g} s")
    with polling(links) as target:
        started = target.memory()
        client = Client(target.port)
        for _ in range(SCRAPES):
            time.sleep(seconds / SCRAPES)
            for gzipped in (False, True):
                client.get(gzipped=gzipped)
        return target.start, target.start_cpu, started, target.memory()


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    return markdown(COLUMNS, map(_cells, rows))


def _cells(r: Row) -> list[str]:
    def per_link(megabytes: float, base: float) -> str:
        return f"{(megabytes - base) / r.links * 1000:.1f}"

    return [
        f"{r.links}",
        f"{r.start:.2f}",
        f"{r.start_cpu:.2f}",
        f"{r.started:.1f}",
        per_link(r.started, r.base[0]),
        f"{r.polled:.1f}",
        per_link(r.polled, r.base[1]),
    ]

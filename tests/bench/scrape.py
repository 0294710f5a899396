"""How long a page takes in one process, beside prometheus_client's ``generate_latest`` of the same values.

All are asked for the whole page after one link in a hundred has changed; changing it is timed apart. They
take turns, so that a machine that slows down slows all. What the network adds is seen by ``http``.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TypeVar

from prometheus_client import generate_latest

from exporter.web.scrape import compressed
from tests.bench.tables import SIZES, Asked, markdown, say, times
from tests.bench.ways import Collecting, Links, Objects, Ours

COLUMNS = (
    "links | page, kB | changing 1 %, ms | page, ms | over objects, ms | times faster"
    " | over a collector, ms | times faster | gzip adds, ms | to the others, ms"
)

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One size; times are medians in milliseconds, of ours and of prometheus_client's."""

    links: int
    kilobytes: float
    changing: float
    ours: float
    ours_gzip: float
    theirs: float
    theirs_gzip: float
    collector: float


class _Stopwatch:
    def __init__(self) -> None:
        self._times: dict[str, list[float]] = {}

    def time(self, name: str, act: Callable[[], T]) -> T:
        start = perf_counter()
        result = act()
        self._times.setdefault(name, []).append((perf_counter() - start) * 1000)
        return result

    def medians(self) -> dict[str, float]:
        return {name: median(values) for name, values in self._times.items()}


def measure(asked: Asked) -> Iterator[Row]:
    """A row for each number of links."""
    for size in asked.sizes or SIZES:
        turns = max(5, min(50, 100_000 // size))
        say(f"{size} links: {turns} pages of each kind")
        yield _compare(size, turns)


def _compare(size: int, turns: int) -> Row:
    links, watch = Links(size), _Stopwatch()
    ours, objects, collecting = Ours(links), Objects(links), Collecting(links)
    for _ in range(turns):
        changed = links.change()
        watch.time("changing", lambda: ours.update(changed))  # noqa: B023 - called at once
        objects.update(changed)
        page = watch.time("ours", ours.page)
        watch.time("ours_gzip", lambda: compressed([page]))  # noqa: B023 - called at once
        theirs = watch.time("theirs", lambda: generate_latest(objects.registry))
        watch.time("collector", lambda: generate_latest(collecting.registry))
        watch.time("theirs_gzip", lambda: gzip.compress(theirs))  # noqa: B023 - called at once
    return Row(links=size, kilobytes=len(page) / 1000, **watch.medians())


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    return markdown(COLUMNS, map(_cells, rows))


def _cells(r: Row) -> list[str]:
    return [
        f"{r.links}",
        f"{r.kilobytes:.0f}",
        f"{r.changing:.2f}",
        f"{r.ours:.2f}",
        f"{r.theirs:.1f}",
        times(r.theirs / r.ours),
        f"{r.collector:.1f}",
        times(r.collector / r.ours),
        f"{r.ours_gzip:.2f}",
        f"{r.theirs_gzip:.1f}",
    ]

"""How long everybody else waits while the configuration is loaded again.

The exporter has a reading of every link and no provider to ask, so that nothing else keeps it busy: once with
the same configuration, once with another label for every link, so that each of its lines is another.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.prober import Waits, probing
from tests.bench.tables import SIZES, Asked, markdown, say
from tests.bench.target import reloading

COLUMNS = (
    "links | reloaded with | a reload, s | longest stall, ms | 99th percentile, ms"
    " | an idle process: longest, ms | 99th percentile, ms"
)
SECONDS = 10.0
PAUSE = 1.0
LEAST = 2


@dataclass(frozen=True)
class Row:
    """``seconds`` is the longest from the signal until the log says that it is done."""

    links: int
    what: str
    seconds: float
    waits: Waits


def measure(asked: Asked) -> Iterator[Row]:
    """Two rows for each number of links."""
    for size in asked.sizes or SIZES:
        say(f"{size} links: reloads for {asked.seconds or SECONDS:g} s, and as long of other labels")
        for what, labels in (("the same", ("a",)), ("other labels", ("b", "a"))):
            yield _observe(size, what, labels, asked.seconds or SECONDS)


def _observe(links: int, what: str, labels: tuple[str, ...], seconds: float) -> Row:
    with reloading(links) as target:
        target.reload(labels[-1])
        with probing(target.port) as waits:
            took: list[float] = []
            end = time.monotonic() + seconds
            while time.monotonic() < end or len(took) < LEAST:
                took.append(target.reload(labels[len(took) % len(labels)]))
                time.sleep(min(PAUSE, seconds))
            return Row(links, what, max(took), waits())


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    return markdown(COLUMNS, map(_cells, rows))


def _cells(r: Row) -> list[str]:
    waits = (r.waits.longest, r.waits.p99, r.waits.idle_longest, r.waits.idle_p99)
    return [f"{r.links}", r.what, f"{r.seconds:.2f}", *(f"{wait:.1f}" for wait in waits)]

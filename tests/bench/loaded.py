"""Scrapes while the exporter polls at full rate, and how long it holds up everybody else meanwhile.

The reference is what is mostly written: a client that asks for one link after the other at the same rate,
sets prometheus_client's objects, and has them served by prometheus_client. Both are scraped once a second,
plain and gzipped, by a client that only reads the bytes, in a process of its own; the prober is another one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench.asking import ceiling
from tests.bench.prober import Waits, probing
from tests.bench.serving import Client, page_server
from tests.bench.tables import SIZES, Asked, markdown, say, times
from tests.bench.target import CLIMB, polling, simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.target import Target

COLUMNS = (
    "links | sent | scrape, ms | over objects, ms | times faster | polls of the ceiling meanwhile"
    " | longest stall, ms | 99th percentile, ms | an idle process: longest, ms | 99th percentile, ms"
)
SECONDS = 20.0
LEAST = 3


@dataclass(frozen=True)
class Row:
    """One size, plain or gzipped; scrapes are medians in milliseconds."""

    links: int
    gzipped: bool
    ours: float
    objects: float
    share: float
    waits: Waits


def measure(asked: Asked) -> Iterator[Row]:
    """Two rows for each number of links."""
    seconds = asked.seconds or SECONDS
    for size in asked.sizes or SIZES:
        say(f"{size} links: the exporter at full rate, scraped for {seconds:g} s plain, as long gzipped")
        ours = {}
        with polling(size) as target:
            time.sleep(min(CLIMB, seconds))
            for gzipped in (False, True):
                ours[gzipped] = _observe(target, seconds, gzipped=gzipped)
        say(f"{size} links: prometheus_client's objects at full rate, scraped likewise")
        client = _reference(size, seconds)
        for gzipped, (scrape, polls, waits) in ours.items():
            yield Row(size, gzipped, scrape, client.median(gzipped=gzipped), polls / ceiling(size), waits)


def _observe(target: Target, seconds: float, *, gzipped: bool) -> tuple[float, float, Waits]:
    """The median scrape (milliseconds), polls a second, and what the prober says."""
    client = Client(target.port)
    client.get(gzipped=gzipped)
    client.forget()
    with probing(target.port) as waits:
        polls, start = target.polls(), time.monotonic()
        _scrape(client, seconds, gzipped=gzipped)
        rate = (target.polls() - polls) / (time.monotonic() - start)
        return client.median(gzipped=gzipped), rate, waits()


def _reference(links: int, seconds: float) -> Client:
    with simulator(links) as provider, page_server("objects", links, provider) as (client, _):
        for gzipped in (False, True):
            client.get(gzipped=gzipped)
        client.forget()
        for gzipped in (False, True):
            _scrape(client, seconds, gzipped=gzipped)
        return client


def _scrape(client: Client, seconds: float, *, gzipped: bool) -> None:
    """Once a second, and three times at least."""
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(client.times[gzipped]) < LEAST:
        client.get(gzipped=gzipped)
        time.sleep(min(1.0, seconds))


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    return markdown(COLUMNS, map(_cells, rows))


def _cells(r: Row) -> list[str]:
    waits = (r.waits.longest, r.waits.p99, r.waits.idle_longest, r.waits.idle_p99)
    return [
        f"{r.links}",
        "gzipped" if r.gzipped else "plain",
        f"{r.ours:.1f}",
        f"{r.objects:.1f}",
        times(r.objects / r.ours),
        f"{r.share:.1%}",
        *(f"{wait:.1f}" for wait in waits),
    ]

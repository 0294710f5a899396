"""Scrapes while the exporter polls at full rate, and how long it holds up everybody else meanwhile.

The reference is what is mostly written: a client that asks for one link after the other at the same rate,
sets prometheus_client's objects, and has them served by prometheus_client; or a collector that makes families
of what was read. Each is scraped once a second, plain and gzipped, by a client that only reads the bytes; the
prober is a process of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.asking import ceiling
from tests.bench.prober import Waits, probing
from tests.bench.serving import Client, page_server
from tests.bench.tables import SIZES, Asked, markdown, say, times
from tests.bench.target import CLIMB, Target, answered, polling, simulator

COLUMNS = (
    "links | sent | scrape, ms | over objects, ms | times faster | over a collector, ms | times faster"
    " | polls of the ceiling meanwhile | over objects | over a collector"
    " | longest stall, ms | 99th percentile, ms | an idle process: longest, ms | 99th percentile, ms"
)
SECONDS = 20.0
LEAST = 3


@dataclass(frozen=True)
class Row:
    """One size, plain or gzipped; scrapes are medians in milliseconds; shares of the ceiling, ours first."""

    links: int
    gzipped: bool
    ours: float
    objects: float
    collector: float
    shares: tuple[float, float, float]
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
        others = [_reference(way, size, seconds) for way in ("objects", "collector")]
        for gzipped, (scrape, polls, waits) in ours.items():
            theirs = [client.median(gzipped=gzipped) for client, _ in others]
            shares = (polls / ceiling(size), others[0][1], others[1][1])
            yield Row(size, gzipped, scrape, theirs[0], theirs[1], shares, waits)


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


def _reference(way: str, links: int, seconds: float) -> tuple[Client, float]:
    """A client that has scraped it, and which share of the ceiling it polled at."""
    say(f"{links} links: prometheus_client over {way} at full rate, scraped likewise")
    with simulator(links) as provider, page_server(way, links, provider) as (client, _):
        for gzipped in (False, True):
            client.get(gzipped=gzipped)
        client.forget()
        polls, start = answered(provider), time.monotonic()
        for gzipped in (False, True):
            _scrape(client, seconds, gzipped=gzipped)
        return client, (answered(provider) - polls) / (time.monotonic() - start) / ceiling(links)


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
        f"{r.collector:.1f}",
        times(r.collector / r.ours),
        *(f"{share:.1%}" for share in r.shares),
        *(f"{wait:.1f}" for wait in waits),
    ]

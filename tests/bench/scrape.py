"""How long a scrape takes, beside prometheus_client's ``generate_latest`` over the same values.

Both are asked for the whole page, the exporter's own metrics included, after one link in a hundred has
changed; changing it is timed apart. The two take turns, so that a machine that slows down slows both.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from isal import igzip
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from exporter.clock import SystemClock
from exporter.exposition import FAMILIES, Exposition
from exporter.model import Snapshot
from exporter.telemetry import Telemetry
from exporter.web import GZIP_LEVEL, Scrape
from tests.factories import make_account, make_links, make_reading
from tests.oracle import sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter.model import Account


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


class _Theirs:
    """The same values in prometheus_client's own objects, as most exporters keep them."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.registry = CollectorRegistry()
        names = ["account", "link"]
        self._metrics = {
            family.name: (Counter if family.type == "counter" else Gauge)(
                family.name,
                family.help,
                [*names, "id", "short_link"] if family.name == "smsc_link_info" else names,
                registry=self.registry,
            )
            for family in FAMILIES
        }

    def update(self, snapshot: Snapshot, now: float) -> None:
        for name, metric in self._metrics.items():
            found = sample(name, snapshot, self._account, now)
            if found is None:
                continue
            child = metric.labels(**found[0])
            if isinstance(child, Gauge):
                child.set(found[1])
            else:
                child.inc(max(0.0, found[1] - child._value.get()))


T = TypeVar("T")


class Bench:
    def __init__(self, links: int) -> None:
        self._clock = SystemClock()
        self._account = make_account(links=make_links(links))
        self._snapshots = [self._read(Snapshot(link), 7) for link in self._account.links]
        self._exposition = Exposition(self._clock)
        self._exposition.configure([self._account], self._snapshots)
        telemetry = Telemetry(list, lambda: True)
        telemetry.configure([self._account])
        self.ours = Scrape(self._exposition, telemetry.registry)
        self._theirs = _Theirs(self._account)
        for collector in list(telemetry.registry._collector_to_names):
            self._theirs.registry.register(collector)
        for snapshot in self._snapshots:
            self._theirs.update(snapshot, self._clock.time())

    def _read(self, snapshot: Snapshot, all_time: int) -> Snapshot:
        reading = make_reading(all_time=all_time, id=snapshot.link.id)
        return snapshot.succeeded(reading, self._clock.time())

    def changed(self, turn: int) -> Iterator[Snapshot]:
        for place in range(turn % 100, len(self._snapshots), 100):
            self._snapshots[place] = self._read(self._snapshots[place], 7 + turn)
            yield self._snapshots[place]

    def update(self, changed: list[Snapshot]) -> None:
        for snapshot in changed:
            self._exposition.update(snapshot)

    def run(self, turns: int) -> Row:
        times: dict[str, list[float]] = {}

        def timed(name: str, act: Callable[[], T]) -> T:
            start = perf_counter()
            result = act()
            times.setdefault(name, []).append((perf_counter() - start) * 1000)
            return result

        page = theirs = b""
        for turn in range(turns):
            changed = list(self.changed(turn))
            timed("changing", lambda: self.update(changed))  # noqa: B023 - called at once
            for snapshot in changed:
                self._theirs.update(snapshot, self._clock.time())
            page = timed("ours", lambda: b"".join(self.ours.render("", ())[0]))
            timed("ours_gzip", lambda: igzip.compress(page, GZIP_LEVEL))  # noqa: B023 - called at once
            theirs = timed("theirs", lambda: generate_latest(self._theirs.registry))
            timed("theirs_gzip", lambda: gzip.compress(theirs))  # noqa: B023 - called at once
        medians = {name: median(values) for name, values in times.items()}
        return Row(links=len(self._snapshots), kilobytes=len(page) / 1000, **medians)


def measure(sizes: tuple[int, ...] = (100, 1_000, 10_000)) -> Iterator[Row]:
    """A row for each number of links."""
    for size in sizes:
        yield Bench(size).run(turns=max(7, min(50, 200_000 // size)))


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| links | page, kB | changing 1 %, ms | scrape, ms | generate_latest, ms | times faster"
        " | scrape + gzip, ms | generate_latest + gzip, ms | times faster |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in rows:
        ours, theirs = r.ours + r.ours_gzip, r.theirs + r.theirs_gzip
        lines.append(
            f"| {r.links} | {r.kilobytes:.0f} | {r.changing:.2f} | {r.ours:.2f} | {r.theirs:.1f}"
            f" | {r.theirs / r.ours:.0f} | {ours:.2f} | {theirs:.1f} | {theirs / ours:.0f} |"
        )
    return "\n".join(lines)

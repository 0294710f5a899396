"""How long a scrape takes, beside prometheus_client's ``generate_latest`` over the same values.

That once over its own ``Gauge`` and ``Counter`` objects, and once over a custom collector that makes families
from readings. All are asked for the whole page, the exporter's own metrics included, after one link in a
hundred has changed; changing it is timed apart. They take turns, so that a machine that slows down slows all.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from operator import attrgetter
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from exporter.clock import SystemClock
from exporter.errors import Outcome
from exporter.exposition import FAMILIES, Exposition
from exporter.model import Snapshot
from exporter.telemetry import Telemetry
from exporter.web import Scrape, compressed
from tests.factories import make_account, make_links, make_reading
from tests.oracle import sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

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
    collector: float


class _Readings(Collector):
    """A custom collector as exporters of cached readings have them."""

    def __init__(self, snapshots: list[Snapshot]) -> None:
        self._snapshots = snapshots

    def collect(self) -> Iterator[Metric]:
        """One family after another, each over all links."""
        for name, value in _VALUES.items():
            family = GaugeMetricFamily(name, "As last read.", labels=["account", "link"])
            for snapshot in self._snapshots:
                family.add_metric(snapshot.link.key, value(snapshot))
            yield family
        info = GaugeMetricFamily("smsc_link_info", "Ids.", labels=["account", "link", "id", "short_link"])
        for snapshot in self._snapshots:
            if snapshot.reading is not None:
                info.add_metric([*snapshot.link.key, snapshot.reading.id, snapshot.reading.short_link], 1)
        yield info


def _count(name: str) -> Callable[[Snapshot], float]:
    return attrgetter(f"reading.{name}")


_VALUES: dict[str, Callable[[Snapshot], float]] = {
    "smsc_link_clicks_all_time": _count("all_time"),
    "smsc_link_clicks_today": _count("today"),
    "smsc_link_clicks_yesterday": _count("yesterday"),
    "smsc_link_clicks_month": _count("month"),
    "smsc_link_clicks_previous_month": _count("previous_month"),
    "smsc_link_clicks_total": attrgetter("total"),
    "smsc_link_up": lambda snapshot: snapshot.outcome is Outcome.OK,
    "smsc_link_last_success_timestamp_seconds": attrgetter("read_at"),
}


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
        self._collecting = CollectorRegistry()
        self._collecting.register(_Readings(self._snapshots))
        for collector in list(telemetry.registry._collector_to_names):
            self._theirs.registry.register(collector)
            self._collecting.register(collector)
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
            timed("ours_gzip", lambda: compressed([page]))  # noqa: B023 - called at once
            theirs = timed("theirs", lambda: generate_latest(self._theirs.registry))
            timed("collector", lambda: generate_latest(self._collecting))
            timed("theirs_gzip", lambda: gzip.compress(theirs))  # noqa: B023 - called at once
        medians = {name: median(values) for name, values in times.items()}
        return Row(links=len(self._snapshots), kilobytes=len(page) / 1000, **medians)


def measure(sizes: tuple[int, ...] = (100, 1_000, 10_000, 100_000)) -> Iterator[Row]:
    """A row for each number of links."""
    for size in sizes:
        yield Bench(size).run(turns=max(5, min(50, 100_000 // size)))


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| links | page, kB | changing 1 %, ms | scrape, ms | over objects, ms | times faster"
        " | over a collector, ms | times faster | gzip adds, ms | to the others, ms |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r.links} | {r.kilobytes:.0f} | {r.changing:.2f} | {r.ours:.2f} | {r.theirs:.1f}"
        f" | {r.theirs / r.ours:.0f} | {r.collector:.1f} | {r.collector / r.ours:.0f}"
        f" | {r.ours_gzip:.2f} | {r.theirs_gzip:.1f} |"
        for r in rows
    ]
    return "\n".join(lines)

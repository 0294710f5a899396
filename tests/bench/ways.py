"""The same readings, exposed in three ways: by the exporter, and twice by prometheus_client.

That once over its own ``Gauge`` and ``Counter`` objects, as most exporters keep them, and once over a custom
collector that makes families from readings. All pages hold the exporter's own metrics, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from exporter.clock import Clock, SystemClock
from exporter.errors import Outcome
from exporter.exposition.exposition import Exposition
from exporter.exposition.slot import FAMILIES
from exporter.model import Reading, Snapshot
from exporter.telemetry import Telemetry
from exporter.web.scrape import Scrape
from tests.factories import make_account, make_links, make_reading, show
from tests.oracle import sample


class Links:
    """So many links of one account, each read once, and changed one in a hundred at a time."""

    def __init__(self, count: int, clock: Clock | None = None, first_id: int = 0) -> None:
        self.clock = clock or SystemClock()
        self.account = make_account(links=make_links(count))
        self._first_id = first_id
        now = self.clock.time()
        self.snapshots = [
            Snapshot(link).succeeded(self._reading(place, 7), now)
            for place, link in enumerate(self.account.links)
        ]
        self._turn = 0

    def _reading(self, place: int, all_time: int) -> Reading:
        return make_reading(all_time=all_time, id=str(self._first_id + place))

    def read(self, place: int, all_time: int) -> Snapshot:
        """Another reading of the link at ``place``."""
        before = self.snapshots[place]
        self.snapshots[place] = before.succeeded(self._reading(place, all_time), self.clock.time())
        return self.snapshots[place]

    def change(self) -> list[Snapshot]:
        """Changes one link in a hundred, others than the last time."""
        self._turn += 1
        places = range(self._turn % min(100, len(self.snapshots)), len(self.snapshots), 100)
        return [self.read(place, 7 + self._turn) for place in places]


def _telemetry(links: Links) -> Telemetry:
    telemetry = Telemetry(list, lambda: True)
    telemetry.configure([links.account])
    return telemetry


def _add_own_metrics(registry: CollectorRegistry, links: Links) -> None:
    for collector in list(_telemetry(links).registry._collector_to_names):
        registry.register(collector)


class Ours:
    """The exporter's own."""

    def __init__(self, links: Links) -> None:
        self._exposition = Exposition(links.clock)
        show(self._exposition, [links.account], links.snapshots)
        self.scrape = Scrape(self._exposition, _telemetry(links).registry, links.clock)

    def update(self, changed: Iterable[Snapshot]) -> None:
        for snapshot in changed:
            self._exposition.update(snapshot)

    def page(self) -> bytes:
        """The whole page, plain."""
        return b"".join(self.scrape.render("", ())[0])


class Collecting(Collector):
    """A custom collector as exporters of cached readings have them."""

    def __init__(self, links: Links) -> None:
        self._snapshots = links.snapshots
        self.registry = CollectorRegistry()
        self.registry.register(self)
        _add_own_metrics(self.registry, links)

    def update(self, changed: Iterable[Snapshot]) -> None:
        """Nothing: it reads the readings at each scrape."""

    def collect(self) -> Iterable[Metric]:
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


class Objects:
    """prometheus_client's own objects, one child a series."""

    def __init__(self, links: Links) -> None:
        self._links = links
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
        _add_own_metrics(self.registry, links)
        self.update(links.snapshots)

    def update(self, changed: Iterable[Snapshot]) -> None:
        now = self._links.clock.time()
        for snapshot in changed:
            self._set(snapshot, now)

    def _set(self, snapshot: Snapshot, now: float) -> None:
        for name, metric in self._metrics.items():
            found = sample(name, snapshot, self._links.account, now)
            if found is None:
                continue
            child = metric.labels(**found[0])
            if isinstance(child, Gauge):
                child.set(found[1])
            else:
                child.inc(max(0.0, found[1] - child._value.get()))

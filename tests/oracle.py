"""prometheus_client's own rendering of the same snapshots: what the cached lines must equal, byte for byte.

Written straight from the contract, without the cache's arithmetic: whether a reading is from today is asked
of the calendar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics import exposition, parser
from prometheus_client.registry import Collector

from exporter.errors import Outcome
from exporter.exposition.slot import FAMILIES, ROLLOVER
from exporter.model import Account, Snapshot

# prometheus_client leaves these untyped
generate_openmetrics: Callable[[Collector], bytes] = exposition.generate_latest
parse_openmetrics: Callable[[str], Iterator[Metric]] = parser.text_string_to_metric_families

_DAILY = {"smsc_link_clicks_today": "today", "smsc_link_clicks_yesterday": "yesterday"}
_MONTHLY = {"smsc_link_clicks_month": "month", "smsc_link_clicks_previous_month": "previous_month"}


def sample(
    name: str, snapshot: Snapshot, account: Account, now: float
) -> tuple[dict[str, str], float] | None:
    """The sample that family ``name`` has for a link at ``now``, by the contract; None if it is withheld."""
    link, reading, outcome = snapshot.link, snapshot.reading, snapshot.outcome
    labels = {"account": link.account, "link": link.name, **dict(link.labels)}
    if name == "smsc_link_info":
        ids = {
            "id": reading.id if reading else link.id,
            "short_link": reading.short_link if reading else None,
        }
        return labels | {key: value for key, value in ids.items() if value is not None}, 1
    if name == "smsc_link_up":
        return None if outcome is None else (labels, outcome is Outcome.OK)
    if name == "smsc_link_failing":
        return None if outcome in (None, Outcome.OK) else (labels | {"outcome": str(outcome)}, 1)
    if reading is None:
        return None
    if name == "smsc_link_last_success_timestamp_seconds":
        return labels, snapshot.read_at
    if now - snapshot.read_at >= link.stale_after:
        return None
    read = datetime.fromtimestamp(snapshot.read_at - ROLLOVER, account.timezone).date()
    today = datetime.fromtimestamp(now, account.timezone).date()
    if name in _DAILY:
        return (labels, getattr(reading, _DAILY[name])) if read == today else None
    if name in _MONTHLY:
        return (
            (labels, getattr(reading, _MONTHLY[name]))
            if read.replace(day=1) == today.replace(day=1)
            else None
        )
    return labels, {"smsc_link_clicks_all_time": reading.all_time, "smsc_link_clicks_total": snapshot.total}[
        name
    ]


class Oracle(Collector):
    """A custom collector over snapshots, as one would write it without a cache."""

    def __init__(self, accounts: Sequence[Account], snapshots: Sequence[Snapshot], now: float) -> None:
        self._accounts = {account.name: account for account in accounts}
        self._snapshots = snapshots
        self._now = now

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES:
            kind = CounterMetricFamily if family.type == "counter" else GaugeMetricFamily
            metric = kind(family.name, family.help)
            for snapshot in self._snapshots:
                found = sample(family.name, snapshot, self._accounts[snapshot.link.account], self._now)
                if found is not None:
                    metric.add_sample(family.name, *found)
            yield metric

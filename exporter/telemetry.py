"""The exporter's metrics of itself, in one table, kept by prometheus_client."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from exporter import __version__
from exporter.config import LinkFile
from exporter.errors import Outcome, printable
from exporter.limits import RATE_LIMIT
from exporter.model import Account, AccountStatus, State

_disable_created: Callable[[], None] = disable_created_metrics  # prometheus_client leaves it untyped

_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0)

_WEIGHT = 0.1
"""The weight of the latest request in the usual duration."""


@dataclass(frozen=True, slots=True)
class AccountGauge:
    """A gauge with one series per account; ``value`` returns None while there is no value yet."""

    name: str
    help: str
    value: Callable[[AccountStatus], float | None]


ACCOUNT_GAUGES = (
    AccountGauge(
        "smsc_account_up",
        "1 if the latest request was answered and the account may send. Absent before the first answer.",
        lambda status: status.up,
    ),
    AccountGauge(
        "smsc_account_paused_until_timestamp_seconds",
        "Until when nothing is sent for this account. 0 when it is not paused.",
        lambda status: status.paused_until,
    ),
    AccountGauge("smsc_account_links", "Links configured for this account.", lambda status: status.links),
    AccountGauge(
        "smsc_account_polling_lag_seconds",
        "How late the most overdue link of the account is.",
        lambda status: status.lag,
    ),
    AccountGauge(
        "smsc_account_concurrency_limit",
        "Requests that the account may have in flight now.",
        lambda status: status.concurrency_limit,
    ),
    AccountGauge(
        "smsc_account_requests_wanted_per_second",
        "Requests that the refresh intervals of the account's links ask for.",
        lambda status: status.wanted,
    ),
    AccountGauge(
        "smsc_api_requests_in_flight", "Requests in flight to the provider.", lambda status: status.in_flight
    ),
)
_POSSIBLE = (
    "smsc_account_requests_possible_per_second",
    "Requests that fit at once and that the provider allows. Absent before the first answer.",
)
_STATE = ("smsc_account_state", "1 for the state of the account, 0 for the others.")


class _AccountCollector(Collector):
    """Reads the status of the accounts at each scrape."""

    def __init__(self, statuses: Callable[[], list[AccountStatus]], *more: AccountGauge) -> None:
        self._statuses = statuses
        self._gauges = (*ACCOUNT_GAUGES, *more)

    def collect(self) -> Iterator[Metric]:
        """One family per gauge, and the state set."""
        statuses = self._statuses()
        for gauge in self._gauges:
            yield _family(gauge, statuses)
        states = GaugeMetricFamily(*_STATE, labels=["account", "state"])
        for status in statuses:
            for state in State:
                states.add_metric([status.name, state], float(status.state is state))
        yield states


def _family(gauge: AccountGauge, statuses: list[AccountStatus]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(gauge.name, gauge.help, labels=["account"])
    for status in statuses:
        if (value := gauge.value(status)) is not None:
            family.add_metric([status.name], value)
    return family


class Telemetry:
    """Counts requests and reloads; ``registry`` holds all of it for a scrape.

    ``reloaded_at`` is when the configuration was last loaded successfully (seconds since the epoch).
    """

    def __init__(self, statuses: Callable[[], list[AccountStatus]], storage_up: Callable[[], bool]) -> None:
        _disable_created()  # no series beyond those that are documented
        self.registry = CollectorRegistry(support_collectors_without_names=True)  # for name[]
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.registry.register(_AccountCollector(statuses, AccountGauge(*_POSSIBLE, self.possible)))
        self._requests = Counter(
            "smsc_api_requests_total",
            "Requests sent to the provider, by how they ended.",
            ["account", "outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "smsc_api_request_duration_seconds",
            "How long requests to the provider took, failed ones included.",
            ["account"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._http_requests = Counter(
            "smsc_exporter_http_requests_total",
            "Requests that the exporter answered, by path and HTTP status.",
            ["handler", "code"],
            registry=self.registry,
        )
        self.storage_up = storage_up
        self.reload_successful = False
        self.reloaded_at = 0.0
        self._exporter_gauges()
        self._link_file_gauge = Gauge(
            "smsc_exporter_link_file_last_load_successful",
            "1 if the link file is in force. 0 if it has errors and its old links are in force.",
            ["account", "file"],
            registry=self.registry,
        )
        self.link_files: Sequence[LinkFile] = ()
        self._accounts: set[str] = set()
        self._usual: dict[str, float] = {}

    def _exporter_gauges(self) -> None:
        build = Gauge(
            "smsc_exporter_build_info",
            "Version of the exporter and of the Python it runs on.",
            ["version", "python_version"],
            registry=self.registry,
        )
        build.labels(__version__, platform.python_version()).set(1)
        storage = Gauge(
            "smsc_exporter_storage_up", "1 while the storage can be written.", registry=self.registry
        )
        storage.set_function(self.storage_up)
        successful = Gauge(
            "smsc_exporter_config_last_reload_successful",
            "1 if the latest load of the configuration succeeded, 0 if the old one is in force.",
            registry=self.registry,
        )
        successful.set_function(lambda: self.reload_successful)
        at = Gauge(
            "smsc_exporter_config_last_reload_success_timestamp_seconds",
            "When the configuration was last loaded successfully.",
            registry=self.registry,
        )
        at.set_function(lambda: self.reloaded_at)

    def configure(self, accounts: Iterable[Account], link_files: Sequence[LinkFile] = ()) -> None:
        """Creates every account's series at 0, and drops those of accounts and link files that left."""
        names = {account.name for account in accounts}
        for name in names - self._accounts:
            self._seconds.labels(name)
            for outcome in Outcome:
                self._requests.labels(name, outcome)
        for name in self._accounts - names:
            self._seconds.remove(name)
            self._usual.pop(name, None)
            for outcome in Outcome:
                self._requests.remove(name, outcome)
        self._accounts = names
        self.link_files = link_files
        self._link_file_gauge.clear()
        for file in link_files:
            self._link_file_gauge.labels(file.account, printable(file.name)).set(not file.faults)

    def request_ended(self, account: str, outcome: Outcome, seconds: float) -> None:
        """Counts one request, unless its account has left the configuration."""
        if account in self._accounts:
            self._requests.labels(account, outcome).inc()
            self._seconds.labels(account).observe(seconds)
            usual = self._usual.get(account, seconds)
            self._usual[account] = usual + _WEIGHT * (seconds - usual)

    def http_request_answered(self, handler: str, code: int) -> None:
        """Counts one request of a web client."""
        self._http_requests.labels(handler, code).inc()

    def possible(self, status: AccountStatus) -> float | None:
        """Requests a second that fit at once and that the provider allows; None before the first answer."""
        seconds = self._usual.get(status.name)
        if seconds is None:
            return None
        return min(status.concurrency_limit / max(seconds, 0.001), RATE_LIMIT * status.links / 60)

    def reloaded(self, at: float | None) -> None:
        """The configuration was loaded ``at`` (seconds since the epoch); None: it could not be."""
        self.reload_successful = at is not None
        if at is not None:
            self.reloaded_at = at

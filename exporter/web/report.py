"""What the status page and ``/api/v1/links`` tell, as plain data: the same for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exporter.exposition import FIGURES
from exporter.limits import RATE_LIMIT
from exporter.web.listing import PER_PAGE, state_of
from exporter.web.wording import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exporter.exposition import View
    from exporter.model import AccountStatus, Failure
    from exporter.telemetry import LoadedFile, Reload, Telemetry
    from exporter.web.listing import Listing, Query


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account; rates are requests a minute. ``possible`` is None until a request has ended."""

    status: AccountStatus
    wanted: float
    possible: float | None


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A link. Each figure is in ``clicks``, with the reason in ``withheld`` where it is None."""

    account: str
    name: str
    labels: Mapping[str, str]
    id: str | None
    url: str | None
    short_link: str | None
    state: str
    outcome: str | None
    clicks: Mapping[str, int | None]
    withheld: Mapping[str, str]
    read_at: float | None
    next_poll: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is told. Moments are seconds since the epoch."""

    now: float
    version: str
    not_ready: str | None
    reload: Reload
    web_config_successful: bool | None
    link_files: Sequence[LoadedFile]
    storage_up: bool
    accounts: Sequence[AccountRow]
    links: Sequence[LinkRow]
    failures: Sequence[Failure]
    query: Query
    listing: Listing


def account_row(status: AccountStatus, listing: Listing, telemetry: Telemetry) -> AccountRow:
    """An account's row. Possible is what fits at once, and no more than the provider allows each link."""
    wanted = listing.wanted.get(status.name, 0.0)
    seconds = telemetry.usual_seconds(status.name)
    if seconds is None:
        return AccountRow(status, wanted, None)
    fitting = 60 * status.concurrency_limit / max(seconds, 0.001)
    return AccountRow(status, wanted, min(fitting, float(RATE_LIMIT * status.links)))


def link_row(view: View, next_poll: float | None, now: float) -> LinkRow:
    """A link's row, with the figures that a scrape would show now."""
    snapshot = view.snapshot
    link, reading = snapshot.link, snapshot.reading
    figures = view.figures(now)
    return LinkRow(
        account=link.account,
        name=link.name,
        labels=dict(link.labels),
        id=reading.id if reading else link.id,
        url=link.url,
        short_link=reading.short_link if reading else None,
        state=state_of(view, now),
        outcome=snapshot.outcome,
        clicks={name: figures.get(name) for name in FIGURES},
        withheld=view.withheld(now),
        read_at=view.taken if snapshot.read_at > 0 else None,
        next_poll=next_poll,
    )


# --- as JSON ----------------------------------------------------------------------------------------------


def document(report: Report) -> dict[str, Any]:
    """What ``/api/v1/links`` answers: see docs/status-page.md."""
    return {
        "time": rfc3339(report.now),
        "version": report.version,
        "ready": report.not_ready is None,
        "config": {
            "last_reload_successful": report.reload.successful,
            "last_reload_success": rfc3339(report.reload.at),
        },
        "web_config": _web_config(report.web_config_successful),
        "link_files": [
            {"account": file.account, "file": file.name, "last_load_successful": file.successful}
            for file in report.link_files
        ],
        "storage": {"up": report.storage_up},
        "accounts": [_account(row) for row in report.accounts],
        "page": report.query.page,
        "pages": report.listing.pages,
        "per_page": PER_PAGE,
        "matching": report.listing.matching,
        "configured": report.listing.configured,
        "states": dict(report.listing.states),
        "links": [_link(row, report.now) for row in report.links],
        "failures": [_failure(failure) for failure in report.failures],
    }


def _web_config(successful: bool | None) -> dict[str, bool] | None:
    return None if successful is None else {"last_load_successful": successful}


def _account(row: AccountRow) -> dict[str, Any]:
    status = row.status
    return {
        "name": status.name,
        "state": status.state,
        "up": status.up,
        "paused_until": rfc3339(status.paused_until) if status.paused_until else None,
        "links": status.links,
        "polling_lag_seconds": round(status.lag, 3),
        "concurrency_limit": status.concurrency_limit,
        "in_flight": status.in_flight,
        "requests_per_minute": {
            "wanted": round(row.wanted, 1),
            "possible": None if row.possible is None else round(row.possible, 1),
        },
        "failed_logins": status.failed_logins,
    }


def _link(row: LinkRow, now: float) -> dict[str, Any]:
    return {
        "account": row.account,
        "link": row.name,
        "labels": row.labels,
        "id": row.id,
        "url": row.url,
        "short_link": row.short_link,
        "state": row.state,
        "outcome": row.outcome,
        "clicks": row.clicks,
        "withheld": row.withheld,
        "read_at": None if row.read_at is None else rfc3339(row.read_at),
        "age_seconds": None if row.read_at is None else round(now - row.read_at, 3),
        "next_poll": None if row.next_poll is None else rfc3339(row.next_poll),
    }


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "time": rfc3339(failure.at),
        "account": failure.account,
        "link": failure.link,
        "outcome": failure.outcome,
        "message": failure.message,
    }

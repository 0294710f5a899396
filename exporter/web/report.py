"""What the status page shows and ``/api/v1/links`` answers, as plain data and as CSV.

docs/status-page.md says what the keys mean. Moments are in UTC.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from exporter import __version__
from exporter.errors import printable
from exporter.exposition.slot import SHOWN, View
from exporter.model import AccountStatus, Failure
from exporter.telemetry import Telemetry
from exporter.web.listing import PER_PAGE, Listing, state_of
from exporter.web.wording import rfc3339

Row = dict[str, Any]

_COLUMNS = ("account", "link", "id", "url", "short_link")
"""Those whose text comes from outside; as labels do."""

MOST_COLUMNS = 200
"""Names of labels with a column each. Each of them makes every line longer."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection")."""


def moment(seconds: float | None) -> datetime | None:
    """A moment given in seconds since the epoch. None and 0 are no moment."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def account_row(status: AccountStatus, telemetry: Telemetry) -> Row:
    """An account. Requests that are wanted and possible are told by the minute, as intervals are."""
    possible = telemetry.possible(status)
    return {
        "name": status.name,
        "state": status.state,
        "reason": status.reason,
        "up": status.up,
        "paused_until": moment(status.paused_until),
        "timezone": status.timezone,
        "links": status.links,
        "polling_lag_seconds": round(status.lag, 3),
        "concurrency_limit": status.concurrency_limit,
        "in_flight": status.in_flight,
        "requests_per_minute": {
            "wanted": round(60 * status.wanted, 1),
            "possible": None if possible is None else round(60 * possible, 1),
        },
        "failed_logins": status.failed_logins,
    }


def link_row(view: View, now: float) -> Row:
    """A link, with the figures that a scrape would show now."""
    link, reading = view.snapshot.link, view.snapshot.reading
    figures = view.figures(now)
    return {
        "account": link.account,
        "link": link.name,
        "labels": dict(link.labels),
        "id": reading.id if reading else link.id,
        "url": link.url,
        "short_link": reading.short_link if reading else None,
        "state": state_of(view, now),
        "outcome": view.snapshot.outcome,
        "clicks": {name: figures.get(name) for name in SHOWN},
        "read_at": moment(view.taken if view.snapshot.read_at > 0 else None),
    }


def whole_row(view: View, next_poll: float | None, now: float) -> Row:
    """A link with everything: also what is withheld and why, its age, and when it is polled next."""
    row = link_row(view, now)
    return {
        **row,
        "withheld": view.withheld(now),
        "age_seconds": None if row["read_at"] is None else round(now - view.taken, 3),
        "next_poll": moment(next_poll),
    }


def document(
    telemetry: Telemetry,
    *,
    accounts: Sequence[Row],
    links: Sequence[Row],
    failures: Iterable[Failure],
    listing: Listing,
    now: float,
    not_ready: str | None,
) -> Row:
    """All of it."""
    return {
        "time": moment(now),
        "version": __version__,
        "ready": not_ready is None,
        "not_ready": not_ready,
        "config": {
            "last_reload_successful": telemetry.reload_successful,
            "last_reload_success": moment(telemetry.reloaded_at),
        },
        "link_files": [
            {"account": file.account, "file": printable(file.name), "last_load_successful": not file.faults}
            for file in telemetry.link_files
        ],
        "storage": {"up": telemetry.storage_up()},
        "accounts": accounts,
        "page": listing.page,
        "pages": listing.pages,
        "per_page": PER_PAGE,
        "matching": listing.matching,
        "configured": listing.configured,
        "states": dict(listing.states),
        "totals": listing.totals,
        "links": links,
        "failures": [
            {
                "time": moment(failure.at),
                "account": failure.account,
                "link": failure.link,
                "outcome": failure.outcome,
                "message": failure.message,
            }
            for failure in failures
        ],
    }


def as_csv(views: Sequence[View], now: float) -> str:
    """One line a link. A figure that is withheld is empty; each label has a column of its own.

    Where there are too many names of labels for that, one column has the labels as JSON.
    It begins with a byte order mark, without which Excel takes UTF-8 for something else.
    """
    labels = sorted({name for view in views for name, _ in view.snapshot.link.labels})
    few = len(labels) <= MOST_COLUMNS
    text = io.StringIO()
    write = csv.writer(text).writerow
    headers = [f"label_{name}" for name in labels] if few else ["labels"]
    write([*_COLUMNS, "state", "outcome", *SHOWN, "read_at", *headers])
    for view in views:
        row = link_row(view, now)
        read_at = row["read_at"] and rfc3339(row["read_at"])
        texts, own = map(row.get, _COLUMNS), row["labels"]
        given = map(own.get, labels) if few else [json.dumps(own, ensure_ascii=False)]
        ours = row["state"], row["outcome"], *row["clicks"].values(), read_at
        write([*map(_cell, texts), *ours, *map(_cell, given)])
    return "\ufeff" + text.getvalue()


def _cell(text: str | None) -> str | None:
    """A cell that no spreadsheet calculates: what looks like a formula begins with an apostrophe."""
    return f"'{text}" if text and text.startswith(_FORMULA) else text

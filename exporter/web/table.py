"""The links as CSV, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from exporter.exposition import SHOWN
from exporter.web.report import link_row
from exporter.web.wording import rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from exporter.exposition import View

_COLUMNS = ("account", "link", "id", "url", "short_link", "state", "outcome")

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection")."""


def as_csv(views: Sequence[View], now: float) -> str:
    """One line a link. A figure that is withheld is empty; each label has a column of its own.

    It begins with a byte order mark, without which Excel takes UTF-8 for something else.
    """
    labels = sorted({name for view in views for name, _ in view.snapshot.link.labels})
    text = io.StringIO()
    write = csv.writer(text).writerow
    write([*_COLUMNS, *SHOWN, "read_at", *(f"label_{name}" for name in labels)])
    for view in views:
        row = link_row(view, None, now)
        read_at = row["read_at"] and rfc3339(row["read_at"])
        given = [row["labels"].get(name) for name in labels]
        write(map(_cell, [*(row[name] for name in _COLUMNS), *row["clicks"].values(), read_at, *given]))
    return "\ufeff" + text.getvalue()


def _cell(value: Any) -> Any:
    """A cell that no spreadsheet calculates: what looks like a formula begins with an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value

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

    from exporter.exposition import View

_COLUMNS = ("account", "link", "id", "url", "short_link")
"""Those whose text comes from outside; as labels do."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection")."""


def as_csv(views: Sequence[View], now: float) -> str:
    """One line a link. A figure that is withheld is empty; each label has a column of its own.

    It begins with a byte order mark, without which Excel takes UTF-8 for something else.
    """
    labels = sorted({name for view in views for name, _ in view.snapshot.link.labels})
    text = io.StringIO()
    write = csv.writer(text).writerow
    write([*_COLUMNS, "state", "outcome", *SHOWN, "read_at", *(f"label_{name}" for name in labels)])
    for view in views:
        row = link_row(view, now)
        read_at = row["read_at"] and rfc3339(row["read_at"])
        texts, given = map(row.get, _COLUMNS), map(row["labels"].get, labels)
        ours = row["state"], row["outcome"], *row["clicks"].values(), read_at
        write([*map(_cell, texts), *ours, *map(_cell, given)])
    return "\ufeff" + text.getvalue()


def _cell(text: str | None) -> str | None:
    """A cell that no spreadsheet calculates: what looks like a formula begins with an apostrophe."""
    return f"'{text}" if text and text.startswith(_FORMULA) else text

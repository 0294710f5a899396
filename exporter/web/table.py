"""The links as CSV, for a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from exporter.exposition import SHOWN
from exporter.web.report import link_row
from exporter.web.wording import rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.exposition import View

_COLUMNS = ("account", "link", "id", "url", "short_link")
"""Those whose text comes from outside; as labels do."""

MOST_COLUMNS = 200
"""Names of labels with a column each. Each of them makes every line longer."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection")."""


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

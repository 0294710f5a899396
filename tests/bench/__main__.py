"""``python -m tests.bench [scrape] [storage] [polling] [connections]``: the tables, on standard output.

All of them by default.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

from tests.bench import connections, polling, scrape, storage

if TYPE_CHECKING:
    from collections.abc import Iterable

Row = TypeVar("Row")


def main(wanted: list[str]) -> None:
    if not wanted or "scrape" in wanted:
        print(scrape.table(_shown(scrape.measure())), end="\n\n", flush=True)
    if not wanted or "storage" in wanted:
        print(storage.table(_shown(storage.measure())), end="\n\n", flush=True)
    if not wanted or "polling" in wanted:
        print(polling.table(polling.measure()), end="\n\n", flush=True)
    if not wanted or "connections" in wanted:
        print(connections.table(_shown(connections.measure())))


def _shown(rows: Iterable[Row]) -> list[Row]:
    """The rows as a list; that each is there is told on standard error."""
    done = []
    for row in rows:
        print("  measured", row, file=sys.stderr)
        done.append(row)
    return done


main(sys.argv[1:])

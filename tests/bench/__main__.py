"""``python -m tests.bench [scrape] [storage] [redis] [polling]`` prints the tables; all by default."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

from tests.bench import polling, redis_storage, scrape, storage

if TYPE_CHECKING:
    from collections.abc import Iterable

Row = TypeVar("Row")


def main(wanted: list[str]) -> None:
    if not wanted or "scrape" in wanted:
        print(scrape.table(_shown(scrape.measure())), end="\n\n", flush=True)
    if not wanted or "storage" in wanted:
        print(storage.table(_shown(storage.measure())), end="\n\n", flush=True)
    if not wanted or "redis" in wanted:
        print(redis_storage.table(_shown(redis_storage.measure())), end="\n\n", flush=True)
    if not wanted or "polling" in wanted:
        print(polling.table(polling.measure()))


def _shown(rows: Iterable[Row]) -> list[Row]:
    """The rows as a list; that each is there is told on standard error."""
    done = []
    for row in rows:
        print("  measured", row, file=sys.stderr)
        done.append(row)
    return done


main(sys.argv[1:])

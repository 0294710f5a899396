"""``memory:`` keeps nothing beyond the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.journal.journal import Appended, History, StoredReading
from exporter.limits import Unknown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from exporter.clock import Clock
    from exporter.journal.journal import Reader
    from exporter.limits import Answered, Sent
    from exporter.model import LinkKey

MOST_READINGS = 20_000
"""Links whose latest reading is kept, so that a link that returns with a reload keeps its counter."""


class MemoryJournal:
    """Remembers the latest readings; the ledger remembers what was sent.

    A process that ended a moment ago may have asked for any link, so a start counts two requests for each.
    """

    fail_closed = False
    up = True

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._readings: dict[LinkKey, StoredReading] = {}

    async def open(self, reader: Reader) -> History:
        """Nothing was kept."""
        return History(unknown=Unknown("the storage is memory: alone", attempts=2))

    async def append(self, requests: Sequence[Sent]) -> Appended:
        """Always ``YES``: there is no other process."""
        return Appended.YES

    def note(self, answer: Answered) -> None:
        """Keeps the reading; beyond a bound, drops the oldest one."""
        if answer.reading is None:
            return
        read_at = self._clock.time() - answer.elapsed
        stored = StoredReading(answer.link, answer.request.target, answer.reading, read_at, answer.total)
        self._readings[answer.link] = stored
        if len(self._readings) > MOST_READINGS:
            del self._readings[next(iter(self._readings))]

    async def read(self, links: Collection[LinkKey]) -> Iterable[StoredReading]:
        """What is remembered of these links."""
        return [self._readings[link] for link in links if link in self._readings]

    async def close(self) -> None:
        """There is nothing to write."""

"""What a journal takes and gives, and ``memory:``, which keeps nothing beyond the process.

How a request is claimed: see ``polling.recorder``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Protocol, Self

from exporter.clock import Clock
from exporter.limits import Answered, Dated, Sent
from exporter.limits.events import Unknown, encode
from exporter.model import MOST_CLICKS, Link, LinkKey, Reading, Snapshot, Target

FORGET_READINGS = 30 * 86_400.0
"""Seconds after which a shared journal deletes a reading: its link is probably no longer polled."""

_LATEST = 5e10
"""Seconds since the epoch: the year 3554. Before the epoch may be right, where a clock has not been set."""

MOST_READINGS = 20_000
"""Links whose latest reading is kept, so that a link that returns with a reload keeps its counter."""


class Appended(Enum):
    """Whether requests that are about to be sent were recorded, all of them or none.

    ``YES``: they are on record, even if this process dies. ``BEHIND``: another process appended an event that
    binds, and the journal's ``Reader`` did not know it when they were decided on. It knows it now, and has to
    decide again. ``NO``: the journal cannot be written.
    """

    YES = "yes"
    BEHIND = "behind"
    NO = "no"


@dataclass(frozen=True, slots=True)
class StoredReading:
    """The latest reading of a link, as a journal keeps it.

    ``read_at`` is wall-clock time; 0 means that it cannot be known any more.
    """

    link: LinkKey
    target: Target
    reading: Reading
    read_at: float
    total: int

    @classmethod
    def parse(cls, link: LinkKey, target: str, figures: str, read_at: float, total: int) -> Self:
        """The reading that was stored as ``texts``. Raises ``ValueError`` if no exporter wrote this."""
        try:
            kind, value = json.loads(target)
            if not (abs(read_at) < _LATEST and 0 <= total <= MOST_CLICKS):
                raise ValueError("its time or its counter is none")
            return cls(link, (kind, value), Reading.stored(json.loads(figures)), read_at, total)
        except (TypeError, RecursionError) as error:
            raise ValueError(str(error)) from None

    @property
    def texts(self) -> tuple[str, str]:
        """Target and figures, each as a line of JSON."""
        return encode(self.target), encode(self.reading)

    def under(self, link: Link) -> Snapshot:
        """The snapshot at a start. It does not say how the latest poll ended, for that is not stored."""
        return Snapshot(link, self.reading.of(link), self.read_at, self.total)


@dataclass(frozen=True, slots=True)
class History:
    """What a journal knows when it is opened.

    ``events`` are in their order, dated on the caller's clock. Logins that were last accepted before
    ``verified_since`` count as never accepted. ``unknown`` says what may be missing.
    """

    events: Sequence[Dated] = ()
    verified_since: float = inf
    unknown: Unknown | None = None


class Reader(Protocol):
    """Whoever decides by the journal's events. All methods are called on the event loop."""

    def learn(self, news: Sequence[Dated]) -> None:
        """Another process appended these events, in this order."""
        ...

    def assume(self, unknown: Unknown) -> None:
        """The journal forgot requests that others may have sent."""
        ...

    def readings(self) -> Iterable[StoredReading]:
        """The latest readings of the configured links, for a journal that forgot them."""
        ...


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

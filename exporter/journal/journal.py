"""What every journal offers. How a request is claimed: see ``polling.recorder``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Protocol, Self

from exporter.limits.events import compact
from exporter.model import MOST_CLICKS, Reading, Snapshot

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from exporter.limits import Answered, Dated, Sent, Unknown
    from exporter.model import Link, LinkKey, Target


FORGET_READINGS = 30 * 86_400.0
"""Seconds after which a shared journal deletes the reading of a link that is no longer polled."""

_LATEST = 5e10
"""Seconds since the epoch: the year 3554. Before the epoch may be right, where a clock has not been set."""


class Appended(Enum):
    """Whether requests were recorded. See ``Journal.append``."""

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
        return compact(self.target), compact(self.reading)

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


class Journal(Protocol):
    """Events in one order that all processes agree on.

    ``up`` says whether it can be written now. Where ``fail_closed`` is true, nothing may be sent while it is
    not ``up``; otherwise this process is alone and goes on from memory.
    """

    @property
    def fail_closed(self) -> bool:
        """Whether others may send as well. It may change."""
        ...

    @property
    def up(self) -> bool:
        """Whether the journal can be read and written at present."""
        ...

    async def open(self, reader: Reader) -> History:
        """Begins; ``reader`` hears from then on of what others append.

        Raises ``StorageError`` where it would not be safe to begin.
        """
        ...

    async def append(self, requests: Sequence[Sent]) -> Appended:
        """Records requests that are about to be sent, all of them or none.

        ``YES``: they are on record, even if this process dies. ``BEHIND``: another process appended an event
        that binds, and ``reader`` did not know it when this was called. It knows it now, and has to decide
        again. ``NO``: the journal cannot be written. Ends that were noted before are
        written first.
        """
        ...

    def note(self, answer: Answered) -> None:
        """Records an end soon, and its reading. Never waits."""
        ...

    async def read(self, links: Collection[LinkKey]) -> Iterable[StoredReading] | None:
        """The latest readings of these links, where there are any; None while they cannot be read."""
        ...

    async def close(self) -> None:
        """Writes what is left, and closes the journal."""
        ...

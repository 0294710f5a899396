"""What waits for the next round trip to Redis, and when the round trip is due."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from exporter.journal.redis_wire import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from exporter.journal.journal import Appended
    from exporter.journal.redis_script import Entry
    from exporter.limits import Sent

LOOK = 0.25
"""Seconds after which news is asked for, if nothing is to be appended."""

PACE = 0.02
"""Seconds between two round trips while others append, and the longest that a plain end waits."""

OTHERS = 1.0
"""Seconds since their latest event for which others count as active."""


@dataclass(slots=True)
class Claim:
    """A call of ``append`` that waits for its verdict."""

    requests: Sequence[Sent]
    verdict: asyncio.Future[Appended]

    def answer(self, verdict: Appended) -> None:
        """Gives the caller its verdict, unless it was cancelled."""
        if not self.verdict.done():
            self.verdict.set_result(verdict)


@dataclass(slots=True)
class Batch:
    """What one round trip carries. ``began`` is when it was first sent, in monotonic seconds."""

    entries: list[Entry]
    claims: list[Claim]
    began: float
    requests: dict[int, Sent] = field(init=False)

    def __post_init__(self) -> None:
        self.requests = {sent.number: sent for claim in self.claims for sent in claim.requests}

    def answer(self, verdict: Appended) -> None:
        """Gives all callers the verdict."""
        for claim in self.claims:
            claim.answer(verdict)


class Outbox:
    """Entries and claims that wait. Its times are those of the event loop: it only decides how long to sleep.

    ``look`` is how often a round trip is due even if nothing waits, in seconds; ``inf`` for never.
    """

    def __init__(self, look: float) -> None:
        self._look = look
        self._entries: deque[Entry] = deque()
        self._claims: list[Claim] = []
        self._wake = asyncio.Event()
        self._urgent = False
        self._last_trip = self._waits_since = 0.0
        self._others_until = -inf

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry, *, urgent: bool) -> None:
        """Adds an entry that is sent soon, or at once if it is urgent."""
        if not self._entries:
            self._waits_since = _now()
        self._entries.append(entry)
        self._urgent |= urgent
        self._wake.set()

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Puts entries before all others."""
        self._entries.extendleft(reversed(list(entries)))

    def claim(self, requests: Sequence[Sent]) -> Claim:
        """Adds requests, which are sent at once."""
        claim = Claim(requests, asyncio.get_running_loop().create_future())
        self._claims.append(claim)
        self._urgent = True
        self._wake.set()
        return claim

    def answer_claims(self, verdict: Appended) -> None:
        """Answers all claims that wait: with ``BEHIND`` if news that binds came after their decision."""
        Batch([], self._claims, 0).answer(verdict)
        self._claims = []

    def take(self, now: float) -> Batch:
        """The next batch. Requests wait until all that was noted before them is written."""
        self._last_trip = _now()
        entries = [self._entries.popleft() for _ in range(min(CHUNK, len(self._entries)))]
        self._urgent = bool(self._entries)
        if self._urgent:
            return Batch(entries, [], now)
        claims, self._claims = self._claims, []
        return Batch(entries, [claim for claim in claims if not claim.verdict.cancelled()], now)

    def others_are_active(self) -> None:
        """Another process appended events: for a while, round trips leave it time between them."""
        self._others_until = _now() + OTHERS

    def wake(self) -> None:
        """Ends the wait."""
        self._wake.set()

    async def is_due(self) -> bool:
        """Waits until a round trip may have become due; returns whether it has."""
        due = self._due_at() - _now()
        if due > 0:
            self._wake.clear()
            await wait(self._wake, due)
        return due <= 0

    def _due_at(self) -> float:
        earliest = self._last_trip + PACE if self._last_trip < self._others_until else -inf
        if self._urgent:
            return earliest
        if self._entries:
            return max(earliest, self._waits_since + PACE)
        return self._last_trip + self._look


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Waits for the event, so many seconds at most."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), None if seconds == inf else seconds)


def _now() -> float:
    return asyncio.get_running_loop().time()

"""What waits for the next write to a shared journal, and when that write is due."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from exporter.journal.journal import Appended, StoredReading
from exporter.limits import Event, Sent

PACE = 0.02
"""Seconds between two writes while others append, and the longest that a plain end waits."""

OTHERS = 1.0
"""Seconds since their latest event for which others count as active."""


class Entry(NamedTuple):
    """What is appended without a condition: an event, a link's latest reading, or both.

    ``at`` is when it became known, ``sent_at`` when the reading's request was sent, in monotonic seconds.
    """

    at: float
    event: Event | None = None
    reading: StoredReading | None = None
    sent_at: float = 0.0


class Claim(NamedTuple):
    """A call of ``append`` that waits for its verdict."""

    requests: Sequence[Sent]
    verdict: asyncio.Future[Appended]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one write carries."""

    entries: list[Entry]
    claims: list[Claim]
    requests: dict[int, Sent]

    def answer(self, verdict: Appended) -> None:
        """Gives all callers the verdict, unless they were cancelled."""
        for claim in self.claims:
            if not claim.verdict.done():
                claim.verdict.set_result(verdict)


class Outbox:
    """Entries and claims that wait. Its times are those of the event loop: it only decides how long to sleep.

    A write is due every ``look`` seconds even if nothing waits. It carries ``most`` entries at most.
    """

    def __init__(self, look: float, most: int) -> None:
        self._look = look
        self._most = most
        self._entries: deque[Entry] = deque()
        self._claims: list[Claim] = []
        self._wake = asyncio.Event()
        self._urgent = False
        self._last_write = self._waits_since = 0.0
        self._others_until = -inf

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry, *, urgent: bool) -> None:
        """Adds an entry that is written soon, or at once if it is urgent."""
        if not self._entries:
            self._waits_since = loop_time()
        self._entries.append(entry)
        self._urgent |= urgent
        self._wake.set()

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Puts entries before all others."""
        self._entries.extendleft(reversed(list(entries)))
        self._urgent |= bool(self._entries)

    def claim(self, requests: Sequence[Sent]) -> asyncio.Future[Appended]:
        """Adds requests, which are written at once; returns their verdict to come."""
        claim = Claim(requests, asyncio.get_running_loop().create_future())
        self._claims.append(claim)
        self._urgent = True
        self._wake.set()
        return claim.verdict

    def answer_claims(self, verdict: Appended) -> None:
        """Answers all claims that wait: with ``BEHIND`` if news that binds came after their decision."""
        Batch([], self._claims, {}).answer(verdict)
        self._claims = []

    def take(self) -> Batch:
        """The next batch. Requests wait until all that was noted before them is written."""
        self.looked()
        entries = [self._entries.popleft() for _ in range(min(self._most, len(self._entries)))]
        self._urgent = bool(self._entries)
        if self._urgent:
            return Batch(entries, [], {})
        claims = [claim for claim in self._claims if not claim.verdict.cancelled()]
        self._claims = []
        return Batch(entries, claims, {sent.number: sent for claim in claims for sent in claim.requests})

    def others_are_active(self) -> None:
        """Another process appended events: for a while, writes leave it time between them."""
        self._others_until = loop_time() + OTHERS

    def looked(self) -> None:
        """The next look is due ``look`` seconds from now."""
        self._last_write = loop_time()

    def wake(self) -> None:
        """Ends the wait."""
        self._wake.set()

    async def is_due(self, until: float) -> bool:
        """Waits until a write may have become due, at most ``until``; returns whether it has."""
        due = self._due_at()
        if due > loop_time():
            self._wake.clear()
            await wait(self._wake, min(due, until) - loop_time())
        return due <= loop_time()

    def _due_at(self) -> float:
        earliest = self._last_write + PACE if self._last_write < self._others_until else -inf
        if self._urgent:
            return earliest
        if self._entries:
            return max(earliest, self._waits_since + PACE)
        return self._last_write + self._look


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Waits for the event, so many seconds at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(None if seconds == inf else max(0.0, seconds)):
            await event.wait()


def loop_time() -> float:
    """The event loop's time, in seconds."""
    return asyncio.get_running_loop().time()

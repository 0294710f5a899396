"""A journal in memory that several exporters of one test share, with all that a real one may do to them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from random import Random

from exporter.journal import Appended, History, MemoryJournal, Reader, StoredReading
from exporter.limits import Answered, Dated, Event, Sent, Unknown
from exporter.limits.constants import (
    ABANDONED_TTL,
    FAILED_LOGIN_LIMIT,
    RATE_WINDOW,
    SEND_BY,
    VERIFIED_TTL,
)
from exporter.limits.events import binds, decode, encode
from exporter.model import LinkKey
from tests.virtual import VirtualClock


@dataclass
class SharedLog:
    """The events of all exporters, in their order, with the moment of each.

    ``alone`` says that one exporter at a time has it, as with a file: what an earlier one left is an orphan,
    dated by the machine's clock. Otherwise a start dates what it finds by its receipt, as with Redis.
    """

    clock: VirtualClock
    random: Random
    alone: bool = False
    latency: tuple[float, float] = (0.0, 0.0)
    lost_replies: float = 0.0
    reply_delay: float = 1.0
    down: bool = False
    events: list[tuple[float, str]] = field(default_factory=list)
    readings: dict[LinkKey, tuple[float, StoredReading]] = field(default_factory=dict)
    incarnation: int = 0

    def flush(self) -> None:
        """Forgets everything, as Redis may."""
        self.events, self.readings = [], {}
        self.incarnation += 1

    def journal(self) -> LogJournal:
        return LogJournal(self)


class LogJournal(MemoryJournal):
    """One exporter's view of the log."""

    def __init__(self, log: SharedLog) -> None:
        self._log = log
        self.fail_closed = not log.alone
        self.up = True
        self._position = 0
        self._looked_at = -inf
        self._learnt = 0
        self._incarnation = log.incarnation
        self._own: set[int] = set()
        self._kept: list[Event] = []
        self._noted: list[Answered] = []
        self._reader: Reader | None = None
        self._dead = False
        self._task: asyncio.Task[None] | None = None

    async def open(self, reader: Reader) -> History:
        self._reader = reader
        now, log = self._log.clock.monotonic(), self._log
        events = [
            Dated(decode(text), at if log.alone else now, at if log.alone else now, orphan=log.alone)
            for at, text in log.events
        ]
        self._position, self._looked_at = len(log.events), now
        if not log.alone:
            self._task = asyncio.create_task(self._look_again())
        return History(events, now - VERIFIED_TTL)

    async def append(self, requests: Sequence[Sent]) -> Appended:
        learnt = self._learnt  # the decision was made by what was known now
        await self._travel()
        if self._log.down:
            self.up = False
            return Appended.NO
        self._write_noted()
        self._news()
        if self._learnt != learnt:
            return Appended.BEHIND
        for sent in requests:
            self._write(sent)
        if self._log.random.random() < self._log.lost_replies:
            await asyncio.sleep(self._log.reply_delay)  # the news then holds our own numbers
        await self._travel()
        return Appended.YES

    async def _travel(self) -> None:
        await asyncio.sleep(self._log.random.uniform(*self._log.latency))

    def note(self, answer: Answered) -> None:
        if self._dead:
            return
        self._noted.append(answer)
        if answer.binds and not self._log.down:
            self._write_noted()

    def _write_noted(self) -> None:
        noted, self._noted = self._noted, []
        for answer in noted:
            self._write(answer)
            if answer.reading is not None:
                target = answer.request.target
                read_at = self._log.clock.time() - answer.elapsed
                stored = StoredReading(answer.link, target, answer.reading, read_at, answer.total)
                self._log.readings[answer.link] = self._log.clock.monotonic(), stored

    def _write(self, event: Event) -> None:
        self._own.add(event.number)
        self._kept.append(event)
        self._log.events.append((self._log.clock.monotonic(), encode(event)))

    def _news(self) -> None:
        """Hands over what others appended, and counts what of it binds."""
        assert self._reader is not None
        now = self._log.clock.monotonic()
        if self._incarnation != self._log.incarnation:
            self._forgotten()
        unread = [decode(text) for _, text in self._log.events[self._position :]]
        news = [event for event in unread if event.number not in self._own]
        self._position = len(self._log.events)
        earliest, self._looked_at = self._looked_at, now
        if news:
            self._kept += news
            self._reader.learn([Dated(event, earliest, now) for event in news])
        self._learnt += sum(map(binds, news))

    def _forgotten(self) -> None:
        assert self._reader is not None
        self._incarnation, self._position = self._log.incarnation, 0
        known = {decode(text).number for _, text in self._log.events}
        for event in self._kept:
            if event.number not in known:
                self._log.events.append((self._log.clock.monotonic(), encode(event)))
        self._position = len(self._log.events)
        self._learnt += 1
        seconds = SEND_BY + 2 * ABANDONED_TTL + RATE_WINDOW
        self._reader.assume(Unknown("flushed", seconds, FAILED_LOGIN_LIMIT - 1))

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(0.25)
            self.up = not self._log.down
            if self.up:
                self._write_noted()
                self._news()

    async def read(self, links: Collection[LinkKey]) -> Iterable[StoredReading]:
        return [self._log.readings[link][1] for link in links if link in self._log.readings]

    async def close(self) -> None:
        if not self._log.down:
            self._write_noted()
        self.kill()

    def kill(self) -> None:
        """Ends without writing anything."""
        self._dead = True
        if self._task is not None:
            self._task.cancel()

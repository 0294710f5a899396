"""A journal that several processes write: the part that SQLite and Redis have in common.

One task makes one write after another; calls that come meanwhile share the next write. A write is refused if
another process appended an event that binds since the last look, and brings that event as news.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Protocol

import structlog

from exporter.clock import Clock
from exporter.errors import StorageError
from exporter.journal.journal import Appended, History, Reader, StoredReading
from exporter.journal.kept import Kept, without_reading
from exporter.journal.outbox import Batch, Entry, Outbox, loop_time, wait
from exporter.limits import Answered, Dated, Sent
from exporter.limits.events import binds
from exporter.model import LinkKey

log = structlog.stdlib.get_logger(__name__)

CLOSING = 1.5
"""Seconds that the last write may take."""


class LostError(Exception):
    """The storage failed, and may work again later."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a write brought: whether the requests are on record, and the events appended since the last."""

    recorded: bool
    news: Sequence[Dated]


class Store(Protocol):
    """Where a ``SharedJournal`` keeps its events. Calls follow one another; each may raise ``LostError``.

    ``name`` names it in the log. ``look`` is how often (seconds) news is asked for if nothing is to be
    written, and ``most`` how many entries one write takes. For ``fail_closed`` see ``SharedJournal``.
    """

    name: str
    fail_closed: bool
    look: float
    most: int

    def pause(self, tries: int) -> float:
        """Seconds until the storage is tried again, after so many tries."""
        ...

    async def enter(self, *, again: bool, missed: bool) -> History | None:
        """Connects. Returns all events, or None if nothing was forgotten or ``missed`` since the last write.

        ``again`` is false at the start: then raises ``StorageError`` if it would not be safe to begin.
        """
        ...

    async def write(self, entries: Sequence[Entry], requests: Collection[Sent]) -> Written | None:
        """Appends the entries, and the requests unless the news binds. None: it forgot, and wrote nothing."""
        ...

    async def write_alone(self, entries: Sequence[Entry], requests: Collection[Sent]) -> Written:
        """Notes that the storage lacks these. Only called if not ``fail_closed``."""
        ...

    async def read(self, links: Sequence[LinkKey]) -> list[StoredReading]:
        """The latest readings of these links, where there are any."""
        ...

    async def close(self) -> None:
        """Closes the storage. Never raises ``LostError``."""
        ...


class SharedJournal:
    """Events in ``store``, in one order that all processes agree on.

    A request that was answered with ``NO`` may be on record nevertheless; the journal then notes that it was
    not sent. Another try needs another number.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._using = asyncio.Lock()
        self._kept = Kept()
        self._outbox = Outbox(store.look, store.most)
        self._reader: Reader
        self._connected = self._failing = self._entered = self._missed = False
        self._refusal = ""
        self._tries = 0
        self._retry_at = 0.0
        self._closing = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    @property
    def fail_closed(self) -> bool:
        """Whether others may send as well, so that nothing may be sent while it is not ``up``. It may change.

        Otherwise this process is alone, and goes on from memory.
        """
        return self._store.fail_closed

    @property
    def up(self) -> bool:
        """Whether the storage can be read and written at present."""
        return self._connected and not self._failing

    # --- for the exporter ---------------------------------------------------------------------------------

    async def open(self, reader: Reader) -> History:
        """Begins; ``reader`` hears from then on of what others append, even if the storage is away now.

        Raises ``StorageError`` if the storage refuses us or is not ours, or where it is not safe to begin.
        """
        self._reader, history = reader, None
        try:
            history = await self._enter()
        except LostError as lost:
            self._lose(lost)
        except StorageError:
            await self._store.close()
            raise
        self._work = asyncio.create_task(self._run())
        return history or History()

    async def append(self, requests: Sequence[Sent]) -> Appended:
        """Records requests that are about to be sent. Ends that were noted before are written first."""
        if self._closing.is_set() or (self.fail_closed and not self.up):
            return Appended.NO
        return await self._outbox.claim(requests)

    def note(self, answer: Answered) -> None:
        """Records an end, and its reading, with the next write. That begins at once if the end binds.

        Never waits.
        """
        now, reading = self._clock.monotonic(), None
        if answer.reading is not None:
            target, read_at = answer.request.target, self._clock.time() - answer.elapsed
            reading = StoredReading(answer.link, target, answer.reading, read_at, answer.total)
        self._outbox.add(Entry(now, answer, reading, now - answer.elapsed), urgent=answer.binds)

    async def read(self, links: Collection[LinkKey]) -> Iterable[StoredReading] | None:
        """The latest readings of these links, where there are any; None while the storage is down."""
        await self.append(())
        async with self._using:
            try:
                return await self._read(list(links)) if self.up else None
            except LostError as lost:
                self._lose(lost)
                return None

    async def _read(self, links: list[LinkKey]) -> list[StoredReading]:
        try:
            return await self._store.read(links)
        except LostError:  # a connection may have been closed as idle
            self._hand_over(await self._enter())
            return await self._store.read(links)

    async def close(self) -> None:
        """Writes what was noted, if the storage works."""
        self._closing.set()
        self._outbox.wake()
        if self._work is not None:
            await asyncio.wait((self._work,), timeout=CLOSING)
            while not self._work.done():  # redis loses a cancellation that comes as all is sent (Python 3.11)
                self._work.cancel()
                await asyncio.wait((self._work,), timeout=0.1)
        self._connected = False
        self._outbox.answer_claims(Appended.NO)
        if self._outbox:
            log.warning("storage_not_written", storage=self._store.name, events=len(self._outbox))
        await self._store.close()

    # --- one write after another --------------------------------------------------------------------------

    async def _run(self) -> None:
        while not self._closing.is_set():
            if not self._connected and self._retry_at <= loop_time():
                await self._come_back()
            elif not self._connected and self.fail_closed:
                await wait(self._closing, self._retry_at - loop_time())
            elif await self._outbox.is_due(inf if self._connected else self._retry_at):
                await self._exchange()
        if not self._connected and not self.fail_closed:
            await self._come_back()
        while self._connected and self._outbox:
            await self._exchange()

    async def _exchange(self) -> None:
        await asyncio.sleep(0)  # calls of the same moment share the write
        async with self._using:
            batch = self._outbox.take()
            try:
                written = await self._write(batch)
                if written is not None:
                    self._receive(batch, written)
            except BaseException as error:
                self._give_up(batch)
                if not isinstance(error, Exception):
                    raise
                self._lose(error)
                return
        if written is None:
            self._outbox.put_back(batch.entries)
            batch.answer(Appended.BEHIND)

    async def _write(self, batch: Batch) -> Written | None:
        """Writes the batch; once more if that fails, for a connection may have been closed as idle.

        Returns None if the storage has forgotten what was written: nothing was appended then.
        """
        requests = batch.requests.values()
        try:
            if not self._connected:
                return await self._store.write_alone(batch.entries, requests)
            written = await self._store.write(batch.entries, requests)
        except LostError as lost:
            if not self.fail_closed:
                self._lose(lost)
                return await self._store.write_alone(batch.entries, requests)
            if (history := await self._enter()) is not None:
                self._hand_over(history)
                return None
            written = await self._store.write(batch.entries, requests)
        if written is None:
            self._hand_over(await self._enter())
        return written

    def _receive(self, batch: Batch, written: Written) -> None:
        now = self._clock.monotonic()
        for entry in batch.entries:
            if entry.event is not None:
                self._kept.add(entry.event, entry.at)
        if written.recorded:
            for sent in batch.requests.values():
                self._kept.add(sent, now)
        others = self._sift(written.news, batch.requests)
        if others:
            self._outbox.others_are_active()
            self._learn(others)
        # If the news holds a request of ours, its reply was lost.
        granted = written.recorded or any(self._kept.knows(sent) for sent in batch.requests.values())
        batch.answer(Appended.YES if granted else Appended.BEHIND)

    def _sift(self, news: Iterable[Dated], requests: Collection[int]) -> list[Dated]:
        """Remembers all events; returns those that others appended and that are new here."""
        others = []
        for one in news:
            if not self._kept.knows(one.event):
                self._kept.add(one.event, one.latest)
                if one.event.number not in requests:
                    others.append(one)
        return others

    def _learn(self, news: Sequence[Dated]) -> None:
        """Hands news over. Requests that wait were decided without it, and have to be decided again."""
        if any(binds(one.event) for one in news):
            self._outbox.answer_claims(Appended.BEHIND)
        self._reader.learn(news)

    def _give_up(self, batch: Batch) -> None:
        """It is unknown whether the batch is appended: a frozen server may append it when it wakes."""
        now = self._clock.monotonic()
        self._outbox.put_back(batch.entries)
        for sent in batch.requests.values():
            unsent = Answered(sent.request, sent.number, None)
            self._kept.add(unsent, now)
            self._outbox.add(Entry(now, unsent), urgent=False)
        batch.answer(Appended.NO)

    # --- losing the storage, and finding it again ---------------------------------------------------------

    def _lose(self, error: Exception) -> None:
        """The storage cannot be used. After an error in our own code, news may have been missed."""
        bug = None if isinstance(error, LostError) else error
        if bug is not None or not self._failing:
            log.error("storage_failed", storage=self._store.name, reason=str(error), exc_info=bug)
        self._missed |= bug is not None
        self._connected, self._failing, self._tries = False, True, 0
        self._retry_at = loop_time() + self._store.pause(self._tries)
        if self.fail_closed:
            self._outbox.answer_claims(Appended.NO)

    async def _come_back(self) -> None:
        """One try. The storage works again once it has taken what it lacks."""
        self._tries += 1
        self._retry_at = loop_time() + self._store.pause(self._tries)
        async with self._using:
            try:
                self._hand_over(await self._enter())
            except LostError as lost:
                log.debug("storage_not_back", storage=self._store.name, reason=str(lost))
                if self.fail_closed:
                    self._outbox.answer_claims(Appended.NO)
            except Exception as error:
                self._lose(error)
        if self._connected:
            await self._exchange()
        if self._connected:
            self._failing = False
            log.warning("storage_works_again", storage=self._store.name)

    async def _enter(self) -> History | None:
        """Connects. Puts back what the storage forgot; returns what it knows, None if it forgot nothing."""
        try:
            history = await self._store.enter(again=self._entered, missed=self._missed)
        except StorageError as refused:
            if self._work is None:
                raise
            self._say_refused(str(refused))
            raise LostError(str(refused)) from None  # it has begun: it may be let in later
        if history is not None:
            history = self._compared(history)
        self._connected = self._entered = True
        self._missed, self._refusal = False, ""
        self._outbox.looked()
        return history

    def _say_refused(self, reason: str) -> None:
        if reason != self._refusal:
            self._refusal = reason
            log.error("storage_failed", storage=self._store.name, reason=reason)

    def _compared(self, history: History) -> History:
        """The history without what was known here before. What the storage lacks is put back into it."""
        now = self._clock.monotonic()
        if self._entered:
            self._outbox.put_back([*self._kept.missing(now, history.events), *self._readings(now)])
        if (unknown := history.unknown) is not None:
            log.warning(
                "storage_unsure", storage=self._store.name, reason=unknown.reason, seconds=unknown.seconds
            )
        events = [replace(one, event=without_reading(one.event)) for one in history.events]
        return replace(history, events=self._sift(events, ()))

    def _readings(self, now: float) -> list[Entry]:
        """The latest readings, to put them back. One whose age is not known is of no use."""
        wall = self._clock.time()
        return [
            Entry(now, reading=one, sent_at=now - (wall - one.read_at))
            for one in self._reader.readings()
            if one.read_at
        ]

    def _hand_over(self, history: History | None) -> None:
        if history is None:
            return
        self._learn(history.events)
        if history.unknown is not None:
            self._reader.assume(history.unknown)

"""Where events can be kept, for tests: open, close and crash a journal without knowing which it is."""

from __future__ import annotations

import asyncio
import functools
import shutil
from collections.abc import Callable, Coroutine, Iterable, Sequence
from math import inf
from pathlib import Path
from typing import Any

from exporter.clock import Clock
from exporter.errors import Outcome
from exporter.journal import Appended, History, Journal, MemoryJournal, SharedJournal, StoredReading
from exporter.journal.sqlite import SqliteStore
from exporter.journal.sqlite_mark import parsed
from exporter.limits import Answered, Dated, Request, Sent, Unknown
from exporter.model import LinkKey
from tests.factories import make_reading
from tests.virtual import VirtualClock

HOST = "smscentre.com"

SOON = 0.1
"""Seconds between two tries to write, for tests that wait for them."""


class Writer:
    """One process: a journal, and what it heard. ``history`` is what it found at its start."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self.journal = journal
        self.clock = clock
        self.history = History()
        self.news: list[Dated] = []
        self.unknown: list[Unknown] = []
        self.noted: dict[LinkKey, StoredReading] = {}

    def readings(self) -> Iterable[StoredReading]:
        return self.noted.values()

    def note(self, answer: Answered) -> None:
        """Notes an end, and remembers its reading as the exporter does."""
        self.journal.note(answer)
        if answer.reading is not None:
            read_at = self.clock.time() - answer.elapsed
            target, total = answer.request.target, answer.total
            self.noted[answer.link] = StoredReading(answer.link, target, answer.reading, read_at, total)

    async def read(self, links: Sequence[LinkKey]) -> list[StoredReading]:
        """The latest readings of these links; the journal has to work."""
        stored = await self.journal.read(links)
        assert stored is not None
        return list(stored)

    def learn(self, news: Sequence[Dated]) -> None:
        self.news.extend(news)

    def assume(self, unknown: Unknown) -> None:
        self.unknown.append(unknown)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the events that others appended."""
        return [dated.event.number for dated in self.news]

    @property
    def known(self) -> list[int]:
        """The numbers of the events that the journal knew at the start."""
        return [dated.event.number for dated in self.history.events]

    async def open(self) -> Writer:
        self.history = await self.journal.open(self)
        return self

    async def send(self, *requests: Sent) -> Appended:
        return await self.journal.append(requests)

    async def sent(self, link: int = 1, **fields: Any) -> Sent:
        """One request that is on record."""
        request = sent(link, **fields)
        while (answer := await self.send(request)) is Appended.BEHIND:
            pass
        assert answer is Appended.YES
        return request

    async def settled(self) -> None:
        """What was noted before is written by now."""
        await self.journal.append(())


class Place:
    """A place without a memory; the others are made of it. Processes there are made by ``writer``."""

    shared = False
    """Whether several processes can use it at the same time."""
    lasting = False
    """Whether it outlives the process."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.opened: list[Writer] = []

    def make(self) -> Journal:
        return MemoryJournal(self.clock)

    async def writer(self) -> Writer:
        """A process that has opened the journal."""
        writer = await Writer(self.make(), self.clock).open()
        self.opened.append(writer)
        return writer

    async def another(self) -> Writer:
        """One more, beside one that is there."""
        return await self.writer()

    async def close(self, writer: Writer) -> None:
        self.opened.remove(writer)
        await writer.journal.close()

    async def crash(self, writer: Writer) -> None:
        """The process is gone without a word; its descriptors are closed at the end of the test."""


class SqlitePlace(Place):
    """One file. ``crash`` goes on with what is on the disk at that moment."""

    shared = lasting = True

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.boot = "this boot"
        self.file = folder / "0" / "exporter.db"

    def make(self, *, guest: bool = False) -> SharedJournal:
        store = SqliteStore(self.file, self.clock, guest=guest, boot=self.boot, retry=SOON)
        store.look = inf  # what is appended is found by the test's own calls alone
        return SharedJournal(store, self.clock)

    async def another(self) -> Writer:
        guest = await Writer(self.make(guest=True), self.clock).open()
        self.opened.append(guest)
        return guest

    async def crash(self, writer: Writer) -> None:
        before = self.file.parent
        self.file = before.parent / f"{int(before.name) + 1}" / "exporter.db"
        shutil.copytree(before, self.file.parent)

    def beside(self, suffix: str) -> Path:
        return self.file.with_name(self.file.name + suffix)

    @property
    def mark(self) -> list[str]:
        """Its last event, whether a failed login or a block counts, and its state."""
        mark = parsed(self.beside(".lock").read_bytes())
        return [str(mark.last), "grave" if mark.failures_until > 0 else "light", str(mark.state)]

    @property
    def aside(self) -> list[str]:
        return sorted(path.name for path in self.file.parent.glob("*.damaged-?"))

    def reboot(self) -> None:
        self.boot += "'"
        self.clock.elapsed = 5.0


def scenario(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs a test that is a coroutine, then closes the journals that its places opened."""

    async def run(named: dict[str, Any]) -> None:
        try:
            await test(**named)
        finally:
            places = [value for value in named.values() if isinstance(value, Place)]
            for writer in [writer for place in places for writer in place.opened]:
                await writer.journal.close()

    @functools.wraps(test)
    def wrapper(**named: Any) -> None:
        asyncio.run(run(named))

    return wrapper


def sent(link: int = 1, *, login: str = "alex", timeout: float = 10.0) -> Sent:
    return Sent(Request(HOST, f"{HOST}/{login}", f"{HOST}/{login}/x", ("id", str(link)), timeout))


def answered(request: Sent, **fields: Any) -> Answered:
    return Answered(request.request, request.number, **{"outcome": Outcome.OK, **fields})


def read(request: Sent, all_time: int = 7, *, total: int = 7, name: str = "link", **fields: Any) -> Answered:
    """The end of a request that brought figures."""
    figures = make_reading(all_time)
    return answered(request, link=("main", name), reading=figures, total=total, **fields)


def refused(request: Sent, outcome: Outcome = Outcome.UNAUTHORIZED) -> Answered:
    return answered(request, outcome=outcome, binds=True, lasting=True)

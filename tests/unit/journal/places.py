"""Where events can be kept, for tests: open, close and crash a journal without knowing which it is."""

from __future__ import annotations

import asyncio
import functools
import shutil
from typing import TYPE_CHECKING, Any

from exporter.errors import Outcome
from exporter.journal import Appended, History, Journal, MemoryJournal
from exporter.journal.sqlite import SqliteJournal
from exporter.limits import Answered, Dated, Request, Sent, Unknown
from tests.factories import make_reading
from tests.virtual import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

HOST = "smscentre.com"

SOON = 0.1
"""Seconds between two tries to write, for tests that wait for them."""


class Writer:
    """One process: a journal, and what it heard. ``history`` is what it found at its start."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.history = History()
        self.news: list[Dated] = []
        self.unknown: list[Unknown] = []

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
        writer = await Writer(self.make()).open()
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

    def make(self) -> SqliteJournal:
        return SqliteJournal(self.file, self.clock, boot=self.boot, retry=SOON)

    async def another(self) -> Writer:
        guest = await Writer(SqliteJournal(self.file, self.clock, guest=True, boot=self.boot)).open()
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
        return self.beside(".lock").read_text().split()

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

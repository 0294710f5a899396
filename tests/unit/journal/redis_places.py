"""A Redis server, several journals on it, and what each of them was told."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from exporter.errors import Outcome
from exporter.journal import Appended, History, StoredReading, journal_for
from exporter.limits import Answered, Dated, Event, Ledger, Request, Sent, Unknown
from exporter.model import LinkKey
from exporter.polling.recorder import Recorder
from exporter.secret import SecretStr
from tests.factories import make_reading
from tests.processes import PATIENCE
from tests.redis_servers import Server
from tests.virtual import VirtualClock

HOST = "smscentre.com"
LINK = ("main", "spring-sale")


class Listener:
    """A reader that keeps what it is told."""

    def __init__(self) -> None:
        self.news: list[Dated] = []
        self.unknown: list[Unknown] = []
        self.known: dict[LinkKey, StoredReading] = {}

    def learn(self, news: Sequence[Dated]) -> None:
        self.news += news

    def assume(self, unknown: Unknown) -> None:
        self.unknown.append(unknown)

    def readings(self) -> Iterable[StoredReading]:
        return self.known.values()

    @property
    def numbers(self) -> list[int]:
        return [one.event.number for one in self.news]


class Replica:
    """One process: its journal, its reader, and what it found when it began."""

    def __init__(self, url: SecretStr, clock: VirtualClock, *, guest: bool = False) -> None:
        self.journal = journal_for(url, clock, guest=guest)
        self.clock = clock
        self.listener = Listener()
        self.history: History

    def recorder(self) -> Recorder:
        """What asks the journal in the exporter."""
        return Recorder(Ledger(), self.journal, self.clock, self.listener.learn)

    async def append(self, *requests: Sent) -> Appended:
        return await self.journal.append(requests)

    def note(self, answer: Answered) -> None:
        """Notes an end, and remembers its reading as the exporter does."""
        self.journal.note(answer)
        if answer.reading is not None:
            read_at = self.clock.time() - answer.elapsed
            target, total = answer.request.target, answer.total
            stored = StoredReading(answer.link, target, answer.reading, read_at, total)
            self.listener.known[answer.link] = stored

    async def read(self, links: Sequence[LinkKey]) -> list[StoredReading]:
        """The latest readings of these links; the journal has to work."""
        stored = await self.journal.read(links)
        assert stored is not None
        return list(stored)

    async def settled(self) -> None:
        """All that was noted before is written, and all news learnt."""
        await self.journal.append(())

    @property
    def found(self) -> list[Event]:
        return [dated.event for dated in self.history.events]


class RedisPlace:
    """The server under test, and the replicas on it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.replicas: list[Replica] = []

    def mature(self) -> None:
        """As if exporters had shared the server for hours: nothing may be missing in it."""
        self.server.age()

    async def open(
        self, url: SecretStr | None = None, *, guest: bool = False, clock: VirtualClock | None = None
    ) -> Replica:
        replica = Replica(url or self.server.url, clock or VirtualClock(), guest=guest)
        self.replicas.append(replica)
        replica.history = await replica.journal.open(replica.listener)
        return replica

    async def close(self, replica: Replica) -> None:
        self.replicas.remove(replica)
        await replica.journal.close()


def scenario(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs a test that is a coroutine, then closes the journals that its places opened."""

    async def run(named: dict[str, Any]) -> None:
        try:
            await test(**named)
        finally:
            for place in [value for value in named.values() if isinstance(value, RedisPlace)]:
                for replica in place.replicas:
                    await replica.journal.close()

    @functools.wraps(test)
    def wrapper(**named: Any) -> None:
        asyncio.run(run(named))

    return wrapper


async def until(ready: Callable[[], Any]) -> None:
    """Waits for what comes about by itself."""
    async with asyncio.timeout(PATIENCE):
        while not ready():  # noqa: ASYNC110 - what is awaited happens in another process
            await asyncio.sleep(0.01)


def request(link: int = 1, **fields: Any) -> Request:
    given: dict[str, Any] = {
        "host": HOST,
        "login": f"{HOST}/alex",
        "secret": f"{HOST}/alex/fingerprint",
        "target": ("id", str(link)),
        "timeout": 10.0,
        **fields,
    }
    return Request(**given)


def sent(link: int = 1, **fields: Any) -> Sent:
    return Sent(request(link, **fields))


def answered(to: Sent, outcome: Outcome | None = Outcome.OK, **fields: Any) -> Answered:
    return Answered(to.request, to.number, outcome, **fields)


def refused(to: Sent) -> Answered:
    """An end that binds, and counts for hours."""
    return answered(to, Outcome.UNAUTHORIZED, binds=True, lasting=True)


def with_reading(to: Sent, clicks: int, *, total: int = 0, elapsed: float = 0.0) -> Answered:
    reading = make_reading(clicks, id=to.request.target[1])
    return answered(to, link=LINK, reading=reading, total=total or clicks, elapsed=elapsed)

"""Where state can be kept, for tests: open, close and crash a backend without knowing which it is."""

from __future__ import annotations

import asyncio
import functools
import shutil
from typing import TYPE_CHECKING, Any

from exporter.model import Snapshot, State
from exporter.rules import LINGER, SPAN
from exporter.store.backend import Attempt, Backend, Denied, Grant, Kept, MemoryBackend, Pause
from exporter.store.redis import RedisBackend
from exporter.store.redis_lua import GRACE
from exporter.store.sqlite import SqliteBackend
from tests.factories import make_link, make_reading
from tests.virtual import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from tests.redis_servers import Server

HOST = "smscentre.com"
LASTS = 70.0

UNKNOWN = SPAN + LASTS - LINGER
"""How long what others sent counts, of which nothing is known: from its end."""

SILENCE = GRACE + UNKNOWN
"""How long an exporter keeps silent that has just lost Redis."""


class AgedClock(VirtualClock):
    """The clock of a process that has lived for ``age`` seconds more, on a machine that is ``ahead``.

    ``asked`` is called whenever it is.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.age = 0.0
        self.ahead = 0.0
        self.asked: Callable[[], object] = int

    def monotonic(self) -> float:
        self.asked()
        return self._clock.monotonic() + self.age

    def time(self) -> float:
        return self._clock.time() + self.ahead


class Place:
    """A place without a memory; the others are made of it. ``kept`` is what the latest opening found."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.kept: dict[tuple[str, str], Kept] = {}
        self.opened: list[Backend] = []

    def make(self) -> Backend:
        return MemoryBackend()

    async def open(self, changed: Callable[[Kept], None] = lambda kept: None) -> Backend:
        backend = self.make()
        self.opened.append(backend)
        self.kept = {kept.key: kept for kept in await backend.open(changed)}
        return backend

    async def close(self, backend: Backend) -> None:
        self.opened.remove(backend)
        await backend.close()

    async def crash(self, backend: Backend) -> None:
        """The process is gone without a word; its descriptors are closed at the end of the test."""


class SqlitePlace(Place):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._lives = 0

    @property
    def _file(self) -> Path:
        return self._folder / str(self._lives) / "exporter.db"

    def make(self) -> Backend:
        return SqliteBackend(self._file, self.clock, "this boot")

    async def crash(self, backend: Backend) -> None:
        """Goes on with what is on the disk at this moment."""
        before = self._file.parent
        self._lives += 1
        shutil.copytree(before, self._file.parent)


class RedisPlace(Place):
    def __init__(self, server: Server) -> None:
        super().__init__()
        self._url = server.url
        server.age()
        start = self.clock.elapsed
        self.ahead: Callable[[], float] = lambda: self.clock.elapsed - start

    def make(self, home: str = "here") -> RedisBackend:
        self.own_clock = AgedClock(self.clock)
        return RedisBackend(self._url, self.own_clock, home=home, ahead=lambda: self.ahead())

    async def advance(self, seconds: float) -> None:
        """Time passes, and everybody says that it is still there."""
        self.clock.advance(seconds)
        for backend in self.opened:
            await settled(backend)


def scenario(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs a test that is a coroutine, then closes the backends that its places opened."""

    async def run(named: dict[str, Any]) -> None:
        try:
            await test(**named)
        finally:
            places = [value for value in named.values() if isinstance(value, Place)]
            for backend in [backend for place in places for backend in place.opened]:
                await backend.close()

    @functools.wraps(test)
    def wrapper(**named: Any) -> None:
        asyncio.run(run(named))

    return wrapper


def attempt(link: int = 1, **fields: Any) -> Attempt:
    given: dict[str, Any] = {
        "host": HOST,
        "login": f"{HOST}/alex",
        "secret": f"{HOST}/alex/hunter2",
        "target": ("id", str(link)),
        "apart": 0.0,
        "lasts": LASTS,
        "proven": True,
        **fields,
    }
    return Attempt(**given)


async def granted(backend: Backend, asked: Attempt) -> Grant:
    answer = await backend.claim(asked)
    assert isinstance(answer, Grant), answer
    assert answer.attempt == asked
    return answer


async def denied(backend: Backend, asked: Attempt) -> Denied:
    answer = await backend.claim(asked)
    assert isinstance(answer, Denied), answer
    assert answer.seconds > 0
    return answer


async def asked(backend: Backend, *, times: int, login_failed: bool = False, **fields: Any) -> None:
    """So many attempts were sent, and have ended."""
    for link in range(times):
        grant = await granted(backend, attempt(**{"link": 1000 + link, **fields}))
        backend.end(grant, login_failed=login_failed)


async def settled(backend: Backend) -> None:
    """What was said before is written by now: a claim that is decided comes after it."""
    await backend.claim(
        attempt(9999, host="other.example", login="other.example/x", secret="other.example/x/y")
    )


def held(answer: Denied, state: State, seconds: float, count: int) -> bool:
    """Whether the attempt was denied for this pause, with as much of it left, or less by a moment."""
    pause = answer.pause
    return (
        pause is not None
        and pause == Pause(state, answer.seconds, count)
        and abs(seconds - pause.seconds) < 5
    )


def snapshot(all_time: int = 7, *, read_at: float, total: int = 7, **fields: Any) -> Snapshot:
    return Snapshot(make_link(**fields), make_reading(all_time), read_at, total)

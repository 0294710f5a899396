"""What other exporters tell by way of Redis: readings, pauses, failed logins."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog

from exporter.model import State
from exporter.store.backend import Pause
from exporter.store.redis_local import Failure
from exporter.store.redis_script import LostError
from exporter.store.redis_wire import stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.clock import Clock
    from exporter.store.backend import Kept
    from exporter.store.redis_local import Ledger
    from exporter.store.redis_readings import Readings
    from exporter.store.redis_script import Script
    from exporter.store.redis_wire import Wire

log = structlog.stdlib.get_logger(__name__)

RESUBSCRIBE = 1.0
"""Seconds between the end of a subscription and the next."""


class News:
    """Listens for announcements, from before everything kept is loaded, so that nothing is missed.

    ``suspect`` is told when the subscription breaks; ``refused`` is why Redis won't have us listen, if so.
    """

    def __init__(
        self,
        wire: Wire,
        script: Script,
        ledger: Ledger,
        readings: Readings,
        clock: Clock,
        suspect: Callable[[], None],
    ) -> None:
        self.refused: LostError | None = None
        self._wire = wire
        self._script = script
        self._ledger = ledger
        self._readings = readings
        self._clock = clock
        self._suspect = suspect
        self._task: asyncio.Task[None] | None = None

    async def follow(self, changed: Callable[[Kept], None]) -> list[Kept]:
        """Begins to listen, and gives what is kept; ``changed`` is told of everything later."""
        first: list[Kept] = []
        loaded = asyncio.Event()
        self._told: Callable[[Kept], None] = first.append
        self._task = asyncio.create_task(self._run(loaded))
        await loaded.wait()
        # Nothing was awaited in between that could have been told to neither.
        self._told = changed
        return first

    async def close(self) -> None:
        """Listens no longer."""
        if self._task is not None:
            await stop(self._task)

    async def _run(self, loaded: asyncio.Event) -> None:
        while True:
            try:
                await self._listen(loaded)
            except LostError as lost:
                self.refused = lost if lost.refused else None
                self._suspect()
            except Exception:
                log.exception("storage_crashed")
            loaded.set()
            await asyncio.sleep(RESUBSCRIBE)

    async def _listen(self, loaded: asyncio.Event) -> None:
        async with aclosing(self._wire.listen(self._script.channel)) as messages:
            async for message in messages:
                if message is None:
                    await self._load()
                    loaded.set()
                else:
                    self._understand(message)

    async def _load(self) -> None:
        async with aclosing(self._wire.scan(self._script.readings)) as pages:
            async for now, page in pages:
                for field, value in page.items():
                    self._hear_keep(field, value, now + self._script.ahead)

    def _understand(self, message: str) -> None:
        try:
            writer, kind, *told = json.loads(message)
            if writer != self._script.writer or kind == "keep":
                getattr(self, f"_hear_{kind}")(*told)
        except (ValueError, TypeError, AttributeError):
            log.warning("storage_not_understood", what="an announcement", exc_info=True)

    def _hear_keep(self, field: str, value: str, now: float) -> None:
        try:
            kept = self._script.kept(field, value, now, self._clock.time())
        except (ValueError, TypeError):
            log.warning("storage_not_understood", what=field)
        else:
            if kept is not None:
                now_here, wall = self._clock.monotonic(), self._clock.time()
                self._readings.hear(kept, now_here - (wall - kept.read_at) if kept.read_at else None)
                self._told(kept)

    def _hear_hold(self, name: str, state: str, left: float, count: int) -> None:
        pause = Pause(State(state), left / 1000, count) if state else None
        self._ledger.hold(name, pause, self._clock.monotonic())

    def _hear_hello(self) -> None:
        """Somebody found Redis (again)."""

    def _hear_failed(self, host: str, number: str, ago: float) -> None:
        failure = Failure(host, self._clock.monotonic() - ago / 1000, ours=False)
        self._ledger.failures.setdefault(int(number), failure)

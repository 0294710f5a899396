"""Losing Redis, and finding it again: what is not known then, and how long that counts."""

from __future__ import annotations

import secrets
from math import inf
from typing import TYPE_CHECKING

import structlog

from exporter.rules import SPAN
from exporter.store.redis_batch import replay
from exporter.store.redis_lua import GRACE
from exporter.store.redis_script import LostError

if TYPE_CHECKING:
    from exporter.clock import Clock
    from exporter.store.redis_local import Ledger, Own
    from exporter.store.redis_members import Members
    from exporter.store.redis_readings import Readings
    from exporter.store.redis_script import Script
    from exporter.store.redis_wire import Wire

log = structlog.stdlib.get_logger(__name__)

ALONE = "after a silence each link is read once a minute at most"
NOTHING = "nothing is sent before it has been reached"


class Contact:
    """Whether Redis can be had (``up``). Until ``careful_until`` others may still be on their own."""

    def __init__(
        self,
        wire: Wire,
        script: Script,
        ledger: Ledger,
        members: Members,
        readings: Readings,
        clock: Clock,
    ) -> None:
        self.up = False
        self.careful_until = -inf
        self._wire = wire
        self._script = script
        self._ledger = ledger
        self._members = members
        self._readings = readings
        self._clock = clock
        self._lost_at: float | None = None
        self._doubt_until = -inf

    def miss(self, lost: LostError) -> None:
        """It can't be had at the start. What the process before us sent by itself, it won't know either."""
        self.lose(lost)
        self._doubt_until = self._clock.monotonic() + SPAN

    def lose(self, error: BaseException) -> None:
        """From now on alone, beginning with a wait: we don't know what others sent just now.

        Nor do those that still have Redis know at once that we have not.
        """
        self.up = False
        self._lost_at = self._clock.monotonic()
        self._ledger.quiet_until = max(self._doubt_until, self._lost_at + GRACE + SPAN)
        self._ledger.alone_until = self._members.alone_until
        bug = isinstance(error, Exception) and not isinstance(error, LostError)
        log.error(
            "storage_failed",
            storage=self._wire.name,
            reason=str(error) or type(error).__name__,
            meanwhile=ALONE if self._lost_at < self._ledger.alone_until else NOTHING,
            exc_info=error if bug else None,
        )

    async def enter(self, ended: list[Own]) -> None:
        """Connects, has Redis write, and tells it what it may not know; ``ended`` is then told as well."""
        epoch, age = await self._greet()
        now, first = self._clock.monotonic(), not self._script.epoch
        intact = age >= SPAN if first else epoch == self._script.epoch
        if not intact:
            self._doubt(now - age, first=first)
        if not intact or (self._lost_at is not None and now >= self._lost_at + SPAN):
            # For a window, our share is what we would take alone.
            self.careful_until = now + SPAN
        if not intact or self._lost_at is not None:
            ended.clear()
            known = replay(self._script, self._ledger, self._members, now, forgotten=not intact)
            await self._wire.send(list(known))
        if first or self._lost_at is not None:
            self._ledger.listens_since = now
        self._script.epoch, self._lost_at, self.up = epoch, None, True
        self._ledger.quiet_until, self._ledger.alone_until = self._doubt_until, inf

    async def _greet(self) -> tuple[str, float]:
        """The server's epoch, and its age in seconds; raises ``LostError`` if it won't have us write."""
        run = await self._wire.start()
        trial = self._script.trial(secrets.randbits(62))
        (epoch, age), *_ = await self._wire.send([self._script.hello(run), *trial])
        return epoch, max(0.0, int(age) / 1000)

    def _doubt(self, since: float, *, first: bool) -> None:
        """Nothing leaves before all counts no longer that was sent, and forgotten, before ``since``."""
        self._doubt_until = max(self._doubt_until, since + SPAN)
        if not first:
            log.warning("storage_forgot", storage=self._wire.name)
            self._readings.owe_all()

"""Redis or Valkey: several exporters share one order of events, in a stream. Without Redis nothing is sent.

A script appends requests, unless somebody appended an event that binds since the last look; it returns that
event then. ``redis_script`` has the scripts and the layout of the keys, ``redis_wire`` the connection.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from math import inf
from random import Random

import structlog

from exporter.clock import Clock
from exporter.errors import StorageError
from exporter.journal.journal import History, StoredReading
from exporter.journal.outbox import Entry
from exporter.journal.redis_script import (
    NEW_EPOCH,
    Stored,
    age_by_server,
    arguments,
    event_of,
    recorded_age,
    stored_reading,
)
from exporter.journal.redis_wire import CHUNK, RefusedError, Wire
from exporter.journal.shared import LostError, Written
from exporter.limits import Dated, Event, Sent, Unknown
from exporter.limits.constants import (
    FAILED_LOGIN_WINDOW,
    LONGEST_TIMEOUT,
    REMEMBERED_SHORTLY,
    VERIFIED_TTL,
    doubled,
    longest_count,
)
from exporter.limits.events import Answered, encode
from exporter.model import LinkKey
from exporter.storage_url import Redis as Address

log = structlog.stdlib.get_logger(__name__)

LOOK = 0.25
"""Seconds after which news is asked for, if nothing is to be appended."""

TRANSIT = 1.0
"""Seconds that a call may take. A reading counts as older by this, so that its age is never too small."""

TRIM_AFTER = REMEMBERED_SHORTLY - 60
"""Seconds after which an id that was learnt may be the oldest in the stream."""

FIRST_RETURN, LAST_RETURN = 0.5, 5.0
"""Seconds between two tries to reach Redis again: the first, and where the doubling ends."""

UNSURE = longest_count(LONGEST_TIMEOUT)
"""Seconds for which a request that Redis forgot may still count."""

FORGOTTEN_LOGINS = 3
"""Failed logins to assume at each host after Redis forgot. One of the four is left for a try."""


class RedisStore:
    """The server at ``address``. ``guest``: for a few requests, without a look in the background.

    News is dated by our own clock. Only a start dates what counts for hours by the server's.
    """

    fail_closed = True
    most = CHUNK

    def __init__(self, address: Address, clock: Clock, *, guest: bool = False) -> None:
        self.name = str(address)
        self.look = inf if guest else LOOK
        self._forgets = not guest
        self._clock = clock
        self._wire = Wire(address)
        self._random = Random()  # noqa: S311 - jitter
        self._epoch = self._position = ""
        self._looked_at = -inf
        self._learnt_ids: deque[tuple[float, str]] = deque()

    def pause(self, tries: int) -> float:
        """Doubles, and differs from that of other exporters that lost Redis together."""
        return doubled(FIRST_RETURN, tries, LAST_RETURN) * self._random.uniform(0.5, 1)

    async def enter(self, *, again: bool, missed: bool) -> History | None:
        """Opens a new connection; reads everything unless Redis has forgotten nothing."""
        try:
            run = await self._wire.connect()
            epoch = await self._wire.hello(run, secrets.token_hex(8))
            if epoch == self._epoch and self._position and not missed:
                return None
            server, lasting, events = await self._wire.history()
        except RefusedError as refused:
            if again:
                raise
            raise StorageError(f"storage.url: {self.name} refuses us: {refused}{refused.hint}") from None
        if not events:
            raise LostError("Redis was emptied at this moment")
        self._epoch, self._position, self._looked_at = epoch, events[-1][0], self._clock.monotonic()
        self._learnt_ids.clear()
        return self._history(server, lasting, events, again=again)

    def _history(
        self, server: float, lasting: Sequence[Stored], events: Sequence[Stored], *, again: bool
    ) -> History:
        """What the two streams hold. An end that is in both is dated by the shorter one."""
        now = self._looked_at
        shortly = [Dated(event, now - UNSURE - age, now - age) for _, event, age in _decoded(events)]
        ended = {one.event.number for one in shortly if isinstance(one.event, Answered)}
        older = [
            Dated(event, now - age - TRANSIT, now - age)
            for stored, event, _ in _decoded(lasting)
            for age in [age_by_server(stored, server)]
            if event.number not in ended
        ]
        epochs = [age_by_server(stored, server) for stored in lasting if stored[1] == NEW_EPOCH]
        begun = 0.0 if again else min(epochs, default=inf)
        return History([*older, *shortly], now - VERIFIED_TTL, _unsure(begun))

    async def write(self, entries: Sequence[Entry], requests: Collection[Sent]) -> Written | None:
        """One round trip: the script reads the news, and appends."""
        now = self._clock.monotonic()
        verdict, news, last = await self._wire.append(
            self._epoch,
            self._position,
            self._minid(now),
            [arguments(entry, now, TRANSIT) for entry in entries],
            [encode(sent) for sent in requests],
        )
        if verdict == "forgotten":
            self._position = ""
            return None
        previous, self._looked_at, self._position = self._looked_at, now, last
        now = self._clock.monotonic()
        self._learnt_ids.append((now, last))
        dated = [Dated(event, previous - age, now - age) for _, event, age in _decoded(news)]
        return Written(verdict == "yes", dated)

    async def write_alone(self, entries: Sequence[Entry], requests: Collection[Sent]) -> Written:
        """Never: others may send at any moment."""
        raise LostError("nothing is sent without Redis")

    def _minid(self, now: float) -> str:
        """A new id before which entries may be dropped, by our own clock; empty if there is none."""
        minid = ""
        while self._learnt_ids and self._learnt_ids[0][0] <= now - TRIM_AFTER:
            _, minid = self._learnt_ids.popleft()
        return minid

    async def read(self, links: Sequence[LinkKey]) -> list[StoredReading]:
        """The readings of these links. Where new links come, old ones leave, so old readings go then."""
        server, values = await self._wire.readings([encode(link) for link in links])
        if links and self._forgets:
            await self._wire.forget_readings()
        return list(_understood(zip(links, values, strict=True), server, self._clock.time()))

    async def close(self) -> None:
        """Closes the connection."""
        await self._wire.close()


def _unsure(begun: float) -> Unknown | None:
    """What may be missing in a journal that was new, or had forgotten something, ``begun`` seconds ago."""
    if begun >= FAILED_LOGIN_WINDOW:
        return None
    reason = "Redis is new or has forgotten what was sent"
    return Unknown(reason, seconds=max(0.0, UNSURE - begun), failed_logins=FORGOTTEN_LOGINS)


def _decoded(entries: Iterable[Stored]) -> Iterator[tuple[Stored, Event, float]]:
    """The events of these entries and their recorded age; skips entries that no exporter wrote."""
    for stored in entries:
        try:
            event = event_of(stored)
            if event is not None:
                yield stored, event, recorded_age(stored)
        except ValueError as error:
            log.warning("storage_not_understood", entry=stored[0], reason=str(error))


def _understood(
    stored: Iterable[tuple[LinkKey, str | None]], server: float, wall: float
) -> Iterator[StoredReading]:
    for link, value in stored:
        try:
            if value is not None:
                yield stored_reading(link, value, server, wall)
        except ValueError as error:
            log.warning("storage_not_understood", link=link, reason=str(error))

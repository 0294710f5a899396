"""Redis or Valkey: several exporters share one order of events.

Whoever wants to send appends a request to a stream; the script refuses it if somebody appended an event that
binds since the last look, and returns that event. One task makes one round trip after another. Calls that
come meanwhile share the next round trip. Without Redis nothing may be sent.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from dataclasses import replace
from math import inf
from random import Random
from typing import TYPE_CHECKING

import structlog

from exporter.errors import StorageError
from exporter.journal.journal import Appended, History
from exporter.journal.redis_memory import Memory
from exporter.journal.redis_news import Past, dated, decoded, unsure
from exporter.journal.redis_outbox import LOOK, Outbox, wait
from exporter.journal.redis_script import field as field
from exporter.journal.redis_script import noted, stored_reading
from exporter.journal.redis_wire import LostError, Wire
from exporter.limits import SEND_BY, Answered, Sent
from exporter.limits.constants import REMEMBERED_SHORTLY, doubled
from exporter.limits.events import binds, encode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from exporter.clock import Clock
    from exporter.journal.journal import Reader, StoredReading
    from exporter.journal.redis_outbox import Batch
    from exporter.journal.redis_script import Stored
    from exporter.limits import Dated, Event
    from exporter.model import LinkKey
    from exporter.storage_url import Redis as Address

log = structlog.stdlib.get_logger(__name__)

TRIM_AFTER = REMEMBERED_SHORTLY - 60
"""Seconds after which an id that was learnt may be the oldest in the stream."""

FIRST_RETURN, LAST_RETURN = 0.5, 5.0
"""Seconds between two tries to reach Redis again: the first, and where the doubling ends."""

CLOSING = 1.5
"""Seconds that the last write may take."""


class RedisJournal:
    """Events on the server at ``address``. ``guest``: for a few requests, without reading in the background.

    A request that was answered with ``NO`` may be on record nevertheless; the journal then notes that it was
    not sent. Another try needs another number.
    """

    fail_closed = True

    def __init__(self, address: Address, clock: Clock, *, guest: bool = False) -> None:
        self._address = address
        self._clock = clock
        self._wire = Wire(address)
        self._wiring = asyncio.Lock()
        self._memory = Memory()
        self._outbox = Outbox(inf if guest else LOOK)
        self._doubtful: dict[int, tuple[float, Sent]] = {}
        self._random = Random()  # noqa: S311 - jitter
        self._reader: Reader
        self._up = False
        self._epoch = ""
        self._position = ""
        self._looked_at = -inf
        self._learnt_ids: deque[tuple[float, str]] = deque()
        self._closing = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        """Whether Redis can be reached and accepts writes."""
        return self._up

    # --- for the exporter ---------------------------------------------------------------------------------

    async def open(self, reader: Reader) -> History:
        """Begins. If Redis cannot be reached, ``reader`` learns of its events later.

        Raises ``StorageError`` if Redis refuses the user, the password, the database or a command.
        """
        self._reader, history = reader, None
        try:
            history = await self._enter()
        except LostError as lost:
            if lost.refused:
                await self._wire.close()
                raise StorageError(f"storage.url: {self._address} refuses us: {lost}{lost.hint}") from None
            self._lose(lost)
        self._work = asyncio.create_task(self._run())
        return history or History()

    async def append(self, requests: Sequence[Sent]) -> Appended:
        """Returns once Redis has decided; see ``Journal``."""
        if not self._up or self._closing.is_set():
            return Appended.NO
        claim = self._outbox.claim(requests)
        try:
            return await claim.verdict
        except asyncio.CancelledError:
            # The verdict may have come just before the cancellation.
            if not claim.verdict.cancelled() and claim.verdict.result() is Appended.YES:
                self._take_back(claim.requests)
            raise

    def note(self, answer: Answered) -> None:
        """Records an end with the next round trip, which begins at once if the end binds."""
        self._outbox.add(noted(answer, self._clock.monotonic()), urgent=binds(answer))

    async def read(self, links: Collection[LinkKey]) -> Iterable[StoredReading]:
        """The latest readings of these links; none while Redis cannot be reached."""
        self._memory.ask_for(links)
        if not self._up:
            return []
        keys = list(links)
        async with self._wiring:
            try:
                server, values = await self._values([field(key) for key in keys])
            except LostError as lost:
                self._lose(lost)
                return []
        return list(_understood(zip(keys, values, strict=True), server, self._clock.time()))

    async def _values(self, fields: list[str]) -> tuple[float, list[str | None]]:
        try:
            return await self._wire.readings(fields)
        except LostError:  # the connection may have been closed as idle
            self._hand_over(await self._enter())
            return await self._wire.readings(fields)

    async def close(self) -> None:
        """Writes what was noted, if Redis can be reached."""
        self._closing.set()
        self._outbox.wake()
        if self._work is not None:
            await asyncio.wait((self._work,), timeout=CLOSING)
            while not self._work.done():  # redis loses a cancellation that comes as all is sent (Python 3.11)
                self._work.cancel()
                await asyncio.wait((self._work,), timeout=0.1)
        self._up = False
        self._outbox.answer_claims(Appended.NO)
        if self._outbox:
            log.warning("storage_not_written", storage=str(self._address), events=len(self._outbox))
        await self._wire.close()

    # --- one round trip after another ---------------------------------------------------------------------

    async def _run(self) -> None:
        while not self._closing.is_set():
            if not self._up:
                await self._come_back()
            elif await self._outbox.is_due():
                await self._exchange()
        while self._up and self._outbox:
            await self._exchange()

    async def _exchange(self) -> None:
        await asyncio.sleep(0)  # calls of the same moment share the round trip
        async with self._wiring:
            batch = self._outbox.take(self._clock.monotonic())
            try:
                done = await self._deliver(batch)
            except BaseException as error:
                self._give_up(batch)
                if not isinstance(error, Exception):
                    raise
                self._lose(error)
                return
        if not done:
            self._outbox.put_back(batch.entries)
            batch.answer(Appended.BEHIND)

    async def _deliver(self, batch: Batch) -> bool:
        """Sends the batch; once more if that fails, for the connection may have been closed as idle.

        Returns False if Redis has forgotten what was sent: nothing was appended then.
        """
        try:
            if await self._send(batch):
                return True
            self._position = ""
        except LostError:
            if (history := await self._enter()) is None:
                return await self._send(batch)
        else:
            history = await self._enter()
        self._hand_over(history)
        return False

    async def _send(self, batch: Batch) -> bool:
        now = self._clock.monotonic()
        verdict, news, last = await self._wire.append(
            self._epoch,
            self._position,
            self._minid(now),
            [entry.arguments(now) for entry in batch.entries],
            [encode(sent) for sent in batch.requests.values()],
        )
        if verdict == "forgotten":
            return False
        previous, self._looked_at, self._position = self._looked_at, now, last
        self._receive(batch, verdict, news, previous)
        return True

    def _minid(self, now: float) -> str:
        """A new id before which entries may be dropped, by our own clock; empty if there is none."""
        minid = ""
        while self._learnt_ids and self._learnt_ids[0][0] <= now - TRIM_AFTER:
            _, minid = self._learnt_ids.popleft()
        return minid

    def _receive(self, batch: Batch, verdict: str, news: Sequence[Stored], previous: float) -> None:
        now = self._clock.monotonic()
        self._learnt_ids.append((now, self._position))
        for entry in batch.entries:
            self._remember(entry.event, entry.at)
            self._memory.add_reading(entry.reading, entry.at)
        if verdict == "yes":
            for sent in batch.requests.values():
                self._remember(sent, now)
        events = [dated(event, age, previous, now) for _, event, age in decoded(news)]
        others = self._sift(events, batch.requests)
        if others:
            self._outbox.others_are_active()
            self._learn(others)
        # If the news holds a request of ours, its reply was lost.
        granted = verdict == "yes" or any(self._memory.knows(sent) for sent in batch.requests.values())
        self._decide(batch, now, granted=granted)

    def _remember(self, event: Event | None, at: float) -> None:
        if event is not None and not self._memory.knows(event):
            self._memory.add(event, at)

    def _sift(self, news: Iterable[Dated], requests: Collection[int]) -> list[Dated]:
        """Remembers all events; returns those that others appended and that are new here."""
        others = []
        for one in news:
            if self._memory.knows(one.event):
                continue
            self._memory.add(one.event, one.latest)
            if one.event.number in self._doubtful:
                self._take_back([self._doubtful.pop(one.event.number)[1]])
            elif one.event.number not in requests:
                others.append(one)
                self._memory.add_reading(one.event, one.earliest)
        return others

    def _decide(self, batch: Batch, now: float, *, granted: bool) -> None:
        in_time = now - batch.began <= SEND_BY
        if not granted:
            batch.answer(Appended.BEHIND)
            return
        for claim in batch.claims:
            if claim.verdict.cancelled() or not in_time:
                self._take_back(claim.requests)
        batch.answer(Appended.YES if in_time else Appended.NO)

    def _take_back(self, requests: Iterable[Sent]) -> None:
        """Notes that these requests, which are on record, will not be sent."""
        for sent in requests:
            self.note(Answered(sent.request, sent.number, None))

    def _give_up(self, batch: Batch) -> None:
        """It is unknown whether the batch is appended: a frozen server may append it when it wakes."""
        now = self._clock.monotonic()
        self._outbox.put_back(batch.entries)
        self._doubtful = {n: was for n, was in self._doubtful.items() if was[0] + REMEMBERED_SHORTLY > now}
        self._doubtful |= {number: (now, sent) for number, sent in batch.requests.items()}
        batch.answer(Appended.NO)

    # --- losing Redis, and finding it again ---------------------------------------------------------------

    def _lose(self, error: Exception) -> None:
        """From now on nothing may be sent. Noted ends are kept.

        After an error in our own code, the reader may have missed news, so everything is read again.
        """
        bug = None if isinstance(error, LostError) else error
        if self._up or self._work is None:
            log.error("storage_failed", storage=str(self._address), reason=str(error), exc_info=bug)
        self._up = False
        if bug is not None:
            self._position = ""
        self._outbox.answer_claims(Appended.NO)

    async def _come_back(self) -> None:
        tries = 0
        while not self._up:
            pause = doubled(FIRST_RETURN, tries, LAST_RETURN) * self._random.uniform(0.5, 1)
            await wait(self._closing, pause)
            if self._closing.is_set():
                return
            tries += 1
            async with self._wiring:
                await self._try_to_enter()
        log.warning("storage_works_again", storage=str(self._address))

    async def _try_to_enter(self) -> None:
        try:
            self._hand_over(await self._enter())
        except LostError as lost:
            log.debug("storage_not_back", storage=str(self._address), reason=str(lost))
        except Exception as error:
            self._lose(error)

    async def _enter(self) -> History | None:
        """Connects. Returns None if Redis has forgotten nothing since our last look, else its history."""
        run = await self._wire.connect()
        epoch = await self._wire.hello(run, secrets.token_hex(8))
        history = None
        if epoch != self._epoch or not self._position:
            history = await self._start_afresh(epoch)
        self._up = True
        return history

    async def _start_afresh(self, epoch: str) -> History:
        """Reads all events; puts back what this process knows, if it was connected before."""
        server, lasting, events = await self._wire.history()
        now = self._clock.monotonic()
        past, again = Past(server, lasting, events, now), bool(self._epoch)
        self._outbox.put_back(self._memory.missing(now, past.present) if again else ())
        others = self._sift(past.events, ())
        self._epoch, self._position, self._looked_at = epoch, past.position, now
        self._learnt_ids.clear()
        history = replace(past.history(now), events=others)
        if again:
            history = replace(history, unknown=unsure(0.0))
        if history.unknown is not None:
            seconds, reason = history.unknown.seconds, history.unknown.reason
            log.warning("storage_unsure", storage=str(self._address), seconds=seconds, reason=reason)
        return history

    def _learn(self, news: Sequence[Dated]) -> None:
        if any(binds(one.event) for one in news):
            self._outbox.answer_claims(Appended.BEHIND)
        self._reader.learn(news)

    def _hand_over(self, history: History | None) -> None:
        if history is None:
            return
        self._learn(history.events)
        if history.unknown is not None:
            self._reader.assume(history.unknown)


def _understood(
    stored: Iterable[tuple[LinkKey, str | None]], server: float, wall: float
) -> Iterator[StoredReading]:
    for key, value in stored:
        try:
            if value is not None:
                yield stored_reading(key, value, server, wall)
        except ValueError as error:
            log.warning("storage_not_understood", link=key, reason=str(error))

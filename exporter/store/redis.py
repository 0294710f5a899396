"""Redis or Valkey: several exporters on the same logins share one ledger, and all readings.

What is asked for while a round trip is under way goes out together with the next one. Without Redis each
exporter goes on by itself, keeping to its share of the limits (``redis_local``), until Redis is back and has
been told what was sent meanwhile. Redis is back when it has taken something that was
written: one that is full, or a replica of another, is as good as none.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from math import inf
from random import Random
from typing import TYPE_CHECKING

import structlog

from exporter.errors import StorageError
from exporter.rules import doubled
from exporter.store.backend import Denied, Grant, Scope
from exporter.store.redis_batch import Batch, Claim
from exporter.store.redis_contact import Contact
from exporter.store.redis_local import Ledger
from exporter.store.redis_members import BEAT, Members
from exporter.store.redis_news import News
from exporter.store.redis_readings import PAUSE, Readings
from exporter.store.redis_script import PREFIX, LostError, Script, answer
from exporter.store.redis_url import parse
from exporter.store.redis_wire import Wire, stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic import SecretStr

    from exporter.clock import Clock
    from exporter.model import Snapshot
    from exporter.store.backend import Attempt, Kept, Pause
    from exporter.store.redis_local import Own

log = structlog.stdlib.get_logger(__name__)

FIRST_RETURN, LAST_RETURN = 0.5, 5.0
"""Seconds between two tries to reach Redis again: the first, and where the doubling ends."""

CLOSING = 1.5
"""Seconds that the last write may take: with the polls' grace and the end of Python, well below five."""


class RedisBackend:
    """State on the server at ``url``, shared by all exporters that name it.

    ``guest``: for a few requests, none of which is sent without Redis. For tests, ``home`` is where process
    ids mean the same, and ``ahead`` how far the ledger's time runs ahead of the server's clock. Raises
    ``StorageError`` for a URL that names no server.
    """

    def __init__(
        self,
        url: SecretStr,
        clock: Clock,
        *,
        guest: bool = False,
        home: str | None = None,
        ahead: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._address = parse(url)
        self._clock = clock
        self._wire = Wire(self._address)
        self._script = Script(PREFIX, secrets.token_hex(8), ahead)
        self._ledger = Ledger()
        self._members = Members(self._script.writer, guest=guest, home=home)
        self._readings = Readings()
        known = self._ledger, self._members, self._readings
        self._contact = Contact(self._wire, self._script, *known, clock)
        self._news = News(self._wire, self._script, self._ledger, self._readings, clock, self._suspect)
        self._random = Random()  # noqa: S311 - jitter
        self._batch = Batch()
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._work: asyncio.Task[None] | None = None
        self._suspected = False
        self._next_slice = -inf

    # --- what the exporter asks ---------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether Redis can be had, and takes what we write."""
        return self._contact.up

    async def open(self, changed: Callable[[Kept], None]) -> Iterable[Kept]:
        """Begins, and gives what was kept: nothing if Redis can't be reached yet.

        Where it can't be known what was sent within the last minute, nothing leaves before that is over; and
        nothing at all before Redis could be had once: others do not know of us, nor we of failed logins.
        Raises ``StorageError`` if Redis refuses the URL's user, password or database, or has no permission
        for what we do.
        """
        try:
            await self._enter()
        except LostError as lost:
            await self._refuse(lost)
            self._contact.miss(lost)
        kept = await self._news.follow(changed)
        await self._refuse(self._news.refused)
        if self.up:
            await self._flush()  # so that others know of us
        self._work = asyncio.create_task(self._run_batches())
        return kept

    async def _refuse(self, lost: LostError | None) -> None:
        if lost is None or not lost.refused:
            return
        await self._news.close()
        await self._wire.close()
        raise StorageError(f"storage.url: {self._address} refuses us: {lost}{lost.hint}") from None

    async def claim(self, attempt: Attempt) -> Grant | Denied:
        """Returns once Redis has decided, or we by ourselves if Redis can't be had."""
        claim = Claim(attempt, asyncio.get_running_loop().create_future())
        if self.up:
            self._batch.claims.append(claim)
            self._wake.set()
        else:
            self._decide_alone(claim)
        try:
            return await claim.decided
        except asyncio.CancelledError:
            # The grant may have come in the same moment.
            if not claim.decided.cancelled():
                self.end(Grant(claim.number, attempt), login_failed=False)
            raise

    def end(self, grant: Grant, *, login_failed: bool) -> None:
        """Notes that the attempt ended."""
        own = self._ledger.end(grant.number, self._clock.monotonic(), login_failed=login_failed)
        if own is not None:
            self._batch.ended.append(own)
            self._wake.set()

    def hold(self, key: str, pause: Pause | None) -> None:
        """Notes a pause, or its end."""
        now = self._clock.monotonic()
        self._ledger.hold(key, pause, now)
        self._batch.held[key] = pause, now
        self._wake.set()

    def keep(self, snapshot: Snapshot) -> None:
        """Notes a reading by its age: that is the same on the server's clock."""
        age = max(0.0, self._clock.time() - snapshot.read_at)
        taken = self._clock.monotonic() - age if snapshot.read_at else None
        self._readings.hear(snapshot, taken)
        if self.up:
            self._batch.kept[snapshot.link.key] = snapshot, taken
            self._wake.set()
        else:
            self._readings.owe([snapshot.link.key])

    async def close(self) -> None:
        """Writes what is left, if Redis can be had, and lets go of it."""
        await self._news.close()
        with suppress(TimeoutError, LostError):
            async with asyncio.timeout(CLOSING), self._writing:
                await self._finish()
        self._contact.up = False
        if self._work is not None:
            await stop(self._work)
        self._put_back(Batch())
        if self._batch or self._readings.owed:
            log.warning("storage_not_written", storage=str(self._address), readings=self._readings.owed)
        await self._wire.close()

    async def _finish(self) -> None:
        if self.up:
            await self._flush()
        if self.up:
            await self._wire.send(self._members.leave(self._script))
        while self.up and self._readings.owed:
            self._next_slice = -inf
            await self._flush()

    # --- one round trip after another ---------------------------------------------------------------------

    async def _run_batches(self) -> None:
        while True:
            while not self.up:
                await self._return()
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE if self._readings.owed else BEAT):
                    await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(0)  # what is asked for in the same moment goes along
            async with self._writing:
                await self._flush()

    def _add_slice(self, batch: Batch) -> None:
        """Readings that were to be put back wait for their turn: what is taken now goes first."""
        now = asyncio.get_running_loop().time()
        if now >= self._next_slice:
            self._next_slice = now + PAUSE
            batch.kept = self._readings.slice() | batch.kept

    async def _flush(self) -> None:
        """Sends what there is; if that fails once more, anew: the old connection may have idled out."""
        batch, self._batch = self._batch, Batch()
        self._add_slice(batch)
        try:
            try:
                await self._deliver(batch)
            except LostError:
                await self._enter()
                await self._deliver(batch)
        except BaseException as error:
            self._contact.lose(error)
            self._put_back(batch)
            if not isinstance(error, Exception):
                raise

    async def _deliver(self, batch: Batch) -> None:
        if self._suspected:
            await self._enter()
        now = self._clock.monotonic()
        owns = self._begin(batch, now)
        try:
            claims = [self._script.claim(own.number, own.attempt) for own in owns]
            said = self._members.due(self._script, now)
            answers = await self._wire.send([*batch.writes(self._script, now), *said, *claims])
            first = len(answers) - len(owns)
            decisions = [answer(told) for told in answers[first:]]
            if said:
                self._members.heard(answers[first - 1], now)
        except BaseException:
            for own in owns:
                self._ledger.forget(own)
            raise
        for claim, own, decision in zip(batch.claims, owns, decisions, strict=True):
            claim.probe = decision is True
            self._decided(claim, own, decision if isinstance(decision, Denied) else None)

    def _begin(self, batch: Batch, now: float) -> list[Own]:
        """Leaves those claims in the batch that Redis is to decide."""
        owns, claims, batch.claims = [], batch.claims, []
        for claim in claims:
            decide = self._ledger.decide if now < self._contact.careful_until else self._ledger.quiet
            denied = decide(claim.attempt, now)
            if denied is not None:
                claim.decide(denied)
            elif not claim.decided.cancelled():
                batch.claims.append(claim)
                owns.append(self._ledger.begin(claim.number, claim.attempt, now))
        return owns

    def _decided(self, claim: Claim, own: Own, denied: Denied | None) -> None:
        if denied is not None:
            self._ledger.forget(own)
            if denied.pause is not None:
                key = own.attempt.host if denied.scope is Scope.HOST else own.attempt.secret
                self._ledger.hold(key, denied.pause, self._clock.monotonic())
        self._tell(claim, denied)

    def _tell(self, claim: Claim, denied: Denied | None) -> None:
        unused = claim.decide(denied)
        if unused is not None:
            self.end(unused, login_failed=False)

    def _decide_alone(self, claim: Claim) -> None:
        now = self._clock.monotonic()
        denied = self._ledger.decide(claim.attempt, now)
        if denied is None:
            self._ledger.begin(claim.number, claim.attempt, now)
        self._tell(claim, denied)

    def _put_back(self, batch: Batch) -> None:
        self._batch.older(batch)
        for claim in (*batch.claims, *self._batch.claims):
            self._decide_alone(claim)
        self._batch.claims.clear()
        self._readings.owe((*batch.kept, *self._batch.kept))
        self._batch.kept.clear()

    # --- losing and finding Redis -------------------------------------------------------------------------

    def _suspect(self) -> None:
        """The other connection broke: see whether this one stands."""
        self._suspected = True
        self._wake.set()

    async def _return(self) -> None:
        tries = 0
        while not self.up:
            await asyncio.sleep(doubled(FIRST_RETURN, tries, LAST_RETURN) * self._random.uniform(0.5, 1))
            tries += 1
            try:
                await self._enter()
            except LostError:
                log.debug("storage_not_back", storage=str(self._address))
            except Exception:
                log.exception("storage_crashed")
        self._wake.set()
        log.warning("storage_works_again", storage=str(self._address))

    async def _enter(self) -> None:
        await self._contact.enter(self._batch.ended)
        self._suspected = False

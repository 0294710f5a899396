"""Reads a few links once, beside a service that may be running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf

from exporter.clock import Clock
from exporter.config import Config
from exporter.config.values import format_duration
from exporter.errors import Outcome, StorageError
from exporter.journal import StoredReading, journal_for
from exporter.journal.outbox import wait
from exporter.limits import Denied, Ledger, Reason, Request
from exporter.model import Account, Link, Snapshot
from exporter.polling.planner import Planner
from exporter.polling.poller import LONGEST_WAIT, Fetch, Poller
from exporter.polling.recorder import Recorder
from exporter.provider.client import Client, open_session
from exporter.snapshots import Snapshots

PATIENCE = 75.0
"""The longest wait for a request of a link, in seconds: the provider's minute and some more."""

RECHECK = 1.0
"""Seconds between two looks at what a link waits for. Longer waits are reported."""

UNCOUNTED = "the storage cannot record requests, so none is sent"
NOT_SHARED = (
    'storage "memory:" is not shared: requests of a running service are not counted here,'
    " so at most one request is sent for each link"
)


@dataclass(frozen=True, slots=True)
class ReadFailure:
    """Why a link could not be read, in words. ``outcome`` is that of the request, None if none was sent."""

    link: Link
    reason: str
    outcome: Outcome | None = None


async def read(
    config: Config,
    links: Sequence[Link],
    clock: Clock,
    say: Callable[[str], None],
    take: Callable[[Snapshot | ReadFailure], None],
) -> None:
    """Reads these links as a second writer of the configured storage; ``take`` gets one answer for each.

    Raises ``StorageError`` if requests cannot be counted.
    """
    accounts, journal = config.accounts, journal_for(config.storage_url, clock, guest=True)
    if config.storage_url.get_secret_value() == "memory:":
        say(f"warning: {NOT_SHARED}")
        accounts = tuple(replace(account, fallback_urls=()) for account in accounts)
    recorder = Recorder(Ledger(), journal, clock, lambda news: None)
    recorder.ledger.configure(map(Request.of, accounts))
    async with open_session() as session:
        await recorder.open()
        try:
            stored = await journal.read([link.key for link in links])
            one_shot = OneShot(accounts, recorder, Client(session).fetch, clock, say, tuple(stored or ()))
            for link in links:
                take(await one_shot.read(link))
        finally:
            await journal.close()


@dataclass(frozen=True)
class OneShot:
    """Reads one link after another, each with a poller that polls nothing else and ends with its answer.

    ``say`` hears of waiting, once for each reason. ``stored`` are the readings to go on from.
    """

    accounts: Sequence[Account]
    recorder: Recorder
    fetch: Fetch
    clock: Clock
    say: Callable[[str], None]
    stored: Sequence[StoredReading] = ()

    async def read(self, link: Link) -> Snapshot | ReadFailure:
        """The link's snapshot with a new reading.

        Waits at most ``PATIENCE`` seconds until a request may leave, and not at all if that cannot be enough.
        Raises ``StorageError`` if requests cannot be counted any more.
        """
        answered = asyncio.Event()
        snapshots = Snapshots(lambda snapshot: answered.set())
        poller = Poller(
            self.recorder,
            snapshots,
            self.fetch,
            lambda *ended: None,
            self.clock,
            longest_wait=RECHECK,
            tells_failures=False,  # a service may have another password, or another way to the provider
        )
        planner = self._plan(poller, link)
        # Only now: a link with a fresh reading would not be due.
        snapshots.swap(snapshots.build([link], self.stored))
        poller.start()
        try:
            if (reason := await self._held_back(poller, planner, link, answered)) is not None:
                return ReadFailure(link, reason)
        finally:
            await poller.close(grace=0)
        snapshot = snapshots.all()[link.key]
        if snapshot.outcome is Outcome.OK:
            return snapshot
        return ReadFailure(link, poller.failures[-1].message, snapshot.outcome)

    def _plan(self, poller: Poller, link: Link) -> Planner:
        """Has the link's account poll this link alone."""
        (account,) = (replace(one, links=(link,)) for one in self.accounts if one.name == link.account)
        ((planner, _),) = plans = poller.build([account])
        planner.concurrency.limit = account.max_concurrent_requests  # a service may have some in flight
        poller.swap(plans)
        self.recorder.ledger.configure(map(Request.of, self.accounts))  # others' refusals count, too
        return planner

    async def _held_back(
        self, poller: Poller, planner: Planner, link: Link, answered: asyncio.Event
    ) -> str | None:
        """Waits for the answer. Returns why no request leaves in time, if none does."""
        deadline, said = self.clock.monotonic() + PATIENCE, set[str]()
        while not answered.is_set():
            if (broken := poller.broken()) is not None:
                raise RuntimeError(broken)
            now = self.clock.monotonic()
            if (denied := self._denied(planner, link, now)) is not None:
                reason = denied.reason
                until = now + LONGEST_WAIT if denied.until == inf else denied.until
                seconds = ceil(until - now)
                if until > deadline and not await _comes(answered):
                    instead = "correct it, or " if reason is Reason.UNAUTHORIZED else ""
                    return f"{reason}: {instead}try again in {format_duration(seconds)}"
                if seconds > RECHECK and reason not in said:
                    said.add(reason)
                    self.say(f"link {link.name}: waiting {seconds} s: {reason}")
            await wait(answered, RECHECK)
        return None

    def _denied(self, planner: Planner, link: Link, now: float) -> Denied | None:
        """What the link waits for; None while it is asked for. Raises ``StorageError``."""
        if planner.next_poll(link, now) is None:
            return None
        request = Request.of(planner.account, link.target)
        denied = self.recorder.check(request, now, planner.concurrency.limit)
        if denied is not None and denied.reason is Reason.STORAGE_DOWN:
            raise StorageError(UNCOUNTED)
        return denied


async def _comes(answered: asyncio.Event) -> bool:
    """Whether the answer is there now: what holds the link back may have come with it."""
    await asyncio.sleep(0)
    return answered.is_set()

"""Reads a few links once, beside a service that may be running."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import ceil, inf
from typing import TYPE_CHECKING

from exporter.config.durations import format_duration
from exporter.errors import PollError, StorageError
from exporter.journal import journal_for
from exporter.limits import Ledger, Reason, Scope
from exporter.model import Snapshot
from exporter.polling.poller import answer_of, with_figures
from exporter.polling.recorder import Recorder, request_of
from exporter.provider.client import Client, open_session
from exporter.snapshots import Snapshots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from exporter.clock import Clock
    from exporter.config import Config
    from exporter.errors import Outcome
    from exporter.limits import Denied
    from exporter.model import Account, Link, Reading
    from exporter.polling.poller import Fetch

PATIENCE = 75.0
"""The longest wait for a request of a link, in seconds: the provider's minute and some more."""

WORTH_SAYING = 1.0
"""Waits longer than this (seconds) are reported."""

RECHECK = 1.0
"""Seconds after which a wait for requests of others asks again: they may end at any moment."""

UNKNOWN_WAIT = 5.0
"""Seconds that are named for such a wait."""

UNCOUNTED = "the storage cannot record requests, so none is sent"
NOT_SHARED = (
    'storage "memory:" is not shared: requests of a running service are not counted here,'
    " so at most one request is sent for each link"
)
_FINAL = (Reason.BLOCKED, Reason.UNAUTHORIZED, Reason.SLOW_DOWN)
"""Reasons that do not end within a minute."""


@dataclass(frozen=True, slots=True)
class ReadFailure:
    """Why a link could not be read, in words. ``outcome`` is that of the request, None if none was sent."""

    link: Link
    reason: str
    outcome: Outcome | None = None


class NotYet(Exception):  # noqa: N818 - no error: the request may leave later
    """The request may not leave for ``seconds``. Ask again after ``retry_after`` (``inf``: give up)."""

    def __init__(self, reason: str, seconds: float, retry_after: float) -> None:
        self.reason = reason
        self.seconds = seconds
        self.retry_after = retry_after


@asynccontextmanager
async def opened(config: Config, links: Sequence[Link], clock: Clock) -> AsyncIterator[OneShot]:
    """Opens the configured storage as a second writer, to read these links.

    Raises ``StorageError`` where requests could not be counted.
    """
    journal = journal_for(config.storage_url, clock, guest=True)
    recorder = Recorder(Ledger(), journal, clock, lambda news: None)
    recorder.ledger.configure(request_of(account) for account in config.accounts)
    async with open_session() as session:
        await recorder.open()
        try:
            yield await _reader(config, links, recorder, Client(session).fetch, clock)
        finally:
            await journal.close()


async def _reader(
    config: Config, links: Sequence[Link], recorder: Recorder, fetch: Fetch, clock: Clock
) -> OneShot:
    accounts = {account.name: account for account in config.accounts}
    snapshots = Snapshots(lambda snapshot: None)
    stored = await recorder.journal.read([link.key for link in links])
    snapshots.swap(snapshots.build(links, stored or ()))
    return OneShot(accounts, recorder, snapshots, fetch, clock, mirrors=shared(config))


def shared(config: Config) -> bool:
    """Whether the configured storage knows of other processes' requests."""
    return config.storage_url.get_secret_value() != "memory:"


class OneShot:
    """Reads one link after another. ``mirrors`` says whether an account's other addresses may be tried."""

    def __init__(
        self,
        accounts: dict[str, Account],
        recorder: Recorder,
        snapshots: Snapshots,
        fetch: Fetch,
        clock: Clock,
        *,
        mirrors: bool,
    ) -> None:
        self._accounts = accounts
        self._recorder = recorder
        self._snapshots = snapshots
        self._fetch = fetch
        self._clock = clock
        self._mirrors = mirrors

    async def read(self, link: Link, say: Callable[[str], None]) -> Snapshot | ReadFailure:
        """The link's snapshot with a new reading. ``say`` hears of waiting, once for each reason.

        Waits at most ``PATIENCE`` seconds until a request may leave, and not at all while the account is held
        back. Raises ``StorageError`` if requests cannot be counted any more.
        """
        deadline, said = self._clock.monotonic() + PATIENCE, set[str]()
        while True:
            try:
                return await self._ask(self._accounts[link.account], link)
            except PollError as error:
                return ReadFailure(link, str(error), error.outcome)
            except NotYet as wait:
                reason, seconds, retry_after = wait.reason, ceil(wait.seconds), wait.retry_after
            if self._clock.monotonic() + retry_after > deadline:
                instead = "correct it, or " if reason is Reason.UNAUTHORIZED else ""
                return ReadFailure(link, f"{reason}: {instead}try again in {format_duration(seconds)}")
            if seconds > WORTH_SAYING and reason not in said:
                said.add(reason)
                say(f"link {link.name}: waiting {seconds} s: {reason}")
            await asyncio.sleep(retry_after)

    async def _ask(self, account: Account, link: Link) -> Snapshot:
        """Asks at one address after another, until one of them answers for the API."""
        urls = account.urls if self._mirrors else account.urls[:1]
        for url in urls[:-1]:
            try:
                return await self._ask_at(account, link, url)
            except PollError as error:
                if not error.transport:
                    raise
        return await self._ask_at(account, link, urls[-1])

    async def _ask_at(self, account: Account, link: Link, url: str) -> Snapshot:
        """One request. Raises ``NotYet``, ``PollError`` or ``StorageError``."""
        request = request_of(account, link.target)
        now = self._clock.monotonic()
        denied = self._recorder.check(request, now, account.max_concurrent_requests)
        if denied is not None:
            raise self._not_yet(denied)
        sent = self._recorder.begin(request)
        if not await self._recorder.record([sent]):
            if not self._recorder.journal.up:
                raise StorageError(UNCOUNTED)
            raise NotYet("another process is sending a request", 0, 0)
        started = self._clock.monotonic()
        result = await self._fetched(account, link, url)
        answer = answer_of(sent, result, self._clock.monotonic() - started)
        if isinstance(result, PollError):
            self._recorder.end(answer)
            raise result
        snapshot = self._apply(link, result, answer.elapsed)
        self._recorder.end(with_figures(answer, snapshot))
        return snapshot

    async def _fetched(self, account: Account, link: Link, url: str) -> Reading | PollError:
        try:
            return await self._fetch(account, link, url)
        except PollError as error:
            return error

    def _apply(self, link: Link, reading: Reading, elapsed: float) -> Snapshot:
        before = self._snapshots.get(link) or Snapshot(link)
        after = before.succeeded(reading, self._clock.time() - elapsed)
        self._snapshots.put(after)
        return after

    def _not_yet(self, denied: Denied) -> NotYet:
        """How long to wait for what the ledger denied. Raises ``StorageError``."""
        if denied.reason is Reason.STORAGE_DOWN:
            raise StorageError(UNCOUNTED)
        if denied.until == inf:
            return NotYet(denied.reason, UNKNOWN_WAIT, RECHECK)
        seconds = denied.until - self._clock.monotonic()
        if denied.reason in _FINAL:
            return NotYet(denied.reason, seconds, inf)
        sooner = denied.scope is not Scope.LINK and seconds <= PATIENCE
        return NotYet(denied.reason, seconds, min(seconds, RECHECK) if sooner else seconds)

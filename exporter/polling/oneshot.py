"""Reads a few links once, inside the limits and the ledger of a service that may be running beside it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from math import ceil, inf
from typing import TYPE_CHECKING

from exporter.config.durations import format_duration
from exporter.errors import PollError, StorageError
from exporter.model import Snapshot, State
from exporter.polling import Pacing, Ticket
from exporter.polling.poller import Poller
from exporter.provider.client import Client, open_session
from exporter.rules import RECHECK, SPAN
from exporter.store import Denied, Scope, Store, backend_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from exporter.clock import Clock
    from exporter.config import Config
    from exporter.errors import Outcome
    from exporter.model import Account, Link
    from exporter.polling import Planner

PATIENCE = SPAN + 14.0
"""Seconds that a link may have to wait until a request for it may leave: a window, and a little more."""

WORTH_TELLING = 1.0
"""Seconds of waiting that are told."""

UNCOUNTED = "the storage cannot be had, so that no request could be counted: none is sent"
NOT_SHARED = (
    'storage "memory:" is shared with nobody: what a running service sends, or was asked just before, is not'
    " counted; at most one request is sent for each link"
)
_REASONS = {
    Scope.LINK: "three requests in the last minute",
    Scope.LOGIN: "fourteen requests at once under its login",
    Scope.HOST: "failed logins, or requests that nobody knows of, may still count",
}
_HELD = (State.BLOCKED, State.UNAUTHORIZED, State.THROTTLED)


class _Hindrance(Exception):  # noqa: N818 - in the way for a while, or for too long
    """The request may not leave for ``seconds``; ask ``again`` in so many, or never (inf)."""

    def __init__(self, seconds: float, reason: str, again: float) -> None:
        self.seconds = seconds
        self.reason = reason
        self.again = again


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a link could not be read, in words."""

    link: Link
    reason: str


class Quiet:
    """Nobody counts these requests; the store does."""

    def request_ended(self, account: str, outcome: Outcome, seconds: float) -> None:
        """One request ended."""


@asynccontextmanager
async def opened(config: Config, links: Sequence[Link], clock: Clock) -> AsyncIterator[OneShot]:
    """Opens the configured storage as a guest, to read these links.

    Raises ``StorageError`` where requests could not be counted.
    """
    store = Store(backend_for(config.storage_url, clock, guest=True), lambda snapshot: None)
    async with open_session() as session:
        await store.open()
        try:
            if not store.backend.up:
                raise StorageError(UNCOUNTED)
            store.configure(links)
            pacing = Pacing(clock.time() - clock.monotonic())
            pacing.configure(_asked(config, links), clock.monotonic())
            poller = Poller(pacing, store, Client(session).fetch, Quiet(), clock)
            yield OneShot(poller, pacing, store, clock)
        finally:
            await store.backend.close()


def shared(config: Config) -> bool:
    """Whether the configured storage knows of other processes' requests."""
    return config.storage_url.get_secret_value() != "memory:"


def _asked(config: Config, links: Sequence[Link]) -> list[Account]:
    """The accounts of these links, with no others; without a shared ledger, mirrors are not tried either."""
    asked = []
    for account in config.accounts:
        mirrors = account.fallback_urls if shared(config) else ()
        own = tuple(link for link in links if link.account == account.name)
        asked.append(replace(account, links=own, fallback_urls=mirrors))
    return asked


class OneShot:
    """Asks for one link after another."""

    def __init__(self, poller: Poller, pacing: Pacing, store: Store, clock: Clock) -> None:
        self._poller = poller
        self._store = store
        self._clock = clock
        self._planners = {planner.account.name: planner for planner in pacing.active}

    async def read(self, link: Link, tell: Callable[[str], None]) -> Snapshot | Failure:
        """The link's snapshot with a new reading. ``tell`` hears of waiting, once for each reason.

        Waits at most ``PATIENCE`` seconds until a request may leave, and not at all while the account is held
        back. Raises ``StorageError`` if requests cannot be counted any more.
        """
        deadline, told = self._clock.monotonic() + PATIENCE, set[str]()
        while True:
            try:
                return await self._ask(self._planners[link.account], link)
            except PollError as error:
                return Failure(link, str(error))
            except _Hindrance as hindrance:
                seconds, reason, again = ceil(hindrance.seconds), hindrance.reason, hindrance.again
            if self._clock.monotonic() + again > deadline:
                return Failure(link, f"{reason}, for {format_duration(seconds)} more")
            if seconds > WORTH_TELLING and reason not in told:
                told.add(reason)
                tell(f"link {link.name}: waiting {seconds} s: {reason}")
            await asyncio.sleep(again)

    async def _ask(self, planner: Planner, link: Link) -> Snapshot:
        """Asks at one address after another, until one of them answers for the API."""
        while True:
            now = self._clock.monotonic()
            ticket = planner.ask(link, now)
            if not isinstance(ticket, Ticket):
                raise _own_hindrance(planner, now, ticket - now)
            self._require_storage()
            result = await self._poller.use(planner, ticket)
            if isinstance(result, Denied):
                self._require_storage()
                raise _hindrance(link, result)
            if not isinstance(result, PollError):
                return self._store.get(link) or Snapshot(link, result)
            if not ticket.turn.tries:
                raise result

    def _require_storage(self) -> None:
        if not self._store.backend.up:
            raise StorageError(UNCOUNTED)


def _hindrance(link: Link, denied: Denied) -> _Hindrance:
    """What others' requests, and the pauses they met, mean for one of ours."""
    if denied.pause is not None:
        return _held(link.account, denied.pause.state, denied.seconds)
    # What others have in flight may end any moment.
    sooner = denied.scope is not Scope.LINK and denied.seconds <= PATIENCE
    again = min(denied.seconds, RECHECK) if sooner else denied.seconds
    return _Hindrance(denied.seconds, _REASONS[denied.scope], again)


def _own_hindrance(planner: Planner, now: float, seconds: float) -> _Hindrance:
    """What the requests before this one mean for it."""
    if (state := planner.state(now)) in _HELD:
        return _held(planner.account.name, state, seconds)
    return _Hindrance(seconds, "requests just before it failed", seconds)


def _held(account: str, state: State, seconds: float) -> _Hindrance:
    return _Hindrance(seconds, f"account {account} is {state}", inf)

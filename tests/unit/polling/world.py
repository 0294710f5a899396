"""A provider in virtual time, several exporters, and everything that can go wrong between them.

The exporters are the real pollers and ledgers, on a journal that they share. The provider judges by what
*arrives*, and counts a request for as long as it works on it, whether somebody still waits or not.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from math import inf
from random import Random
from zlib import crc32

from exporter.errors import (
    BlockedError,
    HttpStatusError,
    MalformedError,
    NoAnswerError,
    Outcome,
    PollError,
    PollTimeoutError,
    UnauthorizedError,
    UnreachableError,
    api_error,
)
from exporter.limits import Ledger, Request
from exporter.limits.constants import FIRST_PAUSE
from exporter.model import Account, Link, LinkKey, Reading, Snapshot, State
from exporter.polling.poller import Poller
from exporter.polling.recorder import Recorder
from exporter.snapshots import Snapshots
from tests import virtual
from tests.factories import make_reading
from tests.shared_log import LogJournal, SharedLog


@dataclass(frozen=True)
class Weather:
    """How a request may fare: times in seconds, the rest as probabilities."""

    way: tuple[float, float] = (0.001, 2.0)
    work: tuple[float, float] = (0.01, 2.0)
    stuck: float = 0.0
    refused_connection: float = 0.0
    lost_answer: float = 0.0
    bad_status: float = 0.0
    status: int = 503
    retry_after: float = 0.0
    malformed: float = 0.0
    not_found: float = 0.0
    odd_code: float = 0.0
    foreign: float = 0.0


@dataclass
class Audit:
    """What arrived at the provider, of us alone.

    ``worst_step_back``: by how much a figure that is served was ever sent for before the one it replaced.
    ``sent_while_blocked``: requests that left after somebody had learnt of a block, and before it could end.
    ``in_the_air``: how many requests were under way when the first refusal of a login was learnt.
    """

    arrivals: dict[object, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    worst_window: int = 0
    in_flight: Counter[str] = field(default_factory=Counter)
    most_in_flight: int = 0
    failed_logins: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    worst_failed_logins: int = 0
    polls: Counter[str] = field(default_factory=Counter)
    last: dict[str, float] = field(default_factory=dict)
    worst_gap: float = 0.0
    answers: Counter[str] = field(default_factory=Counter)
    arrived_at: list[float] = field(default_factory=list)
    worst_step_back: float = 0.0
    in_the_air: int = 0
    sent_while_blocked: int = 0

    def arrived(self, login: str, target: object, name: str, now: float) -> None:
        self.worst_window = max(self.worst_window, _slide(self.arrivals[login, target], now, 60.0))
        self.in_flight[login] += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight[login])
        self.polls[name] += 1
        self.worst_gap = max(self.worst_gap, now - self.last.get(name, now))
        self.last[name] = now
        self.arrived_at.append(now)

    def login_failed(self, host: str, now: float) -> None:
        self.worst_failed_logins = max(
            self.worst_failed_logins, _slide(self.failed_logins[host], now, 1800.0)
        )


def _slide(times: deque[float], now: float, span: float) -> int:
    times.append(now)
    while times[0] <= now - span:
        times.popleft()
    return len(times)


class Site:
    """One exporter: a poller with a ledger and a journal of its own."""

    def __init__(self, world: World, accounts: Sequence[Account]) -> None:
        self.world = world
        self.journal: LogJournal = world.log.journal()
        self.snapshots = Snapshots(self._served)
        self._sent_at: dict[LinkKey, int] = {}
        self.recorder = Recorder(Ledger(), self.journal, world.clock, lambda news: self.poller.heard(news))
        self.poller = Poller(
            self.recorder,
            self.snapshots,
            world.fetch,
            self._ended,
            world.clock,
            Random(world.random.random()),
        )
        self.accounts = accounts

    def _ended(self, account: str, outcome: Outcome, seconds: float) -> None:
        self.world.audit.answers[outcome] += 1

    async def start(self) -> None:
        self.recorder.ledger.configure(map(Request.of, self.accounts))  # before it learns of refusals
        await self.recorder.open()
        await self.reload(self.accounts)
        self.poller.start()

    async def reload(self, accounts: Sequence[Account]) -> None:
        self.accounts = accounts
        links = [link for account in accounts for link in account.links]
        stored = await self.journal.read(self.snapshots.missing(links))
        self.snapshots.swap(self.snapshots.build(links, stored))
        self.poller.swap(self.poller.build(accounts))

    async def kill(self) -> None:
        """Ends at once, and tells nobody: what was sent is worked on."""
        self.journal.kill()
        await self.poller.close(grace=0)

    def _served(self, snapshot: Snapshot) -> None:
        """Notes if a figure replaces one that was asked for later; the provider says when it was asked."""
        if snapshot.reading is not None:
            sent_at, before = snapshot.reading.previous_month, self._sent_at.get(snapshot.link.key, 0)
            self._sent_at[snapshot.link.key] = sent_at
            self.world.audit.worst_step_back = max(self.world.audit.worst_step_back, before - sent_at)

    def states(self) -> dict[str, State]:
        return {status.name: status.state for status in self.poller.statuses()}


class World:
    """Exporters on one side, the provider on the other."""

    def __init__(
        self,
        accounts: Sequence[Account],
        weather: Weather,
        seed: int = 1,
        *,
        exporters: int = 1,
        alone: bool = True,
        unequal: bool = True,
    ) -> None:
        self.unequal = unequal
        self.random = Random(seed)
        self.weather = weather
        self.audit = Audit()
        self.wrong_logins: set[str] = set()
        self.wrong_secrets: set[str] = set()
        self.blocked = False
        self.blocked_since = inf
        self.silent_until = -inf
        self.frozen_until = -inf
        self.clock = virtual.VirtualClock()
        self.began = self.clock.monotonic()
        self.log = SharedLog(self.clock, self.random, alone=alone)
        self.accounts = accounts
        self.exporters = exporters
        self.sites: list[Site] = []
        self._events: list[tuple[float, Callable[[], Coroutine[None, None, None] | None]]] = []
        self._working: set[asyncio.Task[None]] = set()

    @property
    def now(self) -> float:
        """Seconds since the world began."""
        return self.clock.monotonic() - self.began

    def at(self, time: float, event: Callable[[], Coroutine[None, None, None] | None]) -> None:
        """Has something happen at a time, in seconds since the beginning."""
        self._events.append((time, event))

    def run(self, until: float) -> Audit:
        """Lives until then; returns what arrived."""
        virtual.run(self.clock, self._live(until))
        return self.audit

    async def _live(self, until: float) -> None:
        self.sites = [Site(self, self.accounts) for _ in range(self.exporters)]
        for site in self.sites:
            await site.start()
        for time, event in sorted(self._events, key=lambda one: one[0]):
            if time >= until:
                break
            await asyncio.sleep(max(0.0, time - self.now))
            if (coming := event()) is not None:
                await coming
        await asyncio.sleep(max(0.0, until - self.now))
        for site in self.sites:
            assert site.poller.broken() is None
            await site.poller.close(grace=0)
            site.journal.kill()

    async def restart(self, index: int = 0) -> None:
        """Kills an exporter and starts another in its place."""
        await self.sites[index].kill()
        self.sites[index] = Site(self, self.sites[index].accounts)
        await self.sites[index].start()

    async def reload(self, accounts: Sequence[Account]) -> None:
        """Gives every exporter another configuration."""
        for site in self.sites:
            await site.reload(accounts)

    # --- the way and the provider -------------------------------------------------------------------------

    async def fetch(self, account: Account, link: Link, url: str) -> Reading:
        """One request, as the client would have it end."""
        chance, weather = self.random.random, self.weather
        self.audit.sent_while_blocked += self.blocked_since < self.now < self.blocked_since + FIRST_PAUSE
        if chance() < weather.refused_connection:
            await asyncio.sleep(0.01)
            raise UnreachableError("refused", sent=False)
        answered: asyncio.Future[PollError | Reading] = asyncio.get_running_loop().create_future()
        work = asyncio.create_task(self._serve(account, link, answered))
        self._working.add(work)
        work.add_done_callback(self._working.discard)
        try:
            async with asyncio.timeout(account.timeout):
                result = await asyncio.shield(answered)
        except TimeoutError:
            raise PollTimeoutError("timeout") from None
        if isinstance(result, PollError):
            raise result
        return result

    async def _serve(
        self, account: Account, link: Link, answered: asyncio.Future[PollError | Reading]
    ) -> None:
        """The request on its way and at the provider, whether somebody waits or not."""
        asked_at = self.now
        await asyncio.sleep(self.random.uniform(*self.weather.way))
        self.audit.arrived(account.login_key, link.target, link.name, self.now)
        verdict = self._verdict(account, link, asked_at)
        work = self.random.uniform(*self.weather.work)
        if self.random.random() < self.weather.stuck:
            work += self.random.uniform(0, 45)
        hangs = max(0.0, self.silent_until - self.now, self.frozen_until - self.now)
        await asyncio.sleep(work + min(hangs, 55.0))
        self.audit.in_flight[account.login_key] -= 1
        if self.random.random() < self.weather.lost_answer:
            verdict = self.random.choice([UnreachableError("reset"), NoAnswerError("empty")])
        await asyncio.sleep(self.random.uniform(*self.weather.way))
        if isinstance(verdict, UnauthorizedError) and not self.audit.in_the_air:
            self.audit.in_the_air = len(self._working)
        if isinstance(verdict, BlockedError):
            self.blocked_since = min(self.blocked_since, self.now)
        if not answered.done():
            answered.set_result(verdict)

    def _verdict(self, account: Account, link: Link, asked_at: float) -> PollError | Reading:
        weather = self.weather
        if self._chance(weather.bad_status):
            return HttpStatusError(weather.status, 30.0 if self._chance(weather.retry_after) else None)
        if self.blocked:
            return api_error(4)
        if account.login_key in self.wrong_logins or self._secret_of(account) in self.wrong_secrets:
            self.audit.login_failed(account.host, self.now)
            return api_error(2)
        if self._chance(weather.foreign):
            return api_error(9)
        if self._chance(weather.not_found):
            return api_error(3)
        if self._chance(weather.odd_code):
            return api_error(self.random.choice([1, 17]))
        if self._chance(weather.malformed):
            return MalformedError("odd")
        clicks = int(self._busy(link) * self.now)
        return make_reading(clicks, id=link.id, today=clicks, previous_month=int(asked_at))

    def _busy(self, link: Link) -> float:
        """Clicks a second, where links are not clicked alike: from one in three hours to three a second."""
        return 10 ** (crc32(repr(link.target).encode()) % 100 / 22 - 4) if self.unequal else 0.0

    def _secret_of(self, account: Account) -> str:
        return account.credentials.parameters["psw"]

    def _chance(self, probability: float) -> bool:
        return self.random.random() < probability

"""Polls: asks pacing what may leave, sends it, and passes on what came of it."""

from __future__ import annotations

import asyncio
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Protocol

import structlog

from exporter.errors import CrashedError, Outcome, PollError
from exporter.model import Failure, State
from exporter.polling import Pacing, Planner, Ticket
from exporter.rules import LINGER
from exporter.store import Attempt, Denied, Grant, Pause, Scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from exporter.clock import Clock
    from exporter.model import Account, AccountStatus, Link, Reading, Snapshot
    from exporter.store import Store

    Fetch = Callable[[Account, Link, str], Awaitable[Reading]]

log = structlog.stdlib.get_logger(__name__)

FAILURES = 100
"""How many of the latest failures are remembered."""


_STANDING = State.BLOCKED, inf, 0
"""A pause of which no more is known than that it stands."""


class Observer(Protocol):
    """Who counts requests."""

    def request_ended(self, account: str, outcome: Outcome, seconds: float) -> None:
        """One request ended as ``outcome`` after ``seconds``."""
        ...


class Poller:
    """Polls all accounts in the background, each from a task of its own.

    ``fetch`` sends one request and returns a reading or raises a ``PollError``; ``clock`` must run with the
    event loop's own time.
    """

    def __init__(self, pacing: Pacing, store: Store, fetch: Fetch, observer: Observer, clock: Clock) -> None:
        self._pacing = pacing
        self._store = store
        self._fetch = fetch
        self._observer = observer
        self._clock = clock
        self.failures: deque[Failure] = deque(maxlen=FAILURES)
        self._broke: str | None = None
        self._loops: dict[Planner, asyncio.Task[None]] = {}
        self._polls: set[asyncio.Task[None]] = set()
        self._wakes: dict[Planner, asyncio.Event] = {}
        self._states: dict[Planner, State] = {}
        self._held: dict[str, tuple[State, float, int] | None] = {}

    def configure(self, accounts: Iterable[Account]) -> Iterator[None]:
        """Takes accounts to poll: at the start, and at each reload. Requests in flight are left to end.

        Accounts are taken at once; what is returned takes their links, one a step.
        """
        links = self._pacing.switch(accounts, self._clock.monotonic())
        for planner in self._loops.keys() - set(self._pacing.active):
            self._loops.pop(planner).cancel()
            del self._states[planner], self._wakes[planner]
        for planner in self._pacing.active:
            if planner not in self._loops:
                self._states[planner] = planner.state(self._clock.monotonic())
                self._wakes[planner] = asyncio.Event()
                self._loops[planner] = asyncio.create_task(self._run(planner))
        return self._take(links)

    def _take(self, links: Iterable[tuple[Planner, Link]]) -> Iterator[None]:
        for planner, link in links:
            self._teach(planner, link)
            yield
        self._wake_all()

    def _teach(self, planner: Planner, link: Link) -> None:
        """Tells the planner of a reading that it did not see: one that was kept, or another exporter's."""
        known = self._store.get(link)
        if known is not None and known.reading is not None:
            age = max(0.0, self._clock.time() - known.read_at) if known.read_at else 0.0
            planner.learn(link, known.reading, self._clock.monotonic() - age)

    def broken(self) -> str | None:
        """Why polling stands still; None while it goes on."""
        for planner, loop in self._loops.items():
            if loop.done() and not loop.cancelled():
                return f"polling of account {planner.account.name} has stopped: {loop.exception()!r}"
        return self._broke

    def statuses(self) -> list[AccountStatus]:
        """How each account stands now."""
        now, wall = self._clock.monotonic(), self._clock.time()
        return [planner.status(now, wall) for planner in self._pacing.active]

    def next_polls(self, links: Iterable[Link]) -> list[float | None]:
        """When each link is asked next at the earliest (wall-clock time); None while a request runs."""
        now, wall = self._clock.monotonic(), self._clock.time()
        planners = {planner.account.name: planner for planner in self._pacing.active}
        moments = []
        for link in links:
            planner = planners.get(link.account)
            moment = planner.next_poll(link, now) if planner else None
            moments.append(None if moment is None else wall + moment - now)
        return moments

    async def close(self, grace: float = 2.0) -> None:
        """Stops polling; requests in flight get ``grace`` seconds to end."""
        for loop in self._loops.values():
            loop.cancel()
        if self._polls:
            await asyncio.wait(self._polls, timeout=grace)
        leftover = [*self._loops.values(), *self._polls]
        for task in leftover:
            task.cancel()
        await asyncio.gather(*leftover, return_exceptions=True)

    def _wake_all(self) -> None:
        for wake in self._wakes.values():
            wake.set()

    async def _run(self, planner: Planner) -> None:
        wake = self._wakes[planner]
        while True:
            wake.clear()
            await _wait(wake, self._start_due(planner))

    def _start_due(self, planner: Planner) -> float:
        """Starts all polls that may leave now. Returns for how many seconds no other may."""
        now = self._clock.monotonic()
        self._tell_state(planner, now)
        while isinstance(step := planner.next(now), Ticket):
            self._start(planner, step)
        return step - now

    def _goes_on(self, planner: Planner) -> bool:
        """Whether the account is polled at present, and not at an end."""
        loop = self._loops.get(planner)
        return loop is not None and not (loop.done() or loop.cancelling())

    def _start(self, planner: Planner, ticket: Ticket) -> None:
        poll = asyncio.create_task(self._poll(planner, ticket))
        self._polls.add(poll)
        poll.add_done_callback(self._poll_ended)

    def _poll_ended(self, poll: asyncio.Task[None]) -> None:
        self._polls.discard(poll)
        if not poll.cancelled() and (error := poll.exception()) is not None:
            log.error("polling_broke", exc_info=error)
            self._broke = f"a poll broke: {error!r}"

    async def use(self, planner: Planner, ticket: Ticket) -> Reading | PollError | Denied:
        """Sends the request that the ticket is for, unless others stand in its way; what came of it."""
        grant = await self._claim(ticket)
        if isinstance(grant, Denied):
            self._deny(planner, ticket, grant)
            return grant
        return await self._send(planner, ticket, grant)

    async def _poll(self, planner: Planner, ticket: Ticket) -> None:
        epoch = planner.host.epoch
        await self.use(planner, ticket)
        if planner.host.epoch != epoch:
            self._wake_all()
        elif planner in self._wakes:
            self._wakes[planner].set()

    async def _claim(self, ticket: Ticket) -> Grant | Denied:
        account = ticket.account
        attempt = Attempt(
            host=account.host,
            login=account.login_key,
            secret=account.secret_key,
            target=ticket.link.target,
            apart=ticket.apart,
            lasts=account.timeout + LINGER,
            proven=ticket.proven,
        )
        return await self._store.backend.claim(attempt)

    def _deny(self, planner: Planner, ticket: Ticket, denied: Denied) -> None:
        """Others stand in the way: another exporter on the login, or this one before it was restarted."""
        now = self._clock.monotonic()
        log.debug("denied", account=ticket.account.name, link=ticket.link.name, scope=str(denied.scope))
        self._teach(planner, ticket.link)
        planner.deny(ticket, now, denied.seconds, link_alone=denied.scope is Scope.LINK)
        if (pause := denied.pause) is not None:
            planner.held(now, pause.state, pause.seconds, pause.count)
            self._held |= planner.pauses(now)

    async def _send(self, planner: Planner, ticket: Ticket, grant: Grant) -> Reading | PollError:
        sent_at, started = self._clock.time(), self._clock.monotonic()
        result = await self._ask(ticket)
        now = self._clock.monotonic()
        error = result if isinstance(result, PollError) else None
        if not isinstance(result, PollError):
            planner.learn(ticket.link, result, ticket.sent_at)
        settled = planner.finish(ticket, now, error)
        self._store.backend.end(grant, login_failed=ticket.login_failed(error))
        if grant.probe and error is None:
            # Whoever began that pause may be gone, so that we have not heard of it.
            self._held |= dict.fromkeys(planner.pauses(now), _STANDING)
        self._share_pauses(planner, now)
        if error is not None:
            self.failures.append(_failure(ticket, error, self._clock.time()))
        outcome = error.outcome if error else Outcome.OK
        self._observer.request_ended(ticket.account.name, outcome, now - started)
        if self._goes_on(planner):
            # The next request leaves first: its attempt is written while this one's figures are shown.
            self._start_due(planner)
            await asyncio.sleep(0)
        if settled:
            self._publish(ticket.link, result, sent_at)
        return result

    def _share_pauses(self, planner: Planner, now: float) -> None:
        """Has pauses kept that are new, and lifted that are over."""
        for key, paused in planner.pauses(now).items():
            if self._held.get(key) != paused:
                self._held[key] = paused
                pause = Pause(paused[0], paused[1] - now, paused[2]) if paused else None
                self._store.backend.hold(key, pause)

    async def _ask(self, ticket: Ticket) -> Reading | PollError:
        try:
            return await self._fetch(ticket.account, ticket.link, ticket.url)
        except PollError as error:
            return error
        except Exception as error:
            log.exception("poll_crashed", account=ticket.account.name, link=ticket.link.name)
            return CrashedError(type(error).__name__)

    def _publish(self, link: Link, result: Reading | PollError, sent_at: float) -> None:
        known = self._store.get(link)
        if known is None:
            return
        if isinstance(result, PollError):
            new = known.failed(result.outcome)
        else:
            new = known.succeeded(result, sent_at)
        self._store.put(new)
        _tell_change(known, new, result)

    def _tell_state(self, planner: Planner, now: float) -> None:
        state = planner.state(now)
        if self._states[planner] is state:
            return
        self._states[planner] = state
        status = planner.status(now, self._clock.time())
        say = log.info if state is State.POLLING else log.warning
        say("account_state", account=status.name, state=str(state), paused_until=int(status.paused_until))


def _failure(ticket: Ticket, error: PollError, at: float) -> Failure:
    return Failure(at, ticket.account.name, ticket.link.name, error.outcome, str(error))


async def _wait(wake: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(None if seconds == inf else seconds):
            await wake.wait()
    except TimeoutError:
        pass


def _tell_change(known: Snapshot, new: Snapshot, result: Reading | PollError) -> None:
    """One line when a link begins to fail, fails otherwise, or recovers; a line per poll only to debug."""
    names = {"account": new.link.account, "link": new.link.name}
    log.debug("poll", **names, outcome=str(new.outcome))
    if known.outcome is new.outcome:
        return
    if isinstance(result, PollError):
        log.warning("link_failing", **names, outcome=str(new.outcome), reason=str(result))
    elif known.outcome is not None:
        log.info("link_recovered", **names)

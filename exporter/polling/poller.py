"""Polls all accounts: asks the planners what is due, records it, sends it, and hands on the answers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random

import structlog

from exporter.clock import Clock
from exporter.errors import ApiError, CrashedError, Outcome, PollError
from exporter.journal.outbox import wait
from exporter.limits import Answered, Dated, Sent
from exporter.model import Account, AccountStatus, Failure, Link, Reading, Snapshot
from exporter.polling.logbook import Logbook
from exporter.polling.planner import Changes, Planner, Poll
from exporter.polling.recorder import Recorder
from exporter.snapshots import Snapshots

Fetch = Callable[[Account, Link, str], Awaitable[Reading]]

Plans = list[tuple[Planner, Changes]]

log = structlog.stdlib.get_logger(__name__)

FAILURES = 100
"""How many of the latest failures are remembered for the status page."""

LONGEST_WAIT = 5.0
"""The longest time between two looks at an account, in seconds.

What it waits for may happen silently: another process died, or the machine was asleep.
"""

CLOCK_STEP = 1.0
"""Seconds the wall clock may run behind the monotonic one during a request before it counts as set back."""

REPLICA_DELAY = 2.0
"""Processes that share a journal are due up to so many seconds apart, so that they seldom collide."""


class Poller:
    """Polls all accounts in the background from one task; each request has a task of its own.

    ``fetch`` sends one request and returns a reading or raises a ``PollError``. ``ended`` is called with each
    request's account, outcome and duration in seconds.
    """

    def __init__(
        self,
        recorder: Recorder,
        snapshots: Snapshots,
        fetch: Fetch,
        ended: Callable[[str, Outcome, float], None],
        clock: Clock,
        random: Random | None = None,
        *,
        longest_wait: float = LONGEST_WAIT,
        tells_failures: bool = True,
    ) -> None:
        self._recorder = recorder
        self._snapshots = snapshots
        self._fetch = fetch
        self._ended = ended
        self._clock = clock
        self._random = random or Random()  # noqa: S311 - jitter, not cryptography
        self._delay = self._random.uniform(0, REPLICA_DELAY) if recorder.journal.fail_closed else 0.0
        self._wall_offset = clock.time() - clock.monotonic()
        self._longest_wait = longest_wait
        self._tells_failures = tells_failures
        self.failures: deque[Failure] = deque(maxlen=FAILURES)
        self._planners: dict[str, Planner] = {}
        self._logbook = Logbook()
        self._wakes: list[tuple[float, int, Planner]] = []
        self._wake_at: dict[Planner, float] = {}
        self._order = count()
        self._woken = asyncio.Event()
        self._polls: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        self._broke: str | None = None

    # --- configuration ------------------------------------------------------------------------------------

    def build(self, accounts: Iterable[Account]) -> Plans:
        """Finds what a configuration changes, for ``swap``. Changes nothing, so that a thread may call it."""
        plans = []
        for account in accounts:
            planner = self._planners.get(account.login_key) or Planner(
                account, self._recorder, self._random, self._wall_offset, self._delay
            )
            plans.append((planner, planner.build(account)))
        return plans

    def swap(self, plans: Plans) -> None:
        """Polls these accounts from now on. Requests in flight are left to end."""
        now = self._clock.monotonic()
        self._planners = {changes.account.login_key: planner for planner, changes in plans}
        for planner, changes in plans:
            planner.swap(changes, now, self._known)
            self._wake(planner, now)
        self._recorder.ledger.configure(planner.request for planner in self._planners.values())
        planned = set(self._planners.values())
        self._logbook.configure(planned)
        self._wake_at = {one: at for one, at in self._wake_at.items() if one in planned}

    def start(self) -> None:
        """Begins to poll."""
        self._loop = asyncio.create_task(self._run())

    def _known(self, link: Link) -> tuple[Reading, float] | None:
        """The reading that is known of a link, and when its request was sent (monotonic seconds)."""
        known = self._snapshots.get(link)
        if known is None or known.reading is None:
            return None
        # A reading of unknown age shows how often a link is clicked, and is due to be replaced.
        age = max(0.0, self._clock.time() - known.read_at) if known.read_at else link.stale_after
        return known.reading, self._clock.monotonic() - age

    # --- status -------------------------------------------------------------------------------------------

    def broken(self) -> str | None:
        """Why polling has stopped; None while it runs."""
        if self._loop is not None and self._loop.done() and not self._loop.cancelled():
            return f"polling has stopped: {self._loop.exception()!r}"
        return self._broke

    def statuses(self) -> list[AccountStatus]:
        """The status of each account now."""
        now, wall = self._clock.monotonic(), self._clock.time()
        return [planner.status(now, wall) for planner in self._planners.values()]

    def next_polls(self, links: Iterable[Link]) -> list[float | None]:
        """When each link is polled next at the earliest (wall-clock time); None while it is being polled."""
        now, wall = self._clock.monotonic(), self._clock.time()
        planners = {planner.account.name: planner for planner in self._planners.values()}
        moments = []
        for link in links:
            planner = planners.get(link.account)
            moment = planner.next_poll(link, now) if planner else None
            moments.append(None if moment is None else wall + moment - now)
        return moments

    async def close(self, grace: float = 2.0) -> None:
        """Stops polling; requests in flight get ``grace`` seconds to end."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        if self._polls:
            await asyncio.wait(self._polls, timeout=grace)
        for poll in self._polls:
            poll.cancel()
        await asyncio.gather(*self._polls, return_exceptions=True)

    # --- what is due --------------------------------------------------------------------------------------

    def _wake(self, planner: Planner, at: float) -> None:
        """Plans to ask a planner at ``at`` or earlier, if its account is still configured."""
        if self._planners.get(planner.account.login_key) is planner and at < self._wake_at.get(planner, inf):
            self._wake_at[planner] = at
            heappush(self._wakes, (at, next(self._order), planner))
            self._woken.set()

    def _wake_host(self, host: str) -> None:
        for planner in self._planners.values():
            if planner.account.host == host:
                self._wake(planner, -inf)

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            batch = self._due()
            if batch:
                await self._record(batch)
            else:
                until = self._wakes[0][0] - self._clock.monotonic() if self._wakes else inf
                await wait(self._woken, min(until, LONGEST_WAIT))

    def _due(self) -> list[tuple[Planner, Poll]]:
        """All polls that may start now. They are already counted."""
        now = self._clock.monotonic()
        batch: list[tuple[Planner, Poll]] = []
        for planner in sorted(self._awake(now), key=lambda one: one.rank):
            polls = len(batch)
            while isinstance(step := planner.next(now), Poll):
                batch.append((planner, step))
            if len(batch) == polls:  # one that polls is looked at again in LONGEST_WAIT at the latest
                self._logbook.state(planner, now)
            self._wake(planner, min(step, now + self._longest_wait))
        return batch

    def _awake(self, now: float) -> list[Planner]:
        awake = []
        while self._wakes and self._wakes[0][0] <= now:
            at, _, planner = heappop(self._wakes)
            if self._wake_at.get(planner) == at:
                del self._wake_at[planner]
                awake.append(planner)
        return awake

    async def _record(self, batch: Sequence[tuple[Planner, Poll]]) -> None:
        """Records the batch, then starts it; puts it back if it may not be sent."""
        recorded = await self._recorder.record([poll.sent for _, poll in batch])
        for planner, poll in batch:
            if recorded:
                self._start(planner, poll)
            else:
                planner.put_back(poll)
                self._wake(planner, self._clock.monotonic())

    def _start(self, planner: Planner, poll: Poll) -> None:
        task = asyncio.create_task(self._poll(planner, poll))
        self._polls.add(task)
        task.add_done_callback(self._poll_ended)

    def _poll_ended(self, task: asyncio.Task[None]) -> None:
        self._polls.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("polling_broke", exc_info=error)
            self._broke = f"a poll broke: {error!r}"

    # --- one poll -----------------------------------------------------------------------------------------

    async def _poll(self, planner: Planner, poll: Poll) -> None:
        started, sent_at = self._clock.monotonic(), self._clock.time()
        try:
            result = await self._ask(poll)
        except asyncio.CancelledError:
            # At the end of the process: the provider may work on it for a while.
            elapsed = self._clock.monotonic() - started
            request, number = poll.sent.request, poll.sent.number
            self._recorder.end(
                Answered(
                    request,
                    number,
                    Outcome.TIMEOUT,
                    abandoned=True,
                    transport=True,
                    unclear=True,
                    elapsed=elapsed,
                )
            )
            raise
        now = self._clock.monotonic()
        read_at = self._dated(sent_at, now - started)
        changed = self._finish(planner, poll, result, now - started, read_at)
        outcome = result.outcome if isinstance(result, PollError) else Outcome.OK
        self._ended(poll.account.name, outcome, now - started)
        # The next request leaves first: its record is written while this one's figures are shown.
        await asyncio.sleep(0)
        if changed is not None:
            self._snapshots.put(changed[1])
            self._logbook.polled(planner, *changed, result, now)

    async def _ask(self, poll: Poll) -> Reading | PollError:
        try:
            return await self._fetch(poll.account, poll.link, poll.url)
        except PollError as error:
            return error
        except Exception as error:
            log.exception("poll_crashed", account=poll.account.name, link=poll.link.name)
            return CrashedError(type(error).__name__)

    def _finish(
        self, planner: Planner, poll: Poll, result: Reading | PollError, elapsed: float, read_at: float
    ) -> tuple[Snapshot, Snapshot] | None:
        """Reports the end of a poll to planner and ledger. Returns the link's snapshots before and after."""
        now = self._clock.monotonic()
        host = self._recorder.ledger.host(poll.sent.request.host)
        changes, order = host.changes, self._order_of(poll.sent.number)
        answer = answer_of(poll.sent, result, elapsed)
        changed = None
        if planner.finish(poll, now, result):
            outcome = answer.outcome or Outcome.UNREACHABLE
            changed = self._snapshots.apply(poll.link, order, outcome, answer.reading, read_at)
        if changed is not None and (answer.reading is not None or self._tells_failures):
            # So that other processes can show and store it.
            answer = replace(answer, link=changed[1].key, total=changed[1].total)
        self._recorder.end(answer)
        if isinstance(result, PollError):
            failure = Failure(
                self._clock.time(), poll.account.name, poll.link.name, result.outcome, str(result)
            )
            self.failures.append(failure)
        self._wake(planner, now)
        if host.changes != changes:
            self._wake_host(poll.sent.request.host)
        return changed

    def _dated(self, sent_at: float, elapsed: float) -> float:
        """When a request was sent, on the present wall clock, which may have been set back since."""
        now = self._clock.time()
        return sent_at if sent_at <= now - elapsed + CLOCK_STEP else now - elapsed

    def _order_of(self, number: int) -> int:
        """The place of a request in the order of sending, on which all processes agree."""
        attempt = self._recorder.ledger.attempts.get(number)
        return -1 if attempt is None else attempt.order

    # --- what other processes did -------------------------------------------------------------------------

    def heard(self, news: Sequence[Dated]) -> None:
        """Another process sent requests or got answers. The ledger has learnt them already."""
        now = self._clock.monotonic()
        for dated in news:
            event = dated.event
            planner = self._planners.get(event.request.login)
            if planner is None:
                continue
            if isinstance(event, Sent):
                planner.on_sent_elsewhere(event.request.target, now)
            elif event.outcome is not None:
                self._heard_answer(planner, event, dated.earliest - event.elapsed, now)
            self._wake(planner, now)

    def _heard_answer(self, planner: Planner, event: Answered, sent_at: float, now: float) -> None:
        target, outcome = event.request.target, event.outcome
        link = planner.link(target)
        if link is None or outcome is None or event.link == ("", ""):
            return
        planner.on_answered_elsewhere(target, outcome, event.reading, sent_at, now)
        read_at = self._clock.time() - (now - sent_at)
        order = self._order_of(event.number)
        changed = self._snapshots.apply(link, order, outcome, event.reading, read_at)
        if changed is not None:
            self._snapshots.put(changed[1])


def answer_of(sent: Sent, result: Reading | PollError, elapsed: float) -> Answered:
    """The event for a request's end."""
    if not isinstance(result, PollError):
        return Answered(sent.request, sent.number, Outcome.OK, elapsed=elapsed, reading=result)
    said_nothing = not isinstance(result, ApiError) and result.sent
    proxy_spoke = result.outcome is Outcome.HTTP_ERROR and not result.abandoned
    return Answered(
        request=sent.request,
        number=sent.number,
        outcome=result.outcome,
        abandoned=result.abandoned,
        transport=result.transport,
        # A front proxy does not check logins.
        unclear=said_nothing and not proxy_spoke,
        retry_after=result.retry_after,
        elapsed=elapsed,
    )

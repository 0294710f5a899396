"""Plans the polls of one account: which link is next, and what an answer means for later polls.

The planner keeps no limit of the provider: the ledger decides whether a request may leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import TYPE_CHECKING

from exporter.errors import ApiError, Outcome, PollError
from exporter.limits import API_OUTCOMES, Denied, Reason, Request, Sent
from exporter.model import Account, AccountStatus, Link, Reading, State, Target
from exporter.polling.concurrency import AdaptiveConcurrency
from exporter.polling.constants import (
    CATCH_UP_FACTOR,
    CATCH_UP_RATE,
    LEAST_RETRY,
    MIRROR_STAY,
    NOT_FOUND_RETRY,
    backoff,
)
from exporter.polling.queue import LinkSchedule, PollQueue, next_moment, phase
from exporter.polling.weights import Weights

if TYPE_CHECKING:
    from exporter.polling.recorder import Recorder  # nothing here waits

Known = Callable[[Link], tuple[Reading, float] | None]

_LINK_RETRIES = 3
"""Failures in a row after which a link loses its place: one that always fails must not go first."""

_AT_WORK = (State.POLLING, State.THROTTLED)
_STATES = {
    Reason.UNKNOWN_PAST: State.WAITING,
    Reason.STORAGE_DOWN: State.WAITING,
    Reason.BLOCKED: State.BLOCKED,
    Reason.UNAUTHORIZED: State.UNAUTHORIZED,
    Reason.FAILED_LOGINS: State.UNAUTHORIZED,
    Reason.UNCLEAR_LOGIN: State.UNREACHABLE,
    Reason.UNREACHABLE: State.UNREACHABLE,
    Reason.SLOW_DOWN: State.THROTTLED,
}
"""The state of an account while it is denied for a reason; for other reasons it is ``POLLING``."""


@dataclass(frozen=True, slots=True, eq=False)
class Poll:
    """One request for ``link`` to ``url``, the ``address``-th of the account; ``sent`` names it."""

    account: Account
    link: Link
    url: str
    address: int
    schedule: LinkSchedule
    sent: Sent
    sent_at: float


@dataclass(slots=True)
class Changes:
    """What a configuration changes: links that keep their schedules, links to plan, and targets that leave.

    ``rate`` is how many requests a second the links ask for in all.
    """

    account: Account
    stay: list[tuple[LinkSchedule, Link]] = field(default_factory=list)
    move: list[Link] = field(default_factory=list)
    leave: set[Target] = field(default_factory=set)
    rate: float = 0.0


class Planner:
    """Plans for one login. Times are monotonic seconds; ``wall_offset`` added makes them wall-clock.

    Each process draws ``delay`` once, so that replicas are not due at one moment.
    """

    def __init__(
        self, account: Account, recorder: Recorder, random: Random, wall_offset: float, delay: float = 0.0
    ) -> None:
        self.account = account
        self.concurrency = AdaptiveConcurrency(account.max_concurrent_requests)
        self.answered: bool | None = None
        self._recorder = recorder
        self._random = random
        self._wall_offset = wall_offset
        self._delay = delay
        self._schedules: dict[Target, LinkSchedule] = {}
        self._weights = Weights(self._schedules)
        self._queue = PollQueue()
        self._in_flight = 0
        self._added = 0
        self._mirror = 0
        self._mirror_since = -inf
        self._next_slot = -inf
        self._spacing = 1 / CATCH_UP_RATE
        self._wanted = 0.0
        self.request = Request.of(account)

    # --- configuration ------------------------------------------------------------------------------------

    def build(self, account: Account) -> Changes:
        """Finds what a new configuration changes. Changes nothing itself, so that a thread may call it."""
        changes = Changes(account)
        for link in account.links:
            schedule = self._schedules.get(link.target)
            if schedule is not None and schedule.wanted and _keeps_pace(schedule.link, link):
                changes.stay.append((schedule, link))
            else:
                changes.move.append(link)
        changes.leave = self._schedules.keys() - {link.target for link in account.links}
        changes.rate = sum(1 / link.refresh_interval for link in account.links)
        return changes

    def swap(self, changes: Changes, now: float, known: Known) -> None:
        """Takes a new configuration; links that stay keep their schedules.

        ``known`` gives the reading that is known of a link, with the time of its request.
        """
        account = changes.account
        if account.credentials != self.account.credentials:
            self.concurrency.restart()
        self.account = account
        self.concurrency.set_ceiling(account.max_concurrent_requests)
        self._mirror = 0
        self.request = Request.of(account)
        self._spacing = 1 / max(CATCH_UP_RATE, CATCH_UP_FACTOR * changes.rate)
        self._wanted = changes.rate
        for target in changes.leave:
            self._drop_link(target, now)
        for schedule, link in changes.stay:
            self._replace_link(schedule, link)
        self._take_links(changes.move, now, known)
        if changes.move or changes.leave:
            self._queue.compact()
            self._weights.balance()

    def _drop_link(self, target: Target, now: float) -> None:
        """Forgets a link that left, unless it still has to rest: it may come back."""
        schedule = self._schedules[target]
        schedule.wanted = False
        self._queue.drop(schedule)
        if schedule.rests_until <= now:
            del self._schedules[target]

    def _replace_link(self, schedule: LinkSchedule, link: Link) -> None:
        before, schedule.link = schedule.link, link
        if link.stale_after != before.stale_after:
            self._queue.stale_after_changed(schedule, link.stale_after - before.stale_after)

    def _take_links(self, links: Iterable[Link], now: float, known: Known) -> None:
        """Plans links that are new or changed.

        Links that are due together go in the order of their regular moments, which later rounds keep.
        """
        planned = [planned for link in links if (planned := self._take_link(link, now, known)) is not None]
        for _, due, schedule in sorted(planned, key=lambda each: each[0]):
            self._queue.put(schedule, due)

    def _take_link(self, link: Link, now: float, known: Known) -> tuple[float, float, LinkSchedule] | None:
        """A link's regular moment, when it is due, and its schedule; None while it is being polled."""
        schedule = self._schedules.get(link.target)
        if schedule is None:
            schedule = LinkSchedule(link, phase(self._added, self.account.login_key))
            self._schedules[link.target] = schedule
            self._added += 1
        self._replace_link(schedule, link)
        was_due = schedule.due if schedule.wanted else inf  # a link that is due keeps its place
        schedule.wanted = True
        self._seed(schedule, reading := known(link))
        schedule.interval = self._weights.interval(schedule)
        if schedule.in_flight:
            return None
        due = min(was_due, self._first_due(schedule, reading, now))
        return self._regular(schedule, -inf, now), due, schedule

    def _seed(self, schedule: LinkSchedule, known: tuple[Reading, float] | None) -> None:
        if known is not None:
            self._weights.learn(schedule, *known)
            self._queue.seed(schedule, known[1])

    def _first_due(self, schedule: LinkSchedule, known: tuple[Reading, float] | None, now: float) -> float:
        """Now, unless there is a fresh reading of the link."""
        if known is None or known[1] + schedule.interval <= now:
            return max(now, schedule.rests_until)
        return max(schedule.rests_until, self._regular(schedule, known[1], now))

    # --- the next poll ------------------------------------------------------------------------------------

    @property
    def rank(self) -> tuple[int, bool, int]:
        """Orders the accounts of a host; see ``limits.logins.Secret.rank``."""
        return self._recorder.ledger.host(self.account.host).secret(self.request.secret).rank

    def next(self, now: float) -> Poll | float:
        """The poll that may start now, already counted, or the time at which to ask again.

        ``inf`` means: when a request in flight ends, of this account or of another at its host.
        """
        if now < (slot := max(self._next_slot, self.concurrency.paused_until)):
            return max(slot, self._queue.earliest_due())
        while (schedule := self._queue.first(now)) is not None:
            request = Request.of(self.account, schedule.link.target)
            denied = self._recorder.check(request, now, self.concurrency.limit)
            if denied is None:
                self._queue.take(schedule)
                return self._start(schedule, request, now)
            if not denied.of_link:
                return denied.until
            self._queue.put(schedule, denied.until)
        return self._queue.next_due()

    def _start(self, schedule: LinkSchedule, request: Request, now: float) -> Poll:
        schedule.in_flight = True
        self._in_flight += 1
        self._next_slot = now + self._spacing
        address = self._choose_address(schedule, now)
        return Poll(
            account=self.account,
            link=schedule.link,
            url=self.account.urls[address],
            address=address,
            schedule=schedule,
            sent=self._recorder.begin(request),
            sent_at=now,
        )

    def _choose_address(self, schedule: LinkSchedule, now: float) -> int:
        """The address that answered last, then the others; now and then one poll begins with ``base_url``."""
        addresses = [self._mirror, *(n for n in range(len(self.account.urls)) if n != self._mirror)]
        if self._mirror and not schedule.tried and now - self._mirror_since > MIRROR_STAY:
            self._mirror_since = now
            return 0
        return next((n for n in addresses if n not in schedule.tried), self._mirror)

    def put_back(self, poll: Poll) -> None:
        """The poll did not start: another process was faster, or the request could not be recorded.

        It is due as it was, or later if another process asked for the link meanwhile.
        """
        self._released(poll)
        self._queue.put(poll.schedule, poll.schedule.due)

    def _released(self, poll: Poll) -> None:
        poll.schedule.in_flight = False
        self._in_flight -= 1

    # --- how a poll ended ---------------------------------------------------------------------------------

    def finish(self, poll: Poll, now: float, result: Reading | PollError) -> bool:
        """A poll of this process ended. Returns False if a mirror is to be asked next."""
        self._released(poll)
        schedule, error = poll.schedule, None
        if isinstance(result, Exception):
            error = result
            self._failed(poll, now, error)
        else:
            self._weights.learn(schedule, result, poll.sent_at)
            self._answered(poll, now)
            self.on_read(schedule, poll.sent_at, now)
        if not schedule.tried:
            retries = error is not None and 0 < schedule.failures <= _LINK_RETRIES
            self._queue.place(schedule, self._weights.weight(schedule), poll.sent_at, read=not retries)
        return not schedule.tried

    def on_read(self, schedule: LinkSchedule, sent_at: float, now: float) -> None:
        """A link was read, here or by another process."""
        self.concurrency.succeeded()
        schedule.rests_until = -inf
        schedule.failures, schedule.tried = 0, ()
        self._plan(schedule, self._regular(schedule, sent_at, now))

    def _plan(self, schedule: LinkSchedule, due: float) -> None:
        """Makes a link due; one that is in flight only if its poll is put back."""
        if schedule.in_flight:
            schedule.due = due
        else:
            self._queue.put(schedule, due)

    def _failed(self, poll: Poll, now: float, error: PollError) -> None:
        schedule = poll.schedule
        if isinstance(error, ApiError):
            self._answered(poll, now)
            self.on_refused(schedule, error.outcome, poll.sent_at, now)
            return
        if error.transport:
            self.answered = False
            if not self._recorder.ledger.reachable(poll.sent.request):
                self.concurrency.restart()
            schedule.tried = (*schedule.tried, poll.address)
            if len(schedule.tried) < len(self.account.urls):
                self._queue.put(schedule, now)
                return
        self._back_off(schedule, now)

    def on_refused(self, schedule: LinkSchedule, outcome: Outcome, sent_at: float, now: float) -> None:
        """The API answered with an error number, here or to another process."""
        schedule.tried = ()
        if outcome is Outcome.THROTTLED:
            self.concurrency.throttled(sent_at, now)
            self._plan(schedule, now)  # the ledger says how long the link rests
        elif outcome in (Outcome.PARAMETERS, Outcome.NOT_FOUND):
            if outcome is Outcome.NOT_FOUND:
                self.concurrency.succeeded()
            self._rest(schedule, now + max(NOT_FOUND_RETRY, schedule.link.refresh_interval))
        elif outcome in (Outcome.UNAUTHORIZED, Outcome.BLOCKED):
            self.concurrency.restart()
            self._rest(schedule, now + LEAST_RETRY)  # the ledger says how long the login waits
        else:
            self._back_off(schedule, now)

    def _answered(self, poll: Poll, now: float) -> None:
        """The API answered; its address is used for a while."""
        self.answered = True
        if poll.url not in self.account.urls:  # a reload removed it
            return
        address = self.account.urls.index(poll.url)
        if address != self._mirror:
            self._mirror, self._mirror_since = address, now

    def _back_off(self, schedule: LinkSchedule, now: float) -> None:
        schedule.tried = ()
        schedule.failures += 1
        self._rest(schedule, now + max(LEAST_RETRY, backoff(schedule.failures, self._random)))

    def _rest(self, schedule: LinkSchedule, until: float) -> None:
        schedule.rests_until = until
        self._plan(schedule, until)

    # --- what other processes did -------------------------------------------------------------------------

    def on_sent_elsewhere(self, target: Target, now: float) -> None:
        """Another process is polling the link: it is not due here before half an interval has passed."""
        schedule = self._schedules.get(target)
        if schedule is not None:
            self._plan(schedule, max(schedule.rests_until, self._regular(schedule, now, now)))

    def on_answered_elsewhere(
        self, target: Target, outcome: Outcome, reading: Reading | None, sent_at: float, now: float
    ) -> None:
        """Another process got this answer."""
        schedule = self._schedules.get(target)
        if schedule is None:
            return
        if reading is not None:
            self._weights.learn(schedule, reading, sent_at)
            self.on_read(schedule, sent_at, now)
            self._queue.place(schedule, self._weights.weight(schedule), sent_at)
        elif outcome is Outcome.OK:  # its figures are not told any more
            self.on_read(schedule, sent_at, now)
        elif outcome in API_OUTCOMES:
            self.on_refused(schedule, outcome, sent_at, now)
        else:
            self._back_off(schedule, now)

    # --- when ---------------------------------------------------------------------------------------------

    def _regular(self, schedule: LinkSchedule, sent_at: float, now: float) -> float:
        """The link's next regular moment, at least half an interval away and never in the past."""
        interval = schedule.interval = self._weights.interval(schedule)
        after = max(now, sent_at + interval / 2) + self._wall_offset
        return next_moment(schedule.phase, interval, after) - self._wall_offset + self._delay

    # --- status -------------------------------------------------------------------------------------------

    def state(self, now: float) -> State:
        """What the account is doing."""
        if (reason := self._recorder.ledger.trouble(self.request)) is not None:
            return _STATES[reason]
        denied = self._recorder.check_login(self.request, now)
        if denied is not None and (state := _STATES.get(denied.reason)) is not None:
            return state
        return State.THROTTLED if now < self.concurrency.throttled_until else State.POLLING

    def status(self, now: float, wall: float) -> AccountStatus:
        """The account as the metrics show it; ``wall`` is the wall-clock time now."""
        state, denied = self.state(now), self._recorder.check_login(self.request, now)
        until = self._held_until(denied, now)
        answered = self.answered
        return AccountStatus(
            name=self.account.name,
            state=state,
            up=None if answered is None else answered and state in _AT_WORK and until <= now,
            paused_until=wall + (until - now) if until > now else 0.0,
            links=len(self.account.links),
            lag=max(0.0, now - self._queue.earliest_due()),
            concurrency_limit=self.concurrency.limit,
            in_flight=self._in_flight,
            wanted=self._wanted,
            failed_logins=self._recorder.ledger.failed_logins(self.account.host, now),
            reason=str(denied.reason if denied is not None else Reason.SLOW_DOWN) if until > now else "",
            timezone=str(self.account.timezone),
        )

    def next_poll(self, link: Link, now: float) -> float | None:
        """When the link is polled next at the earliest, ``now`` if overdue; None while it is being polled."""
        schedule = self._schedules.get(link.target)
        if schedule is None or schedule.in_flight:
            return None
        return max(schedule.due, self._held_until(self._recorder.check_login(self.request, now), now))

    def _held_until(self, denied: Denied | None, now: float) -> float:
        """Until when nothing leaves; ``now`` or earlier if the account is not held back."""
        until = now if denied is None or denied.until == inf else denied.until
        return max(until, self.concurrency.paused_until)

    def link(self, target: Target) -> Link | None:
        """The configured link that the provider is asked for by ``target``."""
        schedule = self._schedules.get(target)
        return schedule.link if schedule is not None and schedule.wanted else None


def _keeps_pace(before: Link, link: Link) -> bool:
    """Whether a link keeps its schedule: it is the same series, and read as often as before."""
    same_series = before.name == link.name and before.account == link.account
    return same_series and before.refresh_interval == link.refresh_interval and before.bounds == link.bounds

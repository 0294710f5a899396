"""What the provider counts by login: requests in flight; and whether the account may ask at all."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from exporter.model import State
from exporter.rules import (
    BREAKER,
    COOLING,
    HARD_CAP,
    LINGER,
    LONGEST_COOLING,
    LONGEST_PAUSE,
    PAUSE,
    backoff,
    doubled,
)

if TYPE_CHECKING:
    from random import Random


class Gate:
    """One login's concurrency and pauses.

    ``limit`` starts at one (a wrong password costs one failed login, not fourteen), climbs by one for each
    round of successes up to ``ceiling``, and halves on an error 9. ``proven`` says that the login has been
    accepted; ``answered`` whether the API spoke the last time, None before the first time.
    """

    def __init__(self, ceiling: int, random: Random) -> None:
        self.limit = 1
        self.in_flight = 0
        self.proven = False
        self.answered: bool | None = None
        self._paused_until = -inf
        self._refused_until = -inf
        self._ceiling = ceiling
        self._random = random
        self._lingering: list[float] = []
        self._successes = 0
        self._lowered_at = -inf
        self._throttled_until = -inf
        self._throttles = 0
        self._unauthorized = False
        self._refused_at = -inf
        self._refusals = 0
        self._failures = 0
        self._broken_at = -inf

    @property
    def paused_until(self) -> float:
        """Nothing leaves before this."""
        return max(self._paused_until, self._refused_until)

    def set_ceiling(self, ceiling: int) -> None:
        """Takes a new ``max_concurrent_requests``."""
        self._ceiling = ceiling
        self.limit = min(self.limit, ceiling)

    def new_secret(self) -> None:
        """The account's secret changed: it may log in again, as carefully as the first time.

        What holds it back for another reason than its login still does.
        """
        self.proven = self._unauthorized = False
        self._refused_until = -inf
        self.limit, self._successes = 1, 0

    def ready_at(self, now: float) -> float:
        """When a request may leave: ``now``, a later time, or ``inf`` (once one in flight has ended)."""
        if now < self.paused_until:
            return self.paused_until
        if self.in_flight >= self.limit:
            return inf
        self._lingering = [until for until in self._lingering if until > now]
        if self.in_flight + len(self._lingering) >= HARD_CAP:
            return min(self._lingering)
        return now

    def state(self, now: float) -> State:
        """What the account is doing, blocks of the whole host aside."""
        if self._unauthorized:
            return State.UNAUTHORIZED
        if self._failures >= BREAKER:
            return State.UNREACHABLE
        return State.THROTTLED if now < self._throttled_until else State.POLLING

    def begin(self) -> None:
        """A request leaves."""
        self.in_flight += 1

    def end(self, now: float, *, abandoned: bool) -> None:
        """It ended; if ``abandoned``, the provider may be at work on it for a while yet."""
        self.in_flight -= 1
        if abandoned:
            self._lingering.append(now + LINGER)

    def succeeded(self, sent_at: float) -> None:
        """The login was accepted and the question answered."""
        if sent_at < self._refused_at:
            return
        self.proven, self._unauthorized = True, False
        self._refusals = self._throttles = 0
        self._successes += 1
        if self._successes >= self.limit:
            self.limit = min(self._ceiling, self.limit + 1)
            self._successes = 0

    def spoke(self) -> None:
        """The API spoke, whatever it said: the account can be reached."""
        self.answered = True
        self._failures = 0

    def refused(self, sent_at: float, now: float) -> None:
        """Error 2: the account stops, 30 minutes at first, doubled each time one probe meets it again."""
        if sent_at >= self._refused_at:
            self._refused_until = now + doubled(PAUSE, self._refusals, LONGEST_PAUSE)
            self._refusals += 1
        self._refused_at = now
        self.proven, self._unauthorized, self.limit = False, True, 1

    def throttled(self, sent_at: float, now: float) -> None:
        """Error 9: halve the concurrency, once for all requests that were in flight together.

        Where there is none left to give up, somebody else is using the login: the account rests.
        """
        self._throttled_until = max(self._throttled_until, now + COOLING)
        if sent_at < self._lowered_at:
            return
        if self.limit == 1:
            self.hold(now + doubled(COOLING, self._throttles, LONGEST_COOLING))
            self._throttles += 1
        self.limit = max(1, self.limit // 2)
        self._successes, self._lowered_at = 0, now

    def failed(self, sent_at: float, now: float) -> None:
        """Transport failed: several in a row make the account unreachable, with one probe at a time."""
        self.answered = False
        if sent_at < self._broken_at:
            return
        self._failures += 1
        if self._failures >= BREAKER:
            self.limit, self._successes, self._broken_at = 1, 0, now
            self.pause(now + 1 + backoff(self._failures - BREAKER + 1, self._random))

    def hold(self, until: float) -> None:
        """The provider asks for slowness: pause, as throttled."""
        self._throttled_until = max(self._throttled_until, until)
        self.pause(until)

    def held(self, state: State, until: float, count: int, now: float) -> None:
        """Somebody else, or this exporter before it was restarted, met what holds the login back."""
        if state is State.UNAUTHORIZED:
            self.proven, self._unauthorized, self.limit = False, True, 1
            self._refused_at, self._refusals = now, count
            self._refused_until = until
        else:
            self.hold(until)

    def pause_state(self, now: float) -> tuple[State, float, int] | None:
        """What is worth telling others of: state, until when, and for the how manieth time in a row."""
        if self._unauthorized:
            return State.UNAUTHORIZED, self._refused_until, self._refusals
        if now < self._paused_until <= self._throttled_until:
            return State.THROTTLED, self._paused_until, self._throttles
        return None

    def pause(self, until: float) -> None:
        """Nothing leaves before ``until``."""
        self._paused_until = max(self._paused_until, until)

"""What one exporter knows by itself of requests, so that it can go on without Redis.

Each of up to ``REPLICAS`` exporters then keeps to its share of what the provider allows: together they stay
inside. Pure: ``now`` is the monotonic clock's.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from exporter.model import State
from exporter.rules import FAILED_LOGIN_SPAN, FAILED_LOGINS, LINGER, SPAN
from exporter.store.backend import Denied, Pause, Scope
from exporter.store.redis_lua import AGAIN, IN_FLIGHT, REPLICAS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.store.backend import Attempt

RETRY = 5.0
"""How soon to ask again while waiting out a window: Redis may be back by then."""


@dataclass(slots=True, eq=False)
class Own:
    """An attempt of ours."""

    number: int
    attempt: Attempt
    sent: float
    ended: float | None = None
    login_failed: bool = False

    @property
    def over(self) -> float:
        """When the provider is through with it, at the latest."""
        return self.sent + self.attempt.lasts if self.ended is None else self.ended


@dataclass(frozen=True, slots=True)
class Failure:
    """A login that failed, ours or another exporter's."""

    host: str
    at: float
    ours: bool


@dataclass(frozen=True, slots=True)
class Held:
    """What was said of a host or secret, and when."""

    pause: Pause
    at: float

    def left(self, now: float) -> Pause | None:
        """The pause as it stands now; None if it is over. One that can only be lifted goes below zero."""
        seconds = self.at + self.pause.seconds - now
        over = seconds <= 0 and self.pause.state is State.THROTTLED
        return None if over else replace(self.pause, seconds=seconds)


class Ledger:
    """Our own attempts, and what is known of pauses and failed logins.

    Nothing is granted before ``quiet_until``, when attempts that we don't know of count no longer, nor after
    ``alone_until``, when nobody reckons with us any more. Of failed logins all are known that others have met
    since ``listens_since``, while we had Redis.
    """

    def __init__(self) -> None:
        self.quiet_until = -inf
        self.alone_until = inf
        self.listens_since = -inf
        self.failures: dict[int, Failure] = {}
        self.pauses: dict[str, Held] = {}
        self._recent: OrderedDict[int, Own] = OrderedDict()
        self._links: dict[tuple[str, tuple[str, str]], list[Own]] = {}
        self._flying: dict[int, Own] = {}

    def decide(self, attempt: Attempt, now: float) -> Denied | None:
        """What speaks against the attempt, as far as we know."""
        for rule in (self._paused, self.quiet, self._budget, self._crowded, self._window):
            if (denied := rule(attempt, now)) is not None:
                return denied
        return None

    def begin(self, number: int, attempt: Attempt, now: float) -> Own:
        """The attempt is about to leave."""
        self._tidy(now)
        own = Own(number, attempt, now)
        self._recent[number] = own
        self._links.setdefault((attempt.login, attempt.target), []).append(own)
        self._flying[number] = own
        return own

    def forget(self, own: Own) -> None:
        """It did not leave after all."""
        del self._recent[own.number]
        self._drop(own)
        del self._flying[own.number]

    def end(self, number: int, now: float, *, login_failed: bool) -> Own | None:
        """The attempt ended; None if that was known."""
        own = self._flying.pop(number, None)
        if own is not None:
            own.ended, own.login_failed = now, login_failed
            if login_failed:
                self.failures[number] = Failure(own.attempt.host, now, ours=True)
        return own

    def hold(self, key: str, pause: Pause | None, now: float) -> None:
        """A host or secret is held back, or no longer."""
        if pause is None:
            self.pauses.pop(key, None)
        else:
            self.pauses[key] = Held(pause, now)

    def owns(self, now: float) -> Iterator[Own]:
        """Our attempts that still count, and those in flight however long."""
        self._tidy(now)
        yield from self._recent.values()
        yield from (own for own in self._flying.values() if own.over + SPAN <= now)

    def _tidy(self, now: float) -> None:
        # In the order in which they were sent, which is nearly the one in which they are over.
        while self._recent and (first := next(iter(self._recent.values()))).over + SPAN <= now:
            del self._recent[first.number]
            self._drop(first)
        old = [number for number, failure in self.failures.items() if failure.at + FAILED_LOGIN_SPAN <= now]
        for number in old:
            del self.failures[number]

    def _drop(self, own: Own) -> None:
        key = own.attempt.login, own.attempt.target
        self._links[key].remove(own)
        if not self._links[key]:
            del self._links[key]

    def _paused(self, attempt: Attempt, now: float) -> Denied | None:
        for key, scope in ((attempt.host, Scope.HOST), (attempt.secret, Scope.LOGIN)):
            pause = self.pauses[key].left(now) if key in self.pauses else None
            if pause is not None and pause.seconds <= 0:
                pause = replace(pause, seconds=AGAIN) if self._probed(key, now) else None
            if pause is not None:
                return Denied(scope, pause.seconds, pause)
        return None

    def _probed(self, key: str, now: float) -> bool:
        flying = (own for own in self._flying.values() if own.over > now)
        return any(key in {own.attempt.host, own.attempt.secret} for own in flying)

    def quiet(self, attempt: Attempt, now: float) -> Denied | None:
        """Whether nothing may be sent yet: what others had in flight when the silence began, ends first."""
        left = self.quiet_until + attempt.lasts - LINGER - now
        if now >= self.alone_until:
            left = RETRY
        return Denied(Scope.HOST, min(left, RETRY)) if left > 0 else None

    def _budget(self, attempt: Attempt, now: float) -> Denied | None:
        """One failed login by ourselves, where that leaves as many for the others, of whose we know."""
        if attempt.proven:
            return None
        flying = (own.attempt for own in self._flying.values() if not own.attempt.proven)
        if any(other.host == attempt.host for other in flying):
            return Denied(Scope.HOST, AGAIN)
        known = [failure for failure in self.failures.values() if failure.host == attempt.host]
        waits = sorted(failure.at + FAILED_LOGIN_SPAN - now for failure in known)
        others = waits[-(FAILED_LOGINS - REPLICAS + 1) :] if len(waits) > FAILED_LOGINS - REPLICAS else []
        ours = [failure.at + FAILED_LOGIN_SPAN - now for failure in known if failure.ours]
        unknown = self.listens_since + FAILED_LOGIN_SPAN - now
        seconds = max([*ours, *others[:1], unknown, 0.0])
        return Denied(Scope.HOST, seconds) if seconds > 0 else None

    def _crowded(self, attempt: Attempt, now: float) -> Denied | None:
        flying = [
            own for own in self._flying.values() if own.attempt.login == attempt.login and own.over > now
        ]
        return Denied(Scope.LOGIN, AGAIN) if len(flying) >= IN_FLIGHT else None

    def _window(self, attempt: Attempt, now: float) -> Denied | None:
        known = self._links.get((attempt.login, attempt.target), [])
        waits = [max(own.over + SPAN, own.sent + attempt.apart) - now for own in known]
        return Denied(Scope.LINK, max(waits)) if max(waits, default=0.0) > 0 else None

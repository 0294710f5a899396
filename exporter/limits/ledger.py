"""May this request leave? One pure object knows what was sent to the provider, and the rules.

Times are seconds of one monotonic clock that also runs while the machine sleeps. Each call gets the time.
The rules come from the provider's page and FAQ; docs/internals/ledger.md explains each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf

from exporter.errors import Outcome
from exporter.limits.attempts import Attempts
from exporter.limits.constants import (
    CIRCUIT_BREAKER_FAILURES,
    FIRST_PROBE,
    LONGEST_PAUSE,
    LONGEST_THROTTLE_REST,
    MAX_IN_FLIGHT,
    PROBE_INTERVAL,
    RATE_WINDOW,
    REMEMBERED,
    REMEMBERED_SHORTLY,
    THROTTLE_REST,
    VERIFIED_TTL,
    doubled,
)
from exporter.limits.denied import Denied, Reason
from exporter.limits.events import Answered, Dated, Request, Sent, Unknown
from exporter.limits.logins import ACCEPTED, Host, Trust, spoke
from exporter.model import Target

_BINDING = frozenset({Outcome.UNAUTHORIZED, Outcome.BLOCKED, Outcome.THROTTLED})


@dataclass(slots=True)
class _Login:
    """What is remembered of one login: a Retry-After, and whether it can be reached from this process."""

    asked_to_wait_until: float = -inf
    failures: int = 0
    last_sent: float = -inf
    probe_at: float | None = None
    silent_since: int = 0


class Ledger:
    """Decides whether a request may leave, from what was sent before."""

    def __init__(self) -> None:
        self.attempts = Attempts()
        self._hosts: dict[str, Host] = {}
        self._logins: dict[str, _Login] = {}
        self._rests: dict[tuple[str, Target], tuple[float, int]] = {}
        self._answered: dict[int, float] = {}
        self.unknown_until = -inf
        self._assumed: tuple[float, ...] = ()
        self._unknown_logins: list[float] = []
        self._next_tidy = -inf

    def host(self, name: str) -> Host:
        """What is known of a host."""
        if name not in self._hosts:
            self._hosts[name] = Host()
            self._hosts[name].failed_logins.extend(self._unknown_logins)
        return self._hosts[name]

    def configure(self, requests: Iterable[Request]) -> None:
        """Takes the configured logins and secrets. Requests sent under others still count."""
        in_use: dict[str, set[str]] = {}
        for request in requests:
            in_use.setdefault(request.host, set()).add(request.secret)
        for name in self._hosts.keys() | in_use:
            self.host(name).secrets_in_use = in_use.get(name, set())

    # --- may it leave? ------------------------------------------------------------------------------------

    def check(self, request: Request, now: float, limit: int = MAX_IN_FLIGHT) -> Denied | None:
        """Why the request may not leave now; None if it may.

        ``limit`` is how many requests may be in flight under its login, fewer than the provider allows.
        """
        return (
            self.check_login(request, now)
            or self._check_places(request, now, limit)
            or self._check_link(request, now)
        )

    def check_login(self, request: Request, now: float) -> Denied | None:
        """Why no request of this login may leave now, whichever link it is for; None if one may."""
        if now < self.unknown_until:
            return Denied(self.unknown_until, Reason.UNKNOWN_PAST)
        if (denied := self.host(request.host).check(request.secret, now)) is not None:
            return denied
        login = self._login(request)
        if now < login.asked_to_wait_until:
            return Denied(login.asked_to_wait_until, Reason.SLOW_DOWN)
        return self._check_breaker(request, login, now)

    def _check_breaker(self, request: Request, login: _Login, now: float) -> Denied | None:
        """An unreachable login gets one probe at a time; a host that answers no login gets one in all."""
        if login.failures < CIRCUIT_BREAKER_FAILURES:
            return None
        if self.attempts.in_flight(request.login, now):
            return Denied(inf, Reason.UNREACHABLE)
        until = login.probe_at
        if until is None:
            host = self.host(request.host)
            silent = host.answered_order <= login.silent_since
            wait = doubled(FIRST_PROBE, login.failures - CIRCUIT_BREAKER_FAILURES, PROBE_INTERVAL)
            until = max(login.last_sent, host.last_sent if silent else -inf) + wait
        return Denied(until, Reason.UNREACHABLE) if now < until else None

    def _check_places(self, request: Request, now: float, limit: int) -> Denied | None:
        if self.attempts.in_flight(request.login, now) >= limit:
            return Denied(inf, Reason.CONCURRENCY)
        until = self.attempts.place_at(request.login, now)
        return Denied(until, Reason.CONCURRENCY) if until > now else None

    def _check_link(self, request: Request, now: float) -> Denied | None:
        rests_until, _ = self._rests.get((request.login, request.target), (-inf, 0))
        if now < rests_until:
            return Denied(rests_until, Reason.THROTTLED)
        until = self.attempts.minute_at(request, now, self._assumed)
        return Denied(until, Reason.MINUTE) if until > now else None

    # --- what happened ------------------------------------------------------------------------------------

    def begin(self, sent: Sent, now: float) -> None:
        """This process is about to send a request: it counts from now on."""
        self._tidy(now)
        attempt = self.attempts.add_own(sent.request, sent.number)
        self.host(sent.request.host).begin(attempt, now)
        self._login(sent.request).last_sent = now

    def withdraw(self, sent: Sent) -> None:
        """The request was not recorded, so it does not leave."""
        if (attempt := self.attempts.get(sent.number)) is not None:
            self.attempts.withdraw(attempt)
            self.host(sent.request.host).withdraw(attempt)

    def end(self, answer: Answered, at: float) -> Answered:
        """A request of this process ended. Returns the event to record, which says how long it counts."""
        binds = self._binds(answer)
        host = self.host(answer.request.host)
        secret = host.secret(answer.request.secret)
        before = host.blocked, secret.trust
        self._count_failure(answer, at)
        self._apply(answer, at)
        lifted = before != (host.blocked, secret.trust) or at - secret.recorded_at > VERIFIED_TTL / 4
        accepted = answer.outcome in ACCEPTED and secret.trust is Trust.VERIFIED
        if accepted and lifted:
            secret.recorded_at = at
        lasting = binds or (accepted and lifted)
        if lasting:
            self._answered[answer.number] = at + REMEMBERED
        return replace(answer, binds=binds, lasting=lasting)

    def learn(self, dated: Dated) -> None:
        """Takes an event that was recorded by another process, or by an earlier one. Twice does no harm."""
        event, at = dated.event, dated.latest
        if isinstance(event, Answered):
            self._apply(event, at)
            if event.lasting and event.outcome in ACCEPTED:
                self.host(event.request.host).secret(event.request.secret).recorded_at = at
        elif self.attempts.get(event.number) is None and event.number not in self._answered:
            attempt = self.attempts.add_recorded(event.request, event.number, at, orphan=dated.orphan)
            self.host(event.request.host).begin(attempt, at)

    def distrust(self, since: float) -> None:
        """At a start, logins that were last accepted before ``since`` are not verified."""
        for host in self._hosts.values():
            host.distrust(since)

    def assume(self, unknown: Unknown, now: float) -> None:
        """It is unknown what was sent before: assumes the worst, and waits until that no longer counts."""
        self.unknown_until = max(self.unknown_until, now + unknown.seconds)
        self._assumed = (now,) * unknown.attempts
        self._unknown_logins = [now] * unknown.failed_logins
        for host in self._hosts.values():
            host.failed_logins.extend(self._unknown_logins)

    def _apply(self, answer: Answered, at: float) -> None:
        if answer.number in self._answered:
            return
        self._answered[answer.number] = at + (REMEMBERED if answer.lasting else REMEMBERED_SHORTLY)
        attempt = self.attempts.get(answer.number)
        if attempt is None:  # its beginning is not known here
            attempt = self.attempts.add_recorded(answer.request, answer.number, at, orphan=False)
        attempt.end(at, abandoned=answer.abandoned)
        self.host(answer.request.host).end(attempt, answer, self.attempts.order, at)
        if answer.retry_after is not None:
            login = self._login(answer.request)
            login.asked_to_wait_until = max(login.asked_to_wait_until, at + _asked_wait(answer.retry_after))
        self._rest_link(answer, at)

    def _rest_link(self, answer: Answered, at: float) -> None:
        link = answer.request.login, answer.request.target
        if answer.outcome is Outcome.THROTTLED:
            _, times = self._rests.get(link, (at, 0))
            self._rests[link] = at + doubled(THROTTLE_REST, times, LONGEST_THROTTLE_REST), times + 1
        elif answer.outcome is Outcome.OK:
            self._rests.pop(link, None)

    def _binds(self, answer: Answered) -> bool:
        """Whether the end forbids something, so that every process must know it before its next decision."""
        trust = self.host(answer.request.host).secret(answer.request.secret).trust
        forbids = answer.outcome in _BINDING or answer.retry_after is not None
        return forbids or (answer.unclear and trust is not Trust.VERIFIED)

    def _count_failure(self, answer: Answered, at: float) -> None:
        """Only failures of this process count here: the network of another may differ from ours."""
        login = self._login(answer.request)
        if spoke(answer):
            login.failures = 0
        elif answer.transport and not self._was_in_the_air(answer, login):
            login.failures += 1
            login.probe_at = None if answer.retry_after is None else at + _asked_wait(answer.retry_after)
            if login.failures == CIRCUIT_BREAKER_FAILURES:
                login.silent_since = self.attempts.order

    def _was_in_the_air(self, answer: Answered, login: _Login) -> bool:
        """Whether the request was sent before the login became unreachable, so that its end is no news."""
        attempt = self.attempts.get(answer.number)
        open_breaker = login.failures >= CIRCUIT_BREAKER_FAILURES
        return open_breaker and attempt is not None and attempt.order <= login.silent_since

    # --- what is remembered -------------------------------------------------------------------------------

    def _login(self, request: Request) -> _Login:
        return self._logins.setdefault(request.login, _Login())

    def _tidy(self, now: float) -> None:
        for attempt in self.attempts.forget(now):
            self.host(attempt.request.host).lose(attempt)
        if now >= self._next_tidy:
            self._next_tidy = now + RATE_WINDOW
            self._answered = {number: until for number, until in self._answered.items() if until > now}
            self._rests = {
                link: rest for link, rest in self._rests.items() if rest[0] + LONGEST_THROTTLE_REST > now
            }

    def reachable(self, request: Request) -> bool:
        """Whether the login's latest requests of this process were not all failures of transport."""
        return self._login(request).failures < CIRCUIT_BREAKER_FAILURES

    def trouble(self, request: Request) -> Reason | None:
        """What is wrong with a login, even at a moment when a probe may leave."""
        host = self.host(request.host)
        if host.blocked:
            return Reason.BLOCKED
        if host.secret(request.secret).refusals:
            return Reason.UNAUTHORIZED
        return None if self.reachable(request) else Reason.UNREACHABLE

    def failed_logins(self, host: str, now: float) -> int:
        """How many failed logins the provider still counts at a host."""
        return len(self.host(host).failed(now))


def _asked_wait(retry_after: float) -> float:
    """How long to wait because the server asked for it, in seconds: at most the longest pause."""
    return min(retry_after, LONGEST_PAUSE)

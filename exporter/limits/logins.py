"""What the provider counts by our address, at one host: failed logins and blocks.

The provider's FAQ: five failed logins in 30 minutes block the address, so all logins of a host share four.
A login that was accepted is *verified* and ignores that budget. If one of those is refused, the cause may be
our address rather than its password. The host's other verified logins become *suspect* then, and are tried
again one at a time. docs/internals/ledger.md lists the rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from math import inf

from exporter.errors import Outcome
from exporter.limits.attempts import Attempt
from exporter.limits.constants import (
    FAILED_LOGIN_LIMIT,
    FAILED_LOGIN_WINDOW,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    PROBE_EXTENSION,
    SUSPECT_BACKOFF,
    SUSPECT_PATIENCE,
    UNVERIFIED_BACKOFF,
    doubled,
)
from exporter.limits.denied import Denied, Reason
from exporter.limits.events import Answered

ACCEPTED = frozenset({Outcome.OK, Outcome.NOT_FOUND})
"""Outcomes for which the provider must have accepted the login."""

API_OUTCOMES = ACCEPTED | {
    Outcome.PARAMETERS,
    Outcome.UNAUTHORIZED,
    Outcome.BLOCKED,
    Outcome.THROTTLED,
    Outcome.UNKNOWN_ERROR,
}
"""Outcomes with which the API itself answers."""


def spoke(answer: Answered) -> bool:
    """Whether the API itself answered. An unclear end is no answer, even if its outcome looks like one."""
    return answer.outcome in API_OUTCOMES and not answer.unclear


class Trust(IntEnum):
    """What is known of a login with its present password, the best first."""

    VERIFIED = 0
    SUSPECT = 1
    NEW = 2


@dataclass(slots=True)
class Secret:
    """A login with one password.

    ``recorded_at`` is when it was last accepted, as far as a journal remembers that for hours.
    """

    trust: Trust = Trust.NEW
    tried: int = 0
    refusals: int = 0
    refused_order: int = 0
    paused_until: float = -inf
    unclear: int = 0
    waits_until: float = -inf
    recorded_at: float = -inf

    @property
    def rank(self) -> tuple[int, bool, int]:
        """Who is tried first: suspects, then logins never tried, then refused ones, longest untried first."""
        return self.trust, self.refusals > 0, self.tried


class Host:
    """The logins of one host, and what the provider holds against our address there.

    ``secrets_in_use`` are those of the configuration: the refusal of any other changes nothing but the count.
    ``changes`` rises whenever something happened that may let another login of the host go on.
    """

    def __init__(self) -> None:
        self.secrets: dict[str, Secret] = {}
        self.secrets_in_use: set[str] = set()
        self.failed_logins: list[float] = []
        self.blocked = False
        self.answered_order = 0
        self.changes = 0
        self.last_sent = -inf
        self._open: dict[int, Attempt] = {}
        self._blocked_until = -inf
        self._blocked_order = 0
        self._blocks = 0
        self._refused_at = -inf
        self._revoked_order = 0
        self._revoked_by_order = 0
        self._revoked: dict[str, float] = {}
        self._unclear_in_row = 0
        self._waits_until = -inf
        self._failing = False

    def _trusts(self, attempt: Attempt) -> bool:
        return self.secret(attempt.request.secret).trust is Trust.VERIFIED

    def secret(self, name: str) -> Secret:
        """What is known of a login with its password."""
        if name not in self.secrets:
            self.secrets[name] = Secret()
        return self.secrets[name]

    def failed(self, now: float) -> list[float]:
        """When logins failed that the provider still counts, the oldest first.

        A login that was not verified may have failed if its end is unknown, at the latest moment possible.
        """
        since = now - FAILED_LOGIN_WINDOW
        self.failed_logins = [at for at in self.failed_logins if at > since]
        unknown = [one.counts_until for one in self._unverified() if one.live_until <= now]
        return sorted([*self.failed_logins, *unknown])

    def _unverified(self) -> list[Attempt]:
        """Requests without an end yet whose login is not verified now, whatever it was when they left."""
        return [one for one in self._open.values() if not self._trusts(one)]

    # --- may a login be sent? -----------------------------------------------------------------------------

    def check(self, name: str, now: float) -> Denied | None:
        """Why a request with this secret may not leave now; None if it may."""
        if self.blocked and now < self._blocked_until:
            return Denied(self._blocked_until, Reason.BLOCKED)
        if self.blocked and any(one.order > self._blocked_order for one in self._live(now)):
            return Denied(inf, Reason.BLOCKED)  # the probe is under way
        secret = self.secret(name)
        return None if secret.trust is Trust.VERIFIED else self._check_unverified(secret, now)

    def _check_unverified(self, secret: Secret, now: float) -> Denied | None:
        """What holds the login back longest: its own waits, the budget, or another login being tried."""
        waits_until = max(secret.waits_until, self._waits_until if secret.trust is Trust.NEW else -inf)
        reasons = (
            Denied(secret.paused_until, Reason.UNAUTHORIZED),
            Denied(waits_until, Reason.UNCLEAR_LOGIN),
            Denied(self._budget_at(secret, now), self._budget_reason(secret, now)),
        )
        longest = max(reasons, key=lambda denied: denied.until)
        if longest.until > now:
            return longest
        if any(one.live_until > now for one in self._unverified()):
            return Denied(inf, Reason.LOGIN_UNDER_WAY)
        return None

    def _budget_at(self, secret: Secret, now: float) -> float:
        """When the budget has room. A login that was refused leaves one of the four to others.

        Suspects need none while one login alone was refused: then its password is the likely cause.
        """
        revoked = [at for at in self._revoked.values() if at > now - FAILED_LOGIN_WINDOW]
        if secret.trust is Trust.SUSPECT and len(revoked) < 2:
            return -inf
        allowed = FAILED_LOGIN_LIMIT - (secret.refusals > 0)
        failed = self.failed(now)
        return -inf if len(failed) < allowed else failed[-allowed] + FAILED_LOGIN_WINDOW

    def _budget_reason(self, secret: Secret, now: float) -> Reason:
        """If no login was refused by error 2, the failed logins may be an outage."""
        refused = self._refused_at > now - FAILED_LOGIN_WINDOW and not secret.unclear
        return Reason.FAILED_LOGINS if refused else Reason.UNCLEAR_LOGIN

    def _live(self, now: float) -> list[Attempt]:
        return [one for one in self._open.values() if one.live_until > now]

    # --- what happened ------------------------------------------------------------------------------------

    def begin(self, attempt: Attempt, now: float) -> None:
        """A request is on record."""
        self._open[attempt.number] = attempt
        self.secret(attempt.request.secret).tried = attempt.order
        self.last_sent = now

    def withdraw(self, attempt: Attempt) -> None:
        """A request was taken back before it was on record."""
        self._open.pop(attempt.number, None)

    def lose(self, attempt: Attempt) -> None:
        """The end of a request will never be known: a login that was not verified may have failed."""
        self._open.pop(attempt.number, None)
        if not self._trusts(attempt):
            self.failed_logins.append(attempt.counts_until)

    def end(self, attempt: Attempt, answer: Answered, order: int, at: float) -> None:
        """A request ended; ``order`` is that of the latest request of all."""
        self._open.pop(attempt.number, None)
        if answer.outcome is not Outcome.OK or self.blocked or self._failing or not self._trusts(attempt):
            self.changes += 1
        self._failing = not spoke(answer)
        probe = self.blocked and attempt.order > self._blocked_order
        if spoke(answer):
            self._answered(attempt, answer.outcome, order, at)
        elif answer.unclear:
            self._unclear(attempt, at)
        if probe and answer.outcome is not None and not spoke(answer):
            self._blocked_until = max(self._blocked_until, at + PROBE_EXTENSION)

    def _answered(self, attempt: Attempt, outcome: Outcome | None, order: int, at: float) -> None:
        """The API answered: that ends the host's wait, and a block unless the answer is error 4."""
        self.answered_order, self._unclear_in_row, self._waits_until = order, 0, -inf
        if outcome is Outcome.BLOCKED:
            self._block(attempt, order, at)
            return
        if self.blocked and attempt.order > self._blocked_order:
            self.blocked, self._blocks = False, 0
        if outcome is Outcome.UNAUTHORIZED:
            self._refused(attempt, order, at)
        elif outcome in ACCEPTED:
            self._accepted(attempt)

    def _block(self, attempt: Attempt, order: int, at: float) -> None:
        """Error 4. The ends of requests that were in flight when the block was noticed are no news."""
        if self.blocked and attempt.order <= self._blocked_order:
            return
        self.blocked, self._blocked_order = True, order
        self._blocked_until = at + doubled(FIRST_PAUSE, self._blocks, LONGEST_PAUSE)
        self._blocks += 1

    def _accepted(self, attempt: Attempt) -> None:
        """Verifies the login, unless its request was sent before the latest refusal was known."""
        secret = self.secret(attempt.request.secret)
        if attempt.order <= max(self._revoked_by_order, secret.refused_order):
            return
        secret.trust = Trust.VERIFIED
        secret.refusals = secret.unclear = 0
        secret.paused_until = secret.waits_until = -inf

    def _refused(self, attempt: Attempt, order: int, at: float) -> None:
        """Error 2. One that was under way when a verified login was refused does no more than count."""
        self.failed_logins.append(at)
        self._refused_at = at
        name = attempt.request.secret
        if name not in self.secrets_in_use:
            return
        secret = self.secret(name)
        if secret.trust is not Trust.NEW:
            self._revoked[name] = at
        if attempt.order <= self._revoked_order:
            return
        if secret.trust is Trust.VERIFIED:
            self._revoke(attempt, order)
        secret.trust = Trust.NEW
        secret.paused_until = at + doubled(FIRST_PAUSE, secret.refusals, LONGEST_PAUSE)
        secret.refusals += 1
        secret.refused_order = order

    def _revoke(self, attempt: Attempt, order: int) -> None:
        """A login that worked is refused, so the others may be too. Requests sent from now on show it."""
        self._revoked_order, self._revoked_by_order = order, attempt.order
        for secret in self.secrets.values():
            if secret.trust is Trust.VERIFIED:
                secret.trust = Trust.SUSPECT

    def _unclear(self, attempt: Attempt, at: float) -> None:
        """The request ended without an answer that shows whether the login was accepted."""
        secret = self.secret(attempt.request.secret)
        self._unclear_in_row += 1
        if secret.trust is Trust.SUSPECT:
            secret.waits_until = at + SUSPECT_BACKOFF
        elif secret.trust is Trust.NEW:
            self.failed_logins.append(at)
            secret.waits_until = at + UNVERIFIED_BACKOFF[min(secret.unclear, len(UNVERIFIED_BACKOFF) - 1)]
            secret.unclear += 1
            if self.answered_order < attempt.order:
                self._waits_until = secret.waits_until
        if self._unclear_in_row >= SUSPECT_PATIENCE:
            self._give_suspects_up()

    def _give_suspects_up(self) -> None:
        for secret in self.secrets.values():
            if secret.trust is Trust.SUSPECT:
                secret.trust = Trust.NEW

    def distrust(self, since: float) -> None:
        """Treats logins as never accepted if their last accepted request was recorded before ``since``."""
        for secret in self.secrets.values():
            if secret.recorded_at < since:
                secret.trust = Trust.NEW

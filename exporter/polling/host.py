"""What the provider counts by IP address: failed logins and blocks, over all accounts of a host."""

from __future__ import annotations

from math import inf

from exporter.model import State
from exporter.rules import FAILED_LOGIN_SPAN, FAILED_LOGINS, LONGEST_PAUSE, PAUSE, UNCLEAR, doubled


class Host:
    """The provider's view of our IP address, at one host.

    ``epoch`` rises whenever something changed that may let another account of the host go on.
    """

    def __init__(self) -> None:
        self.blocked = False
        self.epoch = 0
        self._blocked_since = -inf
        self._blocked_until = -inf
        self._blocks = 0
        self._probing = False
        self._failed_logins: list[float] = []
        self._refused_at = -inf
        self._unclear = 0
        self._unclear_until = -inf
        self._unproven = 0

    def ready_at(self, now: float, *, proven: bool) -> float:
        """When a request may leave: ``now``, a later time, or ``inf`` (once one in flight has ended).

        ``proven`` says that the account's login was accepted before. One that was not may cost a failed
        login, so it has to fit into what is left of the budget together with all others in flight.
        """
        if self.blocked and (self._probing or now < self._blocked_until):
            return inf if self._probing else self._blocked_until
        return now if proven else max(self._budget_at(now), self._unclear_until)

    def _budget_at(self, now: float) -> float:
        self._failed_logins = [at for at in self._failed_logins if at + FAILED_LOGIN_SPAN > now]
        if len(self._failed_logins) + self._unproven < FAILED_LOGINS:
            return now
        if len(self._failed_logins) < FAILED_LOGINS:
            return inf
        return sorted(self._failed_logins)[-FAILED_LOGINS] + FAILED_LOGIN_SPAN

    def begin(self, *, proven: bool) -> bool:
        """A request leaves; true while the host is blocked: it is the probe."""
        self._unproven += not proven
        self._probing = self.blocked
        return self.blocked

    def end(self, *, proven: bool, probe: bool) -> None:
        """That request ended, after everything else was said about it."""
        self._unproven -= not proven
        self._probing = self._probing and not probe
        if probe or not proven:
            self.epoch += 1

    def login_failed(self, now: float, *, clear: bool) -> None:
        """A login was refused, or may have been: the provider counts it up to ``now``."""
        self._failed_logins.append(now)
        if clear:
            self._refused_at = now
        else:
            self._unclear_until = now + UNCLEAR[min(self._unclear, len(UNCLEAR) - 1)]
            self._unclear += 1

    def refuses(self, now: float) -> bool:
        """Whether a login of the budget was refused in so many words, of those met here."""
        return self._refused_at + FAILED_LOGIN_SPAN > now

    def failed_logins(self, now: float) -> int:
        """How many failed logins the provider still counts, of those met here."""
        return sum(at + FAILED_LOGIN_SPAN > now for at in self._failed_logins)

    def block(self, sent_at: float, now: float) -> None:
        """Error 4 came: hold everything, 30 minutes at first, doubled each time a probe meets it again.

        Answers to requests that were in flight when the block was noticed tell nothing new.
        """
        if self.blocked and sent_at < self._blocked_since:
            return
        self._blocked_until = now + doubled(PAUSE, self._blocks, LONGEST_PAUSE)
        self._blocked_since = now
        self._blocks += 1
        self.blocked = True

    def held(self, until: float, count: int, now: float) -> None:
        """Somebody else, or this exporter before it was restarted, met the block."""
        self.blocked, self._blocked_since = True, now
        self._blocked_until, self._blocks = until, count

    def pause_state(self) -> tuple[State, float, int] | None:
        """What is worth telling others of: state, until when, and for the how manieth time in a row."""
        return (State.BLOCKED, self._blocked_until, self._blocks) if self.blocked else None

    def idle(self, now: float) -> bool:
        """Whether nothing is remembered that still counts."""
        return not self.blocked and all(at + FAILED_LOGIN_SPAN <= now for at in self._failed_logins)

    def answered(self, sent_at: float) -> None:
        """The API spoke, and not of a block: a probe sent since the block lifts it."""
        self._unclear, self._unclear_until = 0, -inf
        if self.blocked and sent_at >= self._blocked_since:
            self.blocked = False
            self._blocks = 0

    def missed(self, now: float) -> None:
        """A probe met no API at all: the block stays as it is, and the next probe waits a while."""
        self._blocked_until = max(self._blocked_until, now + PAUSE)

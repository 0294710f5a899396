"""A provider in virtual time, with everything that can go wrong between it and us.

It drives ``Pacing`` as the poller does and judges, by what *arrives* at the provider, whether a limit broke.
Events are simulated one after the other; an hour of a thousand links takes seconds.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random
from typing import TYPE_CHECKING
from zlib import crc32

from exporter.errors import (
    HttpStatusError,
    MalformedError,
    NoAnswerError,
    PollError,
    PollTimeoutError,
    UnreachableError,
    api_error,
)
from exporter.polling import Pacing, Ticket
from tests.factories import make_reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.model import Account, Link
    from exporter.polling import Planner


@dataclass(frozen=True)
class Weather:
    """How a request may fare: times in seconds, the rest as probabilities."""

    way: tuple[float, float] = (0.001, 2.0)
    work: tuple[float, float] = (0.01, 2.0)
    stuck: float = 0.0
    refused_connection: float = 0.0
    lost_answer: float = 0.0
    bad_status: float = 0.0
    retry_after: float = 0.0
    malformed: float = 0.0
    not_found: float = 0.0
    odd_code: float = 0.0
    foreign: float = 0.0


@dataclass
class Audit:
    """What arrived at the provider, of us alone."""

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

    def arrived(self, login: str, target: object, name: str, now: float) -> None:
        self.worst_window = max(self.worst_window, _slide(self.arrivals[login, target], now, 60.0))
        self.in_flight[login] += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight[login])
        self.polls[name] += 1
        self.worst_gap = max(self.worst_gap, now - self.last.get(name, now))
        self.last[name] = now

    def login_failed(self, host: str, now: float) -> None:
        self.worst_failed_logins = max(
            self.worst_failed_logins, _slide(self.failed_logins[host], now, 1800.0)
        )


def _slide(times: deque[float], now: float, span: float) -> int:
    times.append(now)
    while times[0] <= now - span:
        times.popleft()
    return len(times)


class World:
    """Pacing on one side, the provider on the other, and a calendar of what happens when."""

    def __init__(
        self, accounts: list[Account], weather: Weather, seed: int = 1, *, unequal: bool = True
    ) -> None:
        self.unequal = unequal
        self.random = Random(seed)
        self.weather = weather
        self.audit = Audit()
        self.wrong_logins: set[str] = set()
        self.wrong_secrets: set[str] = set()
        self.blocked_until: dict[str, float] = {}
        self.now = 0.0
        self._calendar: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._wakes: dict[Planner, float] = {}
        self.pacing = Pacing(wall_offset=1_750_000_000.3, random=Random(seed + 1))
        self.reload(accounts)

    def at(self, time: float, event: Callable[[], None]) -> None:
        heappush(self._calendar, (time, next(self._order), event))

    def reload(self, accounts: list[Account]) -> None:
        self.pacing.configure(accounts, self.now)
        self._step_all()

    def run(self, until: float) -> Audit:
        while self._calendar and self._calendar[0][0] <= until:
            self.now, _, event = heappop(self._calendar)
            event()
        self.now = until
        return self.audit

    # --- our side -----------------------------------------------------------------------------------------

    def _step_all(self) -> None:
        for planner in self.pacing.active:
            self._step(planner)

    def _step(self, planner: Planner) -> None:
        if planner not in self.pacing.active:
            return
        while isinstance(step := planner.next(self.now), Ticket):
            self._send(planner, step)
        if step < inf and step != self._wakes.get(planner):
            self._wakes[planner] = step
            self.at(step, lambda: self._wake(planner))

    def _wake(self, planner: Planner) -> None:
        self._wakes.pop(planner, None)
        self._step(planner)

    def _end(self, planner: Planner, ticket: Ticket, error: PollError | None) -> None:
        self.audit.answers[error.outcome if error else "ok"] += 1
        if error is None:
            clicks = int(self._busy(ticket.link) * self.now)
            planner.learn(ticket.link, make_reading(clicks, id=ticket.link.id, today=clicks), ticket.sent_at)
        planner.finish(ticket, self.now, error)
        self._step_all()

    def _busy(self, link: Link) -> float:
        """Clicks a second, where links are not clicked alike: from one in three hours to three a second."""
        return 10 ** (crc32(repr(link.target).encode()) % 100 / 22 - 4) if self.unequal else 0.0

    # --- the way and the provider -------------------------------------------------------------------------

    def _send(self, planner: Planner, ticket: Ticket) -> None:
        chance, weather, now = self.random.random, self.weather, self.now
        deadline = now + ticket.account.timeout
        if chance() < weather.refused_connection:
            self.at(now + 0.01, lambda: self._end(planner, ticket, UnreachableError("refused", sent=False)))
            return
        arrival = now + self.random.uniform(*weather.way)
        work = self.random.uniform(*weather.work)
        if chance() < weather.stuck:
            work += self.random.uniform(0, 50)
        done = arrival + work
        answered = done + self.random.uniform(*weather.way)
        verdict: list[PollError | None] = []
        self.at(arrival, lambda: verdict.append(self._arrive(ticket)))
        self.at(done, lambda: self._leave(ticket))
        if answered <= deadline:
            self.at(answered, lambda: self._end(planner, ticket, verdict[0]))
        else:
            self.at(deadline, lambda: self._end(planner, ticket, PollTimeoutError("timeout")))

    def _leave(self, ticket: Ticket) -> None:
        self.audit.in_flight[ticket.account.login_key] -= 1

    def _arrive(self, ticket: Ticket) -> PollError | None:
        account, link, weather = ticket.account, ticket.link, self.weather
        self.audit.arrived(account.login_key, link.target, link.name, self.now)
        if self.now < self.blocked_until.get(account.host, -inf):
            return api_error(4)
        if self._chance(weather.bad_status):
            return HttpStatusError(503, 30.0 if self._chance(weather.retry_after) else None)
        if account.login_key in self.wrong_logins or self._secret_of(account) in self.wrong_secrets:
            self.audit.login_failed(account.host, self.now)
            answer: PollError | None = api_error(2)
        elif self._chance(weather.foreign):
            answer = api_error(9)
        elif self._chance(weather.not_found):
            answer = api_error(3)
        elif self._chance(weather.odd_code):
            answer = api_error(self.random.choice([1, 17]))
        elif self._chance(weather.malformed):
            answer = MalformedError("odd")
        else:
            answer = None
        if self._chance(weather.lost_answer):
            return self.random.choice([UnreachableError("reset"), NoAnswerError("empty")])
        return answer

    def _secret_of(self, account: Account) -> str:
        return account.credentials.parameters["psw"]

    def _chance(self, probability: float) -> bool:
        return self.random.random() < probability

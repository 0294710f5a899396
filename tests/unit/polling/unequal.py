"""Links that are clicked very unequally, in virtual time: how many clicks go unseen, and how few might.

The planner is the real one. The provider answers one request after the other, so that its capacity is known.
Clicks come by chance, at rates that are known here and that the planner has to find out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from math import cos, exp, inf, pi, sin, sqrt
from random import Random
from typing import Literal

from exporter.errors import HttpStatusError, PollError
from exporter.journal import MemoryJournal
from exporter.limits import Ledger
from exporter.model import Account, Link, Reading
from exporter.polling.planner import Planner, Poll
from exporter.polling.poller import answer_of
from exporter.polling.recorder import Recorder
from tests.factories import make_account, make_links, make_reading

Known = Callable[[Link], tuple[Reading, float] | None]

HOUR, DAY = 3600.0, 86_400.0
Crowd = Literal["zipf", "lognormal", "campaigns"]
_SWING = 0.8  # how much busier than the mean the busiest hour is
_TURN = 2 * pi / DAY


@dataclass(frozen=True)
class Demand:
    """One link's clicks, in seconds from a midnight on: a rhythm of the day, and one campaign or none.

    The campaign brings ``peak`` clicks a second at ``begins`` and fades to a third in ``fades`` seconds.
    """

    base: float
    peak: float = 0.0
    begins: float = 0.0
    fades: float = HOUR

    def rate(self, at: float) -> float:
        """Clicks a second."""
        campaign = self.peak * exp(-(at - self.begins) / self.fades) if at > self.begins else 0.0
        return self.base * (1 + _SWING * sin(_TURN * at)) + campaign

    def clicks(self, at: float) -> float:
        """Clicks so far that are to be expected: the rate's integral."""
        since = max(0.0, at - self.begins)
        campaign = self.peak * self.fades * (1 - exp(-since / self.fades))
        return self.base * (at + _SWING / _TURN * (1 - cos(_TURN * at))) + campaign

    def area(self, at: float) -> float:
        """The integral of ``clicks``: click-seconds."""
        since = max(0.0, at - self.begins)
        campaign = self.peak * self.fades * (since - self.fades * (1 - exp(-since / self.fades)))
        return self.base * (at * at / 2 + _SWING / _TURN * (at - sin(_TURN * at) / _TURN)) + campaign


def make_crowd(kind: Crowd, count: int, random: Random) -> list[Demand]:
    """Links with heavy tails, in clicks an hour: few have most of the clicks."""
    if kind == "zipf":
        return [Demand(count / rank / HOUR) for rank in range(1, count + 1)]
    if kind == "lognormal":
        return [Demand(random.lognormvariate(0, 2) / HOUR) for _ in range(count)]
    return [_campaign(random) for _ in range(count)]


def _campaign(random: Random) -> Demand:
    base = random.lognormvariate(-1, 1.5) / HOUR
    if random.random() < 0.8:
        return Demand(base)
    peak = random.lognormvariate(3, 1.5) / HOUR
    return Demand(base, peak, random.uniform(0, 2 * DAY), random.uniform(1, 8) * HOUR)


@dataclass(frozen=True)
class Outcome:
    """``unseen`` clicks at any moment, on average (click-minutes a minute); ``worst_gap`` in seconds."""

    unseen: float
    worst_gap: float
    polls: int


def _nothing_known(link: Link) -> None:
    return None


class Desk:
    """An account's planner with its ledger. ``now`` moves only when told to."""

    def __init__(
        self, account: Account, now: float, *, seed: int = 1, wall: float = 0.0, known: Known = _nothing_known
    ) -> None:
        self.now = now
        self.recorder = Recorder(Ledger(), MemoryJournal(self), self, lambda news: None)
        self.planner = Planner(account, self.recorder, Random(seed), wall)
        self._wall = wall
        self.configure(account, known)

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self._wall + self.now

    def configure(self, account: Account, known: Known = _nothing_known) -> None:
        self.planner.swap(self.planner.build(account), self.now, known)
        self.recorder.ledger.configure([self.planner.request])

    def finish(self, poll: Poll, result: Reading | PollError) -> None:
        self.planner.finish(poll, self.now, result)
        self.recorder.end(answer_of(poll.sent, result, self.now - poll.sent_at))


class Simulation:
    """An account polled from the second midnight on. ``learning`` off hides the clicks from the planner.

    ``failing`` is the share of requests that meet an HTTP error.
    """

    def __init__(
        self,
        account: Account,
        crowd: Sequence[Demand],
        seconds: float,
        *,
        learning: bool,
        seed: int = 1,
        failing: float = 0.0,
    ) -> None:
        self._random = Random(seed)
        self._failing = failing
        self._seconds = seconds
        self._learning = learning
        self._demand = {link.name: demand for link, demand in zip(account.links, crowd, strict=True)}
        self._desk = Desk(account, DAY, seed=seed, wall=1_750_000_000.0)
        self._read_at = dict.fromkeys(self._demand, DAY)
        self._yesterday = {name: self._chance(demand.clicks(DAY)) for name, demand in self._demand.items()}
        self._today = dict.fromkeys(self._demand, 0)

    def run(self, settle: float, measure: float) -> Outcome:
        """Lets it settle, then measures; both in seconds."""
        desk = self._desk
        begin = desk.now + settle
        end = begin + measure
        unseen = worst = 0.0
        polls = 0
        while desk.now < end:
            step = desk.planner.next(desk.now)
            if not isinstance(step, Poll):
                assert step < inf
                desk.now = step
                continue
            name = step.link.name
            # without failures, chance has to come as it did
            if self._failing and self._random.random() < self._failing:
                desk.now += self._seconds
                desk.finish(step, HttpStatusError(503))
                continue
            if desk.now > begin:
                polls += 1
                worst = max(worst, desk.now - self._read_at[name])
                unseen += self._unseen(name, begin, desk.now)
            reading = self._read(name, desk.now)
            desk.now += self._seconds
            desk.finish(step, reading if self._learning else make_reading(today=0, yesterday=0))
        unseen += sum(self._unseen(name, begin, end) for name in self._demand)
        worst = max(worst, end - min(self._read_at.values()))
        return Outcome(unseen / measure, worst, polls)

    def without(self, names: Collection[str]) -> Account:
        """Takes links out of the configuration, and returns what it is then."""
        account = self._desk.planner.account
        links = tuple(link for link in account.links if link.name not in names)
        account = replace(account, links=links)
        self._desk.configure(account)
        for name in names:
            del self._demand[name], self._read_at[name]
        return account

    def _unseen(self, name: str, begin: float, now: float) -> float:
        """Click-seconds since the link was read, as far as they fall after ``begin``."""
        demand, read_at = self._demand[name], self._read_at[name]
        begin = max(begin, read_at)
        return demand.area(now) - demand.area(begin) - demand.clicks(read_at) * (now - begin)

    def _read(self, name: str, now: float) -> Reading:
        demand = self._demand[name]
        self._today[name] += self._chance(demand.clicks(now) - demand.clicks(self._read_at[name]))
        self._read_at[name] = now
        today, yesterday = self._today[name], self._yesterday[name]
        return make_reading(today + yesterday, today=today, yesterday=yesterday)

    def _chance(self, expected: float) -> int:
        """Poisson's distribution; from thirty on, the normal one is as good."""
        if expected > 30:
            return max(0, round(self._random.gauss(expected, sqrt(expected))))
        limit, clicks, product = exp(-expected), 0, self._random.random()
        while product > limit:
            clicks += 1
            product *= self._random.random()
        return clicks


def best(
    crowd: Sequence[Demand], budget: float, bounds: tuple[float, float], begin: float, end: float
) -> float:
    """The least unseen clicks there can be with ``budget`` requests a second, were all rates known.

    The mean over twenty moments of what is best at that moment.
    """
    moments = [begin + (end - begin) * (n + 0.5) / 20 for n in range(20)]
    return sum(_best_at([demand.rate(at) for demand in crowd], budget, bounds) for at in moments) / 20


def _best_at(rates: list[float], budget: float, bounds: tuple[float, float]) -> float:
    least, longest = bounds
    low, high = 1e-9, 1e9

    def intervals(stretch: float) -> list[float]:
        return [min(max(stretch / sqrt(rate), least), longest) for rate in rates]

    for _ in range(60):
        middle = sqrt(low * high)
        fits = sum(1 / interval for interval in intervals(middle)) < budget
        low, high = (low, middle) if fits else (middle, high)
    return sum(rate * interval / 2 for rate, interval in zip(rates, intervals(high), strict=True))


def overloaded(count: int, budget: int) -> tuple[Account, float]:
    """``count`` links to be read once a minute where ``budget`` can be; and the seconds a request takes."""
    account = make_account(links=make_links(count, interval=60.0), max_concurrent_requests=1)
    return account, 60.0 / budget


def adaptive(count: int, budget: int, bounds: tuple[float, float]) -> Account:
    """``count`` links with bounds that ask for as many requests as ``budget`` links once a minute."""
    links = make_links(count, interval=60.0 * count / budget)
    links = tuple(replace(link, bounds=bounds, stale_after=3 * bounds[1]) for link in links)
    return make_account(links=links, max_concurrent_requests=1)

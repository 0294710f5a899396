"""How much of an account's requests each link is worth.

A click is unseen until the link is read next. A link that is clicked ``r`` times a second and read every
``T`` seconds has ``r * T / 2`` unseen clicks on average. With a given number of requests, that is least in
sum when each link is read in proportion to the square root of its rate: four times the clicks, twice the
requests.

The rate is a moving average of the rises seen over the last ``MEMORY``, beginning with what the first reading
tells of today and yesterday. So a restart finds it again in the readings kept, with no state of its own, and
replicas that share readings agree on it. Shares are ratios, so the hour of the day, which is the same for all
links, cancels out; and an error of a factor of two in a rate costs a few percent only, since roots are taken
and shares are forgiving near their best. ``python -m tests.bench unequal`` measures it.
"""

from __future__ import annotations

from math import exp, floor, inf, log2, sqrt
from typing import TYPE_CHECKING

from exporter.slices import SLICE, at_once

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from exporter.model import Link, Reading
    from exporter.polling.schedule import Turn

MEMORY = 3 * 3600.0
"""Seconds over which clicks are averaged: short messages are answered within hours."""

_FIRST_SPAN = 36 * 3600.0
"""What today and yesterday cover: between 24 and 48 hours, the same for all links read at that time."""

_UNSEEN = 0.5 / MEMORY
"""Clicks a second that a link may have without our having seen one: half a click in ``MEMORY``."""

_LEAST_SPAN = 1.0
"""Readings closer together (seconds) tell nothing of a rate."""

_STEPS = 2
"""Steps to twice an interval: one that moved with every reading would have no stable phase.

Between two steps some links have the one and some the other: all at the nearer would make a sixth more
requests than asked for, or less, where links are alike.
"""

_APART = 97
"""By this multiple of their phases links are told apart there. By the phases themselves, those of one step
would all have their moments in one part of the interval, and none in the other.
"""

_ROUNDS = 3

_DONE = object()


class Clicks:
    """How often one link is clicked, as far as its readings tell."""

    __slots__ = ("_at", "_last", "_rate")

    def __init__(self) -> None:
        self._last: Reading | None = None
        self._rate = self._at = 0.0

    @property
    def weight(self) -> float | None:
        """The square root of clicks a second; None before the first reading."""
        return None if self._last is None else sqrt(self._rate + _UNSEEN)

    def learn(self, reading: Reading, at: float) -> bool:
        """Takes a reading, sent ``at`` (monotonic seconds). Tells whether it was news."""
        if self._last is None or self._last.id != reading.id:
            self._rate = (reading.today + reading.yesterday) / _FIRST_SPAN
        else:
            seconds = at - self._at
            if seconds < _LEAST_SPAN:
                return False
            rise = max(0, reading.all_time - self._last.all_time)
            self._rate += (1 - exp(-seconds / MEMORY)) * (rise / seconds - self._rate)
        self._last, self._at = reading, at
        return True


class Shares:
    """The shares of one account's links; ``turns`` is the planner's own, which changes over time.

    A share of 1 is an equal one. Where links have bounds, the intervals between them follow the shares in
    steps, and cost as many requests in sum as the links' ``refresh_interval`` would.
    """

    def __init__(self, turns: Mapping[tuple[str, str], Turn]) -> None:
        self._turns = turns
        self._mean: float | None = None
        self._stretch: float | None = None
        self._news = 0
        self._balancing: Iterator[None] | None = None

    def learn(self, turn: Turn, reading: Reading, at: float) -> None:
        """Takes a link's reading, sent ``at`` (monotonic seconds)."""
        if turn.clicks.learn(reading, at):
            self._news += 1
        if self._balancing is None and self._news * 10 > len(self._turns):
            self._news = 0
            self._balancing = self._balanced()
        if self._balancing is not None and next(self._balancing, _DONE) is _DONE:
            self._balancing = None

    def share(self, turn: Turn) -> float:
        """The link's share; an equal one as long as nothing is known of it, or of what is equal."""
        return 1.0 if self._mean is None else self.weight(turn) / self._mean

    def weight(self, turn: Turn) -> float:
        """What the line serves the link by: a share in a unit that stays when other links' clicks change.

        That of all, on average, as long as nothing is known of the link.
        """
        return turn.clicks.weight or self._mean or sqrt(_UNSEEN)

    def interval(self, turn: Turn) -> float:
        """How long after a reading the link's next one is planned, in seconds."""
        if turn.link.bounds is None or self._stretch is None:
            return turn.link.refresh_interval
        least, longest = turn.link.bounds
        between = turn.phase * _APART % 1
        steps = floor(_STEPS * log2(self._stretch / self.share(turn) / least) + between)
        return float(min(longest, least * 2 ** (max(0, steps) / _STEPS)))

    def balance(self) -> None:
        """Works the shares out anew: what is equal, and how far bounded intervals have to stretch."""
        self._news, self._balancing = 0, None
        at_once(self._balanced())

    def _balanced(self) -> Iterator[None]:
        """The same a few links at a step, of which one is taken with each reading: there may be very many."""
        turns = [turn for turn in self._turns.values() if turn.wanted]
        total, known = 0.0, 0
        for number, turn in enumerate(turns, 1):
            if (weight := turn.clicks.weight) is not None:
                total, known = total + weight, known + 1
            if number % SLICE == 0:
                yield
        self._mean = total / known if known else None
        flexible = [turn for turn in turns if turn.link.bounds is not None]
        if flexible:
            yield from self._fitted(flexible)

    def _fitted(self, flexible: list[Turn]) -> Iterator[None]:
        """Moves the stretch to where requests planned are as many as asked for.

        Each round brings it closer, by as much as there is room between the bounds; the next call goes on.
        """
        for _ in range(_ROUNDS):
            stretch, asked, planned = self._stretch, 0.0, 0.0
            for number, turn in enumerate(flexible, 1):
                own = turn.link.refresh_interval
                asked += 1 / own
                planned += 1 / (own if stretch is None else _bounded(stretch / self.share(turn), turn.link))
                if number % SLICE == 0:
                    yield
            self._stretch = len(flexible) / asked if stretch is None else stretch * planned / asked


def _bounded(seconds: float, link: Link) -> float:
    least, longest = link.bounds or (0.0, inf)
    return min(max(seconds, least), longest)

"""How much of an account's requests each link is worth.

A click is unseen until the link is read next. A link that is clicked ``r`` times a second and read every
``T`` seconds has ``r * T / 2`` unseen clicks on average. With a given number of requests, their sum is least
when each link is read in proportion to the square root of its rate. Four times the clicks get twice the
requests.

The rate is a moving average of the rises seen over the last ``MEMORY``. It begins with the first reading's
clicks of today and yesterday. So a restart needs no stored rate, and replicas that share readings agree on
it. Shares are ratios, so the hour of the day cancels out. An error of a factor of two in a rate costs a few
percent only, because roots are taken and the optimum is flat. ``python -m tests.bench unequal`` measures it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, floor, inf, log2, sqrt
from typing import TYPE_CHECKING

from exporter.model import Link, Reading

if TYPE_CHECKING:
    from exporter.polling.queue import LinkSchedule  # which has a ClickRate

MEMORY = 3 * 3600.0
"""Seconds over which clicks are averaged: short messages are answered within hours."""

_FIRST_SPAN = 36 * 3600.0
"""What today and yesterday cover: between 24 and 48 hours, the same for all links read at that time."""

_UNSEEN = 0.5 / MEMORY
"""Clicks a second assumed of a link without any seen: half a click in ``MEMORY``."""

_LEAST_SPAN = 1.0
"""Readings closer together than this (seconds) do not change a rate."""

_STEPS = 2
"""Steps to twice an interval: one that moved with every reading would have no stable phase.

Between two steps some links have the one and some the other. If all took the nearer one, links that are alike
would make a sixth more or fewer requests than asked for.
"""

_APART = 97
"""Which of the two a link gets depends on this multiple of its phase.

With the phase itself, all links of one step would be due in one part of the interval.
"""

_ROUNDS = 3


@dataclass(slots=True)
class ClickRate:
    """How often one link is clicked, estimated from its readings."""

    _last: Reading | None = None
    _rate: float = 0.0
    _at: float = 0.0

    @property
    def weight(self) -> float | None:
        """The square root of clicks a second; None before the first reading."""
        return None if self._last is None else sqrt(self._rate + _UNSEEN)

    def learn(self, reading: Reading, at: float) -> bool:
        """Takes a reading, sent ``at`` (monotonic seconds). Returns whether the rate changed."""
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


class Weights:
    """The weights of one account's links; ``schedules`` is the planner's own, which changes over time.

    A share of 1 is the average. Where links have bounds, their intervals follow the shares in steps, and cost
    as many requests in sum as the links' ``refresh_interval`` would.
    """

    def __init__(self, schedules: Mapping[tuple[str, str], LinkSchedule]) -> None:
        self._schedules = schedules
        self._mean: float | None = None
        self._interval_scale: float | None = None
        self._news = 0

    def learn(self, schedule: LinkSchedule, reading: Reading, at: float) -> None:
        """Takes a link's reading, sent ``at`` (monotonic seconds)."""
        if schedule.clicks.learn(reading, at):
            self._news += 1
        if self._news * 10 > len(self._schedules):
            self.balance()

    def share(self, schedule: LinkSchedule) -> float:
        """The link's weight divided by the average; 1 while nothing is known of it."""
        return 1.0 if self._mean is None else self.weight(schedule) / self._mean

    def weight(self, schedule: LinkSchedule) -> float:
        """How much more often than others the queue serves the link.

        It does not depend on the clicks of other links. A link without a reading gets the average.
        """
        return schedule.clicks.weight or self._mean or sqrt(_UNSEEN)

    def interval(self, schedule: LinkSchedule) -> float:
        """How long after a reading the link's next one is planned, in seconds."""
        if schedule.link.bounds is None or self._interval_scale is None:
            return schedule.link.refresh_interval
        least, longest = schedule.link.bounds
        between = schedule.phase * _APART % 1
        steps = floor(_STEPS * log2(self._interval_scale / self.share(schedule) / least) + between)
        return float(min(longest, least * 2 ** (max(0, steps) / _STEPS)))

    def balance(self) -> None:
        """Computes the average weight and the scale of bounded intervals again."""
        self._news = 0
        wanted = [schedule for schedule in self._schedules.values() if schedule.wanted]
        known = [weight for schedule in wanted if (weight := schedule.clicks.weight) is not None]
        self._mean = sum(known) / len(known) if known else None
        bounded = [schedule for schedule in wanted if schedule.link.bounds is not None]
        if bounded:
            self._fit(bounded)

    def _fit(self, bounded: list[LinkSchedule]) -> None:
        """Moves the scale to where as many requests are planned as were asked for.

        Each round brings it closer, as far as the bounds leave room; the next call goes on.
        """
        asked = sum(1 / schedule.link.refresh_interval for schedule in bounded)
        if self._interval_scale is None:
            self._interval_scale = len(bounded) / asked
        for _ in range(_ROUNDS):
            scale = self._interval_scale
            planned = sum(1 / _bounded(scale / self.share(one), one.link) for one in bounded)
            self._interval_scale = scale * planned / asked


def _bounded(seconds: float, link: Link) -> float:
    least, longest = link.bounds or (0.0, inf)
    return min(max(seconds, least), longest)

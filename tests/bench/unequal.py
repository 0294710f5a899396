"""Unseen clicks with five times as many links as can be read: equal turns, shares by clicks, and the best.

In virtual time, with the exporter's own pacing, and the same figures on every machine: see
``tests/pacing/unequal.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from random import Random
from typing import TYPE_CHECKING

from tests.pacing.unequal import DAY, HOUR, Crowd, Simulation, adaptive, best, make_crowd, overloaded

if TYPE_CHECKING:
    from collections.abc import Iterator

LINKS, BUDGET = 5000, 1000
SETTLE, MEASURE = 2 * HOUR, 4 * HOUR
BOUNDS = (21.0, 1800.0)
_CROWDS: tuple[tuple[Crowd, str], ...] = (
    ("zipf", "Zipf: the n-th link has an n-th of the first one's clicks"),
    ("lognormal", "log-normal, sigma 2"),
    ("campaigns", "log-normal, and one link in five a campaign that begins and fades within hours"),
)


@dataclass(frozen=True)
class Row:
    """Clicks unseen at any moment, on average, and the longest any link waited, in minutes."""

    clicks: str
    refresh: str
    equal: float
    ours: float
    least: float
    longest: float


def measure() -> Iterator[Row]:
    """A row for each crowd: overloaded with fixed intervals, and adaptive."""
    for kind, clicks in _CROWDS:
        crowd = make_crowd(kind, LINKS, Random(1))
        account, seconds = overloaded(LINKS, BUDGET)
        equal, ours = (
            Simulation(account, crowd, seconds, learning=learning).run(SETTLE, MEASURE)
            for learning in (False, True)
        )
        span = (DAY + SETTLE, DAY + SETTLE + MEASURE)
        least = best(crowd, BUDGET / 60, (60.0, inf), *span)
        yield Row(clicks, "fixed, 1m", equal.unseen, ours.unseen, least, ours.worst_gap / 60)
        account = adaptive(LINKS, BUDGET, BOUNDS)
        ours = Simulation(account, crowd, seconds / 2, learning=True).run(SETTLE, MEASURE)
        least = best(crowd, BUDGET / 60, BOUNDS, *span)
        yield Row(clicks, "adaptive, 5m", equal.unseen, ours.unseen, least, ours.worst_gap / 60)


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    head = [
        "| clicks | refresh | equal turns | shares by clicks | best, rates known | share of best"
        " | longest wait, min |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    body = [
        f"| {r.clicks} | {r.refresh} | {r.equal:.0f} | {r.ours:.0f} | {r.least:.0f} | {r.least / r.ours:.0%}"
        f" | {r.longest:.1f} |"
        for r in rows
    ]
    return "\n".join(head + body)

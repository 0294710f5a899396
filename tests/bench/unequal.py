"""Unseen clicks with five times as many links as can be read: equal turns, shares by clicks, and the best.

In virtual time, with the exporter's own planner, and the same figures on every machine: see
``tests/unit/polling/unequal.py``. The simulations share the machine's processors.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import inf
from multiprocessing import get_context
from random import Random
from typing import Literal

from tests.bench.tables import Asked, markdown, say
from tests.unit.polling.unequal import (
    DAY,
    HOUR,
    Crowd,
    Outcome,
    Simulation,
    adaptive,
    best,
    make_crowd,
    overloaded,
)

COLUMNS = (
    "links | clicks | refresh | equal turns | shares by clicks | best, rates known | share of best"
    " | polls, equal turns | by clicks | longest wait, min"
)
SIZES = (5_000,)
TOO_MANY = 5
"""How many times as many links there are as can be read once a minute."""

SETTLE, MEASURE = 2 * HOUR, 4 * HOUR
BOUNDS = (21.0, 1800.0)
_CROWDS: dict[Crowd, str] = {
    "zipf": "Zipf: the n-th link has an n-th of the first one's clicks",
    "lognormal": "log-normal, sigma 2",
    "campaigns": "log-normal, and one link in five a campaign that begins and fades within hours",
}
Way = Literal["equal", "fixed", "adaptive"]


@dataclass(frozen=True)
class Row:
    """Clicks unseen at any moment, on average; polls in the time measured; waits in minutes."""

    links: int
    clicks: str
    refresh: str
    equal: float
    ours: float
    least: float
    equal_polls: int
    polls: int
    longest: float


def measure(asked: Asked) -> Iterator[Row]:
    """A row for each crowd: overloaded with fixed intervals, and adaptive."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        for size in asked.sizes or SIZES:
            say(f"{size} links: nine simulations of six hours, 25 s of CPU each with 5,000 links")
            runs = {
                (kind, way): processes.submit(_simulate, size, kind, way)
                for kind in _CROWDS
                for way in ("equal", "fixed", "adaptive")
            }
            for kind in _CROWDS:
                equal = runs[kind, "equal"].result()
                for way in ("fixed", "adaptive"):
                    yield _row(size, kind, way, equal, runs[kind, way].result())


def _simulate(links: int, kind: Crowd, way: Way) -> Outcome:
    crowd, budget = make_crowd(kind, links, Random(1)), links // TOO_MANY
    account, seconds = overloaded(links, budget)
    if way == "adaptive":
        account, seconds = adaptive(links, budget, BOUNDS), seconds / 2
    return Simulation(account, crowd, seconds, learning=way != "equal").run(SETTLE, MEASURE)


def _row(links: int, kind: Crowd, way: Way, equal: Outcome, ours: Outcome) -> Row:
    refresh, bounds = ("fixed, 1m", (60.0, inf)) if way == "fixed" else ("adaptive, 5m", BOUNDS)
    crowd = make_crowd(kind, links, Random(1))
    least = best(crowd, links // TOO_MANY / 60, bounds, DAY + SETTLE, DAY + SETTLE + MEASURE)
    polls = equal.polls, ours.polls
    return Row(links, _CROWDS[kind], refresh, equal.unseen, ours.unseen, least, *polls, ours.worst_gap / 60)


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    return markdown(COLUMNS, map(_cells, rows))


def _cells(r: Row) -> list[str]:
    return [
        f"{r.links}",
        r.clicks,
        r.refresh,
        f"{r.equal:.0f}",
        f"{r.ours:.0f}",
        f"{r.least:.0f}",
        f"{r.least / r.ours:.0%}",
        f"{r.equal_polls}",
        f"{r.polls}",
        f"{r.longest:.1f}",
    ]

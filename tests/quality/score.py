"""Alerts held against what was put into the traffic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import sqrt
from statistics import median
from typing import NamedTuple

import numpy as np

from tests.quality.promql import Rows
from tests.quality.traffic import DAY, HOUR, SCORED, STEP, STEPS, Event, Traffic

AFTER = {"spike": 2 * HOUR, "drop": 6 * HOUR}
"""How long after its end an alert on an event is not false yet: windows still reach into it."""

FOUND_BY = HOUR
"""How long after its end an alert may begin and have found it: figures of an hour are complete by then."""

EXCUSED = {"spike": ("resend", "drift"), "drop": ("drift",)}
"""Changes that are there, though nobody asked for them to be found: alerts on them count neither way."""


SIZES = {"spike": (10, 30, 100), "drop": (5, 15, 40)}
"""Where classes of size begin, in clicks an hour: above the usual of a spike, missing of a drop."""

Z = 1.96
"""Standard deviations that hold 95 % of a normal distribution."""


class Estimate(NamedTuple):
    """What was found, and from and to what it would be in 95 of 100 such trials."""

    value: float
    low: float
    high: float


def share(of: int, whole: int) -> Estimate | None:
    """A share, with Wilson's interval; None of nothing."""
    if not whole:
        return None
    value, weight = of / whole, 1 + Z**2 / whole
    middle = (value + Z**2 / (2 * whole)) / weight
    half = Z / weight * sqrt(value * (1 - value) / whole + Z**2 / (4 * whole**2))
    return Estimate(value, max(0.0, middle - half), min(1.0, middle + half))


def rate(events: int, over: float) -> Estimate:
    """Events by the unit of ``over``; the root of a count deviates by about a half, whatever the count."""
    root = sqrt(events)
    return Estimate(events / over, max(0.0, root - Z / 2) ** 2 / over, (root + Z / 2) ** 2 / over)


@dataclass
class Tally:
    """What came of one alert on links of one kind."""

    true: int = 0
    false: int = 0
    events: int = 0
    found: int = 0
    excused: int = 0
    link_weeks: float = 0.0
    delays: list[float] = field(default_factory=list)
    """Minutes from an event's beginning to its alert's."""
    events_by_size: Counter[int] = field(default_factory=Counter)
    found_by_size: Counter[int] = field(default_factory=Counter)

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(
            self.true + other.true,
            self.false + other.false,
            self.events + other.events,
            self.found + other.found,
            self.excused + other.excused,
            self.link_weeks + other.link_weeks,
            self.delays + other.delays,
            self.events_by_size + other.events_by_size,
            self.found_by_size + other.found_by_size,
        )

    def row(self) -> dict[str, Estimate | float | None]:
        """The figures of a table; None where there is nothing to divide by."""
        return {
            "precision": share(self.true, self.true + self.false),
            "recall": share(self.found, self.events),
            "events": self.events,
            "false per link-week": rate(self.false, self.link_weeks),
            "delay, min": median(self.delays) if self.delays else None,
        }


def _scored_half(_link: Traffic) -> tuple[int, int]:
    return SCORED, STEPS


def score(
    links: Iterable[Traffic],
    fires: Mapping[str, Rows],
    kind: str,
    span: Callable[[Traffic], tuple[int, int]] = _scored_half,
) -> dict[str, Tally]:
    """Return a tally for each kind of links.

    ``fires`` says by link at which of the scored steps the alert fires. ``span`` says from and up to which
    step events and alerts of a link count.
    """
    tallies: dict[str, Tally] = {}
    for link in links:
        tally = _of_link(link, fires.get(link.name), kind, *span(link))
        tallies[link.kind.name] = tallies.get(link.kind.name, Tally()) + tally
    return tallies


def _of_link(link: Traffic, fires: Rows, kind: str, first: int, last: int) -> Tally:
    events = [event for event in link.events if event.kind == kind and first <= event.begin < last]
    excused = [event for event in link.events if event.kind in EXCUSED[kind]]
    weeks = float((~np.isnan(link.total[first:last])).sum()) / (7 * DAY)
    tally, found = Tally(events=len(events), link_weeks=weeks), set()
    for begin, end in episodes(fires):
        if not first <= begin < last:
            continue
        about = [event for event in events if _overlap(event, begin, end, AFTER[kind])]
        known = any(_overlap(event, begin, end, AFTER[kind]) for event in excused)
        tally.true += bool(about)
        tally.excused += known and not about
        tally.false += not about and not known
        for event in about:
            if event not in found and begin < event.end + FOUND_BY:
                found.add(event)
                tally.delays.append((begin - event.begin) * STEP / 60)
    tally.found = len(found)
    tally.events_by_size.update(size_class(event) for event in events)
    tally.found_by_size.update(size_class(event) for event in found)
    return tally


def size_class(event: Event) -> int:
    """Return where the event's class of size begins; 0 for the smallest."""
    return max((edge for edge in SIZES.get(event.kind, ()) if event.size >= edge), default=0)


def episodes(fires: Rows) -> list[tuple[int, int]]:
    """From and up to which step an alert fires, each time."""
    if fires is None:
        return []
    edges = np.diff(np.concatenate([[0], fires.astype(int), [0]]))
    return [
        (int(begin) + SCORED, int(end) + SCORED)
        for begin, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True)
    ]


def _overlap(event: Event, begin: int, end: int, after: int) -> bool:
    return begin < event.end + after and event.begin < end

"""The clicks of a link's last hour: what the counter rose by since a reading of about an hour ago.

Of the readings since then some are remembered: when each was taken, on the monotonic clock, and its total.
They lie one after the other in an array, which takes a sixth of the memory of pairs. An array is never
changed, so that another thread may read it.
"""

from __future__ import annotations

from array import array

HOUR = 3600.0
APART = 300.0
"""Seconds between two readings that are remembered, so that these are sixteen at most."""

LEAST, MOST = HOUR - APART, HOUR + 900.0
"""How many seconds before the latest reading another must be to stand for an hour ago."""

NOTHING: array[float] = array("d")


def remember(past: array[float], at: float, total: int) -> array[float]:
    """``past`` with one reading more, unless it comes too soon after the last, and without those too old."""
    if past and at < past[-2] + APART:
        return past
    kept = next((place for place in range(0, len(past), 2) if past[place] >= at - MOST), len(past))
    return past[kept:] + array("d", (at, total))


def clicks_of_hour(past: array[float], at: float, total: int) -> int | None:
    """How far ``total`` is above the reading nearest to an hour before ``at``; None without one."""
    before = [
        (abs(at - past[place] - HOUR), past[place + 1])
        for place in range(0, len(past), 2)
        if LEAST <= at - past[place] <= MOST
    ]
    return total - int(min(before)[1]) if before else None

"""When a link's turn comes: stable phases, and what is remembered of each link."""

from __future__ import annotations

from math import ceil, inf
from typing import TYPE_CHECKING
from zlib import crc32

from exporter.polling.shares import Clicks
from exporter.polling.window import Window
from exporter.rules import FIRST_SWEEP, SWEEP_RATE

if TYPE_CHECKING:
    from exporter.model import Link

_GOLDEN = 0.6180339887498949


def phase(index: int, login_key: str) -> float:
    """Where in its interval the link with this index is read, from 0 to 1.

    Each login begins at a place of its own, so that many small accounts do not all ask at once. Multiples of
    the golden ratio spread evenly however many there are, and no later link moves an earlier one: phases
    survive reloads, and restarts with the same configuration.
    """
    return (crc32(login_key.encode()) / 2**32 + index * _GOLDEN) % 1.0


def next_turn(phase: float, interval: float, after: float) -> float:
    """The first moment from ``after`` on that lies at ``phase`` of an ``interval`` (seconds).

    Both lie on the wall clock's axis, so that a restart finds the same moments.
    """
    start = phase * interval
    return start + interval * ceil((after - start) / interval)


def sweep_interval(interval: float, links: int) -> float:
    """Over how long an account's first round is spread: soon, but not all at once (seconds)."""
    return min(interval, max(FIRST_SWEEP, links / SWEEP_RATE))


class Turn:
    """A link's place in the schedule.

    ``due`` is when it is to be asked next, and ``rests_until`` before when it must not be, whatever a reload
    says (monotonic seconds); ``failures`` and ``throttles`` count in a row;
    ``tries`` counts the addresses already tried in this turn. ``wanted`` says that the link is in the
    configuration; of one that has left it only the window is kept. ``interval`` is what is planned from its
    last reading to the next (seconds). ``entry``, ``place`` and ``latest`` are the line's: see ``Line``.
    """

    __slots__ = (
        "clicks",
        "due",
        "entry",
        "failures",
        "in_flight",
        "interval",
        "latest",
        "link",
        "phase",
        "place",
        "rests_until",
        "throttles",
        "tries",
        "wanted",
        "window",
    )

    def __init__(self, link: Link, phase: float) -> None:
        self.link = link
        self.phase = phase
        self.window = Window()
        self.clicks = Clicks()
        self.interval = link.refresh_interval
        self.due = inf
        self.entry = 0
        self.place, self.latest = -inf, inf
        self.rests_until = -inf
        self.wanted = False
        self.in_flight = False
        self.failures = self.throttles = self.tries = 0

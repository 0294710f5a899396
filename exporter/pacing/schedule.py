"""Whose turn it is: stable phases, and the heap of due links."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from math import ceil, inf
from typing import TYPE_CHECKING
from zlib import crc32

from exporter.pacing.window import Window
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
    configuration; of one that has left it only the window is kept.
    """

    __slots__ = (
        "due",
        "failures",
        "in_flight",
        "link",
        "phase",
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
        self.due = inf
        self.rests_until = -inf
        self.wanted = False
        self.in_flight = False
        self.failures = self.throttles = self.tries = 0


class DueHeap:
    """Turns by the time they are due, the earliest first.

    A turn that is put again simply moves: the entry left behind is recognised by its outdated time.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Turn]] = []
        self._order = count()

    def put(self, turn: Turn, due: float) -> None:
        """Makes ``turn`` due at ``due``."""
        turn.due = due
        heappush(self._entries, (due, next(self._order), turn))

    def first(self) -> Turn | None:
        """The turn that is due first, left in its place; None if there is none."""
        while self._entries:
            due, _, turn = self._entries[0]
            if turn.wanted and not turn.in_flight and turn.due == due:
                return turn
            heappop(self._entries)
        return None

    def pop(self) -> Turn:
        """Takes out the turn that ``first`` returned."""
        return heappop(self._entries)[2]

    def compact(self) -> None:
        """Forgets the entries that turns left behind."""
        turns = {id(turn): turn for due, _, turn in self._entries if turn.wanted and turn.due == due}
        self._entries = [(turn.due, next(self._order), turn) for turn in turns.values() if not turn.in_flight]
        heapify(self._entries)

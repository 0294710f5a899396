"""Who is next: links wait until they are due, and stand in line where not all that are due can be asked.

The line is served by *shares*, each link as often as its share asks for, whatever the account can carry just
now: nobody has to know how much that is. It is stride scheduling. Virtual time goes on with the link that is
served; a link that has been served is placed ``1 / share`` further on in virtual time, and whoever is placed
first goes first. A link of share 4 is thus asked four times while one of share 1 is asked once, and what a
link cannot use, because it is not due again yet, falls to the others in proportion.

A share says nothing of how old a reading may become. So a link that has waited for ``PATIENCE`` of its
``stale_after`` goes ahead of its place, the longest overdue first, but only every second time: with twice too
few requests even for that, one half of them still follows the clicks, and the other makes equal turns. A
request that failed has made no reading younger: the link waits on, as one that is overdue since then.

The unit of shares does not matter, but must not change: places were given in it.

A link that has no reading yet goes first, but not before those that have waited too long: it has nothing that
could be withdrawn, and there may be more new ones than can be asked for hours.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from exporter.polling.schedule import Turn

    Heap: TypeAlias = list[tuple[float, int, Turn]]

PATIENCE = 0.8
"""Of a link's ``stale_after``: how old its reading grows before it goes ahead of its place in the line."""

_SLACK = 100

_MOST_JOINING = 100
"""Turns that join the line at one look: half a millisecond, and there may be fourteen looks in a row."""


class Line:
    """The turns of one account, waiting or due.

    A turn that moves leaves its old entries behind; they are recognised by their number.
    """

    def __init__(self) -> None:
        self._waiting: Heap = []
        self._by_place: Heap = []
        self._by_age: Heap = []
        self._by_due: Heap = []
        self._standing: set[Turn] = set()
        self._numbers = count(1)
        self._virtual = 0.0
        self._ahead = False

    def put(self, turn: Turn, due: float) -> None:
        """Makes ``turn`` due at ``due``, if it is wanted at all."""
        self.drop(turn)
        turn.due = due
        if turn.wanted:
            turn.entry = next(self._numbers)
            heappush(self._waiting, (due, turn.entry, turn))

    def drop(self, turn: Turn) -> None:
        """Takes ``turn`` out, wherever it is."""
        turn.entry = 0
        self._standing.discard(turn)

    def place(self, turn: Turn, share: float, sent_at: float, *, read: bool = True) -> None:
        """Gives a turn that was served, by a request sent at ``sent_at``, its next place in the line.

        If it was not ``read``, what is known of it grows older.
        """
        turn.place = self._virtual + 1 / share
        if read or turn.latest == inf:
            turn.latest = sent_at + PATIENCE * turn.link.stale_after
        else:
            turn.latest = max(turn.latest, sent_at)

    def know(self, turn: Turn, read_at: float) -> None:
        """Takes it that a turn not served yet has a reading, of ``read_at``: kept, or another exporter's."""
        if turn.latest == inf:
            turn.place = self._virtual
            turn.latest = read_at + PATIENCE * turn.link.stale_after
            self._enter_anew(turn)

    def bear(self, turn: Turn, more: float) -> None:
        """The ``stale_after`` of a turn's link became longer by ``more`` seconds, or shorter."""
        if more:
            turn.latest += PATIENCE * more
            self._enter_anew(turn)

    def _enter_anew(self, turn: Turn) -> None:
        """Where a turn stands in line is what it was when it joined."""
        if turn in self._standing:
            self.put(turn, turn.due)

    def first(self, now: float) -> Turn | None:
        """The turn to be served now, left where it is; None if none is due."""
        self._join_due(now)
        oldest = _head(self._by_age)
        if oldest is not None and oldest.latest <= now and not self._ahead:
            return oldest
        return _head(self._by_place)

    def take(self, turn: Turn) -> None:
        """Takes out the turn that ``first`` returned, to be served."""
        self._ahead = turn is not _head(self._by_place)
        if not self._ahead:
            self._virtual = max(self._virtual, turn.place)
        self.drop(turn)

    def _join_due(self, now: float) -> None:
        """Has turns join that are due; after a pause that may be all, so that the rest joins next time."""
        for _ in range(_MOST_JOINING):
            turn = _head(self._waiting)
            if turn is None or turn.due > now:
                break
            heappop(self._waiting)
            self._join(turn)

    def _join(self, turn: Turn) -> None:
        turn.entry = next(self._numbers)
        self._standing.add(turn)
        places = ((self._by_place, turn.place), (self._by_age, turn.latest), (self._by_due, turn.due))
        for heap, key in places:
            heappush(heap, (key, turn.entry, turn))
            if len(heap) > 2 * len(self._standing) + _SLACK:
                _compact(heap)

    def next_due(self) -> float:
        """When the next turn that waits is due, in monotonic seconds; ``inf`` if none waits."""
        turn = _head(self._waiting)
        return inf if turn is None else turn.due

    def earliest_due(self) -> float:
        """When the most overdue turn was, or the next will be, due."""
        turn = _head(self._by_due)
        return self.next_due() if turn is None else turn.due

    def compact(self) -> None:
        """Forgets the entries that turns left behind."""
        for heap in (self._waiting, self._by_place, self._by_age, self._by_due):
            _compact(heap)


def _compact(heap: Heap) -> None:
    heap[:] = [entry for entry in heap if entry[2].entry == entry[1]]
    heapify(heap)


def _head(heap: Heap) -> Turn | None:
    while heap and heap[0][2].entry != heap[0][1]:
        heappop(heap)
    return heap[0][2] if heap else None

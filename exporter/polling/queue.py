"""When each link is due, and which is polled next if not all that are due can be.

Links share an account's requests in proportion to their weights, whatever the account can carry at present
(stride scheduling). Virtual time advances with each link that is served. A link that was served is placed
``1 / weight`` later in virtual time, and the link with the earliest place goes first. So a link of weight 4
is polled four times while one of weight 1 is polled once. The others get what a link cannot use.

A weight does not bound the age of a reading. A link that has waited for ``PATIENCE`` of its
``stale_after`` goes ahead of its place, the longest overdue first, but only every second time. So even under
overload one half of the requests follows the clicks, and the other half serves all links equally. A failed
request makes no reading younger, so the link stays as overdue as it was.

A link without a reading goes first, but not before those that have waited too long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from math import ceil, inf, log2
from typing import TypeAlias
from zlib import crc32

from exporter.model import Link
from exporter.polling.weights import ClickRate

Heap: TypeAlias = "list[tuple[float, int, LinkSchedule]]"

PATIENCE = 0.8
"""The part of a link's ``stale_after`` after which it goes ahead of its place."""

_SLACK = 100

_STEPS_PER_OCTAVE = 8

_MOST_JOINING = 100
"""Schedules that become ready in one call: half a millisecond, and fourteen calls may come in a row."""

_GOLDEN = 0.6180339887498949


def phase(index: int, login_key: str) -> float:
    """Where in its interval the link with this index is read, from 0 to 1.

    Each login starts at a place of its own, so that many small accounts do not all ask at once. Multiples of
    the golden ratio spread evenly however many there are, and no later link moves an earlier one: phases
    survive reloads, and restarts with the same configuration.
    """
    return (crc32(login_key.encode()) / 2**32 + index * _GOLDEN) % 1.0


def next_moment(phase: float, interval: float, after: float) -> float:
    """The first moment from ``after`` on that lies at ``phase`` of an ``interval`` (seconds).

    Both are wall-clock times, so that a restart finds these moments again.
    """
    start = phase * interval
    return start + interval * ceil((after - start) / interval)


@dataclass(slots=True, eq=False)
class LinkSchedule:
    """When a link is polled next, and how its latest polls ended. Times are monotonic seconds.

    ``due`` is when it is polled next; it is not polled before ``rests_until``, whatever a reload says.
    ``failures`` count in a row; ``tried`` are the addresses already tried in this poll. ``wanted`` says that
    the link is in the configuration. ``interval`` is the planned time from its last reading to the next.
    ``entry``, ``place`` and ``latest`` belong to the queue: see ``PollQueue``.
    """

    link: Link
    phase: float
    clicks: ClickRate = field(default_factory=ClickRate)
    interval: float = 0.0
    due: float = inf
    entry: int = 0
    place: float = -inf
    latest: float = inf
    rests_until: float = -inf
    wanted: bool = False
    in_flight: bool = False
    failures: int = 0
    tried: tuple[int, ...] = ()


class PollQueue:
    """The schedules of one account: waiting until they are due, or ready to be polled.

    A schedule that moves leaves its old entries behind; they are recognised by their number.
    """

    def __init__(self) -> None:
        self._waiting: Heap = []
        self._by_place: Heap = []
        self._by_age: Heap = []
        self._by_due: Heap = []
        self._ready: set[LinkSchedule] = set()
        self._numbers = count(1)
        self._virtual = 0.0
        self._ahead = False

    def put(self, schedule: LinkSchedule, due: float) -> None:
        """Makes ``schedule`` due at ``due``, if its link is configured."""
        self.drop(schedule)
        schedule.due = due
        if schedule.wanted:
            schedule.entry = next(self._numbers)
            heappush(self._waiting, (due, schedule.entry, schedule))

    def drop(self, schedule: LinkSchedule) -> None:
        """Takes ``schedule`` out, wherever it is."""
        schedule.entry = 0
        self._ready.discard(schedule)

    def place(self, schedule: LinkSchedule, weight: float, sent_at: float, *, read: bool = True) -> None:
        """Gives a schedule its next place after it was served by a request sent at ``sent_at``.

        If that did not read the link (``read`` is false), its reading grows older.
        """
        schedule.place = self._virtual + 1 / _rounded(weight)
        if read or schedule.latest == inf:
            schedule.latest = sent_at + PATIENCE * schedule.link.stale_after
        else:
            schedule.latest = max(schedule.latest, sent_at)

    def seed(self, schedule: LinkSchedule, read_at: float) -> None:
        """Notes that a schedule that was never served has a reading, taken at ``read_at``."""
        if schedule.latest == inf:
            schedule.place = self._virtual
            schedule.latest = read_at + PATIENCE * schedule.link.stale_after
            self._reenter(schedule)

    def stale_after_changed(self, schedule: LinkSchedule, more: float) -> None:
        """The link's ``stale_after`` grew by ``more`` seconds, or shrank."""
        schedule.latest += PATIENCE * more
        self._reenter(schedule)

    def _reenter(self, schedule: LinkSchedule) -> None:
        if schedule in self._ready:
            self.put(schedule, schedule.due)

    def first(self, now: float) -> LinkSchedule | None:
        """The schedule to be served now, left where it is; None if none is due."""
        self._add_due(now)
        oldest = _head(self._by_age)
        if oldest is not None and oldest.latest <= now and not self._ahead:
            return oldest
        return _head(self._by_place)

    def take(self, schedule: LinkSchedule) -> None:
        """Takes out the schedule that ``first`` returned, to be served."""
        self._ahead = schedule is not _head(self._by_place)
        if not self._ahead:
            self._virtual = max(self._virtual, schedule.place)
        self.drop(schedule)

    def _add_due(self, now: float) -> None:
        """Makes schedules ready that are due. After a pause that may be all: the rest follows next time."""
        for _ in range(_MOST_JOINING):
            schedule = _head(self._waiting)
            if schedule is None or schedule.due > now:
                break
            heappop(self._waiting)
            self._add(schedule)

    def _add(self, schedule: LinkSchedule) -> None:
        schedule.entry = next(self._numbers)
        self._ready.add(schedule)
        heaps = (
            (self._by_place, schedule.place),
            (self._by_age, schedule.latest),
            (self._by_due, schedule.due),
        )
        for heap, key in heaps:
            heappush(heap, (key, schedule.entry, schedule))
            if len(heap) > 2 * len(self._ready) + _SLACK:
                _compact(heap)

    def next_due(self) -> float:
        """When the next waiting schedule is due, in monotonic seconds; ``inf`` if none waits."""
        schedule = _head(self._waiting)
        return inf if schedule is None else schedule.due

    def earliest_due(self) -> float:
        """When the most overdue schedule was due, or the next one will be."""
        schedule = _head(self._by_due)
        return self.next_due() if schedule is None else schedule.due

    def compact(self) -> None:
        """Forgets the entries that schedules left behind."""
        for heap in (self._waiting, self._by_place, self._by_age, self._by_due):
            _compact(heap)


def _rounded(weight: float) -> float:
    """The weight in steps of a ninth, so that links of about the same weight keep their order."""
    return float(2 ** (round(_STEPS_PER_OCTAVE * log2(weight)) / _STEPS_PER_OCTAVE))


def _compact(heap: Heap) -> None:
    heap[:] = [entry for entry in heap if entry[2].entry == entry[1]]
    heapify(heap)


def _head(heap: Heap) -> LinkSchedule | None:
    while heap and heap[0][2].entry != heap[0][1]:
        heappop(heap)
    return heap[0][2] if heap else None

"""When a link is due: stable phases, and the memory of its latest polls."""

from __future__ import annotations

from math import ceil, inf
from typing import TYPE_CHECKING
from zlib import crc32

from exporter.polling.weights import ClickRate

if TYPE_CHECKING:
    from exporter.model import Link

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


class LinkSchedule:
    """When a link is polled next, and how its latest polls ended. Times are monotonic seconds.

    ``due`` is when it is polled next; it is not polled before ``rests_until``, whatever a reload says.
    ``failures`` count in a row; ``tried`` are the addresses already tried in this poll. ``wanted`` says that
    the link is in the configuration. ``interval`` is the planned time from its last reading to the next.
    ``entry``, ``place`` and ``latest`` belong to the queue: see ``PollQueue``.
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
        "tried",
        "wanted",
    )

    def __init__(self, link: Link, phase: float) -> None:
        self.link = link
        self.phase = phase
        self.clicks = ClickRate()
        self.interval = link.refresh_interval
        self.due = inf
        self.entry = 0
        self.place, self.latest = -inf, inf
        self.rests_until = -inf
        self.wanted = False
        self.in_flight = False
        self.failures = 0
        self.tried: tuple[int, ...] = ()

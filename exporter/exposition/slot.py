"""The metric families of links, and a link's place in them: its lines, and until when each may be shown.

The lines are those that prometheus_client would write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from math import inf
from typing import NamedTuple
from zoneinfo import ZoneInfo

from prometheus_client.utils import floatToGoString

from exporter.errors import Outcome
from exporter.exposition.hour import HOUR, MOST, NOTHING, clicks_of_hour, remember
from exporter.model import Link, Snapshot

FIGURES = ("all_time", "today", "yesterday", "month", "previous_month", "total")
"""The click families by their short names: the first of ``FAMILIES``, in their order."""

_number: Callable[[float], str] = floatToGoString  # prometheus_client leaves it untyped

LAST_HOUR = "last_hour"
SHOWN = (*FIGURES, LAST_HOUR)
"""The clicks of a ``View``, by their short names."""

ROLLOVER = 5.0
"""Seconds after midnight in which the provider's clock may still show the day before."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family: its sample's name, type and help. Counters' samples end in ``_total``."""

    name: str
    help: str
    type: str = "gauge"

    def header(self, *, openmetrics: bool) -> bytes:
        """The HELP and TYPE lines. OpenMetrics names a counter's family without its suffix."""
        name = self.name.removesuffix("_total") if openmetrics else self.name
        return f"# HELP {name} {self.help}\n# TYPE {name} {self.type}\n".encode()


def _clicks(name: str, period: str, field: str, until: str = "") -> Family:
    words = f"Clicks {period} ({field}), cached. Absent when stale{until}."
    return Family(f"smsc_link_clicks_{name}", words)


_AFTER_MIDNIGHT = ", and after midnight until re-read"
_AFTER_MONTH = ", and after month end until re-read"

FAMILIES = (
    _clicks("all_time", "of all time", "cnt"),
    _clicks("today", "so far today", "cnt_day", _AFTER_MIDNIGHT),
    _clicks("yesterday", "yesterday", "cnt_yes", _AFTER_MIDNIGHT),
    _clicks("month", "so far this month", "cnt_mon", _AFTER_MONTH),
    _clicks("previous_month", "in the previous month", "cnt_pmon", _AFTER_MONTH),
    Family(
        "smsc_link_clicks_total",
        "Clicks counted since the first reading (rises of cnt), cached. For rate() and increase()."
        " Absent when stale.",
        "counter",
    ),
    Family(
        "smsc_link_up", "1 if the latest poll of the link succeeded, 0 if it failed. Absent until polled."
    ),
    Family("smsc_link_failing", "1 while the latest poll of the link failed; outcome says how."),
    Family(
        "smsc_link_last_success_timestamp_seconds",
        "When the cached click figures of the link were read.",
    ),
    Family("smsc_link_info", "The link's id and short link, cached (id and link)."),
)
ALL_TIME, TODAY, YESTERDAY, MONTH, PREVIOUS, TOTAL, UP, FAILING, LAST_SUCCESS, INFO = range(len(FAMILIES))
_NAMES = tuple(family.name for family in FAMILIES)


def labels_with(link: Link, *extra: tuple[str, str | None]) -> str:
    """The labels of a line: the link's and others, sorted by name, as prometheus_client does.

    Labels that are None are left out.
    """
    labels = [("account", link.account), ("link", link.name), *link.labels, *extra]
    return (
        "{"
        + ",".join([f'{name}="{_escape(text)}"' for name, text in sorted(labels) if text is not None])
        + "}"
    )


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def line_of(family: int, labels: str, value: float) -> bytes:
    """One sample. Small whole numbers take a shorter way to the text that prometheus_client writes."""
    text = f"{value}.0" if type(value) is int and value < 1_000_000 else _number(value)
    return f"{_NAMES[family]}{labels} {text}\n".encode()


def period_ends(read_at: float, zone: ZoneInfo) -> tuple[float, float]:
    """When the day and the month of a reading end (seconds since the epoch), in the account's zone.

    A reading from the first seconds of a day may have come from a provider whose clock had not turned yet:
    it belongs to the day before, which has already ended.
    """
    return _ends_of_minute(int(read_at - ROLLOVER) // 60, zone)


@lru_cache(maxsize=4096)
def _ends_of_minute(minute: int, zone: ZoneInfo) -> tuple[float, float]:
    """The ends for a minute since the epoch: days begin with one, and thousands of readings share it."""
    day = datetime.fromtimestamp(minute * 60, zone).replace(hour=0, minute=0)
    next_day = (day + timedelta(days=1)).replace(fold=0)
    next_month = (day.replace(day=1) + timedelta(days=32)).replace(day=1, fold=0)
    return next_day.timestamp(), next_month.timestamp()


class Slot:
    """A link's place in the families' lists, and when its lines expire (seconds since the epoch).

    There is one for each link, so it stores only what takes long to compute.
    """

    __slots__ = ("_past", "_period_ends", "last_hour", "queued", "snapshot", "taken", "taken_mono", "zone")

    def __init__(self, link: Link, zone: ZoneInfo) -> None:
        self.snapshot = Snapshot(link)
        self.zone = zone
        self.taken = self.taken_mono = -inf
        self._period_ends = (inf, inf)
        self._past = NOTHING
        self.last_hour: int | None = None
        self.queued = inf

    @property
    def stale_at(self) -> float:
        """When the reading is too old for all figures; ``inf`` if there is none."""
        return inf if self.snapshot.reading is None else self.taken + self.snapshot.link.stale_after

    @property
    def day_ends(self) -> float:
        """When the day of the reading ends."""
        return self._period_ends[0]

    @property
    def month_ends(self) -> float:
        """When its month ends."""
        return self._period_ends[1]

    def take(self, snapshot: Snapshot, now: float, monotonic: float) -> None:
        """Takes a newer snapshot, noting its reading's time on both clocks.

        After a failed poll, the snapshot has the former reading, whose age does not change.
        """
        known, self.snapshot = self.snapshot.reading, snapshot
        if snapshot.reading is not None and snapshot.reading is not known:
            self._take_at(snapshot.read_at, monotonic - max(0.0, now - snapshot.read_at))
            self.last_hour = clicks_of_hour(self._past, self.taken_mono, snapshot.total)
            self._past = remember(self._past, self.taken_mono, snapshot.total)

    def inherit(self, before: Slot) -> None:
        """Takes the former readings from the link's former slot, and the age of one that has not changed."""
        if before._past and self.snapshot.target == before.snapshot.target:
            self._past, self.last_hour = before._past, before.last_hour
        if self.snapshot.reading is not None and self.snapshot.reading is before.snapshot.reading:
            self._take_at(before.taken, before.taken_mono)

    def clock_was_set_back(self, now: float, monotonic: float) -> None:
        """Moves the reading's time back too, so that it never looks younger than it is."""
        if self.snapshot.reading is not None:
            self._take_at(min(self.taken, now - (monotonic - self.taken_mono)), self.taken_mono)

    def _take_at(self, taken: float, monotonic: float) -> None:
        self.taken, self.taken_mono = taken, monotonic
        self._period_ends = period_ends(taken, self.zone)

    def next_end(self, now: float) -> float:
        """When the next lines expire that have not yet."""
        return min((end for end in (self.stale_at, *self._period_ends) if end > now), default=inf)


class View(NamedTuple):
    """A link at one moment, for the status page and its JSON.

    ``taken`` is when its reading was taken, as far as the clock can be trusted (seconds since the epoch).
    """

    snapshot: Snapshot
    taken: float
    stale_at: float
    day_ends: float
    month_ends: float
    last_hour: int | None

    def figures(self, now: float) -> dict[str, int]:
        """The clicks that a scrape would show at ``now``, and those of the last hour, by their names."""
        shown = {FIGURES[family]: clicks for family, clicks in trusted(self, now)}
        if shown and self.last_hour is not None and now < self.taken + MOST - HOUR:
            shown[LAST_HOUR] = self.last_hour
        return shown

    def stale(self, now: float) -> bool:
        """Whether the reading, if there is one, is too old for all figures."""
        return now >= self.stale_at

    def withheld(self, now: float) -> dict[str, str]:
        """Why each of the other figures is not shown, by its name."""
        if self.snapshot.reading is None or self.stale(now):
            reason = "not read yet" if self.snapshot.reading is None else "stale"
            return dict.fromkeys(SHOWN, reason)
        shown = self.figures(now)
        reasons = dict.fromkeys(("today", "yesterday"), "since midnight")
        reasons |= dict.fromkeys(("month", "previous_month"), "since the month's end")
        reasons[LAST_HOUR] = "no reading an hour ago" if self.last_hour is None else "stale"
        return {name: reason for name, reason in reasons.items() if name not in shown}


def lines_of(slot: Slot, now: float) -> list[bytes]:
    """A link's line in each family; an empty one where nothing is to be shown."""
    lines = [b""] * len(FAMILIES)
    snapshot, link = slot.snapshot, slot.snapshot.link
    labels = labels_with(link)
    lines[INFO] = line_of(INFO, labels_with(link, *_ids(snapshot)), 1)
    if (outcome := snapshot.outcome) is not None:
        lines[UP] = line_of(UP, labels, outcome is Outcome.OK)
        if outcome is not Outcome.OK:
            lines[FAILING] = line_of(FAILING, labels_with(link, ("outcome", outcome)), 1)
    if snapshot.reading is not None:
        if snapshot.read_at > 0:
            lines[LAST_SUCCESS] = line_of(LAST_SUCCESS, labels, slot.taken)
        for family, clicks in trusted(slot, now):
            lines[family] = line_of(family, labels, clicks)
    return lines


def _ids(snapshot: Snapshot) -> tuple[tuple[str, str | None], ...]:
    """The labels that only ``INFO`` has."""
    if snapshot.reading is None:
        return (("id", snapshot.link.id),)
    return ("id", snapshot.reading.id), ("short_link", snapshot.reading.short_link)


def trusted(known: Slot | View, now: float) -> list[tuple[int, int]]:
    """The families that may be shown now, with their clicks."""
    snapshot, reading = known.snapshot, known.snapshot.reading
    if reading is None or now >= known.stale_at:
        return []
    shown = [(ALL_TIME, reading.all_time), (TOTAL, snapshot.total)]
    if now < known.day_ends:
        shown += [(TODAY, reading.today), (YESTERDAY, reading.yesterday)]
    if now < known.month_ends:
        shown += [(MONTH, reading.month), (PREVIOUS, reading.previous_month)]
    return shown

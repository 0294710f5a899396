"""Snapshots to Prometheus' text, as fast as a file: each link's lines are rendered once, when they change.

Which values are withheld is decided here: a value that can no longer be true loses its line. A scrape drops
what has expired since the last one and joins the lines family by family, because the formats (text 0.0.4 and
OpenMetrics 1.0) want a family's lines together. The bytes are those that prometheus_client would write.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.utils import floatToGoString

from exporter.blocks import Blocks
from exporter.errors import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from zoneinfo import ZoneInfo

    from exporter.clock import Clock
    from exporter.model import Account, Link, Snapshot

ROLLOVER = 5.0
"""Seconds after midnight in which the provider's clock may still show the day before."""

FIGURES = ("all_time", "today", "yesterday", "month", "previous_month", "total")
"""The click families by their short names, in the order of ``FAMILIES``."""

_number: Callable[[float], str] = floatToGoString  # prometheus_client leaves it untyped

STEP = 1.0
"""Seconds the wall clock may drift back against the monotonic one before it counts as set."""


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


def _clicks(period: str, field: str, until: str) -> Family:
    help_text = f"Clicks {period}, as last read and cached ({field} of the provider). Absent {until}."
    return Family(f"smsc_link_clicks_{period.replace(' ', '_')}", help_text)


FAMILIES = (
    _clicks("all time", "cnt", "when stale"),
    _clicks("today", "cnt_day", "when stale or from before midnight of the account's time zone"),
    _clicks("yesterday", "cnt_yes", "when stale or from before midnight of the account's time zone"),
    _clicks("month", "cnt_mon", "when stale or from before the month's end in the account's time zone"),
    _clicks(
        "previous month", "cnt_pmon", "when stale or from before the month's end in the account's time zone"
    ),
    Family(
        "smsc_link_clicks_total",
        "Rises of the all-time clicks added up, as last read and cached (cnt of the provider)."
        " For rate() and increase().",
        "counter",
    ),
    Family("smsc_link_up", "1 if the latest poll of this link succeeded, 0 if it failed; absent before it."),
    Family("smsc_link_failing", "1 while the latest poll of this link failed, with its outcome."),
    Family(
        "smsc_link_last_success_timestamp_seconds",
        "When the reading behind this link's cached click series was taken.",
    ),
    Family(
        "smsc_link_info",
        "The link's id and short link, as last read and cached (id and link of the provider).",
    ),
)
_ALL_TIME, _TODAY, _YESTERDAY, _MONTH, _PREVIOUS, _TOTAL, _UP, _FAILING, _LAST_SUCCESS, _INFO = range(
    len(FAMILIES)
)
_NAMES = tuple(family.name for family in FAMILIES)


def label_text(labels: Iterable[tuple[str, str]]) -> str:
    """Labels as they stand in a line, sorted by name as prometheus_client does."""
    return "{" + ",".join([f'{name}="{_escape(value)}"' for name, value in sorted(labels)]) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def period_ends(read_at: float, zone: ZoneInfo) -> tuple[float, float]:
    """When the day and the month of a reading end (seconds since the epoch), in the account's zone.

    A reading from the first seconds of a day may have come from a provider whose clock had not turned yet:
    it counts to the day before, and so has ended already.
    """
    return _ends_of_minute(int(read_at - ROLLOVER) // 60, zone)


@lru_cache(maxsize=4096)
def _ends_of_minute(minute: int, zone: ZoneInfo) -> tuple[float, float]:
    """The same for a minute since the epoch: days begin with one, and thousands of readings share it."""
    day = datetime.fromtimestamp(minute * 60, zone).replace(hour=0, minute=0)
    next_day = (day + timedelta(days=1)).replace(fold=0)
    next_month = (day.replace(day=1) + timedelta(days=32)).replace(day=1, fold=0)
    return next_day.timestamp(), next_month.timestamp()


class _Slot:
    """A link's place in the families' lists, and when its lines expire (seconds since the epoch)."""

    __slots__ = (
        "day_ends",
        "ids",
        "info",
        "labels",
        "month_ends",
        "queued",
        "snapshot",
        "stale_at",
        "taken",
        "taken_mono",
        "zone",
    )

    def __init__(self, snapshot: Snapshot, zone: ZoneInfo) -> None:
        self.snapshot = snapshot
        self.zone = zone
        self.labels = label_text(_labels(snapshot.link))
        self.ids: tuple[str | None, str | None] = snapshot.link.id, None
        self.info = b""
        self.taken = self.taken_mono = -inf
        self.stale_at = self.day_ends = self.month_ends = self.queued = inf

    def take(self, snapshot: Snapshot, now: float, monotonic: float) -> None:
        """Takes a newer snapshot, noting its reading's time on both clocks."""
        self.snapshot = snapshot
        self._name_ids()
        if snapshot.reading is not None:
            self.taken = snapshot.read_at
            self.taken_mono = monotonic - max(0.0, now - snapshot.read_at)
            self._set_ends()

    def inherit(self, before: _Slot) -> None:
        """Takes over what an earlier slot knew of the same reading's age."""
        if self.snapshot.reading is not None and self.snapshot.reading is before.snapshot.reading:
            self.taken, self.taken_mono = before.taken, before.taken_mono
            self._set_ends()

    def clock_was_set_back(self, now: float, monotonic: float) -> None:
        """Moves the reading's time along, so that it is never younger than it really is."""
        if self.snapshot.reading is not None:
            self.taken = min(self.taken, now - (monotonic - self.taken_mono))
            self._set_ends()

    def _name_ids(self) -> None:
        """Renders the link's ids, which hardly ever change from poll to poll."""
        link, reading = self.snapshot.link, self.snapshot.reading
        ids = (reading.id, reading.short_link) if reading else (link.id, None)
        if ids != self.ids or not self.info:
            self.ids = ids
            labels = _labels_with(link, ("id", ids[0]), ("short_link", ids[1]))
            self.info = _line(_INFO, labels, 1)

    def _set_ends(self) -> None:
        self.stale_at = self.taken + self.snapshot.link.stale_after
        self.day_ends, self.month_ends = period_ends(self.taken, self.zone)

    def next_end(self, now: float) -> float:
        """When the next lines expire that have not yet."""
        ends = (self.stale_at, self.day_ends, self.month_ends)
        return min((end for end in ends if end > now), default=inf)


class View(NamedTuple):
    """A link as it stood at one moment, for those who show it otherwise than a scrape does.

    ``taken`` is when its reading was taken, as far as the clock can be trusted (seconds since the epoch).
    """

    snapshot: Snapshot
    taken: float
    stale_at: float
    day_ends: float
    month_ends: float

    def figures(self, now: float) -> dict[str, int]:
        """The clicks that a scrape would show at ``now``, by their names in ``FIGURES``, and no others."""
        return {FIGURES[family]: clicks for family, clicks in _trusted(self, now)}

    def stale(self, now: float) -> bool:
        """Whether the reading, if there is one, is too old for all figures."""
        return now >= self.stale_at

    def withheld(self, now: float) -> dict[str, str]:
        """Why each of the other figures is not shown, by its name."""
        if self.snapshot.reading is None or self.stale(now):
            reason = "not read yet" if self.snapshot.reading is None else "stale"
            return dict.fromkeys(FIGURES, reason)
        shown = self.figures(now)
        reasons = dict.fromkeys(("today", "yesterday"), "since midnight")
        reasons |= dict.fromkeys(("month", "previous_month"), "since the month's end")
        return {name: reason for name, reason in reasons.items() if name not in shown}


def _labels(link: Link) -> tuple[tuple[str, str], ...]:
    return ("account", link.account), ("link", link.name), *link.labels


class Exposition:
    """The lines of all links' series, kept ready."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.time() - clock.monotonic()
        self._slots: list[_Slot] = []
        self._places: dict[tuple[str, str], int] = {}
        self._lines = [Blocks(0) for _ in FAMILIES]
        self._ends: list[tuple[float, int]] = []

    def configure(self, accounts: Iterable[Account], snapshots: Iterable[Snapshot]) -> None:
        """Takes the configured links' snapshots, in the order in which they are to stand.

        Lines of a snapshot that stays are kept: where few of many links change, it takes little time.
        """
        self._expire()
        zones = {account.name: account.timezone for account in accounts}
        before = {slot.snapshot.link.key: (slot, place) for place, slot in enumerate(self._slots)}
        slots: list[_Slot] = []
        former: list[int | None] = []
        for snapshot in snapshots:
            slot, place = before.get(snapshot.link.key, (None, None))
            zone = zones[snapshot.link.account]
            if slot is None or slot.snapshot is not snapshot or slot.zone is not zone:
                slot, place = self._slot(snapshot, zone, slot), None
            slots.append(slot)
            former.append(place)
        self._arrange(slots, former)

    def _slot(self, snapshot: Snapshot, zone: ZoneInfo, known: _Slot | None) -> _Slot:
        """A new slot; ``known`` is the link's former one."""
        slot = _Slot(snapshot, zone)
        slot.take(snapshot, self._clock.time(), self._clock.monotonic())
        if known is not None:
            slot.inherit(known)
        return slot

    def _arrange(self, slots: list[_Slot], former: list[int | None]) -> None:
        """Puts ``slots`` in their places: lines move along from ``former`` places, or are rendered."""
        self._slots = slots
        self._places = {slot.snapshot.link.key: place for place, slot in enumerate(slots)}
        self._lines = [lines.moved(former) for lines in self._lines]
        self._ends = []
        now = self._clock.time()
        for place, slot in enumerate(slots):
            slot.queued = inf
            if former[place] is None:
                self._render_slot(place, now)
            else:
                self._queue(place, now)

    def update(self, snapshot: Snapshot) -> None:
        """Renders one link's lines anew."""
        now = self._clock.time()
        place = self._places[snapshot.link.key]
        self._slots[place].take(snapshot, now, self._clock.monotonic())
        self._render_slot(place, now)

    def render(self, *, openmetrics: bool, names: Collection[str] | None = None) -> list[bytes]:
        """All links' series, or those in ``names`` that have any, in pieces that belong one behind the other.

        OpenMetrics' closing line is not among them.
        """
        self._expire()
        parts: list[bytes] = []
        for family, lines in zip(FAMILIES, self._lines, strict=True):
            joined = lines.joined()
            if names is None or (family.name in names and any(joined)):
                parts.append(family.header(openmetrics=openmetrics))
                parts += joined
        return parts

    def copy(self) -> list[tuple[Snapshot, float, float, float, float]]:
        """What a ``View`` of every link is made of, in order: quick to copy, to be looked at elsewhere."""
        self._expire()
        return [
            (slot.snapshot, slot.taken, slot.stale_at, slot.day_ends, slot.month_ends) for slot in self._slots
        ]

    # --- time passes --------------------------------------------------------------------------------------

    def _expire(self) -> None:
        now = self._clock.time()
        self._heed_clock(now)
        while self._ends and self._ends[0][0] <= now:
            end, place = heappop(self._ends)
            if self._slots[place].queued == end:
                self._slots[place].queued = inf
                self._render_slot(place, now)

    def _heed_clock(self, now: float) -> None:
        monotonic = self._clock.monotonic()
        offset = now - monotonic
        if offset < self._offset - STEP:
            self._ends.clear()
            for place, slot in enumerate(self._slots):
                slot.queued = inf
                slot.clock_was_set_back(now, monotonic)
                self._render_slot(place, now)
            self._offset = offset
        self._offset = max(self._offset, offset)

    def _queue(self, place: int, now: float) -> None:
        """Sees to it that the slot is looked at when its next lines expire.

        A slot already queued for an earlier moment is left there and queued again then: polls only ever
        move the moment on, and the heap stays as small as the number of links.
        """
        slot = self._slots[place]
        end = slot.next_end(now)
        if end < slot.queued:
            slot.queued = end
            heappush(self._ends, (end, place))

    # --- lines --------------------------------------------------------------------------------------------

    def _render_slot(self, place: int, now: float) -> None:
        for lines, line in zip(self._lines, _lines_of(self._slots[place], now), strict=True):
            lines[place] = line
        self._queue(place, now)


def _lines_of(slot: _Slot, now: float) -> list[bytes]:
    """A link's line in each family; an empty one where nothing is to be shown."""
    lines = [b""] * len(FAMILIES)
    snapshot, labels = slot.snapshot, slot.labels
    lines[_INFO] = slot.info
    if (outcome := snapshot.outcome) is not None:
        lines[_UP] = _line(_UP, labels, outcome is Outcome.OK)
        if outcome is not Outcome.OK:
            lines[_FAILING] = _line(_FAILING, _labels_with(snapshot.link, ("outcome", outcome)), 1)
    if snapshot.reading is not None:
        if snapshot.read_at > 0:
            lines[_LAST_SUCCESS] = _line(_LAST_SUCCESS, labels, slot.taken)
        for family, clicks in _trusted(slot, now):
            lines[family] = _line(family, labels, clicks)
    return lines


def _line(family: int, labels: str, value: float) -> bytes:
    """One sample. Most values are small whole numbers, which prometheus_client writes like this, too."""
    text = f"{value}.0" if type(value) is int and value < 1_000_000 else _number(value)
    return f"{_NAMES[family]}{labels} {text}\n".encode()


def _labels_with(link: Link, *extra: tuple[str, str | None]) -> str:
    return label_text([*_labels(link), *((name, value) for name, value in extra if value is not None)])


def _trusted(slot: _Slot | View, now: float) -> list[tuple[int, int]]:
    """The families that may be shown now, with their clicks."""
    snapshot, reading = slot.snapshot, slot.snapshot.reading
    if reading is None or now >= slot.stale_at:
        return []
    shown = [(_ALL_TIME, reading.all_time), (_TOTAL, snapshot.total)]
    if now < slot.day_ends:
        shown += [(_TODAY, reading.today), (_YESTERDAY, reading.yesterday)]
    if now < slot.month_ends:
        shown += [(_MONTH, reading.month), (_PREVIOUS, reading.previous_month)]
    return shown

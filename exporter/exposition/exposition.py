"""The lines of all links, kept ready, and withdrawn when they expire.

A value that can no longer be true loses its line: ``slot`` decides when. A scrape drops
what has expired since the last one and joins the lines family by family, because the formats (text 0.0.4 and
OpenMetrics 1.0) want a family's lines together. The bytes are those that prometheus_client would write.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

from exporter.exposition.slot import FAMILIES, FIGURES, Slot, View, lines_of, trusted
from exporter.model import Account, LinkKey, Snapshot

if TYPE_CHECKING:
    from exporter.clock import Clock  # nothing here reads the time by itself

PIECE = 32
"""Lines that are joined at once: fewer to join when one changes, fewer pieces to hand to a connection."""

STEP = 1.0
"""Seconds the wall clock may drift back against the monotonic one before it counts as set back."""


class Exposition:
    """The lines of all links' series, kept ready."""

    def __init__(self, clock: Clock, accounts: Iterable[Account] = ()) -> None:
        self._clock = clock
        self._zones = {account.name: account.timezone for account in accounts}
        self._offset = clock.time() - clock.monotonic()
        self._slots: list[Slot] = []
        self._places: dict[LinkKey, int] = {}
        self._lines: list[list[bytes]] = [[] for _ in FAMILIES]
        # Lines joined in pieces are kept until one changes, so that slow readers of a page share its memory.
        self._pieces: list[list[bytes | None]] = [[] for _ in FAMILIES]
        self._ends: list[tuple[float, int]] = []

    def build(self, accounts: Iterable[Account], snapshots: Iterable[Snapshot]) -> Exposition:
        """Builds what will be shown of other accounts and links. Changes nothing, so a thread may call it."""
        built = Exposition(self._clock, accounts)
        for snapshot in snapshots:
            place = self._places.get(snapshot.key)
            built._add(snapshot, None if place is None else self._slots[place])
        return built

    def swap(self, built: Exposition) -> None:
        """Shows from now on what ``build`` made."""
        self._zones, self._offset = built._zones, max(self._offset, built._offset)
        self._slots, self._places = built._slots, built._places
        self._lines, self._pieces, self._ends = built._lines, built._pieces, built._ends

    def update(self, snapshot: Snapshot) -> None:
        """Renders one link's lines; a new link is added after the others."""
        now = self._clock.time()
        self._heed_clock(now)
        place = self._places.get(snapshot.key)
        if place is None:
            self._add(snapshot, None)
        else:
            self._slots[place].take(snapshot, now, self._clock.monotonic())
            self._render_slot(place, now)

    def _add(self, snapshot: Snapshot, former: Slot | None) -> None:
        """Makes a slot, which takes the reading's age from the link's former slot."""
        now = self._clock.time()
        slot = Slot(snapshot.link, self._zones[snapshot.link.account])
        slot.take(snapshot, now, self._clock.monotonic())
        if former is not None:
            slot.inherit(former)
        place = self._places[snapshot.key] = len(self._slots)
        self._slots.append(slot)
        for lines, pieces in zip(self._lines, self._pieces, strict=True):
            lines.append(b"")
            if place % PIECE == 0:
                pieces.append(None)
        self._render_slot(place, now)

    def render(self, *, openmetrics: bool, names: Collection[str] | None = None) -> list[bytes]:
        """All links' series, or those in ``names`` that have any, in pieces that follow each other.

        They do not include OpenMetrics' closing line.
        """
        self._expire()
        parts: list[bytes] = []
        for index, family in enumerate(FAMILIES):
            if names is not None and family.name not in names:
                continue
            joined = self._join(index)
            if names is None or any(joined):
                parts += [family.header(openmetrics=openmetrics), *joined]
        return parts

    def _join(self, family: int) -> list[bytes]:
        lines, pieces = self._lines[family], self._pieces[family]
        joined = []
        for index, piece in enumerate(pieces):
            if piece is None:
                piece = pieces[index] = b"".join(lines[index * PIECE : (index + 1) * PIECE])
            joined.append(piece)
        return joined

    def _set(self, family: int, place: int, line: bytes) -> None:
        if self._lines[family][place] != line:
            self._lines[family][place] = line
            self._pieces[family][place // PIECE] = None

    def views(self) -> list[View]:
        """Every link as it is now, in order. Another thread may read them."""
        self._expire()
        return [
            View(slot.snapshot, slot.taken, slot.stale_at, slot.day_ends, slot.month_ends, slot.last_hour)
            for slot in self._slots
        ]

    # --- time passes --------------------------------------------------------------------------------------

    def _expire(self) -> None:
        now = self._clock.time()
        self._heed_clock(now)
        while self._ends and self._ends[0][0] <= now:
            end, place = heappop(self._ends)
            slot = self._slots[place]
            if slot.queued == end:
                slot.queued = inf
                self._withdraw(place, now)

    def _heed_clock(self, now: float) -> None:
        """If the wall clock was set back, moves the readings' times back too, so that none looks younger."""
        monotonic = self._clock.monotonic()
        offset = now - monotonic
        if offset < self._offset - STEP:
            self._offset, self._ends = offset, []
            for place, slot in enumerate(self._slots):
                slot.queued = inf
                slot.clock_was_set_back(now, monotonic)
                self._render_slot(place, now)
        self._offset = max(self._offset, offset)

    def _queue(self, place: int, now: float) -> None:
        """Plans a look at the slot when its next lines expire.

        A slot that is queued for an earlier moment stays there and is queued again then. So the heap has at
        most one valid entry for each link.
        """
        slot = self._slots[place]
        end = slot.next_end(now)
        if end < slot.queued:
            slot.queued = end
            heappush(self._ends, (end, place))

    # --- lines --------------------------------------------------------------------------------------------

    def _withdraw(self, place: int, now: float) -> None:
        shown = {family for family, _ in trusted(self._slots[place], now)}
        for family in range(len(FIGURES)):
            if family not in shown:
                self._set(family, place, b"")
        self._queue(place, now)

    def _render_slot(self, place: int, now: float) -> None:
        for family, line in enumerate(lines_of(self._slots[place], now)):
            self._set(family, place, line)
        self._queue(place, now)

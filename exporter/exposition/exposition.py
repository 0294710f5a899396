"""The lines of all links, kept ready, and withdrawn when they expire.

Which values are withheld is decided here: a value that can no longer be true loses its line. A scrape drops
what has expired since the last one and joins the lines family by family, because the formats (text 0.0.4 and
OpenMetrics 1.0) want a family's lines together. The bytes are those that prometheus_client would write.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

from exporter.blocks import Blocks
from exporter.exposition.families import FAMILIES, FIGURES
from exporter.exposition.slot import Slot, lines_of, trusted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from exporter.clock import Clock
    from exporter.model import Account, Snapshot

STEP = 1.0
"""Seconds the wall clock may drift back against the monotonic one before it counts as set."""


class Exposition:
    """The lines of all links' series, kept ready."""

    def __init__(self, clock: Clock, accounts: Iterable[Account] = ()) -> None:
        self._clock = clock
        self._zones = {account.name: account.timezone for account in accounts}
        self._offset = clock.time() - clock.monotonic()
        self._slots: list[Slot] = []
        self._places: dict[tuple[str, str], int] = {}
        self._lines = [Blocks() for _ in FAMILIES]
        self._ends: list[tuple[float, int]] = []
        # Those whose times have yet to move along with the clock.
        self._set_back: Iterator[tuple[int, Slot]] = iter(())
        self._former: Exposition | None = None

    def draft(self, accounts: Iterable[Account]) -> Exposition:
        """What is to be shown of other ``accounts``, without a link yet: ``update`` it with each of theirs.

        This one is shown meanwhile, and ``become`` has it show the draft in the end.
        """
        self._expire()
        draft = Exposition(self._clock, accounts)
        draft._offset = self._offset
        draft._former = self
        return draft

    def become(self, draft: Exposition) -> Iterator[None]:
        """Shows what the draft does from now on, all at once.

        What is returned frees what was shown before, a link a step: all at once, that would take its time.
        """
        former = _freed(self._slots, self._places, self._lines, self._ends)
        self._zones, self._offset = draft._zones, draft._offset
        self._slots, self._places, self._lines = draft._slots, draft._places, draft._lines
        self._ends, self._set_back = draft._ends, draft._set_back
        return former

    def update(self, snapshot: Snapshot) -> None:
        """Renders one link's lines anew; a link that is not there yet will stand behind the others."""
        now = self._clock.time()
        self._heed_clock(now)
        place = self._places.get(snapshot.key)
        if place is None:
            place = self._add(snapshot, now)
        else:
            self._slots[place].take(snapshot, now, self._clock.monotonic())
        self._render_slot(place, now)

    def _add(self, snapshot: Snapshot, now: float) -> int:
        """Makes a slot, which takes over what the link's former one knows; its place."""
        link, former = snapshot.link, self._former
        slot = Slot(link, self._zones[link.account])
        slot.take(snapshot, now, self._clock.monotonic())
        if former is not None and (place := former._places.get(link.key)) is not None:
            slot.inherit(former._slots[place])
        place = self._places[link.key] = len(self._slots)
        self._slots.append(slot)
        return place

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

    def withdraw(self, at_most: int) -> bool:
        """Withdraws what has expired, for so many links; tells whether more is left.

        At midnight, after a long sleep or when the clock is set, that is every link at once. Whoever can
        wait calls this until nothing is left, with time for others in between, and renders then. What is
        left then is withdrawn by ``render`` itself: no expired value is ever shown.
        """
        now = self._clock.time()
        self._heed_clock(now)
        for _ in range(at_most):
            if (found := next(self._set_back, None)) is not None:
                self._follow_clock(*found, now)
            elif self._ends and self._ends[0][0] <= now:
                self._renew(*heappop(self._ends), now)
            else:
                return False
        return True

    def _expire(self) -> None:
        while self.withdraw(len(self._ends) + 1):
            pass

    def _renew(self, end: float, place: int, now: float) -> None:
        """Takes up a slot that was queued for ``end``, unless it was queued anew since."""
        slot = self._slots[place]
        if slot.queued != end:
            return
        slot.queued = inf
        self._blank(place, now)

    def _follow_clock(self, place: int, slot: Slot, now: float) -> None:
        """Moves a slot's reading along with the clock that was set back, and queues the slot anew."""
        slot.queued = inf
        slot.clock_was_set_back(now, self._clock.monotonic())
        self._render_slot(place, now)

    def _heed_clock(self, now: float) -> None:
        """If the clock was set back, all links are to be looked at: their readings' times move along."""
        offset = now - self._clock.monotonic()
        if offset < self._offset - STEP:
            self._set_back = enumerate(self._slots)  # and what a draft is still to be given
            self._ends = []  # each is queued anew, so that however often this happens there is one for a slot
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

    def _blank(self, place: int, now: float) -> None:
        """Drops a slot's lines that have expired; the others stand as they are."""
        shown = {family for family, _ in trusted(self._slots[place], now)}
        for family in range(len(FIGURES)):
            if family not in shown:
                self._lines[family][place] = b""
        self._queue(place, now)

    def _render_slot(self, place: int, now: float) -> None:
        for lines, line in zip(self._lines, lines_of(self._slots[place], now), strict=True):
            lines[place] = line
        self._queue(place, now)


def _freed(slots: list[Slot], *others: object) -> Iterator[None]:
    """Frees ``slots`` one by one, and then the others."""
    while slots:
        slots.pop()
        yield

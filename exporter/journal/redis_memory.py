"""What one process knows of the journal in Redis, to put it back after Redis forgot it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.journal.redis_script import Entry, without_reading
from exporter.limits import Answered, Sent
from exporter.limits.constants import REMEMBERED, REMEMBERED_SHORTLY
from exporter.limits.events import decode, encode, lasting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from exporter.limits import Event
    from exporter.model import LinkKey

MOST_READINGS = 20_000
"""Links whose latest reading is kept."""


class Memory:
    """Events that may still count, by their request's number, and the latest readings of configured links."""

    def __init__(self) -> None:
        self._shortly: dict[int, tuple[float, str, bool]] = {}
        self._lasting: dict[int, tuple[float, str, bool]] = {}
        self._readings: dict[LinkKey, Entry | None] = {}

    def knows(self, event: Event) -> bool:
        """Whether the event was added before. A known end makes its beginning known too."""
        if event.number in self._lasting:
            return True
        _, _, ended = self._shortly.get(event.number, (0.0, "", None))
        return ended is not None and (ended or isinstance(event, Sent))

    def add(self, event: Event, at: float) -> None:
        """Takes an event that became known at ``at``, in monotonic seconds."""
        self._shortly.pop(event.number, None)
        kept = self._lasting if lasting(event) else self._shortly
        # As text, it takes a third of the memory.
        kept[event.number] = at, encode(without_reading(event)), isinstance(event, Answered)
        _drop(self._shortly, at - REMEMBERED_SHORTLY)
        _drop(self._lasting, at - REMEMBERED)

    def ask_for(self, links: Iterable[LinkKey]) -> None:
        """Keeps the readings of these links from now on."""
        for link in links:
            self._readings.setdefault(link, None)
        while len(self._readings) > MOST_READINGS:
            del self._readings[next(iter(self._readings))]

    def add_reading(self, event: Event | None, at: float) -> None:
        """Keeps the event's reading, if it has one, as its link's latest; it became known at ``at``."""
        if isinstance(event, Answered) and event.reading is not None and event.link in self._readings:
            self._readings[event.link] = Entry(at, reading=event)

    def missing(self, now: float, present: Mapping[int, bool]) -> list[Entry]:
        """What to put back into a journal that knows the requests ``present``, and whether they ended."""
        known = (self._lasting, REMEMBERED), (self._shortly, REMEMBERED_SHORTLY)
        entries = [
            Entry(at, decode(text))
            for events, ttl in known
            for number, (at, text, ended) in events.items()
            if at + ttl > now and present.get(number) not in (True, ended)
        ]
        readings = [entry for entry in self._readings.values() if entry is not None]
        return sorted(entries, key=lambda entry: entry.at) + readings


def _drop(events: dict[int, tuple[float, str, bool]], before: float) -> None:
    """Drops the oldest events, which come first."""
    while events:
        number, (at, _, _) = next(iter(events.items()))
        if at >= before:
            return
        del events[number]

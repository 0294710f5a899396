"""What one process knows of a shared journal, to put it back after the storage forgot it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from exporter.journal.outbox import Entry
from exporter.limits import Answered, Dated, Event, Sent
from exporter.limits.constants import REMEMBERED, REMEMBERED_SHORTLY
from exporter.limits.events import decode, encode, lasting


class Kept:
    """Events that may still count, by their request's number."""

    def __init__(self) -> None:
        self._shortly: dict[int, tuple[float, str, bool]] = {}
        self._lasting: dict[int, tuple[float, str, bool]] = {}

    def knows(self, event: Event) -> bool:
        """Whether the event was added before. A known end makes its beginning known too."""
        if event.number in self._lasting:
            return True
        _, _, ended = self._shortly.get(event.number, (0.0, "", None))
        return ended is not None and (ended or isinstance(event, Sent))

    def add(self, event: Event, at: float) -> None:
        """Takes an event that became known at ``at``, in monotonic seconds. Twice does no harm."""
        if self.knows(event):
            return
        self._shortly.pop(event.number, None)
        kept = self._lasting if lasting(event) else self._shortly
        # As text, it takes a third of the memory.
        kept[event.number] = at, encode(without_reading(event)), isinstance(event, Answered)
        _drop(self._shortly, at - REMEMBERED_SHORTLY)
        _drop(self._lasting, at - REMEMBERED)

    def missing(self, now: float, found: Iterable[Dated]) -> list[Entry]:
        """What to put back into a storage in which these events were found, the oldest first."""
        present: dict[int, bool] = {}
        for one in found:
            present[one.event.number] = present.get(one.event.number, False) or isinstance(
                one.event, Answered
            )
        known = (self._lasting, REMEMBERED), (self._shortly, REMEMBERED_SHORTLY)
        entries = [
            Entry(at, decode(text))
            for events, ttl in known
            for number, (at, text, ended) in events.items()
            if at + ttl > now and present.get(number) not in (True, ended)
        ]
        return sorted(entries, key=lambda entry: entry.at)


def _drop(events: dict[int, tuple[float, str, bool]], before: float) -> None:
    """Drops the oldest events, which come first."""
    while events:
        number, (at, _, _) = next(iter(events.items()))
        if at >= before:
            return
        del events[number]


def without_reading(event: Event) -> Event:
    """The event as the limits need it: its figures are kept elsewhere, or are old."""
    return replace(event, reading=None) if isinstance(event, Answered) else event

"""Turns what Redis returns into events with a time on our own clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from exporter.journal.journal import History
from exporter.journal.redis_script import TRANSIT, age_by_server, event_of, recorded_age, without_reading
from exporter.limits import Answered, Dated, Unknown
from exporter.limits.constants import FAILED_LOGIN_WINDOW, VERIFIED_TTL, longest_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from exporter.journal.redis_script import Stored
    from exporter.limits import Event

log = structlog.stdlib.get_logger(__name__)

LONGEST_TIMEOUT = 60.0
"""Seconds that a request of another process may wait for its answer."""

UNSURE = longest_count(LONGEST_TIMEOUT)
"""Seconds for which a request that Redis forgot may still count."""

FORGOTTEN_LOGINS = 3
"""Failed logins to assume at each host after Redis forgot. One of the four is left for a try."""


def unsure(since: float) -> Unknown:
    """What may be missing in a journal that was new, or had forgotten something, ``since`` seconds ago."""
    reason = "Redis is new or has forgotten what was sent"
    return Unknown(reason, seconds=max(0.0, UNSURE - since), failed_logins=FORGOTTEN_LOGINS)


def decoded(entries: Iterable[Stored]) -> Iterator[tuple[Stored, Event, float]]:
    """The events of these entries and their recorded age; skips entries that no exporter wrote."""
    for stored in entries:
        try:
            event = event_of(stored)
            if event is not None:
                yield stored, event, recorded_age(stored)
        except ValueError as error:
            log.warning("storage_not_understood", entry=stored[0], reason=str(error))


def dated(event: Event, age: float, previous_look: float, now: float) -> Dated:
    """Dates news: it was appended after the previous look, and was ``age`` seconds old then."""
    return Dated(event, previous_look - age, now - age)


class Past:
    """What the two streams hold when the server's time is ``server`` and ours is ``now``."""

    def __init__(
        self, server: float, lasting: Sequence[Stored], events: Sequence[Stored], now: float
    ) -> None:
        self.position = events[-1][0]
        shortly = [dated(without_reading(event), age, now - UNSURE, now) for _, event, age in decoded(events)]
        recent = {one.event.number for one in shortly if isinstance(one.event, Answered)}
        self.events = [
            _by_server(stored, event, server, now)
            for stored, event, _ in decoded(lasting)
            if event.number not in recent
        ] + shortly
        self.present: dict[int, bool] = {}
        for one in self.events:
            number, ended = one.event.number, isinstance(one.event, Answered)
            self.present[number] = ended or self.present.get(number, False)
        marks = [age_by_server(stored, server) for stored in lasting if stored[1].get("e") == ""]
        self.begun = min(marks, default=FAILED_LOGIN_WINDOW)

    def history(self, now: float) -> History:
        """The history for a process that has just started."""
        unknown = unsure(self.begun) if self.begun < FAILED_LOGIN_WINDOW else None
        return History(self.events, now - VERIFIED_TTL, unknown)


def _by_server(stored: Stored, event: Event, server: float, now: float) -> Dated:
    at = now - age_by_server(stored, server)
    return Dated(without_reading(event), at - TRANSIT, at)

"""The clock everything is handed: two readings of time, so that tests can hand in their own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the exporter knows of time."""

    def monotonic(self) -> float:
        """Seconds that only ever run forward, for intervals."""
        ...

    def time(self) -> float:
        """Seconds since the epoch, for what is shown and for where days begin. May be set, and jump."""
        ...


class SystemClock:
    """The machine's clocks. The event loop sleeps by the same monotonic clock."""

    def monotonic(self) -> float:
        """``time.monotonic``."""
        return time.monotonic()

    def time(self) -> float:
        """``time.time``."""
        return time.time()

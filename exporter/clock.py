"""The clock everything is handed: two readings of time, so that tests can hand in their own."""

from __future__ import annotations

import time
from typing import Protocol

_BOOTTIME: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """What the exporter knows of time."""

    def monotonic(self) -> float:
        """Seconds that only ever run forward, for intervals."""
        ...

    def boottime(self) -> float:
        """The same, but running on while the machine sleeps: for what outlives the process."""
        ...

    def time(self) -> float:
        """Seconds since the epoch, for what is shown and for where days begin. May be set, and jump."""
        ...


class SystemClock:
    """The machine's clocks. The event loop sleeps by the same monotonic clock."""

    def monotonic(self) -> float:
        """``time.monotonic``."""
        return time.monotonic()

    def boottime(self) -> float:
        """``CLOCK_BOOTTIME`` where there is one."""
        return time.clock_gettime(_BOOTTIME)

    def time(self) -> float:
        """``time.time``."""
        return time.time()

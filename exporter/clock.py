"""The clock everything is handed: two readings of time, so that tests can hand in their own."""

from __future__ import annotations

import time
from typing import Protocol

_BOOTTIME: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """What the exporter knows of time."""

    def monotonic(self) -> float:
        """Seconds that only ever run forward, also while the machine sleeps."""
        ...

    def time(self) -> float:
        """Seconds since the epoch, for what is shown and for where days begin. May be set, and jump."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """``CLOCK_BOOTTIME`` where there is one, for every process of a boot shares it."""
        return time.clock_gettime(_BOOTTIME)

    def time(self) -> float:
        """``time.time``."""
        return time.time()

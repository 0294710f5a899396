"""What anybody can cause at any rate is logged seldom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.clock import SystemClock

if TYPE_CHECKING:
    from exporter.clock import Clock

MINUTE = 60.0
MAX_KEYS = 100


class OncePerMinute:
    """Allows one message a minute for each key, and ``MAX_KEYS`` a minute in all."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._allowed: dict[str, float] = {}

    def allows(self, key: str) -> bool:
        """Whether a message about ``key`` may be logged now."""
        now = self._clock.monotonic()
        self._allowed = {key: at for key, at in self._allowed.items() if now < at + MINUTE}
        if key in self._allowed or len(self._allowed) >= MAX_KEYS:
            return False
        self._allowed[key] = now
        return True

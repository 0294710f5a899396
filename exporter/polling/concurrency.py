"""How many requests of an account may be in flight, adapted to the provider's answers."""

from __future__ import annotations

from math import inf

from exporter.limits.constants import LONGEST_THROTTLE_REST, THROTTLE_REST, doubled


class AdaptiveConcurrency:
    """Additive increase, multiplicative decrease, as in TCP.

    ``limit`` starts at one, so that a wrong password costs one failed login. It climbs by one with each round
    of successes up to ``ceiling`` (``max_concurrent_requests``), and halves on an error 9. Nothing leaves
    before ``paused_until``.
    """

    def __init__(self, ceiling: int) -> None:
        self.limit = 1
        self.throttled_until = -inf
        self.paused_until = -inf
        self._ceiling = ceiling
        self._successes = 0
        self._lowered_at = -inf
        self._pauses = 0

    def set_ceiling(self, ceiling: int) -> None:
        """Takes a new ``max_concurrent_requests``."""
        self._ceiling = ceiling
        self.limit = min(self.limit, ceiling)

    def restart(self) -> None:
        """Starts with one request again, because the account was refused or could not be reached."""
        self.limit, self._successes = 1, 0

    def succeeded(self) -> None:
        """A request succeeded."""
        self._pauses = 0
        self._successes += 1
        if self._successes >= self.limit:
            self.limit = min(self._ceiling, self.limit + 1)
            self._successes = 0

    def throttled(self, sent_at: float, now: float) -> None:
        """Error 9: halves the limit, once for all requests that were in flight together.

        At a limit of one, another program must be using the login: the account pauses.
        """
        self.throttled_until = max(self.throttled_until, now + THROTTLE_REST)
        if sent_at < self._lowered_at:
            return
        if self.limit == 1:
            self.paused_until = now + doubled(THROTTLE_REST, self._pauses, LONGEST_THROTTLE_REST)
            self.throttled_until = max(self.throttled_until, self.paused_until)
            self._pauses += 1
        self.limit = max(1, self.limit // 2)
        self._successes, self._lowered_at = 0, now

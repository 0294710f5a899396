"""Which requests the provider refuses: its limits, and the blocks that follow from breaking them.

The rules are the provider's page and FAQ; how long abuse blocks an address is a guess from its other
commands. All times are monotonic seconds, handed in with each call.
"""

from collections import deque

SAME_REQUESTS = 3  # identical requests allowed within SAME_WINDOW
SAME_WINDOW = 60.0
AT_ONCE = 15  # simultaneous requests under one login at which the provider refuses
FAILED_LOGINS = 5  # authorization errors that block an address
FAILED_WINDOW = 1800.0
FAILED_BLOCK = 1800.0
BREACH_WINDOW = 600.0
BREACH_BLOCK = 600.0

Key = tuple[str, str, str]


class Limits:
    """The provider's memory of who asked for what, and who is blocked.

    `breaches` is how many answers with error 9 within ten minutes block an address.
    """

    def __init__(self, breaches: int) -> None:
        self._breaches = breaches
        # The last three arrivals of each request. Those of the generation before are kept for one more
        # window, then dropped whole: memory is bounded by what two windows can bring.
        self._recent: dict[Key, tuple[float, ...]] = {}
        self._older: dict[Key, tuple[float, ...]] = {}
        self._turned = float("-inf")
        self._in_flight: dict[str, int] = {}
        self._offences: dict[tuple[str, str], deque[float]] = {}
        self._blocked_until: dict[str, float] = {}

    def blocked(self, ip: str, now: float) -> bool:
        """Say whether everything from this address is refused."""
        return now < self._blocked_until.get(ip, now)

    def block(self, ip: str, until: float) -> None:
        """Refuse everything from this address until then; never shortens a block."""
        self._blocked_until[ip] = max(until, self._blocked_until.get(ip, until))

    def repeated(self, key: Key, now: float) -> bool:
        """Note an arrival and say whether it is one identical request too many.

        A refused request is noted as well: asking on without a pause is refused without end.
        """
        self._turn(now)
        earlier = self._recent.get(key) or self._older.get(key, ())
        self._recent[key] = (*earlier, now)[-SAME_REQUESTS:]
        return len(earlier) == SAME_REQUESTS and now - earlier[0] < SAME_WINDOW

    def _turn(self, now: float) -> None:
        if now - self._turned >= SAME_WINDOW:
            self._older, self._recent, self._turned = self._recent, {}, now

    def enter(self, login: str) -> bool:
        """Count a request in and say whether it is one too many at once."""
        running = self._in_flight.get(login, 0) + 1
        self._in_flight[login] = running
        return running >= AT_ONCE

    def leave(self, login: str) -> None:
        """Count a request out."""
        running = self._in_flight[login] - 1
        if running:
            self._in_flight[login] = running
        else:
            del self._in_flight[login]

    def failed_login(self, ip: str, now: float) -> None:
        """Note an authorization error; the fifth within 30 minutes blocks the address for 30 minutes."""
        if self._offended("login", ip, now, FAILED_LOGINS, FAILED_WINDOW):
            self.block(ip, now + FAILED_BLOCK)

    def breached(self, ip: str, now: float) -> None:
        """Note an answer with error 9; too many within ten minutes block the address for ten minutes."""
        if self._offended("breach", ip, now, self._breaches, BREACH_WINDOW):
            self.block(ip, now + BREACH_BLOCK)

    def _offended(self, what: str, ip: str, now: float, most: int, window: float) -> bool:
        times = self._offences.setdefault((what, ip), deque(maxlen=most))
        times.append(now)
        return len(times) == most and now - times[0] < window

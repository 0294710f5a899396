"""What the clients did: the worst of it, by the provider's rules.

The auditor sees arrivals itself and shares no code with `limits`, so that a mistake in the one does not
hide in the other. All times are monotonic seconds, handed in with each call.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, MutableMapping

SAME_WINDOW = 60.0
FAILED_WINDOW = 1800.0
MOST_TIMES = 1000  # arrivals remembered for one key: what is worse than that is bad enough
MOST_LINKS = 200_000  # links counted one by one: the rest are counted together
THE_REST = "(others)"


class Window:
    """Counts, for each key, what happened within the last `span` seconds."""

    def __init__(self, span: float) -> None:
        self._span = span
        self._times: dict[Hashable, list[float]] = {}
        self._held: Counter[Hashable] = Counter()
        self._next_sweep = float("-inf")

    def add(self, key: Hashable, now: float) -> int:
        """Note that it happened, and return how often it did in the span that ends now; held ones count."""
        self._sweep(now)
        times = self._times.setdefault(key, [])
        # What is exactly one span old is outside.
        del times[: bisect_right(times, now - self._span)]
        if len(times) < MOST_TIMES:
            times.append(now)
        return len(times) + self._held[key]

    def hold(self, key: Hashable) -> None:
        """Count what was added last as happening now, until it is released."""
        if times := self._times.get(key):
            times.pop()
        self._held[key] += 1

    def release(self, key: Hashable, now: float) -> None:
        """Let one that was held have happened now."""
        self._held[key] -= 1
        self._held = +self._held
        self.add(key, now)

    def _sweep(self, now: float) -> None:
        """Forget, once in a span, the keys of which nothing is left, so that memory stays bounded."""
        if now >= self._next_sweep:
            self._next_sweep = now + self._span
            kept = {
                key: times for key, times in self._times.items() if times and times[-1] > now - self._span
            }
            self._times = kept


class Auditor:
    """Watches requests from their arrival to the end of their handling."""

    def __init__(self, now: float) -> None:
        self._in_flight: Counter[str] = Counter()
        self.reset(now)

    def reset(self, now: float) -> None:
        """Forget everything but the requests still running."""
        self._since = now
        self._same, self._failed = Window(SAME_WINDOW), Window(FAILED_WINDOW)
        self.requests = 0
        self.worst_window = 0
        self.worst_link = ""
        self.worst_failed_logins = 0
        self.most_in_flight = max(self._in_flight.values(), default=0)
        self.followed_redirects = 0
        self.answers: Counter[str] = Counter()
        self.links: Counter[str] = Counter()

    def arrive(self, login: str, kind: str, value: str, now: float) -> None:
        """Note a request under a login for an id or a full link (`kind`), whatever becomes of it."""
        self.requests += 1
        self._in_flight[login] += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight[login])
        self._count(value)
        # Without a link there is nothing to be identical in.
        same = self._same.add((login, kind, value), now) if value else 0
        if same > self.worst_window:
            self.worst_window, self.worst_link = same, value

    def _count(self, value: str) -> None:
        known = value in self.links or len(self.links) < MOST_LINKS
        self.links[value if known else THE_REST] += 1

    def leave(self, login: str) -> None:
        """Note that a request is no longer handled."""
        self._in_flight[login] -= 1
        if not self._in_flight[login]:
            del self._in_flight[login]

    def freeze(self, key: Hashable, failed_ip: str) -> None:
        """Count the request that just arrived as long as it is frozen, and from its thaw on.

        `key` is login, kind and value; `failed_ip` is the address whose login fails, or empty.
        """
        self._same.hold(key)
        if failed_ip:
            self._failed.hold(failed_ip)

    def thaw(self, key: Hashable, failed_ip: str, now: float) -> None:
        """Note that a frozen request is looked at only now; takes what `freeze` took."""
        self._same.release(key, now)
        if failed_ip:
            self._failed.release(failed_ip, now)

    def answered(self, label: str) -> None:
        """Note what a request was answered with: `ok`, an error's number or a fault's name."""
        self.answers[label] += 1

    def failed_login(self, ip: str, now: float) -> None:
        """Note an authorization error given to this address."""
        self.worst_failed_logins = max(self.worst_failed_logins, self._failed.add(ip, now))

    def followed_redirect(self) -> None:
        """Note that a client went where a redirect sent it."""
        self.followed_redirects += 1

    def report(self, now: float, *, links: bool = False) -> MutableMapping[str, object]:
        """Return the findings, ready for JSON; `links` adds the requests of each link."""
        found: dict[str, object] = {
            "requests": self.requests,
            "worst_window": self.worst_window,
            "worst_link": self.worst_link,
            "most_in_flight": self.most_in_flight,
            "in_flight": dict(self._in_flight),
            "worst_failed_logins": self.worst_failed_logins,
            "followed_redirects": self.followed_redirects,
            "answers": dict(self.answers),
            "duration_seconds": now - self._since,
        }
        return {**found, "links": dict(self.links)} if links else found

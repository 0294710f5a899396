"""The clicks of all links: those that come by themselves and those that somebody puts in."""

from collections.abc import Callable, Sequence

from exporter.simulator.days import Calendar, Periods
from exporter.simulator.links import Figures, Growth, SimulatedLink

# Whom `wrong_link` answers for when the first link is asked for. Nobody can ask for it.
_STRANGER = SimulatedLink("999999", "https://example.com/stranger", "smsc.tips/other", rate=3600.0)


class Clicks:
    """Finds links and counts their clicks; `clock` gives seconds since the epoch."""

    def __init__(
        self, links: Sequence[SimulatedLink], seed: int, calendar: Calendar, clock: Callable[[], float]
    ) -> None:
        self._calendar, self._clock = calendar, clock
        self._latest = start = calendar.local(clock())
        self._by_id = {link.id: link for link in links}
        self._by_url = {link.url: link for link in links}
        self._growth = {link.id: Growth(link, seed, start) for link in (*links, _STRANGER)}
        self._first = next(iter(links), _STRANGER)
        # By link and by the beginning of the day in which they were put in.
        self._put_in: dict[str, dict[int, int]] = {}

    def find(self, kind: str, value: str) -> SimulatedLink | None:
        """Find a link by its `id` or by its full `link`."""
        return (self._by_id if kind == "id" else self._by_url).get(value)

    def named(self, value: str) -> SimulatedLink:
        """Return the link with this id or full link; raises `KeyError`."""
        link = self._by_id.get(value) or self._by_url.get(value)
        if link is None:
            raise KeyError(f"no link {value!r}: write an id or a full link of the simulator")
        return link

    def other(self, link: SimulatedLink) -> SimulatedLink:
        """Return another link: the first, or for that one a stranger."""
        return _STRANGER if link is self._first else self._first

    def figures(self, link: SimulatedLink) -> Figures:
        """Return the counts of a link now."""
        now = self._now()
        periods = self._calendar.periods(now)
        grown = self._growth[link.id].figures(now, periods)
        put_in = self._put_in.get(link.id)
        return _with(grown, put_in, periods) if put_in else grown

    def add(self, link: SimulatedLink, clicks: int) -> None:
        """Put clicks in now; a negative number is the provider's correction.

        No count falls below zero, and the count of all clicks does not fall below a day's or a month's.
        """
        days = self._put_in.setdefault(link.id, {})
        today = self._calendar.periods(self._now()).today
        days[today] = days.get(today, 0) + clicks

    def _now(self) -> float:
        # A clock set back must not let counts fall.
        self._latest = max(self._latest, self._calendar.local(self._clock()))
        return self._latest


def _with(grown: Figures, put_in: dict[int, int], periods: Periods) -> Figures:
    def between(begin: int, end: int) -> int:
        return sum(clicks for day, clicks in put_in.items() if begin <= day < end)

    added = Figures(
        cnt=sum(put_in.values()),
        cnt_mon=between(periods.month, periods.today + 1),
        cnt_day=put_in.get(periods.today, 0),
        cnt_yes=put_in.get(periods.yesterday, 0),
        cnt_pmon=between(periods.previous_month, periods.month),
    )
    cnt, *parts = (max(0, one + other) for one, other in zip(grown, added, strict=True))
    return Figures(max(cnt, *parts), *parts)

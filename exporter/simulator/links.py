"""The simulated links, and how many clicks each has had by a given moment.

Clicks are a function of the seed, the link and the time. Nothing runs in the background: a link that
nobody asks for costs nothing, so 100,000 of them are as cheap as ten. Moments are local seconds, as
`days` defines them.
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import exp, pi, sin
from typing import Literal, NamedTuple
from zlib import crc32

from exporter.simulator.days import DAY, Periods

Shape = Literal["steady", "evening", "weekday"]

WEEK = 7 * DAY
SPIKE_SECONDS = 60.0  # over which the clicks of a spike arrive
_FIRST_MONDAY = 4 * DAY  # 1970-01-05

# A message's clicks fade in three parts, each with its share and its time constant in seconds.
_FADES = ((0.4, 3600.0), (0.4, 6 * 3600.0), (0.2, 40 * 3600.0))

# Speeding up and slowing down within minutes makes a rate look alive. The clock of clicks is ahead or
# behind by at most 40 s and must never run backwards: 40 is less than 67.
_RIPPLE, _RIPPLE_PERIOD = 40.0, 67.0

# By hour of the day: a mean of one, so that a link's rate is clicks per hour.
_STEADY = (1.0,) * 24
_EVENING = (
    *(0.5, 0.2, 0.1, 0.1, 0.1, 0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.9),
    *(1.0, 1.0, 1.0, 1.1, 1.2, 1.5, 2.0, 2.4, 2.6, 2.3, 1.6, 0.8),
)
_WEEKDAY = (
    *(0.2, 0.1, 0.1, 0.1, 0.1, 0.3, 0.7, 1.2, 1.8, 2.0, 2.0, 1.8),
    *(1.6, 1.8, 1.9, 1.8, 1.6, 1.3, 1.0, 0.8, 0.6, 0.5, 0.4, 0.3),
)


def _week(workday: Sequence[float], weekend: float) -> tuple[float, ...]:
    """Add up the hours of a week from Monday: 169 sums, the first zero, the last the whole week."""
    hours = [*workday] * 5 + [weight * weekend for weight in workday] * 2
    return tuple(accumulate(hours, initial=0.0))


_WEEKS: dict[Shape, tuple[float, ...]] = {
    "steady": _week(_STEADY, 1.0),
    "evening": _week(_EVENING, 1.3),
    "weekday": _week(_WEEKDAY, 0.3),
}


class Figures(NamedTuple):
    """The five counts of a link, named as the provider's page names them."""

    cnt: int  # all clicks
    cnt_mon: int  # this month
    cnt_day: int  # today
    cnt_yes: int  # yesterday
    cnt_pmon: int  # the previous month


@dataclass(frozen=True, slots=True)
class SimulatedLink:
    """One short link. Times are seconds after the provider's start."""

    id: str
    url: str  # the original full link
    short: str  # the short link, as the answer's `link` gives it
    name: str = ""  # for a demo's configuration only: the provider knows no names
    rate: float = 60.0  # clicks per hour, averaged over a workday
    shape: Shape = "steady"
    age_days: int = 100  # how many days before that of the start the link was made, at midnight
    spike_clicks: int = 0  # how many clicks one spike brings; 0: no spikes
    spike_at: float = 60.0  # when the first spike begins
    spike_every: float = 0.0  # seconds between spikes; 0: only one
    dies_at: float | None = None  # when the clicks stop for good
    message_clicks: int = 0  # how many clicks one message brings in all; 0: none was sent
    message_at: float = 0.0  # when the message is sent; before zero: before the provider's start


class Growth:
    """The clicks of one link over time; `start` is the provider's start in local seconds."""

    __slots__ = ("_born", "_link", "_phase", "_start")

    def __init__(self, link: SimulatedLink, seed: int, start: float) -> None:
        self._link = link
        self._start = start
        # At midnight: the counts of a link must not depend on when on a day its provider was started.
        self._born = (start // DAY - link.age_days) * DAY
        self._phase = crc32(f"{seed}:{link.id}".encode()) / 2**32

    def figures(self, now: float, periods: Periods) -> Figures:
        """Return the counts at a moment that lies in these periods."""
        at_start = self._clicks(self._born)
        by_now = self._clicks(now)
        yesterday, today, previous_month, month = (self._clicks(begin) for begin in periods)
        return Figures(
            by_now - at_start, by_now - month, by_now - today, today - yesterday, month - previous_month
        )

    def _clicks(self, moment: float) -> int:
        """Return the clicks up to a moment, counted from an arbitrary zero."""
        moment = max(moment, self._born)
        if self._link.dies_at is not None:
            moment = min(moment, self._start + self._link.dies_at)
        # The phase shifts the rounding, so that slow links don't all click at the same second.
        after_start = moment - self._start
        return int(
            self._rhythm(moment) + self._spikes(after_start) + self._message(after_start) + self._phase
        )

    def _rhythm(self, moment: float) -> float:
        moment += _RIPPLE * sin(moment / _RIPPLE_PERIOD + 2 * pi * self._phase)
        weeks, second = divmod(moment - _FIRST_MONDAY, WEEK)
        hour, rest = divmod(second, 3600)
        sums, index = _WEEKS[self._link.shape], int(hour)
        weight = weeks * sums[-1] + sums[index] + (sums[index + 1] - sums[index]) * rest / 3600
        # The seed makes a link busier or quieter by up to a fifth.
        return self._link.rate * (0.8 + 0.4 * self._phase) * weight

    def _spikes(self, after_start: float) -> float:
        link, since = self._link, after_start - self._link.spike_at
        if not link.spike_clicks or since < 0:
            return 0.0
        whole, rest = divmod(since, link.spike_every) if link.spike_every else (0.0, since)
        return link.spike_clicks * (whole + min(1.0, rest / SPIKE_SECONDS))

    def _message(self, after_start: float) -> float:
        since = max(0.0, after_start - self._link.message_at)
        return self._link.message_clicks * sum(share * (1 - exp(-since / fade)) for share, fade in _FADES)


_BASE62 = string.ascii_lowercase + string.ascii_uppercase + string.digits


def _short(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return f"smsc.tips/{digits}"


def numbered_links(count: int) -> tuple[SimulatedLink, ...]:
    """Make `count` links with ids from 100001, busy to very different degrees."""
    if count < 1:
        raise ValueError(f"{count} links: write 1 or more")
    return tuple(_numbered(number) for number in range(1, count + 1))


def _numbered(number: int) -> SimulatedLink:
    # Knuth's multiplicative hash: any neighbours differ, and the same number is always the same link.
    spread = number * 2_654_435_761 % 2**32 / 2**32
    shapes: tuple[Shape, ...] = ("steady", "evening", "weekday")
    return SimulatedLink(
        id=str(100_000 + number),
        url=f"https://example.com/landing/{number}",
        short=_short(100_000 + number),
        name=f"landing-{number}",
        rate=0.1 * 10 ** (3 * spread),
        shape=shapes[number % 3],
        age_days=40 + number % 300,
        spike_clicks=200 if number % 50 == 0 else 0,
        spike_every=3600.0,
    )


def demo_links() -> tuple[SimulatedLink, ...]:
    """Return links for a first look: busy, quiet, spiking, dying, with difficult addresses, and campaigns."""
    return (
        SimulatedLink("145142", "https://shop.example/spring", _short(145142), "spring-sale", 1800.0),
        SimulatedLink(
            "145143", "https://shop.example/?q=a+b", _short(145143), "search-plus", 900.0, "evening"
        ),
        SimulatedLink(
            "145144", "https://shop.example/new items", _short(145144), "new-items", 720.0, "weekday"
        ),
        SimulatedLink(
            "145145", "https://магазин.example/скидки", _short(145145), "discounts", 1200.0, "evening"
        ),
        SimulatedLink("145146", "https://shop.example/help#delivery", _short(145146), "delivery", 300.0),
        SimulatedLink("145147", "mywebsite.example", _short(145147), "front-page", 600.0, "weekday"),
        SimulatedLink(
            "145148",
            "https://shop.example/flash",
            _short(145148),
            "flash-sale",
            60.0,
            spike_clicks=400,
            spike_every=600.0,
        ),
        SimulatedLink(
            "145149",
            "https://shop.example/launch?day=1&place=Москва",
            _short(145149),
            "launch",
            120.0,
            "evening",
            spike_clicks=3000,
            spike_at=180.0,
        ),
        SimulatedLink(
            "145150",
            "https://shop.example/expired",
            _short(145150),
            "expired-campaign",
            1500.0,
            dies_at=300.0,
        ),
        SimulatedLink("145151", "https://shop.example/terms", _short(145151), "terms", 0.5),
        SimulatedLink(
            "145152", "https://shop.example/app?utm_source=sms&x=100%25", _short(145152), "app", 420.0
        ),
        SimulatedLink("145153", "https://shop.example/survey", _short(145153), "survey", 240.0, age_days=3),
        _campaign(145154, "campaign-fades", sent_ago=600.0, clicks=6000),
        replace(_campaign(145155, "campaign-dies", sent_ago=600.0, clicks=6000), dies_at=3000.0),
        replace(
            _campaign(145156, "campaign-surges", sent_ago=86_400.0, clicks=3000),
            spike_clicks=1500,
            spike_at=12_000.0,  # the rules have to know three hours before it
        ),
    )


def _campaign(number: int, name: str, *, sent_ago: float, clicks: int) -> SimulatedLink:
    """Make a link of one message that was sent so many seconds before the provider's start."""
    return SimulatedLink(
        id=str(number),
        url=f"https://shop.example/{name}",
        short=_short(number),
        name=name,
        rate=0.0,
        age_days=int(sent_ago // DAY) + 1,
        message_clicks=clicks,
        message_at=-sent_ago,
    )

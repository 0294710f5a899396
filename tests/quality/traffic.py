"""Made-up traffic of short links, with what is unusual in it written down: the same seed, the same traffic.

A town is what one seed makes: links of several kinds under one account, 60 days of them at steps of five
minutes, which is how often the rules look. The first half is there to be learned from, what is labelled lies
in the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Figures = NDArray[np.floating[Any]]

STEP = 300
"""Seconds from one step to the next."""

HOUR, DAY = 3600 // STEP, 86_400 // STEP
DAYS, LEARNED_DAYS = 60, 30
STEPS, SCORED = DAYS * DAY, LEARNED_DAYS * DAY


class Kind(NamedTuple):
    """Links of one kind: how many in a town, and clicks a day of each, from and to."""

    name: str
    links: int
    clicks: tuple[float, float]


BUSY = Kind("busy", 10, (1200, 3000))
MEDIUM = Kind("medium", 20, (60, 160))
SPARSE = Kind("sparse", 10, (3, 8))
BURSTY = Kind("bursty", 10, (100, 1000))
MAILING = Kind("weekly mailing", 10, (5, 20))
CAMPAIGN = Kind("campaign", 10, (300, 20_000))  # clicks in all, not a day
KINDS = (BUSY, MEDIUM, SPARSE, BURSTY, MAILING, CAMPAIGN)
RHYTHM = (BUSY, MEDIUM, SPARSE)
"""Links with the rhythm of a week, the bulk of what there is."""

RATES = {"spike": 0.25, "drop": 0.25, "bump": 1.0, "drift": 0.05}
"""Events of a link in the scored half, on average. Precision depends on how rare the first two are."""


class Event(NamedTuple):
    """Something about a link, from one step up to another.

    A ``spike`` and a ``drop`` are what alerts should find. A ``bump`` is twice the usual, and harmless; a
    ``drift`` stays; a ``resend`` is a campaign sent again, a rise that its sender knows: a spike found there
    counts neither for nor against the rules.
    """

    kind: str
    begin: int
    end: int
    size: float = 0.0
    """Of a spike, the clicks above the usual in its best hour; of a drop, those missing in an hour."""


@dataclass(frozen=True)
class Traffic:
    """One link: what a scrape at each step shows of it; NaN where it shows nothing."""

    name: str
    kind: Kind
    total: Figures
    all_time: Figures
    read_at: Figures
    events: Sequence[Event]
    sent: int = 0  # the step at which a campaign was sent
    yesterday: Figures | None = None
    month: Figures | None = None
    previous_month: Figures | None = None


@dataclass
class _Draft:
    """A link in the making: the clicks to be expected at each step, and the events so far."""

    rate: NDArray[np.float64]
    born: int = 0
    events: list[Event] = field(default_factory=list)


def town(seed: int) -> list[Traffic]:
    """All links of a seed."""
    weather = Weather(np.random.default_rng([seed, 0]))
    return [
        _link(np.random.default_rng([seed, 1, place, number]), kind, number, weather)
        for place, kind in enumerate(KINDS)
        for number in range(kind.links)
    ]


def _link(rng: Generator, kind: Kind, number: int, weather: Weather) -> Traffic:
    draft = MAKERS[kind](rng, kind)
    clicks = np.cumsum(rng.poisson(draft.rate)).astype(float)
    seen = weather.seen(rng, clicks, draft.born)
    return Traffic(f"{kind.name}-{number}".replace(" ", "-"), kind, *seen, draft.events)


# --- What kinds of links are like ---------------------------------------------------------------------------


def _weekly(rng: Generator, kind: Kind) -> _Draft:
    return _with_events(rng, _rhythm(rng, kind.clicks) * uneven(rng, 0.25))


def _bursty(rng: Generator, kind: Kind) -> _Draft:
    return _with_events(rng, _rhythm(rng, kind.clicks) * uneven(rng, 0.8))


def _mailing(rng: Generator, kind: Kind) -> _Draft:
    """A little every day, and once a week a message at about the same hour."""
    rate = _rhythm(rng, kind.clicks) * uneven(rng, 0.25)
    first = int(rng.integers(7 * DAY))
    size, fade = rng.uniform(200, 2000), rng.uniform(3, 10) * HOUR
    for sent in range(first, STEPS, 7 * DAY):
        about = sent + int(rng.integers(-HOUR // 2, HOUR // 2 + 1))
        _send(rate, max(0, about), size * rng.uniform(0.8, 1.25), fade)
    return _Draft(rate)


def _campaign(rng: Generator, kind: Kind) -> _Draft:
    """Made for one message: most clicks within hours or days, a remainder over a week, then silence."""
    born = int(rng.integers(5 * DAY, 52 * DAY))
    rate = np.zeros(STEPS)
    size, fade = log_uniform(rng, *kind.clicks), log_uniform(rng, 3, 36) * HOUR
    _send(rate, born, size * 0.7, fade)
    _send(rate, born, size * 0.3, fade * 4)
    events = []
    if rng.random() < 0.4:
        again = born + int(rng.integers(7 * DAY, 14 * DAY))
        _send(rate, again, size * rng.uniform(0.2, 0.6), fade)
        events = [Event("resend", again, again + int(5 * fade))]
    return _Draft(rate * _day(rng) * uneven(rng, 0.3), born, events)


MAKERS = {
    BUSY: _weekly,
    MEDIUM: _weekly,
    SPARSE: _weekly,
    BURSTY: _bursty,
    MAILING: _mailing,
    CAMPAIGN: _campaign,
}


def _rhythm(rng: Generator, clicks: tuple[float, float]) -> NDArray[np.float64]:
    """Clicks a step with day and night, weekends and a slow trend."""
    day = np.arange(STEPS) / DAY
    week = np.where(day.astype(int) % 7 < 5, 1.0, rng.uniform(0.4, 1.3))
    trend = np.exp(rng.uniform(-0.01, 0.01) * (day - DAYS / 2))
    return np.asarray(log_uniform(rng, *clicks) / DAY * _day(rng) * week * trend)


def _day(rng: Generator) -> NDArray[np.float64]:
    """The hours of each day, with a mean of one; the best has ten to thirty times the clicks of the worst."""
    hours = np.exp(
        rng.uniform(1.1, 1.7) * np.cos(2 * np.pi * (np.arange(DAY) / DAY - rng.uniform(0.5, 0.85)))
    )
    return np.tile(hours / hours.mean(), DAYS)


def uneven(rng: Generator, deviation: float) -> NDArray[np.float64]:
    """What is different from one hour to the next for no reason, with a mean of one."""
    shape = deviation**-2
    return np.repeat(rng.gamma(shape, 1 / shape, DAYS * 24), HOUR)


def _send(rate: NDArray[np.float64], at: int, size: float, fade: float) -> None:
    """Adds a message of ``size`` clicks that fade with that time constant, in steps."""
    if at < STEPS:
        rate[at:] += size / fade * np.exp(-np.arange(STEPS - at) / fade)


def log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


# --- What happens to them -----------------------------------------------------------------------------------


def _with_events(rng: Generator, rate: NDArray[np.float64]) -> _Draft:
    draft = _Draft(rate)
    for kind, often in RATES.items():
        for _ in range(rng.poisson(often)):
            _happens(rng, draft, kind)
    return draft


def _happens(rng: Generator, draft: _Draft, kind: str) -> None:
    length, factor = {
        "spike": (rng.uniform(1, 3), rng.uniform(5, 20)),
        "drop": (rng.uniform(6, 120), 0.0),
        "bump": (rng.uniform(2, 4), 2.0),
        "drift": (14 * 24, rng.choice([0.3, 3.0])),
    }[kind]
    begin = int(rng.integers(SCORED, STEPS - DAY))
    event = Event(kind, begin, min(STEPS, begin + round(length * HOUR)))
    if all(event.end + DAY < other.begin or other.end + DAY < event.begin for other in draft.events):
        draft.events.append(event)
        draft.rate[event.begin : event.end] *= factor


class Weather:
    """What keeps figures from being seen, the same for a town: caches that stand still, scrapes that fail."""

    def __init__(self, rng: Generator) -> None:
        self.stale = _spans(rng, 3, 2 * HOUR, 8 * HOUR)
        self.outages = _spans(rng, 3, 4, 4 * HOUR)
        self.restarts = sorted(int(at) for at in rng.integers(0, STEPS, 2))

    def seen(
        self, rng: Generator, clicks: NDArray[np.float64], born: int
    ) -> tuple[Figures, Figures, Figures]:
        """The counter, what the provider says and the time of the reading, at each step."""
        now = np.arange(STEPS) * float(STEP)
        read_at = now - rng.uniform(0, 60)
        gone, forgotten = self._taken_back(rng, clicks)
        shown = (clicks + 1000.0 - forgotten, clicks + 1000.0 - gone, read_at)
        hidden = np.zeros(STEPS, dtype=bool)
        for begin, end in (*self.outages, (0, born)):
            hidden[begin:end] = True
        for figures in shown:
            self.hide(figures, hidden)
        return shown

    def hide(self, figures: Figures, hidden: NDArray[np.bool_]) -> None:
        """Lets figures stand still while caches do, and takes out those that are hidden."""
        for begin, end in self.stale:
            figures[begin:end] = figures[begin - 1]
        figures[hidden] = np.nan

    def _taken_back(
        self, rng: Generator, clicks: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What the provider corrected downward, and what of it the counter forgot by beginning anew."""
        gone, forgotten = np.zeros(STEPS), np.zeros(STEPS)
        for at in rng.integers(0, STEPS, rng.poisson(0.5)):
            anew = next((restart for restart in self.restarts if restart > at), STEPS)
            clicked = np.floor(clicks[at] * rng.uniform(0, 0.02))
            gone[at:] += clicked
            forgotten[anew:] += clicked
        return gone, forgotten


def _spans(rng: Generator, often: float, shortest: int, longest: int) -> list[tuple[int, int]]:
    begins = rng.integers(DAY, STEPS - DAY, rng.poisson(often))
    return [(int(begin), int(begin + rng.integers(shortest, longest))) for begin in begins]

"""Made-up traffic of young links, with what is unusual in it written down: the same seed, the same traffic.

A town is one account. Its exporter is installed at step ``SCORED``, halfway through the 60 days: nothing was
scraped before, but the provider's own figures know what came before. Thirty campaigns are sent in the 23 days
after that. Twenty evergreen links have existed for months. All links share their hours of the day, give or
take 45 minutes. They share the weather of ``traffic.py``: caches that stand still, scrapes that fail, and
corrections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tests.quality.traffic import (
    DAY,
    DAYS,
    HOUR,
    SCORED,
    STEP,
    STEPS,
    Event,
    Kind,
    Traffic,
    Weather,
    log_uniform,
    uneven,
)

Figures = NDArray[np.floating[Any]]

SMALL = Kind("campaign, small", 8, (150, 600))  # clicks in all, as for all campaigns
MIDDLE = Kind("campaign, medium", 8, (600, 4000))
LARGE = Kind("campaign, large", 6, (4000, 30_000))
FLASH = Kind("campaign, over within hours", 4, (200, 6000))
STAGED = Kind("campaign, in batches", 4, (600, 10_000))
BUSY = Kind("evergreen, busy", 4, (1200, 3000))  # clicks a day, as for all that follow
MEDIUM = Kind("evergreen, medium", 6, (60, 160))
SPARSE = Kind("evergreen, sparse", 4, (3, 8))
BURSTY = Kind("evergreen, bursty", 3, (100, 1000))
MAILING = Kind("weekly mailing", 3, (5, 20))
CAMPAIGNS = (SMALL, MIDDLE, LARGE, FLASH, STAGED)
EVERGREEN = (BUSY, MEDIUM, SPARSE)
KINDS = (*CAMPAIGNS, *EVERGREEN, BURSTY, MAILING)

EVENTS = 0.25
"""Surges of a campaign's first days or an evergreen link's first week, on average; and as many deaths."""

_TRIALS = 7
"""People who try a link before it is sent: fewer than this."""


class _Account(NamedTuple):
    """What the links of a town share."""

    phase: float  # the best time of day, as a share of a day
    midnight: int  # the step of the day at which the account's day begins: 16 hours before the best one
    weekend: float  # clicks of a weekend's day, by those of a workday
    day_of_month: int  # of the first day
    weather: Weather


def town(seed: int) -> list[Traffic]:
    """Make all links of a seed."""
    account = _account(seed)
    return [
        _link(np.random.default_rng([seed, 79, place, number]), kind, number, account)
        for place, kind in enumerate(KINDS)
        for number in range(kind.links)
    ]


def _account(seed: int) -> _Account:
    rng = np.random.default_rng([seed, 77])
    phase = rng.uniform(0.5, 0.85)
    midnight = int(((phase - 16 / 24) % 1) * DAY)
    weather = Weather(np.random.default_rng([seed, 78]))
    return _Account(phase, midnight, rng.uniform(0.5, 1.25), int(rng.integers(0, 30)), weather)


@dataclass
class _Draft:
    """A link in the making: the clicks to be expected at each step, and the events so far."""

    rate: NDArray[np.float64]
    trials: NDArray[np.float64] = field(default_factory=lambda: np.zeros(STEPS))
    born: int = SCORED
    sent: int = 0
    events: list[Event] = field(default_factory=list)


def _link(rng: Generator, kind: Kind, number: int, account: _Account) -> Traffic:
    campaign = kind in CAMPAIGNS
    draft = _campaign(rng, kind, account) if campaign else _evergreen(rng, kind, account)
    rate = _with_events(rng, kind, draft)
    clicks = np.cumsum(rng.poisson(rate) + draft.trials).astype(float)
    total, all_time, read_at = account.weather.seen(rng, clicks, draft.born)
    # A campaign's link was made for this message alone; another one has three months before this traffic.
    earlier = -1000 if campaign else round(90 * DAY * clicks[-1] / STEPS)
    total, all_time = total + earlier, all_time + earlier
    yesterday, month, previous_month = _provider_figures(clicks, account, campaign=campaign)
    for figures in (yesterday, month, previous_month):
        account.weather.hide(figures, np.isnan(total))
    yesterday[_day(np.arange(STEPS), account) != _day(np.nan_to_num(read_at) // STEP, account)] = np.nan
    return Traffic(
        f"{kind.name}-{number}".replace(", ", "-").replace(" ", "-"),
        kind,
        total,
        all_time,
        read_at,
        draft.events,
        sent=draft.sent,
        yesterday=yesterday,
        month=month,
        previous_month=previous_month,
    )


# --- What kinds of links are like ---------------------------------------------------------------------------


def _campaign(rng: Generator, kind: Kind, account: _Account) -> _Draft:
    hours, size = _hours(rng, account), log_uniform(rng, *kind.clicks)
    sent = max(SCORED + 2, _sending_time(rng, account, int(rng.integers(30, 53))))
    waves = _flash(rng) if kind is FLASH else _fade(rng)
    over = int(rng.uniform(0, 2) * HOUR) if rng.random() < 0.9 else int(rng.uniform(2, 6) * HOUR)
    rate, events = np.zeros(STEPS), []
    for nth, (at, clicks) in enumerate(_sendings(rng, kind, account, sent, size)):
        rate += _sending(at, clicks, over, waves, hours)
        if nth and at > sent + HOUR:
            events.append(Event("resend", at, at + over + 12 * HOUR))
    rate *= _week(account) * uneven(rng, rng.uniform(0.2, 0.45))
    born = _first_seen(rng, sent)
    return _Draft(rate, _trials(rng, born, sent), born, sent, events)


def _evergreen(rng: Generator, kind: Kind, account: _Account) -> _Draft:
    hours = _hours(rng, account)
    rate = log_uniform(rng, *kind.clicks) / DAY * hours * _week(account)
    rate *= np.exp(rng.uniform(-0.01, 0.01) * (np.arange(STEPS) / DAY - DAYS / 2))
    rate *= uneven(rng, 0.8 if kind is BURSTY else 0.25)
    if kind is MAILING:
        first, size, fade = int(rng.integers(7 * DAY)), rng.uniform(200, 2000), rng.uniform(3, 10) * HOUR
        for sent in range(first, STEPS, 7 * DAY):
            at = max(0, sent + int(rng.integers(-HOUR // 2, HOUR // 2 + 1)))
            rate[at:] += size * rng.uniform(0.8, 1.25) / fade * np.exp(-np.arange(STEPS - at) / fade)
    return _Draft(rate)


class _Wave(NamedTuple):
    """A part of a message's clicks: its share, how fast it fades, how far the time of day rules it."""

    share: float
    fade: float  # the time constant, in steps
    clock: float  # 0: not at all, 1: wholly


def _flash(rng: Generator) -> tuple[_Wave, ...]:
    return (
        _Wave(0.92, log_uniform(rng, 0.25, 1) * HOUR, 0.0),
        _Wave(0.08, log_uniform(rng, 4, 12) * HOUR, 1.0),
    )


def _fade(rng: Generator) -> tuple[_Wave, ...]:
    fast = rng.uniform(0.3, 0.6)
    middle = (1 - fast) * rng.uniform(0.4, 0.75)
    return (
        _Wave(fast, log_uniform(rng, 0.3, 1.5) * HOUR, 0.3),
        _Wave(middle, log_uniform(rng, 3, 12) * HOUR, 1.0),
        _Wave(1 - fast - middle, log_uniform(rng, 20, 90) * HOUR, 1.0),
    )


def _sendings(
    rng: Generator, kind: Kind, account: _Account, sent: int, size: float
) -> list[tuple[int, float]]:
    """When messages are sent, and how many clicks each brings; some campaigns are sent again."""
    if kind is STAGED:
        count = int(rng.integers(2, 5))
        gap = rng.choice([rng.uniform(2, 5) * HOUR, DAY])
        return [(int(sent + nth * gap), size / count) for nth in range(count)]
    if kind is FLASH or rng.random() >= 0.3:
        return [(sent, size)]
    again = _sending_time(rng, account, (sent // DAY) + int(rng.integers(1, 11)))
    return [(sent, size), (again, size * rng.uniform(0.2, 0.8))]


def _sending(
    at: int, size: float, over: int, waves: Sequence[_Wave], hours: NDArray[np.float64]
) -> NDArray[np.float64]:
    """One sending, which takes ``over`` steps."""
    rate = np.zeros(STEPS)
    for wave in waves:
        part = np.zeros(STEPS)
        for begin in np.linspace(at, at + over, 1 + over // 3).astype(int):
            if begin < STEPS:
                part[begin:] += np.exp(-np.arange(STEPS - begin) / wave.fade)
        part *= size * wave.share / wave.fade / (1 + over // 3)
        rate += part * hours**wave.clock
    return rate


def _sending_time(rng: Generator, account: _Account, day: int) -> int:
    """Mostly from seven hours before the best time of day to three after it; one in twenty at any hour."""
    off = rng.uniform(-12, 12) if rng.random() < 0.05 else rng.uniform(-7, 3)
    return int((day + account.phase) * DAY + off * HOUR)


def _first_seen(rng: Generator, sent: int) -> int:
    """When the link is configured: shortly before it is sent, days before, or hours after."""
    how = rng.random()
    if how < 0.4:
        born = sent - int(rng.uniform(0.1, 3) * HOUR)
    elif how < 0.7:
        born = sent - int(rng.uniform(12, 72) * HOUR)
    else:
        born = sent + int(rng.uniform(0.1, 3) * HOUR)
    return max(SCORED, born)


def _trials(rng: Generator, born: int, sent: int) -> NDArray[np.float64]:
    """A few clicks of those who try the link before it is sent."""
    trials = np.zeros(STEPS)
    if born < sent and rng.random() < 0.7:
        for at in rng.integers(born, sent, rng.integers(1, _TRIALS)):
            trials[at] += 1
    return trials


def _hours(rng: Generator, account: _Account) -> NDArray[np.float64]:
    """The hours of each day: those of the account, give or take 45 minutes, more or less marked."""
    phase = account.phase + rng.normal(0, 0.03)
    hours = np.exp(rng.uniform(1.1, 1.7) * np.cos(2 * np.pi * (np.arange(DAY) / DAY - phase)))
    return np.tile(hours / hours.mean(), DAYS)


def _week(account: _Account) -> NDArray[np.float64]:
    day = np.arange(STEPS) // DAY
    return np.where(day % 7 < 5, 1.0, account.weekend)


# --- What happens to them -----------------------------------------------------------------------------------


def _with_events(rng: Generator, kind: Kind, draft: _Draft) -> NDArray[np.float64]:
    """Clicks to be expected with surges and deaths, which are added to the draft's events."""
    rate = draft.rate.copy()
    often = 0.0 if kind is MAILING else EVENTS
    for what in ("spike", "drop"):
        for _ in range(rng.poisson(often)):
            change = _change(rng, kind, draft, what)
            if change and _apart(change.event, draft.events):
                draft.events.append(change.event)
                rate[change.event.begin : change.event.end] *= change.factor
    return rate


class _Change(NamedTuple):
    event: Event
    factor: float


def _change(rng: Generator, kind: Kind, draft: _Draft, what: str) -> _Change | None:
    """A surge of 1 to 3 hours, or a death of 3 to 72.

    That of a campaign comes six hours after it was sent or later, a death three; mostly soon.
    """
    surge = what == "spike"
    length = round(rng.uniform(1, 3) * HOUR) if surge else round(log_uniform(rng, 3, 72) * HOUR)
    if kind in CAMPAIGNS:
        begin = draft.sent + int(log_uniform(rng, *((6, 96) if surge else (3, 72))) * HOUR)
    else:
        begin = SCORED + int(rng.integers(HOUR, 7 * DAY))
    end = min(STEPS, begin + length)
    if end - begin < HOUR:
        return None
    factor = rng.uniform(5, 20) if surge else 0.0
    before = draft.rate[begin:end]
    best_hour = np.convolve(before, np.ones(HOUR), "valid").max()
    size = best_hour * (factor - 1) if surge else draft.rate[begin : begin + 3 * HOUR].sum() / 3
    return _Change(Event(what, begin, end, float(size)), factor)


def _apart(event: Event, others: Sequence[Event]) -> bool:
    """Half a day from other events, and outside of what is sent again."""
    gaps = ((other, 0 if other.kind == "resend" else DAY // 2) for other in others)
    return all(event.end + gap < other.begin or other.end + gap < event.begin for other, gap in gaps)


# --- What the provider says of days and months --------------------------------------------------------------


def _day(step: Any, account: _Account) -> Any:
    """The account's day at a step; -1 in the hours before the first midnight."""
    return (np.floor(step).astype(int) - account.midnight) // DAY


def _provider_figures(
    clicks: NDArray[np.float64], account: _Account, *, campaign: bool
) -> tuple[Figures, Figures, Figures]:
    """Clicks of the day before, this month and the month before, at each step; months have 30 days."""
    place = _day(np.arange(STEPS), account) + 1
    days = np.bincount(place, weights=np.diff(clicks, prepend=0), minlength=DAYS + 1).astype(float)
    before = 0.0 if campaign else days[1:15].mean()  # a day before this traffic begins
    yesterday = np.where(place > 0, days[np.maximum(place - 1, 0)], before)
    month = (np.arange(-1, DAYS) + account.day_of_month) // 30
    previous = np.array([_in_month(days, month, which - 1, before) for which in month.tolist()])
    earlier = np.array(
        [_in_month(days[:nth], month[:nth], which, 0) for nth, which in enumerate(month.tolist())]
    )
    began = np.where(month == month[0], before * ((account.day_of_month - 1) % 30), 0)
    today = clicks - (np.cumsum(days) - days)[place]
    return np.round(yesterday), np.round(began + earlier)[place] + today, previous[place]


def _in_month(days: Figures, month: NDArray[np.int_], which: int, before: float) -> float:
    known = days[month == which]
    return float(np.round(known.sum() + before * (30 - len(known))))

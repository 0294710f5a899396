"""The figures that pacing keeps to, and where each comes from. Times are in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

ATTEMPTS = 3
"""Identical requests the provider accepts within a minute (its page: "more than three" is error 9)."""

SPAN = 61.0
"""How long an attempt counts: the provider's minute, and a second for clocks that tick differently."""

HARD_CAP = 14
"""Requests in flight under one login (the provider's page: "fifteen or more" at once is error 9)."""

LINGER = 60.0
"""How long an abandoned request may still be on its way to the provider, or at work there."""

FAILED_LOGINS = 4
"""Failed logins in ``FAILED_LOGIN_SPAN`` (the provider's FAQ: five in 30 minutes block the IP address)."""

FAILED_LOGIN_SPAN = 1801.0
"""How long a failed login counts: the provider's 30 minutes and a second."""

UNCLEAR = (30.0, 120.0, 480.0)
"""How long no login leaves that nobody vouches for, after the first, second and third in a row without a
clear answer: so the few that may fail last for a while, if an exporter is started in a bad moment.
"""

PAUSE = 1800.0
"""The first pause after a block or a refused login: the provider's FAQ names 30 minutes for a block."""

LONGEST_PAUSE = 4 * 3600.0
"""Where the doubling of that pause ends."""

BREAKER = 5
"""Transport failures in a row that make an account unreachable."""

COOLING = 61.0
"""How long a link, or an account that has no concurrency left to give up, rests after an error 9."""

LONGEST_COOLING = 1800.0
"""Where the doubling of the rest after repeated errors 9 ends."""

RARELY = 3600.0
"""How long a link rests that the provider does not know, or whose parameters it refuses."""

FIRST_RETRY = 10.0
"""The first step of the backoff after a failure of transport."""

LAST_RETRY = 300.0
"""Where the doubling of that backoff ends: a recovery shows within five minutes."""

LEAST_RETRY = 21.0
"""The least rest of a link after a failure: three a minute with a margin, like the least interval."""

RECHECK = 5.0
"""How soon a login asks again that was denied for what others have in flight, which may end any moment."""

MIRROR_STAY = 600.0
"""How long a mirror that answered is preferred before ``base_url`` is tried again."""

FIRST_SWEEP = 60.0
"""The links of an account that starts, or comes back, are read once over this time, not all at once."""

SWEEP_RATE = 10.0
"""Requests a second that such a sweep is held to, by taking longer where the links are many."""


def doubled(first: float, times: int, longest: float) -> float:
    """``first`` doubled ``times`` times, at most ``longest``."""
    return float(min(longest, first * 2 ** min(times, 32)))


def backoff(failures: int, random: Random) -> float:
    """Exponential backoff with full jitter after ``failures`` (1 and more) in a row.

    Full jitter keeps links, accounts and replicas that failed together from coming back together.
    """
    return random.uniform(0, doubled(FIRST_RETRY, failures - 1, LAST_RETRY))

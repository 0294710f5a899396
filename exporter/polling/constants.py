"""The figures of polling that are no limits of the provider. Times are in seconds."""

from __future__ import annotations

from random import Random

from exporter.limits.constants import doubled

NOT_FOUND_RETRY = 3600.0
"""How long a link rests after the provider did not know it or refused its parameters."""

FIRST_RETRY = 10.0
"""The first step of the backoff after a failure of transport."""

LAST_RETRY = 60.0
"""Where the doubling of that backoff ends: an outage that ends is over within 90 seconds."""

LEAST_RETRY = 21.0
"""The least rest of a link after a failure: three a minute with a margin, like the least interval."""

MIRROR_STAY = 600.0
"""How long a mirror that answered is preferred before ``base_url`` is tried again."""

CATCH_UP_RATE = 10.0
"""Requests a second at which an account reads what is overdue, as after a start or an outage."""

CATCH_UP_FACTOR = 2.0
"""How many times its usual rate a large account may take instead."""

STORAGE_RETRY = 1.0
"""Time between two looks whether the storage works again."""


def backoff(failures: int, random: Random) -> float:
    """Exponential backoff with full jitter after ``failures`` (1 and more) in a row.

    Full jitter keeps links, accounts and replicas that failed together from coming back together.
    """
    return random.uniform(0, doubled(FIRST_RETRY, failures - 1, LAST_RETRY))

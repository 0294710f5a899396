"""The figures that the ledger keeps to, and where each comes from. Times are in seconds."""

RATE_LIMIT = 3
"""Identical requests that the provider accepts within a minute (its page: "more than three" is error 9)."""

RATE_WINDOW = 61.0
"""How long an attempt counts after its end: the provider's minute, and a second for clocks that differ."""

MAX_IN_FLIGHT = 14
"""Requests in flight under one login (the provider's page: "fifteen or more" at once is error 9)."""

ABANDONED_TTL = 60.0
"""How long the provider may still work on a request that was given up: nginx's default timeouts are 60 s."""

SEND_BY = 5.0
"""A request leaves within this time after its record was sent to the journal, or not at all.

So a process that finds a record without an end knows how long that request may still count.
"""

LONGEST_TIMEOUT = 60.0
"""How long a request of another process may wait for its answer, where nothing is known of it."""

FAILED_LOGIN_LIMIT = 4
"""Failed logins in ``FAILED_LOGIN_WINDOW`` (the provider's FAQ: five in 30 minutes block the IP address)."""

FAILED_LOGIN_WINDOW = 1801.0
"""How long a failed login counts: the provider's 30 minutes and a second."""

UNVERIFIED_BACKOFF = (30.0, 120.0, 480.0)
"""How long a login that was never accepted waits after its first, second and third unclear end.

An unclear end counts as a failed login, so the few that are allowed must last for a while.
"""

SUSPECT_BACKOFF = 30.0
"""How long a login waits after an unclear end if it was accepted until the host refused another login."""

SUSPECT_PATIENCE = 3
"""Unclear ends in a row at a host after which its suspect logins count as never accepted."""

FIRST_PAUSE = 1800.0
"""The first pause after a block or a refused login: the provider's FAQ names 30 minutes for a block."""

LONGEST_PAUSE = 4 * 3600.0
"""Where the doubling of that pause ends."""

PROBE_EXTENSION = 600.0
"""How much longer a block lasts when its probe gets no answer: blocks last 10 to 30 minutes."""

CIRCUIT_BREAKER_FAILURES = 5
"""Failures of transport in a row that make a login unreachable."""

FIRST_PROBE = 10.0
"""Time from the latest request of a login that became unreachable to its first probe."""

PROBE_INTERVAL = 45.0
"""Where the doubling of that time ends: an outage that ends is noticed within a minute."""

THROTTLE_REST = 61.0
"""How long a link rests after an error 9: the provider's minute and a second."""

LONGEST_THROTTLE_REST = 1800.0
"""Where the doubling of that rest ends."""

VERIFIED_TTL = 3600.0
"""How long after its last accepted request a login is taken as verified by a new process."""

REMEMBERED = LONGEST_PAUSE + FAILED_LOGIN_WINDOW
"""How long a journal keeps what counts for hours: failed logins, pauses, accepted logins."""

REMEMBERED_SHORTLY = 300.0
"""How long a journal keeps everything else: an attempt counts for at most some three minutes."""


def longest_count(timeout: float) -> float:
    """How long a request may still count that was recorded just now and is never heard of again (seconds).

    It leaves late, times out after ``timeout``, is worked on, and the minute counts it to its end.
    """
    return SEND_BY + timeout + ABANDONED_TTL + RATE_WINDOW


def doubled(first: float, times: int, longest: float) -> float:
    """``first`` doubled ``times`` times, at most ``longest``."""
    return float(min(longest, first * 2 ** min(times, 32)))

"""How moments, durations and addresses are written for people."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_STEPS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))

# What the provider tells has no scheme: "smsc.tips/a".
_BARE = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,}(?:/[\w./~%+-]*)?", re.IGNORECASE | re.ASCII)


def rfc3339(moment: float) -> str:
    """A moment (seconds since the epoch) in UTC, such as ``2025-06-15T15:06:40Z``."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc(moment: float) -> str:
    """A moment in UTC as people read it: ``2025-06-15 15:06:40 UTC``."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """Roughly how long, in the largest unit that fits: ``12 s``, ``3 min``, ``2 h``, ``5 d``."""
    whole = int(abs(seconds))
    size, unit = next((step for step in _STEPS if whole >= step[0]), _STEPS[-1])
    return f"{whole // size} {unit}"


def address(short_link: str) -> str | None:
    """Where a short link leads, if it is one that a page may link to: http, https, or without a scheme."""
    if re.match("https?://", short_link, re.IGNORECASE):
        return short_link
    return f"https://{short_link}" if _BARE.fullmatch(short_link) else None

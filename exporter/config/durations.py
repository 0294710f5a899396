"""Durations as Prometheus writes them: ``90s``, ``1h30m``, ``500ms``."""

from __future__ import annotations

import re

_SECONDS = {"y": 31_536_000.0, "w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SHAPE = re.compile("".join(rf"(?:(?P<{unit}>[0-9]+){unit})?" for unit in _SECONDS))
_LONGEST = 100 * _SECONDS["y"]


def parse_duration(text: str) -> float:
    """The duration ``text`` in seconds: whole numbers with the units y, w, d, h, m, s, ms in that order.

    ``0`` needs no unit. Raises ValueError, with a sentence that says what to write, for anything else and
    for more than a hundred years.
    """
    if text == "0":
        return 0.0
    if re.fullmatch("[0-9]{1,9}", text):
        raise ValueError(f"has no unit: write {text}s if it is seconds")
    match = _SHAPE.fullmatch(text)
    if not text or match is None:
        raise ValueError("is not a duration: write whole numbers with units, such as 90s, 5m or 1h30m")
    # float, not int: it takes any number of digits
    seconds = sum(float(count or 0) * _SECONDS[unit] for unit, count in match.groupdict().items())
    if seconds > _LONGEST:
        raise ValueError("is too long: write at most 100y")
    return seconds


def format_duration(seconds: float) -> str:
    """``seconds`` as ``parse_duration`` reads it, in days and smaller units, to the millisecond."""
    rest = round(seconds * 1000)
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, round(_SECONDS[unit] * 1000))
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"

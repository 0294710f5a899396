"""Checks that the times of a file agree: how often links are read, and how old readings may become.

``levels`` are the mappings that a value is inherited through, the outermost first: the file, one of its
accounts, one of that account's links. Each function reports what the innermost level brought about.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

from exporter.config.document import Plain, mapping, sequence
from exporter.config.durations import format_duration, parse_duration
from exporter.config.schema import DEFAULT_INTERVAL, LONGEST_INTERVALS
from exporter.config.values import LEAST_INTERVAL

if TYPE_CHECKING:
    from exporter.config.document import Loc, Report

Section: TypeAlias = dict[str, Plain]

KEYS = ("refresh", "refresh_interval", "min_interval", "max_interval", "stale_after")
"""The keys that are checked at each level."""

LONGEST_WAIT = 1.5
"""Intervals from a reading to the next, once, where the clicks have just made the interval another one."""

_LINK = 3  # levels down to a link


def check_intervals(loc: Loc, levels: list[Section], report: Report) -> None:
    """Report intervals and ages at ``loc`` that contradict each other."""
    if len(levels) < _LINK:
        _check_bounds(loc, levels, report)
    _check_freshness(loc, levels, report)


def _check_bounds(loc: Loc, levels: list[Section], report: Report) -> None:
    """Report bounds that nothing uses, and bounds that exclude ``refresh_interval``, which is the mean."""
    own = levels[-1]
    if not _is_adaptive(levels):
        idle = [key for key in ("min_interval", "max_interval") if key in own and not _used_below(levels)]
        for key in idle:
            message = "only works with refresh: adaptive; write that too, or remove this"
            report.add((*loc, key), message, key=True)
        return
    keys = [key for key in ("refresh_interval", "min_interval", "max_interval", "refresh") if key in own]
    refresh = _seconds(levels, "refresh_interval", DEFAULT_INTERVAL)
    least = _seconds(levels, "min_interval", LEAST_INTERVAL)
    longest = _seconds(levels, "max_interval", LONGEST_INTERVALS * refresh)
    if keys and (clash := _clash(least, refresh, longest)):
        report.add((*loc, keys[0]), clash)


def _clash(least: float, refresh: float, longest: float) -> str | None:
    """What is wrong with an account's intervals; None where one of them is not a number."""
    if math.isnan(least + refresh + longest):
        return None
    shortest, mean, slowest = map(format_duration, (least, refresh, longest))
    if least > longest:
        return f"min_interval ({shortest}) is longer than max_interval ({slowest}): write a shorter one"
    if refresh < least or refresh > longest:
        return (
            f"refresh_interval ({mean}) is the mean of the account's intervals: write one from "
            f"min_interval ({shortest}) to max_interval ({slowest})"
        )
    return None


def _used_below(levels: list[Section]) -> bool:
    """Whether the file's own bounds are for one of its accounts."""
    accounts = (mapping(entry) for entry in sequence(levels[-1].get("accounts")))
    return any(_is_adaptive([*levels, account]) for account in accounts)


def _is_adaptive(levels: list[Section]) -> bool:
    """Whether the clicks decide on intervals here. They do not if a link has its own interval."""
    if len(levels) == _LINK and "refresh_interval" in levels[-1]:
        return False
    text = next((level["refresh"] for level in reversed(levels) if "refresh" in level), None)
    return str(text).casefold() == "adaptive"


def _check_freshness(loc: Loc, levels: list[Section], report: Report) -> None:
    """Report a ``stale_after`` that is not longer than the interval between two readings."""
    keys = [
        key for key in ("stale_after", "refresh_interval", "max_interval", "refresh") if key in levels[-1]
    ]
    if not keys:
        return  # said where it was set
    stale = _seconds(levels, "stale_after", math.inf)
    name, interval = "refresh_interval", _seconds(levels, "refresh_interval", DEFAULT_INTERVAL)
    apart = interval
    if _is_adaptive(levels):
        name, interval = "max_interval", _seconds(levels, "max_interval", LONGEST_INTERVALS * interval)
        name, apart = f"one and a half times {name}", LONGEST_WAIT * interval
    if stale <= apart:
        report.add(
            (*loc, keys[0]),
            f"stale_after ({format_duration(stale)}) must be longer than {name} "
            f"({format_duration(interval)}), or series disappear between readings: "
            f"write stale_after: {format_duration(3 * interval)}",
        )


def _seconds(levels: list[Section], key: str, default: float) -> float:
    """The innermost value of ``key`` in seconds; not a number when it is not a duration."""
    text = next((level[key] for level in reversed(levels) if key in level), None)
    if text is None:
        return default
    with suppress(ValueError):
        return parse_duration(str(text))
    return math.nan

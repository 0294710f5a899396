"""Where the provider's days and months begin.

Moments here are *local seconds*: seconds since 1970-01-01 00:00 by the provider's wall clock, so that a
day begins at every multiple of 86,400.
"""

import re
from datetime import date
from typing import NamedTuple

DAY = 86_400
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")


class Periods(NamedTuple):
    """The beginnings, in local seconds, of the periods that a statistics answer speaks of."""

    yesterday: int
    today: int
    previous_month: int
    month: int


def utc_offset(midnight: str) -> int:
    """Turn the UTC time of day of the provider's midnight into seconds to add to UTC.

    `midnight` is `HH:MM` or `HH:MM:SS`: 21:00 is Moscow's, and gives +3 hours. Of the two dates a time
    of day could belong to, the one that keeps the offset within -12 and +12 hours is meant.
    """
    found = _TIME_OF_DAY.fullmatch(midnight)
    if found is None:
        raise ValueError(
            f"midnight {midnight!r}: write the UTC time of day as HH:MM or HH:MM:SS, such as 21:00"
        )
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    behind = hours * 3600 + minutes * 60 + seconds
    return DAY - behind if behind >= DAY // 2 else -behind


class Calendar:
    """The provider's calendar: a fixed distance from UTC, without summer time, as in Moscow."""

    def __init__(self, midnight: str) -> None:
        self._offset = utc_offset(midnight)
        self._day: int | None = None
        self._periods = Periods(0, 0, 0, 0)

    def local(self, moment: float) -> float:
        """Return local seconds for a moment in seconds since the epoch."""
        return moment + self._offset

    def periods(self, local: float) -> Periods:
        """Return the periods around a moment given in local seconds."""
        day = int(local // DAY)
        # Every request asks, and the answer changes once a day.
        if day != self._day:
            self._day, self._periods = day, _periods(day)
        return self._periods


def _periods(day: int) -> Periods:
    month = date.fromordinal(_EPOCH_ORDINAL + day).replace(day=1)
    previous_month = date.fromordinal(month.toordinal() - 1).replace(day=1)
    return Periods((day - 1) * DAY, day * DAY, _local(previous_month), _local(month))


def _local(day: date) -> int:
    return (day.toordinal() - _EPOCH_ORDINAL) * DAY

"""The readings that an exporter could put back, should Redis have forgotten them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from exporter.store.redis_script import key_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.model import Snapshot
    from exporter.store.backend import Kept

    Key = tuple[str, str]
    Taken: TypeAlias = "tuple[Snapshot | Kept, float | None]"

SLICE = 100
"""Readings put back in one round trip: neither we nor Redis are held up by them for ten milliseconds."""

PAUSE = 0.05
"""Seconds between two slices: 100,000 readings take a minute."""


class Readings:
    """The latest reading of each link, ours or another exporter's, and when it was taken (monotonic).

    ``owed`` says whether there are any that Redis may not have.
    """

    def __init__(self) -> None:
        self._latest: dict[Key, Taken] = {}
        self._owed: dict[Key, None] = {}

    @property
    def owed(self) -> int:
        """How many."""
        return len(self._owed)

    def hear(self, known: Snapshot | Kept, taken: float | None) -> None:
        """Takes a reading; one that is older than what is known is none."""
        key = key_of(known)
        before = self._latest.get(key)
        if before is None or (taken or 0.0) >= (before[1] or 0.0) or before[0].target != known.target:
            self._latest[key] = known, taken

    def owe(self, keys: Iterable[Key]) -> None:
        """Redis has yet to be told of these."""
        self._owed |= dict.fromkeys(keys)

    def owe_all(self) -> None:
        """Redis has forgotten everything."""
        self.owe(self._latest)

    def slice(self) -> dict[Key, Taken]:
        """Takes the next few that are owed."""
        keys = [key for key, _ in zip(self._owed, range(SLICE), strict=False)]
        for key in keys:
            del self._owed[key]
        return {key: self._latest[key] for key in keys}

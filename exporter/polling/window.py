"""One link's attempts in the provider's sliding minute."""

from __future__ import annotations

from math import inf

from exporter.rules import ATTEMPTS, SPAN


class Window:
    """The attempts for one link that the provider may still be counting.

    The provider counts a request at some moment between its leaving us and its end. An attempt therefore
    counts until ``SPAN`` after its *end*, while a new one counts from its *sending*: whatever the network
    does to either, a fourth never falls into the minute of the first.
    """

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends: tuple[float, ...] = ()

    def free_at(self, now: float) -> float:
        """The earliest time, ``now`` or later, at which one more attempt may be sent."""
        self._ends = tuple([end for end in self._ends if end + SPAN > now])
        if len(self._ends) < ATTEMPTS:
            return now
        return sorted(self._ends)[-ATTEMPTS] + SPAN

    def begin(self) -> None:
        """An attempt leaves: it counts without end until it is known to have ended."""
        self._ends += (inf,)

    def end(self, at: float) -> None:
        """The attempt in flight ended ``at``; the provider cannot count it later than that."""
        self.cancel()
        self._ends += (at,)

    def cancel(self) -> None:
        """The attempt did not leave after all."""
        ends = list(self._ends)
        ends.remove(inf)
        self._ends = tuple(ends)

    def idle(self, now: float) -> bool:
        """Whether the provider counts nothing any more, so that the window may be forgotten."""
        return all(end + SPAN <= now for end in self._ends)

"""Requests that the provider may still count: three a minute for a link, fourteen at once for a login."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import TypeVar

from exporter.limits.constants import ABANDONED_TTL, MAX_IN_FLIGHT, RATE_LIMIT, RATE_WINDOW, SEND_BY
from exporter.limits.events import Request
from exporter.model import Target

Key = TypeVar("Key")


@dataclass(slots=True, eq=False)
class Attempt:
    """One request, from its record until it does not count any more.

    ``order`` shows which of two requests was sent first. The request holds a place among the fourteen until
    ``counts_until``, and counts in the minute for ``RATE_WINDOW`` longer. ``open`` is true until its end is
    known. Its sender may wait for an answer until ``live_until``.
    """

    request: Request
    number: int
    order: int
    counts_until: float
    live_until: float
    open: bool = True

    def end(self, at: float, *, abandoned: bool) -> None:
        """The client stopped waiting at ``at``; the provider may still work on an abandoned request."""
        self.open = False
        self.counts_until = at + ABANDONED_TTL if abandoned else at


class Attempts:
    """All attempts that may still count, by number, by link and by login."""

    def __init__(self) -> None:
        self.order = 0
        self._by_number: dict[int, Attempt] = {}
        self._by_link: dict[tuple[str, Target], dict[int, Attempt]] = {}
        self._by_login: dict[str, dict[int, Attempt]] = {}
        self._in_order: deque[Attempt] = deque()

    def get(self, number: int) -> Attempt | None:
        """The attempt of that number, if it is still remembered."""
        return self._by_number.get(number)

    def add_own(self, request: Request, number: int) -> Attempt:
        """Counts a request of this process until ``Attempt.end`` is called, which always happens."""
        return self._add(request, number, inf, inf)

    def add_recorded(self, request: Request, number: int, at: float, *, orphan: bool) -> Attempt:
        """Counts a request that another process recorded at ``at``, until it must have ended.

        At worst it left late, timed out, and the provider went on working on it.
        """
        timed_out = at + SEND_BY + request.timeout
        return self._add(request, number, timed_out + ABANDONED_TTL, -inf if orphan else timed_out)

    def _add(self, request: Request, number: int, counts_until: float, live_until: float) -> Attempt:
        self.order += 1
        attempt = Attempt(request, number, self.order, counts_until, live_until)
        link = request.login, request.target
        self._by_number[number] = attempt
        self._by_link.setdefault(link, {})[number] = attempt
        self._by_login.setdefault(request.login, {})[number] = attempt
        self._in_order.append(attempt)
        return attempt

    def withdraw(self, attempt: Attempt) -> None:
        """Counts an attempt no more: it was never sent.

        It has no end, and would keep later attempts from being forgotten.
        """
        self._remove(attempt)
        attempt.counts_until = -inf

    def _remove(self, attempt: Attempt) -> None:
        if self._by_number.pop(attempt.number, None) is not None:
            _discard(self._by_link, (attempt.request.login, attempt.request.target), attempt.number)
            _discard(self._by_login, attempt.request.login, attempt.number)

    def minute_at(self, request: Request, now: float, assumed: tuple[float, ...] = ()) -> float:
        """When the provider's minute allows one more request for the link: ``now`` or later.

        ``assumed`` are the ends of requests that may have been sent without a record.
        """
        known = self._by_link.get((request.login, request.target), {}).values()
        ends = sorted([*(one.counts_until for one in known), *assumed])
        return now if len(ends) < RATE_LIMIT else max(now, ends[-RATE_LIMIT] + RATE_WINDOW)

    def place_at(self, login: str, now: float) -> float:
        """When one of the login's fourteen places is free: ``now`` or later."""
        places = self._places(login, now)
        if len(places) < MAX_IN_FLIGHT:
            return now
        return sorted(one.counts_until for one in places)[-MAX_IN_FLIGHT]

    def in_flight(self, login: str, now: float) -> int:
        """How many requests of the login wait for an answer; those of other processes for ``SEND_BY`` only.

        Another process may have died, and then its requests hold a place among the fourteen for minutes.
        """
        places = self._places(login, now)
        return sum(one.open and one.live_until - one.request.timeout > now for one in places)

    def _places(self, login: str, now: float) -> list[Attempt]:
        """The login's attempts that hold a place; drops the others."""
        there = self._by_login.get(login, {})
        for number in [one.number for one in there.values() if one.counts_until <= now]:
            del there[number]
        return list(there.values())

    def forget(self, now: float) -> Iterable[Attempt]:
        """Drops attempts that do not count any more; returns those whose end never became known."""
        lost = []
        while self._in_order and self._in_order[0].counts_until + RATE_WINDOW <= now:
            attempt = self._in_order.popleft()
            if attempt.open and attempt.number in self._by_number:
                lost.append(attempt)
            self._remove(attempt)
        return lost


def _discard(index: dict[Key, dict[int, Attempt]], key: Key, number: int) -> None:
    """Removes an attempt from one index, and a key without attempts, so that memory stays bounded."""
    there = index.get(key, {})
    there.pop(number, None)
    if not there:
        index.pop(key, None)

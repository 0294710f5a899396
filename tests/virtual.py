"""An event loop whose time is virtual: sleeping costs nothing, an hour passes in a moment."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

START = 1_750_000_000.0  # a Sunday afternoon in June 2025


class VirtualClock:
    """Both clocks of the exporter; ``step`` sets the wall clock as an administrator would."""

    def __init__(self, start: float = START) -> None:
        self.elapsed = 1000.0
        self.slept = 0.0
        self.offset = start - self.elapsed

    def monotonic(self) -> float:
        return self.elapsed + self.slept

    def time(self) -> float:
        return self.elapsed + self.offset

    def advance(self, seconds: float) -> None:
        self.elapsed += seconds

    def sleep(self, seconds: float) -> None:
        """The machine is suspended: the event loop's clock stands still, the others go on."""
        self.slept += seconds
        self.offset += seconds

    def step(self, seconds: float) -> None:
        self.offset += seconds


ROUNDS, MOMENT = 1000, 1e-9
"""After so many rounds of the loop that take no time, each takes a moment (seconds).

Otherwise two tasks that wait for less than the loop can measure keep each other awake for ever.
"""


class _Selector(selectors.SelectSelector):
    """Where a real loop would sleep, the clock moves on instead."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self._rounds = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits for ever")
        self._rounds = 0 if timeout else self._rounds + 1
        self._clock.advance(MOMENT if self._rounds > ROUNDS else timeout)
        return []  # nothing but tasks: no file and no thread has anything to say


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(_Selector(clock))
        self._virtual = clock

    def time(self) -> float:
        return self._virtual.elapsed


def run(clock: VirtualClock, main: Coroutine[Any, Any, T]) -> T:
    """Runs ``main`` in virtual time."""
    with asyncio.Runner(loop_factory=lambda: _VirtualLoop(clock)) as runner:
        return runner.run(main)

"""Much work on the event loop, in pieces so short that nobody waits for long."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SLICE = 50
"""Steps in one piece, each of some microseconds, a link's lines being the most: a millisecond or two."""


def at_once(steps: Iterable[object]) -> None:
    """Takes all ``steps`` in one go, where nobody waits."""
    deque(steps, maxlen=0)


async def in_slices(steps: Iterable[object]) -> None:
    """Takes all ``steps``; others go on after every few of them."""
    for number, _ in enumerate(steps, 1):
        if number % SLICE == 0:
            await asyncio.sleep(0)

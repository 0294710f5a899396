"""Waits for expired values to be withdrawn, a few links at a time, so that all else goes on meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from exporter.slices import SLICE

if TYPE_CHECKING:
    from exporter.exposition import Exposition


class Ageing:
    """Sees to it that what is read of ``exposition`` next need not withdraw much itself."""

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition
        self._turn = asyncio.Lock()

    async def caught_up(self) -> None:
        """Returns once nothing is left to withdraw. However many wait, one at a time does the work."""
        async with self._turn:
            while self._exposition.withdraw(SLICE):  # noqa: ASYNC110 - others go on meanwhile
                await asyncio.sleep(0)

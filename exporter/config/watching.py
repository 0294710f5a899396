"""Follows the files of the configuration: a change is a reload.

It looks every few seconds. The system's own notices do not cover network disks, nor what is behind symbolic
links, where Kubernetes keeps ConfigMaps and Secrets.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from exporter.config.sources import Sources

log = structlog.stdlib.get_logger(__name__)

PERIOD = 3.0
"""Seconds between two looks. A change takes effect when two looks in a row find the same."""


class Watcher:
    """Looks at the files of the latest load, which ``sources`` gives.

    A load that failed is followed too: a change of a file that only it names may correct the error.
    """

    def __init__(
        self,
        sources: Callable[[], Sources],
        reload: Callable[[], Awaitable[object]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._sources = sources
        self._reload = reload
        self._sleep = sleep

    async def watch(self) -> None:
        """Watches until it is cancelled. A file that is being written is left alone until it is whole."""
        before = self._sources().seen
        while True:
            await self._sleep(PERIOD)
            try:
                sources = self._sources()
                now = await asyncio.to_thread(sources.look)
                if now == before and now != sources.seen:
                    await self._reload()
                before = now
            except Exception:
                log.exception("watching_crashed")

"""Follows the files of the configuration: a change is a reload.

It looks every few seconds. The system's own notices do not cover network disks, nor what is behind symbolic
links, where Kubernetes keeps ConfigMaps and Secrets.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from exporter.config.sources import Signature, Sources

log = structlog.stdlib.get_logger(__name__)

PERIOD = 3.0
"""Seconds between two looks. A change is taken when two looks in a row find the same."""


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
        followed = self._sources()
        before: Mapping[str, Signature | None] = followed.seen
        tried = before
        while True:
            await self._sleep(PERIOD)
            try:
                if (sources := self._sources()) is not followed:
                    # A reload, whoever asked for it, has read these.
                    followed, tried = sources, sources.seen
                now = await asyncio.to_thread(followed.look)
                if now == before and now != tried:
                    tried = now
                    await self._reload()
                before = now
            except Exception:
                log.exception("watching_crashed")

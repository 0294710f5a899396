"""Watches link files: what changes in them is taken without a signal.

It asks for what is there every few seconds rather than being told by the system, which knows nothing of what
others do on a network disk and little of what is behind symbolic links, where Kubernetes keeps ConfigMaps.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from exporter.config import look

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from exporter.config import Config, LinkFile, Listing

log = structlog.stdlib.get_logger(__name__)

PERIOD = 3.0
"""Seconds between two looks. A change is taken at the second look that finds it."""

_MOST_TOLD = 20


class Watcher:
    """Looks at the link files of the configuration it follows; ``switch`` gets the one their changes make."""

    def __init__(
        self,
        switch: Callable[[Config], Awaitable[None]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._switch = switch
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None

    def follow(self, config: Config) -> None:
        """Watches the link files of ``config`` from now on, and no others."""
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.create_task(self._watch(config))

    async def close(self) -> None:
        """Stops watching. A look that waits for a disk is not waited for."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self, config: Config) -> None:
        seen = config.listing
        while True:
            await self._sleep(PERIOD)
            try:
                config, seen = await self._look(config, seen)
            except Exception:
                log.exception("watching_crashed")

    async def _look(self, former: Config, before: Listing) -> tuple[Config, Listing]:
        config, seen = await asyncio.to_thread(look, former, before)
        if config is not former:
            _tell(former, config)
            await self._switch(config)
        return config, seen


def _tell(former: Config, config: Config) -> None:
    """Says what has changed, once."""
    before, now = ({(file.account, file.name): file for file in each.link_files} for each in (former, config))
    for account, name in before.keys() - now.keys():
        log.info("link_file_gone", account=account, file=name)
    for key, file in now.items():
        if file != before.get(key):
            _tell_file(file, before.get(key))
    for warning in set(config.warnings) - set(former.warnings):
        log.warning("config_warning", warning=str(warning))


def _tell_file(file: LinkFile, before: LinkFile | None) -> None:
    names = {"account": file.account, "file": file.name}
    if not file.faults:
        log.info("link_file_loaded", **names, links=len(file.links))
    elif before is None or file.faults != before.faults:
        for fault in file.faults[:_MOST_TOLD]:
            log.error("link_file_refused", **names, fault=str(fault))
        if len(file.faults) > _MOST_TOLD:
            log.error("link_file_refused", **names, more_faults=len(file.faults) - _MOST_TOLD)

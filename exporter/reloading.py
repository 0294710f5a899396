"""Reloads everything that can change, in one way, whoever asks for it."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import structlog

from exporter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from exporter.config import Config

log = structlog.stdlib.get_logger(__name__)


class Reloader:
    """Loads the configuration on a thread and applies it.

    ``load`` gets the configuration in force, because link files with errors keep their old links.
    ``failed`` is called when the old configuration stays.
    """

    def __init__(
        self,
        load: Callable[[Config], Config],
        apply: Callable[[Config], Awaitable[None]],
        failed: Callable[[], None],
        config: Config,
    ) -> None:
        self.config = config
        self._load = load
        self._apply = apply
        self._failed = failed
        self._lock = asyncio.Lock()
        self._waiting: asyncio.Future[tuple[str, ...]] | None = None

    async def reload(self) -> tuple[str, ...]:
        """Reloads; returns the errors that kept the old configuration in force.

        Calls that come while a reload runs share the next one.
        """
        if self._waiting is None:
            self._waiting = asyncio.ensure_future(self._reload_next())
        return await asyncio.shield(self._waiting)

    async def _reload_next(self) -> tuple[str, ...]:
        async with self._lock:
            self._waiting = None
            errors = await self._reload()
        for error in errors:
            log.error("reload_failed", error=error)
        if errors:
            self._failed()
        return errors

    async def _reload(self) -> tuple[str, ...]:
        try:
            config = await asyncio.to_thread(without_searches, self._load, self.config)
            await self._apply(config)
        except ConfigError as error:
            return tuple(str(fault) for fault in error.faults)
        except Exception as error:
            log.exception("reload_crashed")
            return (f"the reload ended with a {type(error).__name__}: the log says more",)
        log_changes(self.config, config)
        self.config = config
        return ()


def without_searches(load: Callable[[Config], Config], config: Config) -> Config:
    """Loads without garbage collection, which would stop the event loop for a long time.

    The new configuration stays in memory, so later collections leave it out.
    """
    gc.disable()
    try:
        return load(config)
    finally:
        gc.freeze()
        gc.enable()


def log_changes(before: Config, now: Config) -> None:
    """Logs what a reload changed, and what it could not."""
    log.info("reloaded", **size_of(now))
    if now.storage_url != before.storage_url:
        log.warning("storage_unchanged", reason="another storage takes effect at the next start")
    known = {(file.account, file.name): file.faults for file in before.link_files}
    for file in now.link_files:
        if file.faults != known.get((file.account, file.name), ()):
            for fault in file.faults[:_MOST_LOGGED]:
                log.error("link_file_refused", account=file.account, file=file.name, error=str(fault))
            if (more := len(file.faults) - _MOST_LOGGED) > 0:
                log.error("link_file_refused", account=file.account, file=file.name, more_errors=more)
    for warning in set(now.warnings) - set(before.warnings):
        log.warning("config_warning", warning=str(warning))


_MOST_LOGGED = 20
"""Errors of a link file that are logged one by one."""


def size_of(config: Config) -> dict[str, int]:
    """How many accounts and links there are, for the log."""
    return {"accounts": len(config.accounts), "links": sum(len(account.links) for account in config.accounts)}

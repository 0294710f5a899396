"""Loads everything that can change, at the start and at each reload, whoever asks for it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from exporter import config, webconfig
from exporter.config import Config, Sources
from exporter.errors import ConfigError, Fault, printable
from exporter.webconfig import WebConfig

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The configuration and, if there is one, the web configuration."""

    config: Config
    web: WebConfig | None = None

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """The warnings about both."""
        return (*self.config.warnings, *(self.web.warnings if self.web else ()))


class Loader:
    """Loads the configuration at ``path``, with ``environ``, and the web configuration at ``web_path``.

    ``sources`` are the files that the latest load looked at, whether it failed or not.
    """

    def __init__(self, path: str | Path, environ: Mapping[str, str], web_path: str | None = None) -> None:
        self.sources = Sources()
        self._path = path
        self._environ = environ
        self._web_path = web_path

    def load(self, in_force: Loaded | None = None) -> Loaded:
        """Loads both. Raises ConfigError with the errors of both.

        Link files with errors keep the links that they have ``in_force``. Blocks.
        """
        sources = Sources()
        last_good = in_force.config if in_force else None
        try:
            loaded = _attempt(partial(config.load, self._path, self._environ, last_good, sources))
            web = _attempt(partial(self._load_web, in_force, sources))
        finally:
            self.sources = sources
        if isinstance(loaded, ConfigError) or isinstance(web, ConfigError):
            both = [each for each in (loaded, web) if each]
            faults = [fault for each in both if isinstance(each, ConfigError) for fault in each.faults]
            raise ConfigError(faults, [warning for each in both for warning in each.warnings])
        return Loaded(loaded, web)

    def _load_web(self, in_force: Loaded | None, sources: Sources) -> WebConfig | None:
        if not self._web_path:
            return None
        web = webconfig.load(self._web_path, sources)
        before = in_force.web if in_force else None
        if before and (web.tls is None) is not (before.tls is None):
            verb = "added" if web.tls else "removed"
            message = f"cannot be {verb} while the exporter runs: restart it"
            raise ConfigError([Fault(self._web_path, 0, 0, "tls_server_config", message)], web.warnings)
        return web


def _attempt(load: Callable[[], T]) -> T | ConfigError:
    try:
        return load()
    except ConfigError as error:
        return error


class Reloader:
    """Loads the configuration on a thread and applies it.

    ``load`` gets what is ``in_force``, because link files with errors keep their old links. ``failed`` is
    called when all of that stays.
    """

    def __init__(
        self,
        load: Callable[[Loaded], Loaded],
        apply: Callable[[Config], Awaitable[None]],
        failed: Callable[[], None],
        in_force: Loaded,
    ) -> None:
        self.in_force = in_force
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
        _log_errors("reload_failed", errors)
        if errors:
            self._failed()
        return errors

    async def _reload(self) -> tuple[str, ...]:
        try:
            with without_collections():
                loaded = await asyncio.to_thread(self._load, self.in_force)
                await self._apply(loaded.config)
        except ConfigError as error:
            return tuple(str(fault) for fault in error.faults)
        except Exception as error:
            log.exception("reload_crashed")
            return (f"the reload ended with a {type(error).__name__}: the log says more",)
        log_changes(self.in_force, loaded)
        self.in_force = loaded
        return ()


@contextmanager
def without_collections() -> Iterator[None]:
    """Does without garbage collection, which would stop the event loop for a long time.

    What a success leaves stays in memory, so later collections leave it out.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def log_changes(before: Loaded, now: Loaded) -> None:
    """Logs what a reload changed, and what it could not."""
    log.info("reloaded", **size_of(now.config))
    if now.config.storage_url != before.config.storage_url:
        log.warning("storage_unchanged", reason="another storage takes effect at the next start")
    _log_link_files(before.config, now.config)
    for warning in set(now.warnings) - set(before.warnings):
        log.warning("config_warning", warning=str(warning))


def _log_link_files(before: Config, now: Config) -> None:
    """Logs the errors of link files, and that a file has none any more, once for each change."""
    known = {(file.account, file.name): file.faults for file in before.link_files}
    for file in now.link_files:
        name = printable(file.name)
        if file.faults == known.get((file.account, file.name), ()):
            continue
        if not file.faults:
            log.info("link_file_recovered", account=file.account, file=name)
        _log_errors("link_file_refused", file.faults, account=file.account, file=name)


_MOST_LOGGED = 20
"""Errors that are logged one by one."""


def _log_errors(event: str, errors: Sequence[str | Fault], **about: str) -> None:
    for error in errors[:_MOST_LOGGED]:
        log.error(event, **about, error=str(error))
    if (more := len(errors) - _MOST_LOGGED) > 0:
        log.error(event, **about, more_errors=more)


def size_of(config: Config) -> dict[str, int]:
    """How many accounts and links there are, for the log."""
    return {"accounts": len(config.accounts), "links": sum(len(account.links) for account in config.accounts)}

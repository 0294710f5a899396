"""The web configuration as its files have it now."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING

import structlog

from exporter.errors import ConfigError, Fault, load_both
from exporter.webconfig.load import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from exporter.webconfig.load import WebConfig

    T = TypeVar("T")

log = structlog.stdlib.get_logger(__name__)

INTERVAL = 1.0
"""Seconds between two looks at the files."""


class Live:
    """Holds the latest web configuration without faults in ``config``; reads it when made.

    Raises ConfigError then; later, errors leave what there was and are logged once.
    """

    def __init__(self, path: str, load: Callable[[str], WebConfig] = load) -> None:
        self._path = path
        self._load = load
        self._reading = threading.Lock()
        self._said: str | None = None
        self.config = load(path)

    @property
    def successful(self) -> bool:
        """Whether the files had no error when they were last read."""
        return self._said is None

    async def watch(self, interval: float = INTERVAL) -> None:
        """Looks every ``interval`` seconds, on a thread: a disk that hangs delays nothing else."""
        while True:
            await asyncio.sleep(interval)
            try:
                await asyncio.to_thread(self._look)
            except Exception:
                log.exception("web_config_crashed")

    def along(self, load: Callable[[T], T]) -> Callable[[T], T]:
        """A ``load`` that reads the web configuration as well: for a reload that was asked for.

        It raises ConfigError with the errors of both, and then takes neither.
        """

        def both(in_force: T) -> T:
            loaded, found = load_both(partial(load, in_force), self._read)
            self._take(found)
            return loaded

        return both

    def read(self) -> None:
        """Reads the files now. Raises ConfigError with their errors, and keeps what there was."""
        self._take(self._read())

    def _read(self) -> WebConfig:
        with self._reading:
            found = self._load(self._path)
        if (found.tls is None) is not (self.config.tls is None):
            verb = "added" if found.tls else "removed"
            message = f"cannot be {verb} while the exporter runs: restart it"
            raise ConfigError([Fault(self._path, 0, 0, "tls_server_config", message)])
        return found

    def _take(self, found: WebConfig) -> None:
        # Should what was read later have been taken before, its files differ from these: it is read again.
        self.config = found
        self._said = None

    def _look(self) -> None:
        # Files with an error are read each time: the correction may be in a file that only they name.
        if self.successful and not self.config.files.changed():
            return
        try:
            self.read()
        except ConfigError as error:
            self._complain(error)
        else:
            log.info("web_config_reloaded")

    def _complain(self, error: ConfigError) -> None:
        if str(error) != self._said:
            self._said = str(error)
            for fault in error.faults:
                log.error("web_config_failed", error=str(fault))

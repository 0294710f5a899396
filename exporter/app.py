"""Builds the exporter from its parts, starts it, reloads it and stops it."""

from __future__ import annotations

import asyncio
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from aiohttp import web as aiohttp_web

from exporter import __version__, listen, web
from exporter.client import Client, open_session
from exporter.clock import SystemClock
from exporter.errors import ConfigError
from exporter.exposition import Exposition
from exporter.pacing import Pacing
from exporter.poller import Poller
from exporter.store import Store, backend_for
from exporter.telemetry import Telemetry
from exporter.watch import Watcher

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    import aiohttp
    from pydantic import SecretStr

    from exporter.clock import Clock
    from exporter.config import Config

log = structlog.stdlib.get_logger(__name__)

SCRAPE_GRACE = 2.0
"""Seconds that scrapes in flight get to finish when the exporter stops."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says of serving."""

    listen_addresses: tuple[tuple[str, int], ...] = (("", 10145),)
    telemetry_path: str = "/metrics"


class Exporter:
    """All parts together. ``apply`` gives them a configuration, the first one or another."""

    def __init__(self, session: aiohttp.ClientSession, storage_url: SecretStr, clock: Clock) -> None:
        self._clock = clock
        self._storage_url = storage_url
        self._stopping = False
        self.exposition = Exposition(clock)
        self.store = Store(backend_for(storage_url, clock), self.exposition.update)
        self.telemetry = Telemetry(lambda: self.poller.statuses(), lambda: self.store.backend.up)
        self._scrape = web.Scrape(self.exposition, self.telemetry.registry)
        pacing = Pacing(clock.time() - clock.monotonic())
        self.poller = Poller(pacing, self.store, Client(session).fetch, self.telemetry, clock)
        self._watcher = Watcher(self._switch)

    def apply(self, config: Config) -> None:
        """Switches to ``config`` at once; links that stay keep their readings, budgets and pauses."""
        self._switch(config)
        self._watcher.follow(config)
        self.telemetry.reloaded(self._clock.time())
        for warning in config.warnings:
            log.warning("config_warning", warning=str(warning))

    def _switch(self, config: Config) -> None:
        """The same, where only link files have changed."""
        snapshots = self.store.configure(link for account in config.accounts for link in account.links)
        self.exposition.configure(config.accounts, snapshots)
        self.telemetry.configure(config.accounts)
        self.telemetry.link_files({(file.account, file.name): not file.faults for file in config.link_files})
        self.poller.configure(config.accounts)

    async def reload(self, load: Callable[[], Config]) -> None:
        """Loads the configuration again; if it has faults, the old one stays."""
        try:
            config = await asyncio.to_thread(load)
        except ConfigError as error:
            self.telemetry.reloaded(None)
            for fault in error.faults:
                log.error("reload_failed", fault=str(fault))  # noqa: TRY400 - the fault says it all
        except Exception:
            self.telemetry.reloaded(None)
            log.exception("reload_crashed")
        else:
            if config.storage_url != self._storage_url:
                log.warning("storage_unchanged", reason="another storage takes effect at the next start")
            self.apply(config)
            log.info("reloaded", **_size(config))

    def web_app(self, telemetry_path: str) -> aiohttp_web.Application:
        """What is answered over HTTP."""
        health = web.Health(alive=self.poller.broken, ready=self._not_ready)
        return web.make_app(self._scrape, health, telemetry_path)

    def _not_ready(self) -> str | None:
        return "stopping" if self._stopping else self.poller.broken()

    async def close(self) -> None:
        """Stops polling and writes what is still to be written."""
        self._stopping = True
        self._scrape.close()
        await self._watcher.close()
        await self.poller.close()
        await self.store.backend.close()


def _size(config: Config) -> dict[str, int]:
    return {"accounts": len(config.accounts), "links": sum(len(account.links) for account in config.accounts)}


async def serve(
    options: Options, config: Config, load: Callable[[], Config], started: Callable[[list[str]], None]
) -> None:
    """Runs until SIGTERM or SIGINT; SIGHUP calls ``load`` for a new configuration.

    ``started`` is told the URLs once they answer. Raises ``OSError`` if an address cannot be had, and
    ``StorageError`` if it would not be safe to begin.
    """
    signals = Signals()
    sockets = [listen.open_socket(*address) for address in options.listen_addresses]
    clock = SystemClock()
    async with open_session() as session:
        exporter = Exporter(session, config.storage_url, clock)
        await exporter.store.open()
        exporter.apply(config)
        runner = aiohttp_web.AppRunner(
            exporter.web_app(options.telemetry_path), access_log=None, shutdown_timeout=SCRAPE_GRACE
        )
        await runner.setup()
        urls = [await _listen(runner, sock) for sock in sockets]
        log.info("started", version=__version__, **_size(config))
        started(urls)
        try:
            await signals.until_stopped(lambda: exporter.reload(load))
        finally:
            log.info("stopping")
            await asyncio.gather(exporter.close(), runner.cleanup())


async def _listen(runner: aiohttp_web.AppRunner, sock: socket.socket) -> str:
    await aiohttp_web.SockSite(runner, sock).start()
    url = listen.url_of(sock)
    log.info("listening", url=url)
    return url


class Signals:
    """SIGTERM, SIGINT and SIGHUP, caught from the moment this is made. To be made inside the event loop."""

    def __init__(self) -> None:
        self._caught: asyncio.Queue[signal.Signals] = asyncio.Queue()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._caught.put_nowait, number)

    async def until_stopped(self, reload: Callable[[], Awaitable[None]]) -> None:
        """Returns on SIGTERM or SIGINT; each SIGHUP calls ``reload``, one after the other."""
        reloading: asyncio.Future[None] = asyncio.Future()
        reloading.set_result(None)
        while await self._caught.get() is signal.SIGHUP:
            reloading = asyncio.ensure_future(_after(reloading, reload))
        # A reload may be waiting for a slow file: it is not waited for.
        reloading.cancel()


async def _after(former: asyncio.Future[None], reload: Callable[[], Awaitable[None]]) -> None:
    await former
    await reload()


class Workers(ThreadPoolExecutor):
    """Threads for name lookups and files. The end does not wait for them: a name server may never answer."""

    def __init__(self) -> None:
        super().__init__(thread_name_prefix="worker")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more work, and waits for none."""
        super().shutdown(wait=False, cancel_futures=True)

    def stuck(self, patience: float = 0.5) -> bool:
        """Whether, after ``patience`` seconds, a thread still has not come to its end."""
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("worker")]
        for thread in threads:
            thread.join(patience / len(threads))
        return any(thread.is_alive() for thread in threads)

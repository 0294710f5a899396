"""Builds the exporter from its parts, starts it, reloads it and stops it."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from operator import attrgetter
from typing import TYPE_CHECKING

import structlog

from exporter import __version__, web
from exporter.clock import SystemClock
from exporter.config.watching import Watcher
from exporter.errors import ConfigError
from exporter.exposition import Exposition
from exporter.garbage import free_recent, leave_out, settle, uncollected
from exporter.polling import Pacing
from exporter.polling.poller import Poller
from exporter.provider.client import Client, open_session
from exporter.slices import in_slices
from exporter.store import Store, backend_for
from exporter.telemetry import LoadedFile, Telemetry
from exporter.web import listen
from exporter.web.ageing import Ageing
from exporter.web.server import Server

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    import aiohttp
    from aiohttp import web as aiohttp_web
    from pydantic import SecretStr

    from exporter.clock import Clock
    from exporter.config import Config
    from exporter.model import Account
    from exporter.webconfig import Live

log = structlog.stdlib.get_logger(__name__)

SWITCH = 0.001
"""Seconds after which a thread that loads a configuration gives way to the event loop; of itself 0.005."""

SETTLING = 100
"""At the start, and at one reload in so many, garbage is searched for everywhere: 0.1 s with 10,000 links."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says of serving."""

    listen_addresses: tuple[tuple[str, int], ...] = (("", 10145),)
    telemetry_path: str = "/metrics"
    health_addresses: tuple[tuple[str, int], ...] = ()
    enable_lifecycle: bool = False
    max_requests: int = web.MAX_REQUESTS


class Exporter:
    """All parts together. ``apply`` gives them a configuration, the first one or another."""

    def __init__(self, session: aiohttp.ClientSession, storage_url: SecretStr, clock: Clock) -> None:
        self._clock = clock
        self._storage_url = storage_url
        self._stopping = False
        self._reloading = asyncio.Lock()
        self._switching = asyncio.Lock()
        self._switches = count()
        self.exposition = Exposition(clock)
        self.store = Store(backend_for(storage_url, clock), self.exposition.update)
        self.telemetry = Telemetry(lambda: self.poller.statuses(), lambda: self.store.backend.up)
        self._scrape = web.Scrape(self.exposition, self.telemetry.registry, clock)
        self._health = web.Health(alive=lambda: self.poller.broken(), ready=self._not_ready)
        pacing = Pacing(clock.time() - clock.monotonic())
        self.poller = Poller(pacing, self.store, Client(session).fetch, self.telemetry, clock)
        self._page = web.StatusPage(self.exposition, self.poller, self.telemetry, clock, self._not_ready)
        self._watcher = Watcher(self._switch_files)

    async def apply(self, config: Config) -> None:
        """Switches to ``config``; links that stay keep their readings, budgets and pauses.

        What is served changes all at once. Scrapes and polls go on meanwhile.
        """
        await self._switch(config)
        self._watcher.follow(config)
        self.telemetry.reloaded(self._clock.time())
        for warning in config.warnings:
            log.warning("config_warning", warning=str(warning))

    async def _switch_files(self, config: Config) -> None:
        """The same, where only link files have changed."""
        free_recent()
        await self._switch(config)

    async def _switch(self, config: Config) -> None:
        async with self._switching:
            with uncollected():
                draft = await self._prepared(config.accounts)
                left_to_do = self._show(config, draft)
                await in_slices(left_to_do)
            tidy = leave_out if next(self._switches) % SETTLING else settle
            tidy()

    async def _prepared(self, accounts: tuple[Account, ...]) -> Exposition:
        """What will be shown of ``accounts``. The store follows it until it is shown."""
        await Ageing(self.exposition).caught_up()
        draft = self.exposition.draft(accounts)
        links = (link for account in accounts for link in account.links)
        await in_slices(self.store.draft(links, draft.update))
        return draft

    def _show(self, config: Config, draft: Exposition) -> Iterator[None]:
        """Shows what was prepared, all in one moment. Returns what is to be done after that."""
        self.store.switch()
        freeing = self.exposition.become(draft)
        self.telemetry.configure(config.accounts)
        self.telemetry.link_files(
            LoadedFile(file.account, file.name, not file.faults) for file in config.link_files
        )
        return chain(freeing, self.poller.configure(config.accounts))

    async def reload(self, load: Callable[[], Config]) -> tuple[str, ...]:
        """Loads the configuration again; if it has faults, the old one stays. Returns the faults.

        Reloads that are asked for meanwhile begin when this one has ended, in order.
        """
        async with self._reloading:
            free_recent()  # before there is a new configuration to be searched, too
            try:
                config = await asyncio.to_thread(load)
                await self.apply(config)
            except ConfigError as error:
                faults = tuple(str(fault) for fault in error.faults)
                for fault in faults:
                    log.error("reload_failed", fault=fault)  # noqa: TRY400 - the fault says it all
            except Exception as error:
                log.exception("reload_crashed")
                faults = (f"the reload broke on a {type(error).__name__}: the log says more",)
            else:
                self._tell_reloaded(config)
                return ()
            self.telemetry.reloaded(None)
            return faults

    def _tell_reloaded(self, config: Config) -> None:
        if config.storage_url != self._storage_url:
            log.warning("storage_unchanged", reason="another storage takes effect at the next start")
        log.info("reloaded", **_size(config))

    def web_app(self, options: Options, lifecycle: web.Lifecycle) -> aiohttp_web.Application:
        """What is answered over HTTP."""
        paths = options.telemetry_path, options.max_requests
        return web.make_app(self._scrape, self._health, lifecycle, self._page, *paths)

    def health_app(self) -> aiohttp_web.Application:
        """Health and readiness alone."""
        return web.make_health_app(self._health)

    def _not_ready(self) -> str | None:
        return "stopping" if self._stopping else self.poller.broken()

    async def close(self) -> None:
        """Stops polling and writes what is still to be written."""
        self._stopping = True
        await self._watcher.close()
        await self.poller.close()
        await self.store.backend.close()


def _size(config: Config) -> dict[str, int]:
    return {"accounts": len(config.accounts), "links": sum(len(account.links) for account in config.accounts)}


async def serve(
    options: Options,
    config: Config,
    load: Callable[[], Config],
    started: Callable[[list[str]], None],
    web_config: Live | None = None,
) -> None:
    """Runs until SIGTERM or SIGINT; SIGHUP, or a web client if allowed, has ``load`` called again.

    ``started`` is told the URLs once they answer; ``web_config`` says who may connect. Raises ``OSError`` if
    an address cannot be had, and ``StorageError`` if it would not be safe to begin.
    """
    sys.setswitchinterval(SWITCH)
    signals = Signals()
    sockets = _open_all(options.listen_addresses)
    health_sockets = _open_all(options.health_addresses)
    load = web_config.along(load) if web_config else load
    clock = SystemClock()
    async with open_session() as session:
        exporter = Exporter(session, config.storage_url, clock)
        if web_config is not None:
            exporter.telemetry.watch_web_config(lambda: web_config.successful)
        with uncollected():
            await exporter.store.open()
            await exporter.apply(config)
        reload = partial(exporter.reload, load)
        lifecycle = web.Lifecycle(reload, signals.stop, enabled=options.enable_lifecycle)
        application = exporter.web_app(options, lifecycle)
        async with _guarded(application, web_config, clock):
            server = Server(application, sockets, _tls_of(web_config))
            health_server = Server(exporter.health_app(), health_sockets, event="listening_for_health")
            urls = await server.start()
            await health_server.start()
            log.info("started", version=__version__, **_size(config))
            started(urls)
            try:
                await signals.until_stopped(reload)
            finally:
                log.info("stopping")
                await asyncio.gather(exporter.close(), server.close(), health_server.close())


def _open_all(addresses: tuple[tuple[str, int], ...]) -> list[socket.socket]:
    return [listen.open_socket(*address) for address in addresses]


def _tls_of(web_config: Live | None) -> Callable[[], ssl.SSLContext] | None:
    """What gives the TLS settings of the moment; whether there are any stays as it was at the start."""
    if web_config is None or web_config.config.tls is None:
        return None
    return partial(attrgetter("config.tls.context"), web_config)


@asynccontextmanager
async def _guarded(
    application: aiohttp_web.Application, web_config: Live | None, clock: Clock
) -> AsyncIterator[None]:
    """``application`` lets in whom ``web_config`` lets in, which is read again whenever it changes."""
    if web_config is None:
        yield
        return
    for warning in web_config.config.warnings:
        log.warning("config_warning", warning=str(warning))
    guard = web.Guard(lambda: web_config.config, clock)
    guard.protect(application)
    watching = asyncio.ensure_future(web_config.watch())
    try:
        yield
    finally:
        watching.cancel()
        guard.close()


class Signals:
    """SIGTERM, SIGINT and SIGHUP, caught from the moment this is made. To be made inside the event loop."""

    def __init__(self) -> None:
        self._caught: asyncio.Queue[signal.Signals] = asyncio.Queue()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._caught.put_nowait, number)

    def stop(self) -> None:
        """Has ``until_stopped`` return, as SIGTERM would."""
        self._caught.put_nowait(signal.SIGTERM)

    async def until_stopped(self, reload: Callable[[], Awaitable[object]]) -> None:
        """Returns on SIGTERM or SIGINT, or once told to ``stop``; each SIGHUP calls ``reload``."""
        reloads: set[asyncio.Future[object]] = set()
        while await self._caught.get() is signal.SIGHUP:
            reloads.add(asyncio.ensure_future(reload()))
            reloads = {running for running in reloads if not running.done()}
        # A reload may be waiting for a slow file: it is not waited for.
        for running in reloads:
            running.cancel()

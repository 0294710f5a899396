"""Builds the exporter from its parts, starts it, reloads it and stops it."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

import aiohttp
import structlog

from exporter import __version__
from exporter.clock import Clock, SystemClock
from exporter.config import Config
from exporter.config.sources import Watcher
from exporter.exposition.exposition import Exposition
from exporter.journal import Journal, StoredReading, journal_for
from exporter.limits import Ledger, Request
from exporter.polling.poller import Plans, Poller
from exporter.polling.recorder import Recorder
from exporter.provider.client import Client, open_session
from exporter.reloading import Loaded, Loader, Reloader, size_of
from exporter.sdnotify import ServiceManager
from exporter.signals import Signals
from exporter.snapshots import Known, Snapshots
from exporter.telemetry import Telemetry
from exporter.web import listen
from exporter.web.connections import HEADERS, Connections
from exporter.web.guard import Guard
from exporter.web.management import Health, Lifecycle
from exporter.web.scrape import Scrape
from exporter.web.server import Server
from exporter.web.site import MAX_REQUESTS, make_app, make_health_app
from exporter.web.status import StatusPage

log = structlog.stdlib.get_logger(__name__)


RESTORE_PERIOD = 0.25
"""Seconds between two looks whether a storage that was away at the start is there."""


@dataclass(frozen=True, slots=True)
class Options:
    """The flags of ``serve``."""

    listen_addresses: tuple[tuple[str, int], ...] = (("", 10145),)
    telemetry_path: str = "/metrics"
    health_addresses: tuple[tuple[str, int], ...] = ()
    enable_lifecycle: bool = False
    max_requests: int = MAX_REQUESTS
    auto_reload: bool = True
    route_prefix: str = ""
    external_path: str = ""


class Exporter:
    """All parts together. ``apply`` gives them a configuration, at the start and at each reload."""

    def __init__(self, session: aiohttp.ClientSession, journal: Journal, clock: Clock) -> None:
        self._clock = clock
        self._config: Config
        self._applying = asyncio.Lock()
        self._restoring: asyncio.Task[None] | None = None
        self._stopping = False
        self.exposition = Exposition(clock)
        self.snapshots = Snapshots(self.exposition.update)
        self.telemetry = Telemetry(lambda: self.poller.statuses(), lambda: journal.up)
        self.recorder = Recorder(
            Ledger(),
            journal,
            clock,
            lambda news: self.poller.heard(news),
            lambda: self.snapshots.all().values(),
        )
        fetch = Client(session).fetch
        self.poller = Poller(self.recorder, self.snapshots, fetch, self.telemetry.request_ended, clock)
        self.scrape = Scrape(self.exposition, self.telemetry.registry, clock)
        self.health = Health(alive=self.broken, ready=self._not_ready)
        self.page = StatusPage(self.exposition, self.poller, self.telemetry, clock, self._not_ready)

    async def start(self, config: Config) -> None:
        """Restores what the journal knows, and begins to poll. Raises ``StorageError``."""
        self.recorder.ledger.configure(Request.of(account) for account in config.accounts)
        await self.recorder.open()
        await self.apply(config)
        self.poller.start()

    async def _restore(self) -> None:
        """Reads what the journal knows of the links once it can be reached; until then nothing is sent."""
        while not self.recorder.restored:
            await asyncio.sleep(RESTORE_PERIOD)
            if self.recorder.journal.up:
                async with self._applying:
                    await self._apply(self._config)

    async def apply(self, config: Config) -> None:
        """Switches to ``config``; links that stay keep their readings and their schedules.

        What is shown changes in one step. Scrapes and polls go on while it is built.
        """
        async with self._applying:
            await self._apply(config)
            self._config = config
            if not self.recorder.restored and (self._restoring is None or self._restoring.done()):
                self._restoring = asyncio.create_task(self._restore())

    async def _apply(self, config: Config) -> None:
        links = [link for account in config.accounts for link in account.links]
        stored = await self.recorder.journal.read(self.snapshots.missing(links))
        known, exposition, plans = await asyncio.to_thread(self._build, config, tuple(stored or ()))
        late = self.snapshots.swap(known)
        self.exposition.swap(exposition)
        for snapshot in late:
            self.exposition.update(snapshot)
        self.telemetry.configure(config.accounts, config.link_files)
        await asyncio.sleep(0)  # with 10,000 links each half takes tens of milliseconds
        self.poller.swap(plans)
        self.recorder.restored = stored is not None or not self.recorder.journal.fail_closed
        self.telemetry.reloaded(self._clock.time())

    def _build(self, config: Config, stored: tuple[StoredReading, ...]) -> tuple[Known, Exposition, Plans]:
        """What will be known, shown and polled. Runs on a thread, and changes nothing."""
        links = (link for account in config.accounts for link in account.links)
        known = self.snapshots.build(links, stored)
        exposition = self.exposition.build(config.accounts, known.values())
        return known, exposition, self.poller.build(config.accounts)

    def _not_ready(self) -> str | None:
        return "stopping" if self._stopping else self.broken()

    def broken(self) -> str | None:
        """Why nothing is polled and will not be; None while all is well."""
        task = self._restoring
        if task is not None and task.done() and not task.cancelled() and task.exception() is not None:
            return f"reading the storage has stopped: {task.exception()!r}"
        return self.poller.broken()

    async def close(self) -> None:
        """Stops polling and closes the journal."""
        self._stopping = True
        if self._restoring is not None:
            self._restoring.cancel()
        await self.poller.close()
        await self.recorder.journal.close()


async def serve(
    options: Options,
    loader: Loader,
    loaded: Loaded,
    started: Callable[[list[str]], None],
) -> None:
    """Runs until SIGTERM or SIGINT. SIGHUP, a changed file or a permitted web client makes it reload.

    ``loaded`` is what ``loader`` loaded. ``started`` is called with the URLs once they answer. Raises
    ``OSError`` if an address cannot be bound, and ``StorageError`` if it would not be safe to begin.
    """
    signals = Signals()
    sockets = [listen.open_socket(*address) for address in options.listen_addresses]
    health_sockets = [
        listen.open_socket(*address, "--web.health-address") for address in options.health_addresses
    ]
    clock = SystemClock()
    async with open_session() as session:
        exporter = Exporter(session, journal_for(loaded.config.storage_url, clock), clock)
        await exporter.start(loaded.config)
        for warning in loaded.warnings:
            log.warning("config_warning", warning=str(warning))
        reloader = Reloader(loader.load, exporter.apply, lambda: exporter.telemetry.reloaded(None), loaded)
        lifecycle = Lifecycle(reloader.reload, signals.stop, enabled=options.enable_lifecycle)
        application = make_app(
            exporter.scrape,
            exporter.health,
            lifecycle,
            exporter.page,
            options.telemetry_path,
            options.max_requests,
            options.route_prefix,
            options.external_path,
        )
        if loaded.web is not None:
            Guard(partial(attrgetter("in_force.web"), reloader), clock).protect(application)
        count = exporter.telemetry.http_request_answered
        connections = Connections(_headers_of(reloader), count, options.route_prefix)
        server = Server(application, sockets, _tls_of(reloader), connections=connections)
        health_server = Server(
            make_health_app(exporter.health),
            health_sockets,
            event="listening_for_health",
            connections=Connections(count=count),
        )
        urls = await server.start()
        await health_server.start()
        log.info("started", version=__version__, **size_of(loaded.config))
        started(urls)
        systemd = ServiceManager(os.environ)
        systemd.ready(_summary(reloader))
        tasks = [asyncio.create_task(systemd.keep_watchdog(lambda: exporter.broken() is None))]
        if options.auto_reload:
            watcher = Watcher(lambda: loader.sources, reloader.reload)
            tasks.append(asyncio.create_task(watcher.watch()))
        try:
            await signals.until_stopped(partial(_reload_for, systemd, reloader))
        finally:
            log.info("stopping")
            systemd.stopping()
            for task in tasks:
                task.cancel()
            await asyncio.gather(exporter.close(), server.close(), health_server.close())


async def _reload_for(systemd: ServiceManager, reloader: Reloader) -> None:
    """A reload by SIGHUP, as ``systemctl reload`` asks for it. A failure must not look like a success."""
    systemd.reloading()
    errors = await reloader.reload()
    if errors:
        systemd.status(f"the old configuration stays: {errors[0]}")
    else:
        systemd.ready(_summary(reloader))


def _summary(reloader: Reloader) -> str:
    size = size_of(reloader.in_force.config)
    return f"polling {size['links']} links of {size['accounts']} accounts"


def _tls_of(reloader: Reloader) -> Callable[[], ssl.SSLContext] | None:
    """Returns the present TLS settings when called. TLS itself cannot be switched on or off later."""
    web_config = reloader.in_force.web
    if web_config is None or web_config.tls is None:
        return None
    return partial(attrgetter("in_force.web.tls.context"), reloader)


def _headers_of(reloader: Reloader) -> Callable[[], Mapping[str, str]]:
    return lambda: {**HEADERS, **(reloader.in_force.web.headers if reloader.in_force.web else {})}

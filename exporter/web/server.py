"""Listening: sockets, TLS, and the end of both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import structlog
from aiohttp import web

from exporter.web import Connections, listen

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterable

log = structlog.stdlib.get_logger(__name__)

SCRAPE_GRACE = 1.5
"""Seconds that scrapes in flight get to finish when the exporter stops.

aiohttp takes up to twice that: it waits for them, then cancels those left and waits for these.
"""

HANDSHAKE_TIMEOUT = 10.0
"""Seconds in which a client must have finished its handshake."""

HANDSHAKES = 128
"""Handshakes at once; beyond that the one that has taken longest is given up for the next."""

ACCEPT_RETRY = 1.0
"""Seconds to wait when no connection can be accepted, as when there are no file descriptors left."""


class Server:
    """Answers with ``app`` on each of ``sockets``; ``context`` gives the TLS settings for a new connection.

    Without ``context``, plain HTTP is spoken. ``event`` is what the log calls a listener.
    """

    def __init__(
        self,
        app: web.Application,
        sockets: Iterable[socket.socket],
        context: Callable[[], ssl.SSLContext] | None = None,
        event: str = "listening",
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
    ) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SCRAPE_GRACE)
        self._sockets = tuple(sockets)
        self._context = context
        self._event = event
        self._handshake_timeout = handshake_timeout

    async def start(self) -> list[str]:
        """Begins to answer, and returns the URLs."""
        await self._runner.setup()
        return [await self._listen(sock) for sock in self._sockets]

    async def _listen(self, sock: socket.socket) -> str:
        await Site(self._runner, sock, self._context, self._handshake_timeout).start()
        url = listen.url_of(sock, "https" if self._context else "http")
        log.info(self._event, url=url)
        return url

    async def close(self) -> None:
        """Accepts nothing more, and ends when the requests in flight are answered."""
        await self._runner.cleanup()


class Site(web.BaseSite):
    """A listening socket whose connections each get the TLS settings of the moment they come.

    asyncio's own server keeps the settings it was started with. Handing a connection another context in the
    middle of its handshake (``sni_callback``) would not do: OpenSSL takes the certificate from it, but not
    whether the client's is asked for. And a context of its own has ticket keys of its own: no session from
    before a change is resumed after it.

    asyncio's also accepts a hundred connections in one go before any of them begins, and where it runs out of
    descriptors logs a traceback for each it could not have. Here each begins before the next.
    """

    def __init__(
        self,
        runner: web.AppRunner,
        sock: socket.socket,
        context: Callable[[], ssl.SSLContext] | None = None,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
        connections: Callable[[web.Server], Callable[[], web.RequestHandler]] = Connections,
    ) -> None:
        super().__init__(runner)
        self._connect = connections(cast("web.Server", runner.server))
        self._sock = sock
        self._context = context
        self._handshake_timeout = handshake_timeout
        self._accepting: asyncio.Task[None]
        self._handshakes: dict[asyncio.Task[None], None] = {}

    @property
    def name(self) -> str:
        """The URL."""
        return listen.url_of(self._sock, "https" if self._context else "http")

    async def start(self) -> None:
        """Begins to accept connections."""
        await super().start()
        self._sock.setblocking(False)
        self._accepting = asyncio.create_task(self._accept())

    async def stop(self) -> None:
        """Accepts no more connections, and drops those that are not yet secured."""
        tasks = [self._accepting, *self._handshakes]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._sock.close()
        await super().stop()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._sock)
                await self._begin(connection)
            except OSError as error:
                log.warning("accept_failed", url=self.name, reason=str(error))
                await asyncio.sleep(ACCEPT_RETRY)

    async def _begin(self, connection: socket.socket) -> None:
        if self._context is None:
            await asyncio.get_running_loop().connect_accepted_socket(self._connect, connection)
            return
        if len(self._handshakes) >= HANDSHAKES:
            next(iter(self._handshakes)).cancel()  # the oldest
        handshake = asyncio.create_task(self._secure(connection, self._context()))
        self._handshakes[handshake] = None
        handshake.add_done_callback(self._handshakes.pop)
        # Taking a connection that waits already lets nothing else run.
        await asyncio.sleep(0)

    async def _secure(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        """The handshake; what follows is the protocol's own."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._connect,
                connection,
                ssl=context,
                ssl_handshake_timeout=self._handshake_timeout,
                ssl_shutdown_timeout=SCRAPE_GRACE,
            )
        except OSError as error:  # ssl.SSLError and timeouts among them
            log.debug("handshake_failed", reason=str(error))

"""Listening: sockets, TLS, and the end of both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web

from exporter import listen

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Coroutine, Iterable

log = structlog.stdlib.get_logger(__name__)

SCRAPE_GRACE = 1.5
"""Seconds that scrapes in flight get to finish when the exporter stops.

aiohttp takes up to twice that: it waits for them, then cancels those left and waits for these.
"""

HANDSHAKE_TIMEOUT = 10.0
"""Seconds in which a client must have finished its handshake."""

_ACCEPT_RETRY = 1.0
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
        await self._site(sock).start()
        url = listen.url_of(sock, "https" if self._context else "http")
        log.info(self._event, url=url)
        return url

    def _site(self, sock: socket.socket) -> web.BaseSite:
        if self._context is None:
            return web.SockSite(self._runner, sock)
        return TlsSite(self._runner, sock, self._context, self._handshake_timeout)

    async def close(self) -> None:
        """Accepts nothing more, and ends when the requests in flight are answered."""
        await self._runner.cleanup()


class TlsSite(web.BaseSite):
    """A listening socket whose connections each get the TLS settings of the moment they come.

    asyncio's own server keeps the settings it was started with. Handing a connection another context in the
    middle of its handshake (``sni_callback``) would not do: OpenSSL takes the certificate from it, but not
    whether the client's is asked for. And a context of its own has ticket keys of its own: no session from
    before a change is resumed after it.
    """

    def __init__(
        self,
        runner: web.AppRunner,
        sock: socket.socket,
        context: Callable[[], ssl.SSLContext],
        handshake_timeout: float,
    ) -> None:
        super().__init__(runner)
        self._protocol: Any = runner.server
        self._sock = sock
        self._context = context
        self._handshake_timeout = handshake_timeout
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """The URL."""
        return listen.url_of(self._sock, "https")

    async def start(self) -> None:
        """Begins to accept connections."""
        await super().start()
        self._sock.setblocking(False)
        self._run(self._accept())

    async def stop(self) -> None:
        """Accepts no more connections, and drops those that are not yet secured."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._sock.close()
        await super().stop()

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._sock)
            except OSError as error:
                log.warning("accept_failed", url=self.name, reason=str(error))
                await asyncio.sleep(_ACCEPT_RETRY)
            else:
                self._run(self._secure(connection))

    async def _secure(self, connection: socket.socket) -> None:
        """The handshake; what follows is the protocol's own."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._context(),
                ssl_handshake_timeout=self._handshake_timeout,
                ssl_shutdown_timeout=SCRAPE_GRACE,
            )
        except OSError as error:  # ssl.SSLError and timeouts among them
            log.debug("handshake_failed", reason=str(error))

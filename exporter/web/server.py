"""Listening: sockets, TLS, and the end of both."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

import structlog
from aiohttp import web

from exporter.web import listen
from exporter.web.connections import MAX_REQUEST, Connection, Connections, OncePerMinute

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

_HANDSHAKE = b"\x16"
"""The first byte that a TLS client sends (RFC 8446, section 5.1)."""

_NOT_TLS = b"400: this port speaks HTTPS: write https:// instead of http://\n"
_NOT_TLS = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_NOT_TLS), _NOT_TLS)
)


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
        connections: Connections | None = None,
    ) -> None:
        self._connections = connections or Connections()
        app.middlewares.insert(0, self._connections.answer)
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
        site = Site(self._runner, sock, self._connections, self._context, self._handshake_timeout)
        await site.start()
        log.info(self._event, url=site.name)
        return site.name

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
        connections: Connections,
        context: Callable[[], ssl.SSLContext] | None = None,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
    ) -> None:
        if runner.server is None:
            raise RuntimeError("call the runner's setup() first")
        super().__init__(runner)
        self._sock = sock
        self._connections = connections
        self._protocol = partial(Connection, runner.server, connections)
        self._context = context
        self._handshake_timeout = handshake_timeout
        self._accepting: asyncio.Task[None]
        self._handshakes: dict[asyncio.Task[None], None] = {}
        self._said = OncePerMinute()

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
                await self._begin(*await loop.sock_accept(self._sock))
            except OSError as error:
                log.warning("accept_failed", url=self.name, reason=str(error))
                await asyncio.sleep(ACCEPT_RETRY)

    async def _begin(self, sock: socket.socket, address: tuple[Any, ...]) -> None:
        if self._context is None:
            await self._connect(sock)
            return
        if len(self._handshakes) >= HANDSHAKES:
            next(iter(self._handshakes)).cancel()  # the oldest
        handshake = asyncio.create_task(self._secure(sock, address, self._context()))
        self._handshakes[handshake] = None
        handshake.add_done_callback(self._handshakes.pop)
        # Taking a connection that waits already lets nothing else run.
        await asyncio.sleep(0)

    async def _secure(self, sock: socket.socket, address: tuple[Any, ...], context: ssl.SSLContext) -> None:
        """The handshake; what follows is the protocol's own."""
        limit = self._handshake_timeout
        try:
            if await _speaks_tls(sock, limit):
                await self._connect(
                    sock, ssl=context, ssl_handshake_timeout=limit, ssl_shutdown_timeout=SCRAPE_GRACE
                )
        except OSError as error:  # ssl.SSLError and timeouts among them
            late = isinstance(error, TimeoutError)
            reason = f"no handshake within {limit:g} s" if late else str(error) or "the client broke off"
            tell = log.info if self._said.allows(reason) else log.debug
            tell("handshake_failed", address=address[0], reason=reason)

    async def _connect(self, sock: socket.socket, **tls: Any) -> None:
        loop = asyncio.get_running_loop()
        self._connections.add(sock, *await loop.connect_accepted_socket(self._protocol, sock, **tls))


async def _speaks_tls(sock: socket.socket, seconds: float) -> bool:
    """Whether the client begins a handshake; otherwise its socket is closed.

    asyncio closes a connection whose handshake fails: plain HTTP must be answered before there is one.
    """
    with ExitStack() as closing:
        closing.enter_context(sock)
        first = await _first_byte(sock, seconds)
        if first == _HANDSHAKE:
            closing.pop_all()
        elif first:
            sock.recv(MAX_REQUEST)  # what is left unread would reset the connection, and the answer with it
            sock.send(_NOT_TLS)
            raise ConnectionError("the client does not speak TLS")
    return first == _HANDSHAKE


async def _first_byte(sock: socket.socket, seconds: float) -> bytes:
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sock, readable.set)
    try:
        async with asyncio.timeout(seconds):
            await readable.wait()
        return sock.recv(1, socket.MSG_PEEK)
    finally:
        loop.remove_reader(sock)

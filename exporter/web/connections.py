"""What web clients may cost: time, memory, file descriptors, answers at once, and lines of the log."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from aiohttp import hdrs, web

from exporter.clock import Clock, SystemClock

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.stdlib.get_logger(__name__)

HEADERS: Mapping[str, str] = {
    hdrs.SERVER: "smsc-exporter",  # aiohttp's own names the versions that run here
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every response that does not set them itself."""

IDLE_TIMEOUT = 75.0
"""Seconds in which a whole request must come. Prometheus usually scrapes once a minute on one connection."""

LIMITS: Mapping[str, Any] = {
    "max_line_size": 8190,
    "max_field_size": 8190,
    "max_headers": 64,
    # No handler reads a body. Its sender gets the answer if it stops within these seconds.
    "lingering_time": 2.0,
    "auto_decompress": False,
    "access_log": None,
}
"""aiohttp's own settings of a connection (``aiohttp.web.RequestHandler``), in seconds and bytes."""

MAX_REQUEST = 16 * 1024
"""Bytes that may come for one request. aiohttp limits every header, but not the sum of them."""

MAX_CONNECTIONS = 512
"""Connections at once. One costs 20 kB while it is idle, and up to 60 kB with an endless head."""

UNKNOWN = "other"
"""The ``handler`` of a request for no path of ours. Its path is not shown: anybody may make one up."""

RETRY_AFTER = 5
"""Seconds after which a reader who was turned away may well find a place."""

GRACE = 2.0
"""Seconds that an answer on its way may take its slot for, should others want it."""

SEND_TIMEOUT = 60.0
"""Seconds in which a reader must have taken an answer."""

MINUTE = 60.0
MAX_KEYS = 100


class Slots:
    """At most ``most`` requests at a time, from their arrival until the answer has left; 0: any number.

    Where all are taken, the answer that has been on its way longest is cut off for the next request, if that
    is longer than ``grace``: those who do not read can keep nobody out.
    """

    def __init__(self, most: int, grace: float = GRACE, send_timeout: float = SEND_TIMEOUT) -> None:
        self.most = most
        self._grace = grace
        self._send_timeout = send_timeout
        self._taken = 0
        self._leaving: dict[asyncio.Transport, float] = {}

    def limited(self, handle: Handler) -> Handler:
        """``handle`` while there is a slot; without one, 503."""

        async def handle_in_slot(request: web.Request) -> web.StreamResponse:
            if self._taken >= self.most > 0 and not self._make_room():
                text = f"{self.most} requests are being answered already (--web.max-requests)\n"
                return web.Response(text=text, status=503, headers={hdrs.RETRY_AFTER: str(RETRY_AFTER)})
            self._taken += 1
            try:
                return await self._send(await handle(request), request)
            finally:
                self._taken -= 1

        return handle_in_slot

    async def _send(self, response: web.StreamResponse, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        if transport is None:  # the reader has left
            return response
        self._leaving[transport] = asyncio.get_running_loop().time()
        try:
            return await sent(response, request, self._send_timeout)
        finally:
            self._leaving.pop(transport, None)

    def _make_room(self) -> bool:
        transport, since = next(iter(self._leaving.items()), (None, inf))
        if transport is None or asyncio.get_running_loop().time() < since + self._grace:
            return False
        del self._leaving[transport]
        transport.abort()
        return True


async def sent(
    response: web.StreamResponse, request: web.Request, patience: float = SEND_TIMEOUT
) -> web.StreamResponse:
    """``response`` once the reader has taken it or has left. One who takes longer is cut off."""
    if request.transport is None:
        return response
    deadline = asyncio.get_running_loop().call_later(patience, request.transport.abort)
    try:
        with suppress(ConnectionError):
            await response.prepare(request)
            await response.write_eof()
    finally:
        deadline.cancel()
    return response


def max_connections(descriptors: int) -> int:
    """How many connections a process with so many ``descriptors`` holds: half are for everything else."""
    return max(16, min(MAX_CONNECTIONS, descriptors // 2 - 64))


class Connections:
    """The connections of a server.

    ``headers`` gives the headers of a response. ``count`` is called for each with its path, without
    ``route_prefix``, and its status.
    """

    def __init__(
        self,
        headers: Callable[[], Mapping[str, str]] = lambda: HEADERS,
        count: Callable[[str, int], None] = lambda handler, code: None,
        route_prefix: str = "",
        most: int | None = None,
        idle_timeout: float = IDLE_TIMEOUT,
    ) -> None:
        self.headers = headers
        self.count = count
        self.idle_timeout = idle_timeout
        self._route_prefix = route_prefix
        self._most = most or max_connections(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._open: dict[socket.socket, tuple[asyncio.Transport, asyncio.BaseProtocol]] = {}
        self._answering: set[asyncio.BaseProtocol] = set()
        self._received: WeakKeyDictionary[web.RequestHandler, int] = WeakKeyDictionary()

    def add(self, sock: socket.socket, transport: asyncio.Transport, protocol: asyncio.BaseProtocol) -> None:
        """Adds a connection. Beyond the limit it closes the oldest, those with a request in progress last."""
        transport.set_write_buffer_limits(high=0)  # an answer is sent when the kernel has all of it
        self._open = {sock: pair for sock, pair in self._open.items() if sock.fileno() >= 0}
        oldest = sorted(self._open.values(), key=lambda pair: pair[1] in self._answering)
        for former, _ in oldest[: max(0, len(oldest) + 1 - self._most)]:
            former.abort()
        self._open[sock] = transport, protocol

    def fits(self, connection: web.RequestHandler, size: int) -> bool:
        """Whether ``size`` more bytes are within what may come before the next request is taken up."""
        self._received[connection] = self._received.get(connection, 0) + size
        return self._received[connection] <= MAX_REQUEST

    @web.middleware
    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Middleware: counts the response, and returns once it is sent."""
        connection, code = request.protocol, HTTPStatus.INTERNAL_SERVER_ERROR.value
        self._received[connection] = 0
        self._answering.add(connection)
        try:
            response = await handler(request)
            code = response.status
            return await sent(response, request)
        except web.HTTPException as refusal:
            code = refusal.status
            raise
        finally:
            self._answering.discard(connection)
            found = request.match_info.route.resource
            path = found.canonical.removeprefix(self._route_prefix) if found else UNKNOWN
            self.count(path or "/", code)


class Connection(web.RequestHandler):
    """One connection: aiohttp's, but for requests that are too large or not HTTP."""

    def __init__(self, server: web.Server, connections: Connections) -> None:
        loop, idle_timeout = asyncio.get_running_loop(), connections.idle_timeout
        super().__init__(server, loop=loop, keepalive_timeout=idle_timeout, **LIMITS)
        self._connections = connections

    def data_received(self, data: bytes) -> None:
        """Ends the connection when a request is too large."""
        if self._connections.fits(self, len(data)):
            super().data_received(data)
        else:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers what is not HTTP without a traceback in the log: anybody may send anything."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return super().handle_error(request, status, exc, message)
        # Only the kind of error: aiohttp's message repeats what was sent, which may hold a password.
        log.debug("bad_request", peer=str(self.peername), reason=type(exc).__name__)
        self._connections.count(UNKNOWN, status)
        text, headers = f"{status}: {HTTPStatus(status).phrase}\n", self._connections.headers()
        response = web.Response(text=text, status=status, headers=headers)
        response.force_close()
        return response


class OncePerMinute:
    """Allows one message a minute for each key, and ``MAX_KEYS`` a minute in all."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._allowed: dict[str, float] = {}

    def allows(self, key: str) -> bool:
        """Whether a message about ``key`` may be logged now."""
        now = self._clock.monotonic()
        self._allowed = {key: at for key, at in self._allowed.items() if now < at + MINUTE}
        if key in self._allowed or len(self._allowed) >= MAX_KEYS:
            return False
        self._allowed[key] = now
        return True

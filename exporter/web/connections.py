"""Connections, and what each may cost: time, memory and a descriptor.

Nobody has to be trusted for the exporter to live on. Whoever sends nothing, sends slowly, does not read or
comes with hundreds of connections loses them; those who scrape are answered, and polling goes on.
"""

from __future__ import annotations

import asyncio
import resource
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import structlog
from aiohttp import hdrs, web

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.stdlib.get_logger(__name__)

SERVER = "smsc-exporter"
"""The ``Server`` header: which Python and aiohttp run here is nobody's business."""

IDLE = 75.0
"""Seconds in which a whole request has to have come, from the start or from the answer before it on.

Longer than the usual scrape interval of a minute, so that Prometheus keeps its connection.
"""

PATIENCE = 5.0
"""Seconds in which a reader has to take ``LEAST`` of an answer, or what is left of it."""

LEAST = 128 * 1024
"""Bytes."""

MOST_SENT = 16 * 1024
"""Bytes of a request's head, all its headers together. What is sent while it is answered has as much room."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nServer: %b\r\nConnection: close\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 37\r\n\r\n"
    b"431: Request Header Fields Too Large\n" % SERVER.encode()
)

LIMITS: Mapping[str, Any] = {
    "max_line_size": 8190,
    "max_field_size": 8190,
    "max_headers": 64,
    # No handler reads a body: whoever sends one may go on for so long, to hear the answer.
    "lingering_time": 2.0,
    "auto_decompress": False,
    "access_log": None,
}
"""What else aiohttp is to hold each connection to (``aiohttp.web.RequestHandler``): seconds, and bytes."""

MOST = 512
"""Connections at once. Each costs some 20 kB while it waits, and up to 60 kB with a head that never ends."""


def most_connections(descriptors: int) -> int:
    """How many connections there may be where the process may open so many ``descriptors``.

    Half is left to polling, storage and files, and some to those on their way out.
    """
    return max(16, min(MOST, descriptors // 2 - 64))


class Connections:
    """What asyncio makes connections with. Where there are too many, the oldest make room for the new.

    One that is being answered goes afterwards, all others at once.
    """

    def __init__(
        self, server: web.Server, most: int | None = None, idle: float = IDLE, patience: float = PATIENCE
    ) -> None:
        self._server = server
        self._most = most or most_connections(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._idle = idle
        self._patience = patience

    def __call__(self) -> web.RequestHandler:
        """A new connection."""
        there = self._server.connections
        for connection in there[: max(0, len(there) + 1 - self._most)]:
            connection.close()
        return Connection(self._server, self._patience, keepalive_timeout=self._idle, **LIMITS)


class Connection(web.RequestHandler):
    """One connection; a reader who takes too little of an answer in ``patience`` seconds is cut off."""

    __slots__ = ("_patience", "_reader", "_room", "_taken", "_unread", "_watch")

    def __init__(self, server: web.Server, patience: float, **limits: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **limits)
        self._patience = patience
        self._reader: asyncio.Transport
        self._watch: asyncio.TimerHandle | None = None
        self._unread = 0
        self._taken = 0
        self._room = MOST_SENT

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks to be told as soon as anything waits to be taken."""
        self._reader = cast("asyncio.Transport", transport)
        self._reader.set_write_buffer_limits(high=1)
        super().connection_made(transport)

    def connection_lost(self, error: BaseException | None) -> None:
        """There is nobody left to be patient with."""
        self._stop_watching()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Takes no more than there is room for; each request that is begun on makes room anew.

        aiohttp bounds a header and how many there are, but not what a head, a body that nobody reads or
        requests that wait for their turn may come to in all.
        """
        taken = self._request_count - len(self._messages)
        if taken != self._taken:
            self._taken, self._room = taken, MOST_SENT
        room = self._room
        self._room = max(0, room - len(data))
        super().data_received(data[:room])
        if len(data) > room and not self._force_close:
            self._refuse_more()

    def _refuse_more(self) -> None:
        """The end of this connection; a request that has come is answered first."""
        between = self._waiter is not None and not self._waiter.done()
        if self._request_count and not between:
            super().close()
        else:
            self._reader.write(_TOO_LARGE)
            self.force_close()

    def pause_writing(self) -> None:
        """Something waits to be taken."""
        super().pause_writing()
        self._look()

    def resume_writing(self) -> None:
        """All is taken."""
        self._stop_watching()
        super().resume_writing()

    def _look(self) -> None:
        """Looks at how much was taken, and looks again."""
        before, self._unread = self._unread, self._reader.get_write_buffer_size()
        if self._watch is not None and self._unread > before - LEAST:
            log.debug("slow_reader", peer=str(self.peername), unread=self._unread)
            self._reader.abort()
        else:
            self._watch = asyncio.get_running_loop().call_later(self._patience, self._look)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def close(self) -> None:
        """Ends at once, or after the request that is being answered. aiohttp's own leaves it open."""
        super().close()
        if not self._request_in_progress:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers what is no HTTP without a traceback in the log: anybody may send anything."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return super().handle_error(request, status, exc, message)
        # The kind alone: what aiohttp says of it repeats what was sent, which may hold a password.
        log.debug("bad_request", peer=str(self.peername), reason=type(exc).__name__)
        phrase = HTTPStatus(status).phrase
        response = web.Response(text=f"{status}: {phrase}\n", status=status, headers={hdrs.SERVER: SERVER})
        response.force_close()
        return response

"""Sending a decided reply, also in the ways a network spoils it."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web

from exporter.simulator.damage import Reply
from exporter.simulator.options import Settings

_Manner = Callable[[web.Request, Reply], Awaitable[web.StreamResponse]]

_CHUNK = b"0" * 65_536
# With this option, closing a socket tells the other side of a reset instead of an end.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Delivery:
    """Sends replies; `closing` is set when the server shuts down, so that no reply holds it up."""

    def __init__(self, settings: Settings, closing: asyncio.Event) -> None:
        self._settings, self._closing = settings, closing
        self._manners: dict[str, _Manner] = {
            "cut": self._cut,
            "drip": self._drip,
            "freeze": self._hang,
            "hang": self._hang,
            "huge": self._huge,
            "redirect": self._redirect,
            "reset": self._reset,
        }

    async def rest(self, seconds: float) -> None:
        """Wait, but not longer than the server runs."""
        closing = asyncio.ensure_future(self._closing.wait())
        await asyncio.wait([closing], timeout=seconds)
        closing.cancel()

    async def send(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        """Send a reply in its manner, as far as its client is still there."""
        if reply.manner:
            with suppress(ConnectionError):
                return await self._manners[reply.manner](request, reply)
            return web.Response()
        headers = {"Content-Type": reply.content_type, **reply.headers}
        return web.Response(body=reply.body, status=reply.status, headers=headers)

    async def _cut(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        response = await self._begin(request, reply, len(reply.body))
        # The connection closes when this returns: `_begin` has asked for it.
        await response.write(reply.body[: len(reply.body) // 2])
        return response

    async def _drip(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        response = await self._begin(request, reply, len(reply.body))
        for byte in reply.body:
            await self.rest(self._settings.drip_seconds)
            await response.write(bytes([byte]))
        return response

    async def _hang(self, _request: web.Request, reply: Reply) -> web.StreamResponse:
        frozen = reply.manner == "freeze"
        await self.rest(self._settings.freeze_seconds if frozen else self._settings.hang_seconds)
        return web.Response(text="504 Gateway Time-out", status=504)

    async def _huge(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        response = await self._begin(request, reply, None)
        left = self._settings.huge_bytes
        while left > 0 and not self._closing.is_set():
            await response.write(_CHUNK[:left])
            left -= len(_CHUNK)
        return response

    async def _redirect(self, request: web.Request, _reply: Reply) -> web.StreamResponse:
        query = request.rel_url.raw_query_string
        return web.Response(status=302, headers={"Location": f"{self._settings.redirect_to}?{query}"})

    async def _reset(self, request: web.Request, _reply: Reply) -> web.StreamResponse:
        if request.transport is None:
            raise ConnectionResetError("the client left first")
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        request.transport.abort()
        return web.Response()

    async def _begin(self, request: web.Request, reply: Reply, length: int | None) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": reply.content_type})
        response.content_length = length
        response.force_close()
        await response.prepare(request)
        return response

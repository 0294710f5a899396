"""How many requests of a kind are answered at once, and how long an answer may take to leave."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RETRY_AFTER = 5
"""Seconds after which a reader who was turned away may well find a place."""

GRACE = 2.0
"""Seconds that an answer on its way may take its slot for, should others want it."""

SEND_TIMEOUT = 60.0
"""Seconds in which a reader must have taken an answer."""


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

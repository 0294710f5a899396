"""Targets that go over a socket: what a provider sends, and what comes to the port."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from functools import partial

from aiohttp import web

from exporter import logs
from exporter.errors import PollError
from exporter.provider.client import Client, open_session
from exporter.web.connections import Connection, Connections
from tests.factories import make_account, make_link
from tests.unit.provider.servers import JSON, serving, then_closes, writes

LINK = make_link(id="145142")
LOOP = asyncio.new_event_loop()
PATIENCE = 5.0
ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 117\r\n\r\n" + JSON,
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\n{"id"\r\n0\r\nA: b\r\n\r\n',
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 503 Busy\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: /\r\nSet-Cookie: a=b\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: text/html; charset=x\r\n\r\n\x1f\x8b\x08\0",
)
REQUESTS = (
    b"\x10GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: text/plain;q=0.5\r\nAccept-Encoding: gzip\r\n\r\n",
    b"\x05POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
    b"\x20POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    b"\x00GET http://a:b@c/?d=%zz HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
)


class Errors(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


ERRORS = Errors()
logs.configure("error", "logfmt")
logging.root.handlers[:] = [ERRORS]


def answer(data: bytes) -> None:
    """Whatever a provider sends, it is a reading or a ``PollError``."""
    LOOP.run_until_complete(_fetch(data))
    assert ERRORS.found == []


async def _fetch(data: bytes) -> None:
    async with serving(then_closes(writes(data))) as server, open_session() as session:
        account = make_account(base_url=server.url, timeout=PATIENCE)
        with suppress(PollError):
            await Client(session).fetch(account, LINK, server.url)


def request(data: bytes) -> None:
    """Whatever comes to the port, the connection ends and nothing is logged as an error."""
    LOOP.run_until_complete(asyncio.wait_for(_send(data), PATIENCE))
    assert ERRORS.found == []


async def _send(data: bytes) -> None:
    """The first byte says how many of the others come first."""
    server, (ours, theirs) = web.Server(_greet), socket.socketpair()
    await LOOP.connect_accepted_socket(partial(Connection, server, Connections()), ours)
    with theirs:
        theirs.setblocking(False)
        at = data[0] + 1 if data else 0
        for piece in (data[1:at], data[at:]):
            with suppress(ConnectionError):
                await LOOP.sock_sendall(theirs, piece)
            await asyncio.sleep(0)
        theirs.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while await LOOP.sock_recv(theirs, 65_536):
                pass
    await server.shutdown(0)


async def _greet(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="hello")

"""Servers on 127.0.0.1 that answer as a test tells them to, and one fetch from them."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qsl

import pytest
import trustme

from exporter.errors import PollError
from exporter.model import Account, Link, Reading
from exporter.provider.client import Client, open_session
from tests.factories import make_account, make_link, make_reading

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]

JSON = (
    b'{"id": "145142", "cnt": "7", "cnt_mon": "3", "cnt_day": "1", "cnt_yes": "2", "cnt_pmon": "4", '
    b'"link": "smsc.tips/a"}'
)
FAULTLESS = make_reading()


class Server:
    """A socket server that keeps what it was sent and answers as it is told."""

    def __init__(self, answer: Answer, scheme: str) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""
        self._answer = answer
        self._scheme = scheme
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections += 1
        self._tasks.add(task)
        self._writers.add(writer)
        with suppress(asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            while not writer.is_closing():
                self.requests.append(await one_request(reader))
                await self._answer(self.requests[-1], writer)
                await writer.drain()

    def listens_at(self, server: asyncio.Server) -> None:
        self.url = f"{self._scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def aclose(self) -> None:
        for writer in self._writers:
            writer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def one_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = [line[15:] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return head + await reader.readexactly(int(length[0]) if length else 0)


@asynccontextmanager
async def serving(answer: Answer, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(answer, "https" if context else "http")
    listening = await asyncio.start_server(server, "127.0.0.1", 0, ssl=context)
    server.listens_at(listening)
    try:
        yield server
    finally:
        listening.close()
        await server.aclose()


def says(body: bytes, *headers: str, status: str = "200 OK") -> Answer:
    """Answers with ``body``, and leaves the connection open."""
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""])
    return writes(head.encode() + body)


def writes(answer: bytes) -> Answer:
    async def write(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return write


def then_closes(answer: Answer) -> Answer:
    async def close(request: bytes, writer: asyncio.StreamWriter) -> None:
        await answer(request, writer)
        writer.close()

    return close


def then_resets(answer: Answer) -> Answer:
    async def reset(request: bytes, writer: asyncio.StreamWriter) -> None:
        await answer(request, writer)
        await writer.drain()
        # Without lingering, closing sends a reset.
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    return reset


async def sleeps(request: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def drips(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b" ")
        await asyncio.sleep(0.005)


def echoes(before: bytes, after: bytes = b"", status: str = "200 OK") -> Answer:
    """Says back what it was sent, as a careless server would in an error page."""

    async def echo(request: bytes, writer: asyncio.StreamWriter) -> None:
        form = request.partition(b"\r\n\r\n")[2] or request.split()[1].partition(b"?")[2]
        plain = b" ".join(f"{name}={value}".encode() for name, value in parse_qsl(form.decode()))
        redirect = "Location: /?" + form.decode()
        await says(before + plain + b" " + form + after, redirect, status=status)(request, writer)

    return echo


CLOSES = then_closes(writes(b""))
RESETS = then_resets(writes(b""))
CUT_SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + JSON


async def ask(server: Server, account: Account, link: Link | None = None) -> Reading:
    async with open_session() as session:
        return await Client(session, clock=lambda: 784_111_777.0).fetch(
            account, link or make_link(), server.url
        )


def fetch(answer: Answer, *, link: Link | None = None, **account: object) -> Reading:
    """What one fetch brings from a server that answers so; the server must see one request."""

    async def run() -> Reading:
        async with serving(answer) as server:
            try:
                return await ask(server, make_account(**account), link)  # type: ignore[arg-type]  # an account's fields by name, for brevity
            finally:
                assert len(server.requests) == 1

    return asyncio.run(run())


def failure(kind: type[PollError], answer: Answer, **account: object) -> PollError:
    with pytest.raises(kind) as caught:
        fetch(answer, **account)  # type: ignore[arg-type]  # an account's fields by name, for brevity
    assert type(caught.value) is kind
    return caught.value


def over_tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port

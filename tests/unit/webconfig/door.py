"""A small application behind a web configuration, over real sockets, and those who knock."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import trustme
from aiohttp import web

from exporter.clock import Clock, SystemClock
from exporter.web.guard import Guard
from exporter.web.listen import open_socket
from exporter.web.server import HANDSHAKE_TIMEOUT, Server
from exporter.webconfig import load
from tests.processes import PATIENCE
from tests.unit.webconfig import pems

ALICE = "$2b$04$7VIGnwsYh7lMAZuTM2KDwuFKCNWBPrR.qBx05xOIWYViJEpbYVLTm"
"""Of wonderland."""

LONG = "$2b$04$rx4N2mqU4jThtY0ukqgLx.5f/DRXMpDaqrIAaOytmsU6xdf9t9ipm"
"""Of 72 times the letter x."""


def basic(user: str | bytes, password: str | bytes) -> str:
    """The header of a login."""
    parts = (part.encode() if isinstance(part, str) else part for part in (user, password))
    return f"Basic {base64.b64encode(b':'.join(parts)).decode()}"


class Door:
    """What is served, and where. ``inside`` counts the requests that came through."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self.config = load(path)
        self.guard = Guard(lambda: self.config, clock)
        self.inside = 0
        self.url = ""

    def reload(self) -> None:
        """Takes the files as they are now."""
        self.config = load(self._path)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def app(self) -> web.Application:
        async def handle(request: web.Request) -> web.Response:
            return web.Response(text="inside\n")

        async def crash(request: web.Request) -> web.Response:
            raise ZeroDivisionError

        @web.middleware
        async def count(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            self.inside += 1
            return await handler(request)

        app = web.Application(middlewares=[count])
        app.router.add_get("/", handle)
        app.router.add_get("/crash", crash)
        self.guard.protect(app)
        return app

    def context(self) -> ssl.SSLContext:
        assert self.config.tls
        return self.config.tls.context

    async def knock(
        self,
        tls: ssl.SSLContext | bool = True,
        login: tuple[str | bytes, str | bytes] | None = None,
        path: str = "/",
        **headers: str,
    ) -> tuple[int, dict[str, str]]:
        """Status and headers of the answer, over a connection of its own."""
        if login:
            headers["Authorization"] = basic(*login)
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.url + path, ssl=tls, headers=headers) as response,
        ):
            await response.read()
            return response.status, dict(response.headers)


@contextlib.asynccontextmanager
async def door(
    path: Path,
    clock: Clock | None = None,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
) -> AsyncIterator[Door]:
    """Open while the context lasts."""
    served = Door(path, clock or SystemClock())
    server = Server(
        served.app(),
        [open_socket("127.0.0.1", 0)],
        served.context if served.config.tls else None,
        handshake_timeout=handshake_timeout,
    )
    (served.url,) = await server.start()
    try:
        yield served
    finally:
        await server.close()


class Keys:
    """A server's certificate, a CA of clients, and the file that names them, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.clients = trustme.CA()
        self.renew()
        self.trust(self.clients)

    def renew(self) -> trustme.LeafCert:
        """Gives the server another certificate."""
        certificate = self.ca.issue_cert("127.0.0.1")
        pems.write(self.folder, certificate)
        return certificate

    def trust(self, clients: trustme.CA) -> None:
        """Lets in the clients of another CA."""
        (self.folder / "clients.crt").write_text(pems.authority(clients))

    def config(self, tls: str = "", rest: str = "") -> Path:
        """The web configuration, with more lines for ``tls_server_config`` and for the file."""
        path = self.folder / "web.yaml"
        lines = ["cert_file: server.crt", "key_file: server.key", *tls.splitlines()]
        path.write_text("tls_server_config:\n" + "".join(f"  {line}\n" for line in lines) + rest)
        return path

    def client(self, *names: str, ca: trustme.CA | None = None) -> ssl.SSLContext:
        """A client that trusts the server, and with ``names`` has a certificate from ``ca``."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        if names:
            (ca or self.clients).issue_cert(*names).configure_cert(context)
        return context


def run(path: Path, talk: Callable[[Door], Awaitable[None]], **options: Any) -> None:
    """Opens a door and lets ``talk`` knock."""

    async def main() -> None:
        async with door(path, **options) as served:
            await talk(served)

    asyncio.run(main())


async def until(ready: Callable[[], Awaitable[bool]], what: str) -> None:
    """Asks again and again until it is so."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not await ready():  # noqa: ASYNC110 - what is waited for is outside of this process' events
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"never came about: {what}") from None

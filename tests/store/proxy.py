"""A way to a Redis server on which answers get lost, or tell of a server that has been running for long."""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pydantic import SecretStr

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self


class Proxy:
    """The next ``lost`` answers are not delivered: the connection breaks. ``old``: so is the server."""

    def __init__(self, port: int) -> None:
        self.lost = 0
        self.old = False
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, to_server[1]]
        asking = asyncio.create_task(self._pump(reader, to_server[1]))
        await self._pump(to_server[0], writer, answers=True)
        await asking

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(2**16):
                if answers and self.lost:
                    self.lost -= 1
                    break
                writer.write(self._aged(data) if self.old else data)
                await writer.drain()
        writer.close()

    def _aged(self, data: bytes) -> bytes:
        """In as many bytes: their number comes first."""
        return re.sub(
            rb"uptime_in_seconds:\d+\r\nuptime_in_days:\d+", lambda found: _filled(len(found[0])), data
        )


def _filled(length: int) -> bytes:
    return b"uptime_in_seconds:86400\r\ndays:".ljust(length, b"1")


@contextmanager
def relay(port: int) -> Iterator[Proxy]:
    """A proxy beside a test, on a thread of its own. What connects while there is no server is let go."""
    loop, stop, proxy = asyncio.new_event_loop(), asyncio.Event(), Proxy(port)
    loop.set_exception_handler(lambda loop, context: None)
    listens = threading.Event()

    async def main() -> None:
        async with proxy:
            listens.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    listens.wait()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()

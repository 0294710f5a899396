"""A way to a Redis server that can be cut, and on which answers get lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

from exporter.secret import SecretStr


class Proxy:
    """The next ``lost`` answers are not delivered: the connection breaks. ``cut``: nothing gets through."""

    def __init__(self, port: int) -> None:
        self.lost = 0
        self.cut = False
        self._port = port
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.create_task(self._relay(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
            writers.append(to_server)
            await asyncio.gather(self._pump(reader, to_server), self._pump(from_server, writer, answers=True))
        finally:
            for each in writers:
                each.close()
            await asyncio.gather(*(each.wait_closed() for each in writers), return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False
    ) -> None:
        with suppress(ConnectionError):
            while (data := await reader.read(2**16)) and not self.cut:
                if answers and self.lost:
                    self.lost -= 1
                    break
                writer.write(data)
                await writer.drain()
        writer.close()


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

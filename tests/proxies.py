"""A real proxy, Debian's tinyproxy, and TLS put before a server that has none."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.processes import PATIENCE, free_port, until

_READY = "done sending stored logs"


class TinyProxy:
    """A tinyproxy; ``log`` is what it says of its work."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.port = free_port()
        self._log = folder / "tinyproxy.log"
        self._config = folder / "tinyproxy.conf"
        settings = [f"Port {self.port}", "Listen 127.0.0.1", "Timeout 600", f'LogFile "{self._log}"']
        self._config.write_text("\n".join([*settings, "LogLevel Connect", *lines, ""]))
        self.start()

    def start(self) -> None:
        said = self.log.count(_READY)
        self.process = subprocess.Popen(["tinyproxy", "-d", "-c", str(self._config)])
        until(lambda: self.log.count(_READY) > said and self._listens(), "tinyproxy")

    def _listens(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE):
            return True

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)


@contextlib.contextmanager
def tinyproxy(folder: Path, *lines: str) -> Iterator[TinyProxy]:
    """A tinyproxy with these lines more in its configuration."""
    folder.mkdir(exist_ok=True)
    proxy = TinyProxy(folder, *lines)
    try:
        yield proxy
    finally:
        proxy.stop()


@contextlib.contextmanager
def tls_before(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """A port where TLS leads to ``port``."""
    loop = asyncio.new_event_loop()
    listening = loop.run_until_complete(
        asyncio.start_server(lambda reader, writer: _join(reader, writer, port), "127.0.0.1", 0, ssl=context)
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield int(listening.sockets[0].getsockname()[1])
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        listening.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
            loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(_pass_on(reader, to_writer), _pass_on(to_reader, writer), return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.closing(writer):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()

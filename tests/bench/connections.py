"""What scrapes take while others misuse the port: idle connections, crowds, slow readers, slow senders.

The exporter is a process of its own, begun on a file with every link's reading, so that its page is whole. It
polls a provider that is not there: one probe at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import aiohttp

from tests.bench.stored import prefill
from tests.bench.tables import Asked, markdown, say
from tests.factories import make_links
from tests.processes import exporter

COLUMNS = (
    "links | scrapes among | answered | told to come back | median, ms | slowest, ms | sockets | memory, MB"
)
SIZES = (10_000,)
SECONDS = 10.0
PAUSE = 0.5
GZIP = {"Accept-Encoding": "gzip"}


@dataclass(frozen=True)
class Row:
    """Times in milliseconds; memory is the exporter's resident set afterwards, in megabytes."""

    links: int
    among: str
    answered: int
    refused: int
    middle: float
    slowest: float
    connections: int
    memory: float


class _Target:
    """The exporter under load."""

    def __init__(self, links: int, port: int, pid: int) -> None:
        self.links = links
        self.port = port
        self.pid = pid

    def memory(self) -> float:
        fields = dict(
            line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines()
        )
        return int(fields["VmRSS"].split()[0]) / 1000

    def connections(self) -> int:
        """How many connections the exporter holds; its other descriptors are a dozen."""
        folder = Path(f"/proc/{self.pid}/fd")
        count = 0
        for entry in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                count += entry.readlink().name.startswith("socket:")
        return count

    async def scrape(self, session: aiohttp.ClientSession) -> tuple[int, float]:
        start = perf_counter()
        async with session.get(f"http://127.0.0.1:{self.port}/metrics", headers=GZIP) as response:
            await response.read()
        return response.status, (perf_counter() - start) * 1000


async def _one_after_the_other(target: _Target, seconds: float) -> list[tuple[int, float]]:
    """As Prometheus comes: each on a connection of its own, so that one has to be had."""
    results = []
    for _ in range(max(1, round(seconds / PAUSE))):
        async with _session() as session:
            results.append(await target.scrape(session))
        await asyncio.sleep(PAUSE)
    return results


async def _at_once(target: _Target, count: int = 200) -> list[tuple[int, float]]:
    async with _session() as session:
        return await asyncio.gather(*[target.scrape(session) for _ in range(count)])


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), auto_decompress=False, timeout=aiohttp.ClientTimeout(60)
    )


@contextlib.asynccontextmanager
async def _visitors(target: _Target, count: int, said: bytes) -> AsyncIterator[list[socket.socket]]:
    """So many connections on which ``said`` was sent, and from which nothing is read."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(count):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", target.port))
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(sock, said)
            sockets.append(sock)
        yield sockets


@contextlib.asynccontextmanager
async def _drip(target: _Target, count: int) -> AsyncIterator[None]:
    """So many connections on which a header comes a byte at a time."""

    async def drip(sockets: list[socket.socket]) -> None:
        while True:
            for sock in sockets:
                with contextlib.suppress(OSError):
                    sock.send(b"x")
            await asyncio.sleep(0.2)

    async with _visitors(target, count, b"GET /metrics HTTP/1.1\r\nX-Drip: ") as sockets:
        task = asyncio.create_task(drip(sockets))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


_WHOLE = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
_AMONG: dict[str, Callable[[_Target], AbstractAsyncContextManager[object]]] = {
    "nobody else": lambda target: contextlib.nullcontext(),
    "1,000 idle connections": lambda target: _visitors(target, 1000, b""),
    "30 readers who do not read": lambda target: _visitors(target, 30, _WHOLE),
    "100 readers who do not read": lambda target: _visitors(target, 100, _WHOLE),
    "300 senders of a byte at a time": lambda target: _drip(target, 300),
}


def measure(asked: Asked) -> Iterator[Row]:
    """For each number of links a row for each kind of visitor, and one for two hundred scrapes at once."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for size in asked.sizes or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            yield from _visit(Path(folder), size, asked.seconds or SECONDS)


def _visit(home: Path, links: int, seconds: float) -> Iterator[Row]:
    asyncio.run(_fill(home, links))
    with exporter("--web.listen-address=127.0.0.1:0", cwd=home, fresh=True) as running:
        port = running.expect(r"event=listening url=http://127.0.0.1:(\d+)")[1]
        target = _Target(links, int(port), running.process.pid)
        for among, visitors in _AMONG.items():
            say(f"{links} links: scrapes among {among}, {seconds:g} s")
            yield asyncio.run(_observe(target, among, visitors, seconds))
        say(f"{links} links: 200 scrapes at once")
        results = asyncio.run(_at_once(target))
        yield _row("each other, 200 at once", target, results)
        running.stop()


async def _observe(
    target: _Target,
    among: str,
    visitors: Callable[[_Target], AbstractAsyncContextManager[object]],
    seconds: float,
) -> Row:
    async with visitors(target):
        return _row(among, target, await _one_after_the_other(target, seconds))


def _row(among: str, target: _Target, results: list[tuple[int, float]]) -> Row:
    times = [milliseconds for status, milliseconds in results if status == 200] or [float("nan")]
    refused = sum(status == 503 for status, _ in results)
    assert len(results) == refused + sum(status == 200 for status, _ in results)
    return Row(
        target.links,
        among,
        len(results) - refused,
        refused,
        median(times),
        max(times),
        target.connections(),
        target.memory(),
    )


async def _fill(home: Path, count: int) -> None:
    """A configuration, and a file with a reading for each of its links."""
    links = make_links(count)
    account = {"name": "main", "login": "demo", "password": "demo", "base_url": "http://127.0.0.1:9"}
    names = [{"id": link.id, "name": link.name} for link in links]
    (home / "config.yaml").write_text(json.dumps({"accounts": [account | {"links": names}]}))
    (home / "data").mkdir()
    await prefill(home / "data" / "exporter.db", links)


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    return markdown(COLUMNS, map(_cells, rows))


def _cells(r: Row) -> list[str]:
    return [
        f"{r.links}",
        r.among,
        f"{r.answered}",
        f"{r.refused}",
        f"{r.middle:.0f}",
        f"{r.slowest:.0f}",
        f"{r.connections}",
        f"{r.memory:.0f}",
    ]

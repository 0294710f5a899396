"""``python -m tests.bench.server WAY LINKS [PROVIDER]``: a page of that many links, made in a way of three.

``ours`` is served as the exporter serves it, ``objects`` and ``collector`` by prometheus_client's own server.
A line on standard input changes one link in a hundred. With a provider's address, the latter two ask it for
one link after the other meanwhile, as fast as its limits allow, and show what it answers.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import start_http_server

from exporter.web.connections import Connections, Slots
from exporter.web.listen import open_socket
from exporter.web.scrape import Scrape
from exporter.web.server import Site
from exporter.web.site import MAX_REQUESTS
from tests.bench.asking import Asking
from tests.bench.ways import Collecting, Links, Objects, Ours

FIRST_ID = 100_001
"""The simulator's first link."""


@asynccontextmanager
async def served(scrape: Scrape) -> AsyncIterator[int]:
    """Scrapes over HTTP as the exporter has them; the port."""
    connections = Connections()
    app = web.Application(middlewares=[connections.answer])
    app.router.add_get("/metrics", Slots(MAX_REQUESTS).limited(scrape.handle))
    app.on_cleanup.append(scrape.close)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    sock = open_socket("127.0.0.1", 0)
    await Site(runner, sock, connections).start()
    yield sock.getsockname()[1]
    await runner.cleanup()


async def _ours(links: Links) -> None:
    ours = Ours(links)
    async with served(ours.scrape) as port:
        print(port, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            ours.update(links.change())
            print("changed", flush=True)


def _theirs(links: Links, way: Objects | Collecting, provider: str) -> None:
    server, _ = start_http_server(0, "127.0.0.1", registry=way.registry)
    if provider:
        threading.Thread(target=lambda: asyncio.run(_poll(links, way, provider)), daemon=True).start()
    print(server.server_port, flush=True)
    while sys.stdin.readline():
        way.update(links.change())
        print("changed", flush=True)


async def _poll(links: Links, way: Objects | Collecting, provider: str) -> None:
    def answered(place: int, all_time: int) -> None:
        way.update([links.read(place, all_time)])

    await Asking(provider, len(links.snapshots), answered).forever()


def main(way: str, count: str, provider: str = "") -> None:
    """Serves on a free port, which it prints, until its standard input ends."""
    links = Links(int(count), first_id=FIRST_ID)
    if way == "ours":
        asyncio.run(_ours(links))
    else:
        _theirs(links, Objects(links) if way == "objects" else Collecting(links), provider)


if __name__ == "__main__":
    main(*sys.argv[1:])

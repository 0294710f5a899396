"""``python -m tests.bench.server LINKS``: a scrape of that many links; ``/change`` changes one in 100."""

from __future__ import annotations

import asyncio
import sys
from itertools import count

from aiohttp import web

from exporter.listen import open_socket
from exporter.server import Site
from exporter.web import MAX_REQUESTS, Slots
from tests.bench.scrape import Bench


async def main(links: int) -> None:
    """Serves on a free port, which it prints, until its standard input ends."""
    bench = Bench(links)
    turns = count()
    app = web.Application()
    app.router.add_get("/metrics", Slots(MAX_REQUESTS).limited(bench.ours.handle))

    async def change(_: web.Request) -> web.Response:
        bench.update(list(bench.changed(next(turns))))
        return web.Response()

    app.router.add_get("/change", change)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    sock = open_socket("127.0.0.1", 0)
    await Site(runner, sock).start()
    print(sock.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

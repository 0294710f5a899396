"""``python -m tests.bench.server LINKS``: a scrape of that many links; ``/change`` changes one in 100."""

from __future__ import annotations

import asyncio
import sys
from itertools import count

from aiohttp import web

from exporter.web import Health, make_app
from tests.bench.scrape import Bench


async def main(links: int) -> None:
    """Serves on a free port, which it prints, until its standard input ends."""
    bench = Bench(links)
    turns = count()
    app = make_app(bench.ours, Health(lambda: None, lambda: None), "/metrics")

    async def change(_: web.Request) -> web.Response:
        bench.update(list(bench.changed(next(turns))))
        return web.Response()

    app.router.add_get("/change", change)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

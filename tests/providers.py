"""The simulated provider beside a test, on a thread of its own, so that the test can look into it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator

from exporter.simulator import Provider, Settings, serving


@contextlib.contextmanager
def provider(settings: Settings, speed: float = 1.0) -> Iterator[tuple[Provider, str]]:
    """A provider and its URL; ``speed`` is how fast its minutes pass."""
    simulated = Provider(settings, monotonic=lambda: time.monotonic() * speed)
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    url: list[str] = []
    serves = threading.Event()

    async def main() -> None:
        async with serving(simulated) as address:
            url.append(address)
            serves.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    serves.wait()
    try:
        yield simulated, url[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()

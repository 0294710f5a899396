"""A client that asks the provider for one link after the other and does nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

import aiohttp

LATENCY = 0.1
CONCURRENCY = 14
INTERVAL = 21.0
"""Seconds between two readings of a link, at least: three a minute, with a margin."""


def ceiling(links: int) -> float:
    """Requests a second that there can be: by the provider's limits in flight, and by those for each link."""
    return min(links / INTERVAL, CONCURRENCY / LATENCY)


class Asking:
    """Fourteen requests at a time, and each link as often as it may be asked. ``asked`` counts answers."""

    def __init__(
        self, provider: str, links: int, answered: Callable[[int, int], object] = lambda place, clicks: None
    ) -> None:
        self._url = f"{provider}/sys/tinyurls.php"
        self._links = links
        self._answered = answered
        self._turns = count()
        self._pause = max(0.0, CONCURRENCY * INTERVAL / links - LATENCY)
        self.asked = 0

    async def forever(self) -> None:
        """Goes on until it is cancelled."""
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(self._ask(session))

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        for turn in self._turns:
            place = turn % self._links
            form = {"get": "1", "login": "demo", "psw": "demo", "id": str(100_001 + place), "fmt": "3"}
            async with session.post(self._url, data=form) as response:
                answer = await response.json(content_type=None)
            self.asked += 1
            self._answered(place, int(answer["cnt"]))
            await asyncio.sleep(self._pause)

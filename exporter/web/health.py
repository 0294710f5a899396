"""Whether the exporter is healthy and ready: ``/-/healthy`` and ``/-/ready``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(frozen=True, slots=True)
class Health:
    """``alive`` and ``ready`` give None when all is well, or the reason why not."""

    alive: Callable[[], str | None]
    ready: Callable[[], str | None]

    def add_to(self, app: web.Application) -> None:
        """Adds both paths to ``app``."""
        app.router.add_get("/-/healthy", _check(self.alive, "healthy"))
        app.router.add_get("/-/ready", _check(self.ready, "ready"))


def _check(reason: Callable[[], str | None], word: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        why_not = reason()
        status = 200 if why_not is None else 503
        return web.Response(text=f"{why_not or word}\n", status=status)

    return handle

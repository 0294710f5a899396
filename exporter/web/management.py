"""Health, readiness, reloading and quitting: the paths under ``/-/``, as Prometheus has them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from exporter.web.connections import Handler, sent

_OFF = "the lifecycle endpoints are off: start the exporter with --web.enable-lifecycle\n"
_FROM_A_PAGE = "refused: a web page asked for this. Ask with a program, such as curl\n"


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


class Lifecycle:
    """``reload`` gives the faults that kept the old configuration in force, none if the new one is.

    ``quit`` begins the end, as SIGTERM does. Neither is called unless ``enabled``.
    """

    def __init__(
        self,
        reload: Callable[[], Awaitable[tuple[str, ...]]],
        quit: Callable[[], None],  # noqa: A002 - the endpoint's own name
        *,
        enabled: bool,
    ) -> None:
        self._reload = reload
        self._quit = quit
        self._enabled = enabled

    def add_to(self, app: web.Application) -> None:
        """Adds both paths to ``app``."""
        app.router.add_post("/-/reload", self._guarded(self._handle_reload))
        app.router.add_post("/-/quit", self._guarded(self._handle_quit))

    def _guarded(self, handle: Handler) -> Handler:
        """Lets only programs through, and them only if enabled.

        A page anywhere in the world may have a browser post to ``localhost``. Browsers send ``Origin`` with
        every such request, and ``Sec-Fetch-Site``; programs send neither. No page of ours asks for this, so
        that whatever page does is refused, also one that made its own name point here (DNS rebinding).
        """

        async def guarded(request: web.Request) -> web.StreamResponse:
            if not self._enabled:
                return web.Response(text=_OFF, status=403)
            if "Origin" in request.headers or "Sec-Fetch-Site" in request.headers:
                return web.Response(text=_FROM_A_PAGE, status=403)
            return await handle(request)

        return guarded

    async def _handle_reload(self, request: web.Request) -> web.Response:
        faults = await self._reload()
        text = "".join(f"{fault}\n" for fault in faults)
        return web.Response(text=text or "reloaded\n", status=500 if faults else 200)

    async def _handle_quit(self, request: web.Request) -> web.Response:
        response = web.Response(text="stopping\n")
        response.force_close()
        await sent(response, request)
        self._quit()
        return response

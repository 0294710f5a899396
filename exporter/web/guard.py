"""Who is let in, and what every response carries: the web configuration, applied to each request."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from aiohttp import hdrs, web

from exporter.clock import Clock
from exporter.web.connections import Handler, OncePerMinute
from exporter.web.passwords import Passwords
from exporter.web.queueing import BusyError, client_of
from exporter.webconfig import WebConfig

log = structlog.stdlib.get_logger(__name__)


class Guard:
    """Stands before every path of an application. ``config`` gives the web configuration of the moment."""

    def __init__(self, config: Callable[[], WebConfig], clock: Clock) -> None:
        self._config = config
        self._passwords = Passwords()
        self._said = OncePerMinute(clock)

    def protect(self, app: web.Application) -> None:
        """Makes ``app`` answer only to whom the configuration lets in."""
        app.middlewares.insert(0, self._admit)
        app.on_response_prepare.append(self._add_headers)
        app.on_startup.append(self._open)
        app.on_cleanup.append(self._close)

    async def _open(self, app: web.Application) -> None:
        self._passwords.open()

    async def _close(self, app: web.Application) -> None:
        self._passwords.close()

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = await self._refusal(self._config(), request)
        return await handler(request) if refusal is None else refusal

    async def _refusal(self, config: WebConfig, request: web.Request) -> web.Response | None:
        """What to answer instead, if anything; in the order of the toolkit."""
        if config.tls and not config.tls.admits(request.get_extra_info("peercert")):
            return _refuse(403, "the client's certificate has no name that is allowed here")
        if not config.users:
            return None
        return await self._wrong_login(config, request)

    async def _wrong_login(self, config: WebConfig, request: web.Request) -> web.Response | None:
        authorization, client = request.headers.get(hdrs.AUTHORIZATION, ""), client_of(request.remote)
        try:
            if await self._passwords.accept(config.users, authorization, client):
                return None
        except BusyError:
            return _refuse(503, "too many logins at once", {hdrs.RETRY_AFTER: "1"})
        if authorization and self._said.allows(client):
            log.warning("login_failed", address=client)
        return _refuse(401, "unauthorized", {hdrs.WWW_AUTHENTICATE: 'Basic realm="smsc-exporter"'})

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self._config().headers)


def _refuse(status: int, reason: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=f"{reason}\n", headers=headers)

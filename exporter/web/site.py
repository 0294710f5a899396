"""The web application: which path is answered by what."""

from __future__ import annotations

from aiohttp import hdrs, web

from exporter.web.connections import HEADERS, Handler, Slots
from exporter.web.help import Help
from exporter.web.management import Health, Lifecycle
from exporter.web.scrape import Scrape
from exporter.web.status import StatusPage

MAX_REQUESTS = 40
"""Scrapes at once, and as many readers of the page, unless ``--web.max-requests`` says otherwise."""


def make_app(
    scrape: Scrape,
    health: Health,
    lifecycle: Lifecycle,
    page: StatusPage,
    telemetry_path: str,
    max_requests: int = MAX_REQUESTS,
    route_prefix: str = "",
    external_path: str = "",
) -> web.Application:
    """The web application: the metrics at ``telemetry_path``, health, lifecycle, the status page and the
    documentation.

    All paths begin with ``route_prefix``. A reverse proxy shows the page at ``external_path``. Neither of the
    two ends with a slash.
    """
    app = web.Application()
    app.router.add_get(telemetry_path, Slots(max_requests).limited(scrape.handle))
    health.add_to(app)
    lifecycle.add_to(app)
    page.add_to(app, telemetry_path, slots := Slots(max_requests))
    Help().add_to(app, slots)
    app.on_startup.append(page.open)
    app.on_cleanup.extend((scrape.close, page.close))
    if route_prefix:
        app = _under(route_prefix, external_path or route_prefix, app)
    app.on_response_prepare.append(_add_headers)
    return app


def make_health_app(health: Health) -> web.Application:
    """Health and readiness alone, for a listener that asks nobody for a password."""
    app = web.Application()
    health.add_to(app)
    app.on_response_prepare.append(_add_headers)
    return app


def _under(prefix: str, external_path: str, app: web.Application) -> web.Application:
    """``app`` with ``prefix`` before all its paths.

    The links of the page are relative, so its own path must end with a slash.
    """
    whole = web.Application()
    whole.router.add_get("/", _redirect(f"{prefix}/"))
    whole.router.add_get(prefix, _redirect(f"{external_path}/"))
    whole.add_subapp(prefix, app)
    return whole


def _redirect(to: str) -> Handler:
    async def redirect(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(to)

    return redirect


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.popall(hdrs.SERVER, None)  # aiohttp's own
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)

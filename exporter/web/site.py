"""The web application: which path is answered by what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import hdrs, web

if TYPE_CHECKING:
    from exporter.web.health import Health
    from exporter.web.lifecycle import Lifecycle
    from exporter.web.scrape import Scrape
    from exporter.web.status import StatusPage


def make_app(
    scrape: Scrape, health: Health, lifecycle: Lifecycle, page: StatusPage, telemetry_path: str
) -> web.Application:
    """The web application: the metrics at ``telemetry_path``, health, lifecycle and the status page."""
    app = web.Application()
    app.router.add_get(telemetry_path, scrape.handle)
    health.add_to(app)
    lifecycle.add_to(app)
    page.add_to(app, telemetry_path)
    app.on_response_prepare.append(_hide_server)
    return app


async def _hide_server(request: web.Request, response: web.StreamResponse) -> None:
    """Which Python and aiohttp run here is nobody's business."""
    response.headers[hdrs.SERVER] = "smsc-exporter"

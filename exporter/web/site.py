"""The web application: which path is answered by what."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from exporter import __version__

if TYPE_CHECKING:
    from exporter.web.health import Health
    from exporter.web.scrape import Scrape

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>smsc-exporter</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem; color-scheme: light dark; }}</style>
</head>
<body>
<h1>smsc-exporter</h1>
<p>Clicks on SMS Centre short links, for Prometheus. Version {version}.</p>
<ul>
<li><a href="{metrics}">Metrics</a></li>
<li><a href="/-/healthy">Healthy</a></li>
<li><a href="/-/ready">Ready</a></li>
</ul>
</body>
</html>
"""


def make_app(scrape: Scrape, health: Health, telemetry_path: str) -> web.Application:
    """The web application: the metrics at ``telemetry_path``, health, readiness and the landing page."""
    page = _PAGE.format(version=escape(__version__), metrics=escape(telemetry_path))

    async def landing(request: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    app = web.Application()
    app.router.add_get(telemetry_path, scrape.handle)
    health.add_to(app)
    if telemetry_path != "/":
        app.router.add_get("/", landing)
    app.on_response_prepare.append(_hide_server)
    return app


def make_health_app(health: Health) -> web.Application:
    """Health and readiness alone, for a listener that asks nobody for a password."""
    app = web.Application()
    health.add_to(app)
    app.on_response_prepare.append(_hide_server)
    return app


async def _hide_server(request: web.Request, response: web.StreamResponse) -> None:
    """Which Python and aiohttp run here is nobody's business."""
    response.headers[hdrs.SERVER] = "smsc-exporter"

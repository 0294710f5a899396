"""The HTTP side of the simulator.

The paths under /control change the simulator and ask for no password: serve it to yourself only.
"""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

from aiohttp import web

from exporter.simulator.delivery import Delivery
from exporter.simulator.provider import Provider

_HOME = """SMS Centre's short-link statistics, simulated

GET, POST /sys/tinyurls.php   the statistics (get=1, login, psw or apikey, id or link, fmt)
GET       /audit              requests of the clients, and the most at once (?links=1 for each link)
POST      /audit/reset        start a new audit
GET       /truth?id=          a link's counts, without counting as a request
POST      /control/faults     faults in the body, such as http_500:0.05,error_3@145142; empty for none
POST      /control/clicks     form with id and clicks; negative clicks are a correction
POST      /control/password   form with login and password
POST      /control/allow      addresses that may log in, separated by commas; * for all, empty for none
"""
_FORM = "application/x-www-form-urlencoded"
_CLOSING_SECONDS = 2.0


def create_app(provider: Provider) -> web.Application:
    """Make the web application of a provider; several of them are its mirror hosts."""
    site = _Site(provider)
    app = web.Application()
    app.add_routes(
        [
            web.get("/", site.home),
            web.get("/sys/tinyurls.php", site.statistics, allow_head=False),
            web.post("/sys/tinyurls.php", site.statistics),
            web.get("/moved", site.moved),
            web.get("/audit", site.audit),
            web.post("/audit/reset", site.reset_audit),
            web.get("/truth", site.truth),
            web.post("/control/faults", site.set_faults),
            web.post("/control/clicks", site.add_clicks),
            web.post("/control/password", site.set_password),
            web.post("/control/allow", site.allow),
        ]
    )
    app.on_shutdown.append(site.close)
    return app


@asynccontextmanager
async def serving(provider: Provider, sock: socket.socket | None = None) -> AsyncIterator[str]:
    """Serve a provider while the context lasts; gives the URL, without a slash at the end.

    ``sock`` is the socket to listen on; without it, one on this machine alone.
    """
    runner = web.AppRunner(create_app(provider), access_log=None, shutdown_timeout=_CLOSING_SECONDS)
    await runner.setup()
    try:
        await web.SockSite(runner, sock or socket.create_server(("127.0.0.1", 0))).start()
        bound_host, bound_port = runner.addresses[0][:2]
        yield (
            f"http://[{bound_host}]:{bound_port}"
            if ":" in bound_host
            else f"http://{bound_host}:{bound_port}"
        )
    finally:
        await runner.cleanup()


class _Site:
    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._closing = asyncio.Event()
        self._delivery = Delivery(provider.settings, self._closing)

    async def close(self, _app: web.Application) -> None:
        self._closing.set()

    async def home(self, _request: web.Request) -> web.Response:
        return web.Response(text=_HOME)

    async def statistics(self, request: web.Request) -> web.StreamResponse:
        parameters = await _parameters(request)
        visit = self._provider.arrive(parameters, request.remote or "")
        # aiohttp lets a handler run on when its client leaves: until it ends, the request is in flight.
        try:
            if visit.latency:
                await self._delivery.rest(visit.latency)
            return await self._delivery.send(request, visit.reply)
        finally:
            self._provider.leave(visit)

    async def moved(self, _request: web.Request) -> web.Response:
        self._provider.auditor.followed_redirect()
        return web.Response(text="Whoever reads this followed a redirect, login and all.")

    async def audit(self, request: web.Request) -> web.Response:
        return web.json_response(self._provider.audit(links=request.query.get("links") == "1"))

    async def reset_audit(self, _request: web.Request) -> web.Response:
        self._provider.reset_audit()
        return web.Response(text="A new audit begins.\n")

    async def truth(self, request: web.Request) -> web.Response:
        try:
            link = self._provider.link(request.query.get("id") or request.query.get("link", ""))
        except KeyError as error:
            raise web.HTTPNotFound(text=f"{error.args[0]}\n") from None
        counts = self._provider.figures(link.id)._asdict()
        return web.json_response({"id": link.id, **counts, "link": link.short, "url": link.url})

    async def set_faults(self, request: web.Request) -> web.Response:
        try:
            self._provider.faults = (await request.text()).strip()
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from None
        return web.Response(text=f"Faults: {', '.join(f.label for f in self._provider.faults) or 'none'}\n")

    async def add_clicks(self, request: web.Request) -> web.Response:
        form = await _parameters(request)
        try:
            self._provider.add_clicks(form.get("id") or form.get("link", ""), int(form.get("clicks", "")))
        except ValueError:
            raise web.HTTPBadRequest(text="clicks: write a whole number\n") from None
        except KeyError as error:
            raise web.HTTPNotFound(text=f"{error.args[0]}\n") from None
        return web.Response(text="Clicked.\n")

    async def set_password(self, request: web.Request) -> web.Response:
        form = await _parameters(request)
        if not form.get("login") or not form.get("password"):
            raise web.HTTPBadRequest(text="write login=...&password=...\n")
        self._provider.set_password(form["login"], form["password"])
        return web.Response(text="The password is changed.\n")

    async def allow(self, request: web.Request) -> web.Response:
        addresses = (await request.text()).strip()
        self._provider.allowed_ips = (
            None if addresses == "*" else frozenset(re.findall(r"[^,\s]+", addresses))
        )
        return web.Response(text=f"May log in: {addresses or 'nobody'}\n")


async def _parameters(request: web.Request) -> dict[str, str]:
    """Return the parameters of the query and of a form; the form's win, as in PHP."""
    # parse_qsl over the raw texts is several times faster than the multi-dictionaries of aiohttp.
    found = parse_qsl(request.rel_url.raw_query_string)
    if request.method == "POST" and request.content_type == _FORM:
        found += parse_qsl((await request.read()).decode("utf-8", "replace"))
    return dict(found)

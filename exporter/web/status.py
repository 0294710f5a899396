"""The status page, for a person, and the same as JSON for a program.

What a page is made of is copied on the event loop, where nothing changes meanwhile, and immutable from then
on. Searching, sorting and rendering happen on one thread of their own: thousands of links then delay neither
a scrape nor a poll, and many readers at once don't either.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import hdrs, web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from exporter import __version__
from exporter.limits import FAILED_LOGIN_LIMIT
from exporter.model import State
from exporter.threads import Threads
from exporter.web import wording
from exporter.web.listing import LONGEST, ORDERS, PER_PAGE, LinkState, Query, select
from exporter.web.report import Report, account_row, document, link_row
from exporter.web.slots import RETRY_AFTER, Slots

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from exporter.clock import Clock
    from exporter.exposition import Exposition
    from exporter.polling.poller import Poller
    from exporter.telemetry import Telemetry

T = TypeVar("T")

MOST_WAITING = 16
"""Readers whose page is made or waits to be made; more are turned away. With 10,000 links: half a second."""

MOST_FILES = 10
"""Link files that the page names because they are refused; how many more there are it says."""

_TEMPLATES = Path(__file__).parent / "templates"
_STYLE = (_TEMPLATES / "status.css").read_text(encoding="utf-8")
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()

POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: its own style, its own form, and nothing else."""


class StatusPage:
    """Answers ``/`` and ``/api/v1/links``. ``not_ready`` is the reason why the exporter is not, or None."""

    def __init__(
        self,
        exposition: Exposition,
        poller: Poller,
        telemetry: Telemetry,
        clock: Clock,
        not_ready: Callable[[], str | None],
        thread: Executor | None = None,
    ) -> None:
        self._exposition = exposition
        self._poller = poller
        self._telemetry = telemetry
        self._clock = clock
        self._not_ready = not_ready
        self._thread = thread or Threads(1, "page")
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def open(self, app: web.Application) -> None:
        """Starts the thread that renders. Raises ``RuntimeError`` if the system allows none."""
        self._thread.submit(int)

    async def close(self, app: web.Application) -> None:
        """Ends the thread that renders, when ``app`` has answered its last request."""
        self._thread.shutdown()

    def add_to(self, app: web.Application, telemetry_path: str, slots: Slots) -> None:
        """Adds both paths to ``app``; the page leaves its own to the metrics, should they want it."""
        app.router.add_get("/api/v1/links", slots.limited(self._handle_api))
        if telemetry_path != "/":
            handle = partial(self._handle_page, _template(telemetry_path))
            app.router.add_get("/", slots.limited(handle))

    async def _handle_page(self, render: Callable[[Report], str], request: web.Request) -> web.Response:
        try:
            query = Query.parse(request.query)
        except ValueError as error:
            return web.Response(text=f"{error}\n", status=400)
        headers = {"Content-Security-Policy": POLICY}
        return await self._answer(request, query, render, content_type="text/html", headers=headers)

    async def _handle_api(self, request: web.Request) -> web.Response:
        try:
            query = Query.parse(request.query)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        return await self._answer(request, query, _as_json, content_type="application/json")

    async def _answer(
        self, request: web.Request, query: Query, render: Callable[[Report], str], **kind: Any
    ) -> web.Response:
        """The answer when its turn has come; nothing is done for who has left until then."""
        if self._waiting >= MOST_WAITING:
            text = f"{MOST_WAITING} readers of the status page are waiting already\n"
            return web.Response(text=text, status=503, headers={hdrs.RETRY_AFTER: str(RETRY_AFTER)})
        self._waiting += 1
        try:
            async with self._turn:
                text = await self._told(query, render) if request.transport else ""
        finally:
            self._waiting -= 1
        return web.Response(text=text, **kind)

    async def _told(self, query: Query, render: Callable[[Report], str]) -> str:
        views, now = self._exposition.views(), self._clock.time()
        listing = await self._in_thread(partial(select, views, query, now))
        next_polls = self._poller.next_polls([view.snapshot.link for view in listing.views])
        statuses = self._poller.statuses()
        report = Report(
            now=now,
            version=__version__,
            not_ready=self._not_ready(),
            reload=self._telemetry.reload,
            web_config_successful=self._telemetry.web_config_successful(),
            link_files=self._telemetry.loaded_link_files,
            storage_up=self._telemetry.storage_up(),
            accounts=[account_row(status, listing, self._telemetry) for status in statuses],
            links=[link_row(*pair, now) for pair in zip(listing.views, next_polls, strict=True)],
            failures=tuple(reversed(self._poller.failures)),
            query=query,
            listing=listing,
        )
        return await self._in_thread(partial(render, report))

    async def _in_thread(self, do: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, do)


def _as_json(report: Report) -> str:
    return json.dumps(document(report), ensure_ascii=False) + "\n"


def _template(telemetry_path: str) -> Callable[[Report], str]:
    """What renders a report. Everything in it is escaped, for names and messages come from outside."""
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for writes in (wording.rfc3339, wording.utc, wording.duration, wording.address):
        environment.filters[writes.__name__] = writes
    environment.globals.update(
        style=_STYLE,
        metrics=telemetry_path,
        states=tuple(LinkState),
        well=(State.POLLING, LinkState.OK),
        per_page=PER_PAGE,
        longest=LONGEST,
        most_files=MOST_FILES,
        orders=ORDERS,
        allowed_failed_logins=FAILED_LOGIN_LIMIT,
    )
    return lambda report: environment.get_template("status.html").render(r=report)

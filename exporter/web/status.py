"""The status page for a person, and the same as JSON or CSV for a program.

The event loop copies what a page shows, for nothing changes there meanwhile. One thread then searches, sorts
and renders. So neither thousands of links nor many readers delay a scrape or a poll.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar

from aiohttp import hdrs, web

from exporter.clock import Clock
from exporter.exposition.exposition import Exposition
from exporter.limits import FAILED_LOGIN_LIMIT
from exporter.polling.poller import Poller
from exporter.telemetry import Telemetry
from exporter.threads import Threads
from exporter.web.connections import Slots
from exporter.web.listing import ATTENTION, LONGEST, ORDERS, Query, one_of, select
from exporter.web.report import Row, account_row, as_csv, document, whole_row
from exporter.web.templating import ENVIRONMENT, POLICY
from exporter.web.wording import rfc3339

T = TypeVar("T")

MOST_FILES = 10
"""Link files that the page names because they are refused; how many more there are it says."""

CSV_HEADERS = {hdrs.CONTENT_DISPOSITION: 'attachment; filename="links.csv"'}


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
            app.router.add_get("/", slots.limited(partial(self._handle_page, telemetry_path)))

    async def _handle_page(self, telemetry_path: str, request: web.Request) -> web.Response:
        try:
            query = Query.parse(request.query)
        except ValueError as error:
            return web.Response(text=f"{error}\n", status=400)
        tell = partial(self._tell, query, query.sort or "state", partial(_as_html, query, telemetry_path))
        headers = {hdrs.CONTENT_SECURITY_POLICY: POLICY}
        return await self._answer(request, tell, content_type="text/html", headers=headers)

    async def _handle_api(self, request: web.Request) -> web.Response:
        try:
            query = Query.parse(request.query)
            one_of("format", request.query.get("format", ""), ("json", "csv"))
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        if request.query.get("format") == "csv":
            tell = partial(self._tell_all, query)
            return await self._answer(request, tell, content_type="text/csv", headers=CSV_HEADERS)
        tell = partial(self._tell, query, query.sort, _as_json)
        return await self._answer(request, tell, content_type="application/json")

    async def _answer(
        self, request: web.Request, tell: Callable[[], Awaitable[str]], **kind: Any
    ) -> web.Response:
        """The answer when its turn has come; nothing is done for who has left until then."""
        async with self._turn:
            text = await tell() if request.transport else ""
        return web.Response(text=text, charset="utf-8", **kind)

    async def _tell(self, query: Query, sort: str, render: Callable[[Row], str]) -> str:
        views, now = self._exposition.views(), self._clock.time()
        listing = await self._in_thread(partial(select, views, query, sort, now))
        next_polls = self._poller.next_polls([view.snapshot.link for view in listing.views])
        report = document(
            self._telemetry,
            accounts=[account_row(status, self._telemetry) for status in self._poller.statuses()],
            links=[whole_row(*pair, now) for pair in zip(listing.views, next_polls, strict=True)],
            failures=reversed(self._poller.failures),
            listing=listing,
            now=now,
            not_ready=self._not_ready(),
        )
        return await self._in_thread(partial(render, report))

    async def _tell_all(self, query: Query) -> str:
        views, now = self._exposition.views(), self._clock.time()
        return await self._in_thread(lambda: as_csv(select(views, query, query.sort, now).found, now))

    async def _in_thread(self, do: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, do)


def _as_json(report: Row) -> str:
    return json.dumps(report, ensure_ascii=False, default=rfc3339) + "\n"


def _as_html(query: Query, telemetry_path: str, report: Row) -> str:
    return ENVIRONMENT.get_template("status.html").render(
        r=report,
        query=query,
        metrics=telemetry_path,
        states=ATTENTION,
        longest=LONGEST,
        most_files=MOST_FILES,
        orders=ORDERS,
        allowed_failed_logins=FAILED_LOGIN_LIMIT,
    )

"""Scrapes: the metrics, in the format and coding that the reader asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from email.utils import formatdate

import structlog
from aiohttp import hdrs, web
from isal import isal_zlib
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, gzip_accepted

from exporter import threads
from exporter.clock import Clock
from exporter.exposition.exposition import Exposition

log = structlog.stdlib.get_logger(__name__)

OPENMETRICS = "application/openmetrics-text"

GZIP_LEVEL = 1
"""isal's level: the lines are so alike that more effort saves little."""

PIECE = 1 << 17
"""Bytes that are handed to the connection, or to compression, at once."""


class Scrape:
    """Answers scrapes: the links' cached lines, then the exporter's own metrics."""

    def __init__(self, exposition: Exposition, registry: CollectorRegistry, clock: Clock) -> None:
        self._exposition = exposition
        self._clock = clock
        self._registry = registry
        self._threads = threads.Threads(2, "gzip")
        self._said_plain = False

    async def close(self, app: web.Application) -> None:
        """Ends the threads that compress, when ``app`` has answered its last request."""
        self._threads.shutdown()

    def render(self, accept: str, names: Collection[str]) -> tuple[list[bytes], str]:
        """The body in pieces, and its type by the Accept header; only the series in ``names``, if any."""
        openmetrics = wants_openmetrics(accept)
        encode, content_type = choose_encoder(OPENMETRICS if openmetrics else "")
        links = self._exposition.render(openmetrics=openmetrics, names=names or None)
        registry = self._registry.restricted_registry(names) if names else self._registry
        return [*links, encode(registry)], content_type

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """``GET /metrics``."""
        names = frozenset(name for name in request.query.getall("name[]", ()) if name)
        # The date of the figures: the page may leave much later, if the process is stopped meanwhile.
        date = formatdate(self._clock.time(), usegmt=True)
        headers: dict[str, str] = {hdrs.DATE: date, hdrs.VARY: "Accept, Accept-Encoding"}
        body, headers[hdrs.CONTENT_TYPE] = self.render(request.headers.get(hdrs.ACCEPT, ""), names)
        wants_gzip = gzip_accepted(request.headers.get(hdrs.ACCEPT_ENCODING, ""))
        if wants_gzip and (gzipped := await self._compressed(body)) is not None:
            body, headers[hdrs.CONTENT_ENCODING] = gzipped, "gzip"
        if request.method == hdrs.METH_HEAD:
            return web.Response(headers={**headers, hdrs.CONTENT_LENGTH: str(_size(body))})
        return _Page(body, headers)

    async def _compressed(self, body: list[bytes]) -> list[bytes] | None:
        """``body`` as gzip, or None if no thread can be started for that.

        Compression releases the interpreter's lock, so that on a thread it delays nothing else. The event
        loop's own threads will not do: they may all be waiting for a name server.
        """
        queued = body.copy()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, compressed, queued)
        except RuntimeError as error:
            queued.clear()  # the executor keeps what it could not begin
            if not self._said_plain:
                log.warning("gzip_unavailable", reason=str(error), advice=threads.ADVICE)
            self._said_plain = True
            return None


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header names OpenMetrics, in version 1.0.0 or in any. Weights do not matter.

    prometheus_client's own choice fails at a version that is no number, and calls these lines any newer one.
    """
    for offer in accept.lower().split(","):
        name, *parameters = map(str.strip, offer.split(";"))
        versions = {parameter for parameter in parameters if parameter.startswith("version=")}
        if name == OPENMETRICS and versions <= {"version=1.0.0"}:
            return True
    return False


class _Page(web.StreamResponse):
    """A body in parts, sent bit by bit: never whole in memory, however many read it and however slowly."""

    def __init__(self, body: list[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(headers=headers)
        self.content_length = _size(body)
        self._pieces = _pieces(body)

    async def write_eof(self, data: bytes = b"") -> None:
        """Sends what has not been sent yet: nothing, when it is called again."""
        for piece in self._pieces:
            await self.write(piece)
            await asyncio.sleep(0)  # a reader as fast as we are never makes us wait, nor let others go on
        await super().write_eof(data)


def _size(body: list[bytes]) -> int:
    return sum(map(len, body))


def _pieces(body: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes of ``body`` in pieces of about ``PIECE``, for which one call each is not too many."""
    piece: list[bytes] = []
    size = 0
    for part in body:
        piece.append(part)
        size += len(part)
        if size >= PIECE:
            yield b"".join(piece)
            piece.clear()
            size = 0
    yield b"".join(piece)


def compressed(body: Iterable[bytes]) -> list[bytes]:
    """The body as one gzip member."""
    gzip = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, 16 + isal_zlib.MAX_WBITS)
    return [*map(gzip.compress, _pieces(body)), gzip.flush()]

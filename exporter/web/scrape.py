"""Scrapes: the metrics, in the format and coding that the reader asks for."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from typing import TYPE_CHECKING

from aiohttp import hdrs, web
from isal import isal_zlib
from prometheus_client.exposition import choose_encoder

from exporter.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from prometheus_client import CollectorRegistry
    from prometheus_client.registry import Collector

    from exporter.clock import Clock
    from exporter.exposition import Exposition

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
        self._threads = Threads(2, "gzip")

    async def close(self, app: web.Application) -> None:
        """Ends the threads that compress, when ``app`` has answered its last request."""
        self._threads.shutdown()

    def render(self, accept: str, names: Collection[str]) -> tuple[list[bytes], str]:
        """The body in pieces, and its type by the Accept header; only the series in ``names``, if any."""
        encode, content_type = _encoder(accept)
        openmetrics = content_type.startswith("application/openmetrics-text")
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
        if accepts_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")):
            # Off the event loop, with the interpreter's lock released, so that a large page delays nothing
            # else; and not on the loop's own threads, which may all be waiting for a name server.
            body = await asyncio.get_running_loop().run_in_executor(self._threads, compressed, body)
            headers[hdrs.CONTENT_ENCODING] = "gzip"
        if request.method == hdrs.METH_HEAD:
            return web.Response(headers={**headers, hdrs.CONTENT_LENGTH: str(_size(body))})
        return _Page(body, headers)


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
    """The same bytes in pieces of about ``PIECE``, for which one call each is not too many."""
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


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """prometheus_client's choice by the Accept header; the plain text where it cannot make sense of that."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        return choose_encoder("")


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header allows gzip (RFC 9110: a weight of 0 forbids it)."""
    weights: dict[str, bool] = {}
    for part in accept_encoding.lower().split(","):
        coding, _, parameters = part.partition(";")
        weight = parameters.replace(" ", "").removeprefix("q=")
        weights[coding.strip()] = weight.strip("0.") != "" or not weight
    return weights.get("gzip", weights.get("*", False))

"""Scrapes: the metrics, in the format and coding that the reader asks for."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from aiohttp import hdrs, web
from isal import isal_zlib
from prometheus_client.exposition import choose_encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from prometheus_client import CollectorRegistry
    from prometheus_client.registry import Collector

    from exporter.exposition import Exposition

GZIP_LEVEL = 1
"""isal's level: the lines are so alike that more effort saves little."""

PIECE = 1 << 17
"""Bytes that are handed to the connection, or to compression, at once."""


class Scrape:
    """Answers scrapes: the links' cached lines, then the exporter's own metrics."""

    def __init__(self, exposition: Exposition, registry: CollectorRegistry) -> None:
        self._exposition = exposition
        self._registry = registry
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="gzip")

    def close(self) -> None:
        """Ends the threads that compress."""
        self._threads.shutdown(wait=False)

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
        body, content_type = self.render(request.headers.get(hdrs.ACCEPT, ""), names)
        response = web.StreamResponse()
        response.headers.update({hdrs.CONTENT_TYPE: content_type, hdrs.VARY: "Accept, Accept-Encoding"})
        if accepts_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")):
            # Off the event loop, with the interpreter's lock released, so that a large page delays nothing
            # else; and not on the loop's own threads, which may all be waiting for a name server.
            body = await asyncio.get_running_loop().run_in_executor(self._threads, _compressed, body)
            response.headers[hdrs.CONTENT_ENCODING] = "gzip"
        return await _send(request, response, body)


async def _send(
    request: web.Request, response: web.StreamResponse, body: Iterable[bytes]
) -> web.StreamResponse:
    """Sends the body bit by bit: it is never whole in memory, however many read it and however slowly."""
    response.content_length = sum(map(len, body))
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD:
        for piece in _pieces(body):
            await response.write(piece)
    await response.write_eof()
    return response


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


def _compressed(body: Iterable[bytes]) -> list[bytes]:
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

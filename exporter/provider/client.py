"""One request, one answer: the provider's HTTP side.

Each fetch puts exactly one request on the wire, since the provider counts identical ones: no redirect is
followed and nothing is sent twice. What goes wrong comes out as a PollError in which no secret is left.
"""

from __future__ import annotations

import gzip
import io
import math
import ssl
import time
import zlib
from collections.abc import Callable
from functools import lru_cache, partial
from http import HTTPStatus
from types import SimpleNamespace
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from exporter import __version__
from exporter.errors import MalformedError
from exporter.model import Account, Link, Reading
from exporter.provider.bounded import BoundedSocket
from exporter.provider.failures import LONGEST_HEADER, Exchange, failure, status_error
from exporter.provider.parsing import parse
from exporter.provider.scrubbing import scrub

_FORMATS = {"plain": "0", "csv": "1", "xml": "2", "json": "3"}
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}

# An answer has some two hundred bytes; what is far larger is none, and is not worth the memory.
_LARGEST_BODY = 64 * 1024


def open_session(resolver: aiohttp.abc.AbstractResolver | None = None) -> aiohttp.ClientSession:
    """Opens a session for the client. Call it inside the event loop, and close the session.

    Certificates are verified. Aiohttp does not ask the environment for proxies or for a ``.netrc``, and keeps
    no cookie: what is sent is what the configuration says.
    """
    # Pacing limits the requests in flight. A connection is left sooner than nginx closes it (75 s, less where
    # tightened): a request sent into a closing connection is lost, and cannot be sent again.
    connector = aiohttp.TCPConnector(
        limit=0, keepalive_timeout=15, ttl_dns_cache=60, socket_factory=BoundedSocket, resolver=resolver
    )
    tracing = aiohttp.TraceConfig()
    tracing.on_request_headers_sent.append(_mark_sent)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"smsc-exporter/{__version__}", "Accept-Encoding": "identity"},
        auto_decompress=False,
        max_field_size=LONGEST_HEADER + 1024,  # the name counts as well
        trace_configs=[tracing],
        trust_env=False,
    )


async def _mark_sent(
    session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestHeadersSentParams
) -> None:
    context.trace_request_ctx.sent = True


class Client:
    """Asks the provider about links, over a session made by ``open_session``.

    ``clock`` tells the wall-clock time in seconds since the epoch, for servers that say when to come back
    without saying what time it is.
    """

    def __init__(self, session: aiohttp.ClientSession, clock: Callable[[], float] = time.time) -> None:
        self._session = session
        self._clock = clock

    async def fetch(self, account: Account, link: Link, url: str) -> Reading:
        """The provider's answer about ``link``, asked once at ``url``, one of the account's.

        Raises a PollError of the kind that says what happened, and nothing else.
        """
        proxy = account.proxy_for(url)
        exchange = Exchange(account.timeout, proxy, tunnel=url.startswith("https:"))
        try:
            return await self._poll(account, link, url, exchange)
        except _BrokenError as error:
            failed = failure(error.error, exchange)
        except Exception as error:
            failed = failure(error, exchange)
        # A new traceback and no context: aiohttp's errors quote the URL, which holds the password with GET,
        # and the frames inside hold it as a local variable, which some log formats show.
        raise failed.with_traceback(None)

    async def _poll(self, account: Account, link: Link, url: str, exchange: Exchange) -> Reading:
        """Does one exchange. Errors are those that aiohttp or Python raises."""
        address, form = _request(account, link, url)
        proxy, tunnel = exchange.proxy, exchange.tunnel
        to_proxy = proxy.headers if proxy else {}  # with its password: in a tunnel, for it alone
        async with self._session.request(
            account.method,
            address,
            data=form,
            allow_redirects=False,
            timeout=_within(account.timeout),
            middlewares=_ONCE,
            ssl=_trusting(account.authorities) if account.authorities else True,
            trace_request_ctx=exchange,
            headers={**(_FORM if form else {}), **({} if tunnel else to_proxy)},
            proxy=proxy.url if proxy else None,
            proxy_headers=to_proxy if proxy and tunnel else None,
        ) as response:
            if response.status != HTTPStatus.OK:
                raise status_error(response, self._clock, exchange.proxy)
            body = _inflated(await _body(response), response.headers.get("Content-Encoding", ""))
        return parse(body, response.charset, link, partial(scrub, account.secrets))


class _BrokenError(Exception):
    """Carries an error past the code of aiohttp that would send the request again."""

    def __init__(self, error: Exception) -> None:
        self.error = error


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keeps aiohttp from sending a GET again by itself after a connection broke without an answer.

    It does so on these errors (``ClientSession._request``), and on no others. The second request would be one
    that nobody counted, and might be the fourth in its minute.
    """
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        broken = error
    raise _BrokenError(broken)


_ONCE = (_once,)


@lru_cache(maxsize=1024)
def _trusting(authorities: str) -> ssl.SSLContext:
    """A TLS context that trusts these certificates (PEM) beside the system's authorities."""
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=authorities)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _request(account: Account, link: Link, url: str) -> tuple[URL, bytes | None]:
    """The address and the body of a request. With GET the form is in the address and there is no body."""
    name, value = link.target
    fields = {"get": "1", **account.credentials.parameters, name: value, "fmt": _FORMATS[account.format]}
    form, endpoint = urlencode(fields), _endpoint(url)
    if account.method == "POST":
        return endpoint, form.encode()
    # Encoded already: left to itself, yarl decodes and encodes once more, by other rules.
    return URL(f"{endpoint}?{form}", encoded=True), None


@lru_cache
def _endpoint(url: str) -> URL:
    return URL(url.rstrip("/") + "/sys/tinyurls.php")


@lru_cache
def _within(seconds: float) -> aiohttp.ClientTimeout:
    """The time for the whole exchange: name, connection, request, answer."""
    # A connection that takes half of it is given up, while it is known that nothing was sent. aiohttp rounds
    # up to whole seconds from a threshold on: never, here.
    return aiohttp.ClientTimeout(total=seconds, connect=seconds / 2, ceil_threshold=math.inf)


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """The whole body. One that is too large is left unread, on which aiohttp closes the connection."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _LARGEST_BODY:
            raise MalformedError(f"the answer is larger than {_LARGEST_BODY // 1024} KiB")
    return bytes(body)


def _inflated(body: bytes, encoding: str) -> bytes:
    """The body as it was before a proxy on the way compressed it, though we asked it not to.

    Gzip is recognised by its first bytes (RFC 1952, 2.3.1): no answer begins with them, and a header may be
    lost on the way. What is compressed by other means is malformed.
    """
    if body.startswith(b"\x1f\x8b"):
        return _gunzipped(body)
    if encoding.strip().lower() in _COMPRESSED:
        raise MalformedError(
            f"the answer is compressed ({encoding.strip().lower()}), which was not asked for"
        )
    return body


_COMPRESSED = frozenset({"br", "compress", "deflate", "zstd"})


def _gunzipped(body: bytes) -> bytes:
    try:
        text = gzip.GzipFile(fileobj=io.BytesIO(body)).read(_LARGEST_BODY + 1)
    except (EOFError, OSError, zlib.error):
        raise MalformedError("the answer is gzip that is cut short or damaged") from None
    if len(text) > _LARGEST_BODY:
        raise MalformedError(f"the answer is larger than {_LARGEST_BODY // 1024} KiB, unpacked")
    return text

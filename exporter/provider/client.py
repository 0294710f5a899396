"""One request, one answer: the provider's HTTP side.

Each fetch puts exactly one request on the wire, since the provider counts identical ones: no redirect is
followed and nothing is sent twice. What goes wrong comes out as a PollError in which no secret is left.
"""

from __future__ import annotations

import base64
import email.utils
import html
import json
import math
import os
import re
import socket
import ssl
import time
from datetime import UTC
from functools import lru_cache, partial
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, urlencode

import aiohttp
from yarl import URL

from exporter import __version__
from exporter.errors import (
    HttpStatusError,
    MalformedError,
    NoAnswerError,
    PollError,
    PollTimeoutError,
    UnreachableError,
)
from exporter.provider.parsing import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exporter.model import Account, Credentials, Link, Reading

_FORMATS = {"plain": "0", "csv": "1", "xml": "2", "json": "3"}
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}

# An answer has some two hundred bytes; what is far larger is none, and is not worth the memory.
_LARGEST_BODY = 64 * 1024


def open_session() -> aiohttp.ClientSession:
    """A session as the client wants it; the caller closes it. To be called inside the event loop.

    Certificates are verified. The environment is not asked for proxies or for a ``.netrc``, and no cookie is
    kept: what is sent is what the configuration says.
    """
    # Pacing limits the requests in flight. A connection is left sooner than nginx closes it (75 s, less where
    # tightened): a request sent into a closing connection is lost, and cannot be sent again.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=15, ttl_dns_cache=60)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"smsc-exporter/{__version__}", "Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
    )


class Client:
    """Asks the provider about links, over a session handed in (see ``open_session``).

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
        try:
            return await self._poll(account, link, url)
        except Exception as error:
            failure = _failure(error, account)
        # A new traceback and no context: aiohttp's errors quote the URL, which holds the password with GET,
        # and the frames inside hold it as a local variable, which some log formats show.
        raise failure.with_traceback(None)

    async def _poll(self, account: Account, link: Link, url: str) -> Reading:
        """One exchange; whatever goes wrong comes out as aiohttp or Python raises it."""
        address, form = _request(account, link, url)
        async with self._session.request(
            account.method,
            address,
            data=form,
            headers=_FORM if form else None,
            allow_redirects=False,
            timeout=_within(account.timeout),
            middlewares=_ONCE,
        ) as response:
            if response.status != 200:
                raise HttpStatusError(response.status, _retry_after(response.headers, self._clock))
            body = await _body(response)
        return parse(body, response.charset, link, partial(_scrub, account.credentials))


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keeps aiohttp from sending a GET again by itself after a connection broke without an answer.

    It does so on these errors (``ClientSession._request``), and on no others. The second request would be one
    that nobody counted, and might be the fourth in its minute.
    """
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        failure = _unreachable(error)
    raise failure


_ONCE = (_once,)


def _request(account: Account, link: Link, url: str) -> tuple[URL, bytes | None]:
    """Where to send, and which body: with GET none, for the form then stands in the address."""
    name, value = link.target
    fields = {"get": "1", **account.credentials.parameters, name: value, "fmt": _FORMATS[account.format]}
    form, endpoint = urlencode(fields), _endpoint(url)
    if account.method == "POST":
        return endpoint, form.encode()
    # Encoded already: left to itself, yarl decodes and encodes once more, by other rules.
    return URL(f"{endpoint}?{form}", encoded=True), None


@lru_cache
def _endpoint(url: str) -> URL:
    """Where the command is served under ``url``."""
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


# --- What went wrong


def _failure(error: Exception, account: Account) -> PollError:
    """The error as a PollError that quotes nothing of the request."""
    match error:
        case PollError():
            return error
        case aiohttp.ConnectionTimeoutError():
            return UnreachableError(f"no connection within {account.timeout / 2:g} s", sent=False)
        case TimeoutError():
            return PollTimeoutError(f"no whole answer within {account.timeout:g} s")
        case aiohttp.ClientPayloadError():
            return NoAnswerError("the connection broke in the middle of the answer")
        case aiohttp.ClientResponseError():
            return NoAnswerError("the answer is not HTTP")
        case _:
            return _unreachable(error)


def _unreachable(error: Exception) -> UnreachableError:
    """Whether the request left before the connection broke decides whether the provider may have seen it."""
    return UnreachableError(_reason(error), sent=not isinstance(error, aiohttp.ClientConnectorError))


def _reason(error: Exception) -> str:
    """Why there was no connection or no answer, in a few words that hold neither URL nor secret."""
    cause: object = error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    match cause:
        case ssl.SSLCertVerificationError():
            return f"certificate not valid: {cause.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {cause.reason or cause.errno}"
        case socket.gaierror():
            return f"host name not resolved: {cause.strerror}"
        case OSError(errno=int(number)):
            return os.strerror(number)
        case aiohttp.ServerDisconnectedError():
            return "the connection was closed without an answer"
        case _:
            return type(error).__name__


def _retry_after(headers: Mapping[str, str], clock: Callable[[], float]) -> float | None:
    """The seconds to wait that a ``Retry-After`` header asks for (RFC 9110, 10.2.3), None without."""
    told = headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]{1,9}", told):
        return float(told)
    if (then := _http_date(told)) is None:
        return None
    # By the server's own clock where it shows it: ours may differ.
    now = _http_date(headers.get("Date", ""))
    wait = then - (clock() if now is None else now)
    return wait if wait >= 0 else None


def _http_date(text: str) -> float | None:
    """An HTTP date in seconds since the epoch, None if it is none."""
    try:
        moment = email.utils.parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):  # the latter from absurd zones
        return None


def _in_base64(secret: str, before: int) -> str:
    """What base64 makes of a secret behind so many bytes, less the ends that its neighbours change."""
    data = bytes(before) + secret.encode()
    inside = base64.b64encode(data)[4 if before else 0 : len(data) // 3 * 4]
    return inside.decode() if len(inside) >= _LEAST_BASE64 else ""


_LEAST_BASE64 = 8
"""Characters: fewer may stand anywhere by chance, and tell next to nothing."""

# How an answer may spell a secret: as it is, as in a URL, as in XML, as in JSON by PHP and by others, as
# UTF-8 taken for cp1251, and as in an Authorization header.
_SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    quote,
    partial(quote, safe=""),
    quote_plus,
    html.escape,
    lambda secret: json.dumps(secret)[1:-1].replace("/", r"\/"),
    lambda secret: json.dumps(secret)[1:-1],
    lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    lambda secret: secret.encode().decode("cp1251", "ignore"),
    *(partial(_in_base64, before=before) for before in range(3)),
)


def _scrub(credentials: Credentials, text: str) -> str:
    """``text`` with ``***`` in place of every secret, in whichever of the usual ways it is written."""
    spelled = {way(secret) for secret in credentials.parameters.values() if secret for way in _SPELLINGS}
    spelled.discard("")
    # The longest first: a spelling may hold another.
    pattern = "|".join(re.escape(one) for one in sorted(spelled, key=len, reverse=True))
    return re.sub(pattern, "***", text, flags=re.IGNORECASE) if pattern else text

"""Turns the errors of a request into a PollError that quotes nothing of the request."""

from __future__ import annotations

import email.utils
import errno
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from http import HTTPStatus

import aiohttp
from aiohttp.http_exceptions import LineTooLong

from exporter.errors import (
    HttpStatusError,
    NoAnswerError,
    PollError,
    PollTimeoutError,
    UnreachableError,
)
from exporter.model import Proxy
from exporter.provider.bounded import MOST_RECEIVED

LONGEST_HEADER = 32 * 1024
"""Bytes of one header. Front proxies set large cookies; nginx sends no more than this by default."""


@dataclass
class Exchange:
    """One request and the way it takes.

    ``timeout`` is the account's, in seconds. ``tunnel`` says that a proxy only passes TLS on. ``sent`` turns
    true as the request begins to leave: for the provider with a tunnel, else for the proxy, if there is one.
    """

    timeout: float
    proxy: Proxy | None
    tunnel: bool
    sent: bool = False


def failure(error: Exception, exchange: Exchange) -> PollError:
    """The error as a PollError."""
    failed = error if isinstance(error, PollError) else _failure(error, exchange)
    if failed.transport and failed.sent and exchange.proxy and not exchange.tunnel:
        failed.args = (f"through the proxy: {failed}",)
    return failed


def _failure(error: Exception, exchange: Exchange) -> PollError:
    if not exchange.sent:
        return UnreachableError(_why_not_sent(error, exchange), sent=False)
    match error:
        case TimeoutError():
            return PollTimeoutError(f"no complete answer within {exchange.timeout:g} s")
        case _ if _is_too_much(error):
            return NoAnswerError(f"the answer is larger than {MOST_RECEIVED // 1024} KiB with its headers")
        case aiohttp.ClientPayloadError():
            return NoAnswerError("the connection broke in the middle of the answer")
        case aiohttp.ClientResponseError():
            return NoAnswerError(_why_unreadable(error))
        case _:
            return UnreachableError(_reason(error))


def status_error(
    response: aiohttp.ClientResponse, clock: Callable[[], float], proxy: Proxy | None
) -> PollError:
    """The error for an HTTP status other than 200. Only a proxy answers 407, and it has passed nothing on."""
    if proxy is not None and response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return UnreachableError(_no_entry(proxy, response.status), sent=False)
    return HttpStatusError(response.status, _retry_after(response.headers, clock))


def _why_not_sent(error: Exception, exchange: Exchange) -> str:
    proxy = exchange.proxy
    if isinstance(error, TimeoutError):
        return f"no connection{' through the proxy' if proxy else ''} within {exchange.timeout / 2:g} s"
    if proxy is None:
        return _reason(error)
    return _why_no_tunnel(error, proxy)


def _why_no_tunnel(error: Exception, proxy: Proxy) -> str:
    match error:
        case _ if _is_too_much(error):
            return f"the proxy's answer is larger than {MOST_RECEIVED // 1024} KiB"
        case aiohttp.ClientHttpProxyError(status=401 | 407):  # tinyproxy says 401 to a wrong password
            return _no_entry(proxy, error.status)
        case aiohttp.ClientHttpProxyError():
            return f"the proxy refuses to connect to the provider: HTTP status {error.status}"
        case aiohttp.ClientResponseError():
            return "the proxy's answer is not HTTP"
        case aiohttp.ClientConnectorDNSError() | aiohttp.ClientProxyConnectionError():
            return f"no connection to the proxy: {_reason(error)}"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError(errno=errno.ECONNRESET):
            return "the proxy closed the connection without connecting to the provider"
        case _:
            return _reason(error)


def _no_entry(proxy: Proxy, status: int) -> str:
    if proxy.user is None:
        return (
            f"the proxy asks for a password (HTTP status {status}): "
            "write proxy: http://user:password@host:port"
        )
    return f"the proxy does not accept the user and password in proxy (HTTP status {status})"


def _is_too_much(error: Exception) -> bool:
    """Whether ``BoundedSocket`` ended the exchange. Within a body, aiohttp keeps no more than its words."""
    if isinstance(error, aiohttp.ClientPayloadError):
        return os.strerror(errno.EMSGSIZE) in str(error)
    return isinstance(error, OSError) and error.errno == errno.EMSGSIZE


def _why_unreadable(error: Exception) -> str:
    if any(isinstance(each, LineTooLong) for each in _causes(error)):
        return f"a header of the answer is larger than {LONGEST_HEADER // 1024} KiB"
    return "the answer is not HTTP"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


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
        case OSError() if isinstance(error, aiohttp.ClientConnectorError):  # asyncio gives no number
            return "the connection broke while TLS was set up"
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

"""The client through proxies that do as a test tells them: what they are sent, and what each failure says."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult

from exporter.errors import HttpStatusError, NoAnswerError, PollError, PollTimeoutError, UnreachableError
from exporter.model import Credentials, Proxy, Reading
from exporter.provider.client import Client, open_session
from exporter.secret import SecretStr
from tests.factories import make_account, make_link
from tests.unit.provider.servers import (
    CLOSES,
    CUT_SHORT,
    FAULTLESS,
    JSON,
    RESETS,
    Answer,
    closed_port,
    over_tls,
    says,
    serving,
    sleeps,
    then_closes,
    writes,
)

PLAIN, SECURE = "http://provider.example", "https://provider.example"
Login = tuple[SecretStr | None, SecretStr | None]
NOBODY: Login = (None, None)
LOGIN: Login = (SecretStr("proxy-ёser"), SecretStr("proxy-p@ss:word"))
TOKEN = base64.b64encode("proxy-ёser:proxy-p@ss:word".encode())
FORM = b"get=1&login=alex&psw=hunter2&id=145142&fmt=3"
TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"
ENDLESS = b"HTTP/1.1 100 Continue\r\n\r\n" * 40_000


async def ask_through(proxy: Proxy, url: str, **fields: Any) -> Reading:
    credentials = Credentials(SecretStr("alex"), SecretStr("hunter2"))
    account = make_account(credentials=credentials, proxies=((url, proxy),), base_url=url, **fields)
    async with open_session() as session:
        return await Client(session).fetch(account, make_link(), url)


class Asked:
    """What one fetch through a proxy brought, and what the proxy was sent."""

    def __init__(
        self,
        answer: Answer,
        url: str,
        method: str = "POST",
        seconds: float = 10.0,
        login: Login = NOBODY,
        authorities: str = "",
    ) -> None:
        ask = partial(ask_through, url=url, method=method, timeout=seconds, authorities=authorities)
        self.reading: Reading | None = None
        self.error: PollError | None = None
        self.requests: list[bytes] = []
        asyncio.run(self._ask(answer, ask, login))

    async def _ask(self, answer: Answer, ask: Callable[[Proxy], Awaitable[Reading]], login: Login) -> None:
        async with serving(answer) as server:
            try:
                self.reading = await ask(Proxy(server.url, *login))
            except PollError as error:
                self.error = error
            self.requests = server.requests

    def failed(self, kind: type[PollError]) -> tuple[str, bool, bool]:
        """What the error says, whether the request was sent, whether it is abandoned."""
        assert type(self.error) is kind
        assert len(self.requests) == 1
        return str(self.error), self.error.sent, self.error.abandoned


# --- what a proxy is sent


def headers(request: bytes) -> list[bytes]:
    return request.partition(b"\r\n\r\n")[0].split(b"\r\n")


@pytest.mark.parametrize("login", [NOBODY, LOGIN], ids=["without a password", "with one"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_plain_request_names_the_whole_address(method: str, login: Login) -> None:
    asked = Asked(says(JSON), PLAIN, method, login=login)
    assert asked.reading == FAULTLESS
    (request,) = asked.requests
    query = b"?" + FORM if method == "GET" else b""
    line, *others = headers(request)
    assert line == b"%s http://provider.example/sys/tinyurls.php%s HTTP/1.1" % (method.encode(), query)
    assert request.endswith(b"" if method == "GET" else FORM)
    assert b"Host: provider.example" in others
    assert (b"Proxy-Authorization: Basic " + TOKEN in others) == (login is LOGIN)


@pytest.mark.parametrize("login", [NOBODY, LOGIN], ids=["without a password", "with one"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_proxy_sees_nothing_of_the_request_before_there_is_a_tunnel(method: str, login: Login) -> None:
    (request,) = Asked(says(b"", status="403 Forbidden"), SECURE, method, login=login).requests
    line, *others = headers(request)
    assert line == b"CONNECT provider.example:443 HTTP/1.1"
    assert (b"Proxy-Authorization: Basic " + TOKEN in others) == (login is LOGIN)
    assert b"alex" not in request
    assert b"tinyurls" not in request


def test_in_a_tunnel_the_provider_sees_nothing_of_the_proxys_password() -> None:
    authority = trustme.CA()
    context = over_tls(authority, "provider.example")

    async def tunnels(request: bytes, writer: asyncio.StreamWriter) -> None:
        connects = request.startswith(b"CONNECT ")
        await (writes(TUNNEL) if connects else says(JSON))(request, writer)
        if connects:
            await writer.start_tls(context)

    asked = Asked(tunnels, SECURE, login=LOGIN, authorities=authority.cert_pem.bytes().decode())
    assert asked.reading == FAULTLESS
    connect, request = asked.requests
    assert TOKEN in connect
    assert b"psw=hunter2" in request
    assert b"proxy" not in request.lower()


# --- what goes wrong before a tunnel stands: nothing was sent


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (says(b"", status="403 Forbidden"), "the proxy refuses to connect to the provider: HTTP status 403"),
        (
            says(b"<html>", status="502 Bad Gateway"),
            "the proxy refuses to connect to the provider: HTTP status 502",
        ),
        (
            says(b"", status="504 Gateway Timeout"),
            "the proxy refuses to connect to the provider: HTTP status 504",
        ),
        (CLOSES, "the proxy closed the connection without connecting to the provider"),
        (RESETS, "the proxy closed the connection without connecting to the provider"),
        (writes(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "the proxy's answer is not HTTP"),
        (writes(ENDLESS), "the proxy's answer is larger than 256 KiB"),
    ],
    ids=["403", "502", "504", "closes", "resets", "not HTTP", "interim answers without end"],
)
def test_without_a_tunnel_nothing_was_sent(answer: Answer, message: str) -> None:
    assert Asked(answer, SECURE).failed(UnreachableError) == (message, False, False)


@pytest.mark.parametrize("page", [b"", b"<html>log in</html>"], ids=["nothing", "a web page"])
def test_a_tunnel_to_nowhere_has_sent_nothing(page: bytes) -> None:
    asked = Asked(then_closes(writes(TUNNEL + page)), SECURE)
    assert asked.failed(UnreachableError) == ("the connection broke while TLS was set up", False, False)


def test_a_web_page_in_place_of_tls_has_sent_nothing() -> None:
    async def pages(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(TUNNEL)
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.write(b"<html>log in</html>" * 10)

    message, sent, _ = Asked(pages, SECURE).failed(UnreachableError)
    assert message.startswith("TLS failed: ")
    assert not sent


def test_a_proxy_that_takes_too_long_has_sent_nothing() -> None:
    message = "no connection through the proxy within 0.1 s"
    assert Asked(sleeps, SECURE, seconds=0.2).failed(UnreachableError) == (message, False, False)


NO_PASSWORD = "the proxy asks for a password (HTTP status 407): write proxy: http://user:password@host:port"
WRONG_PASSWORD = "the proxy does not accept the user and password in proxy (HTTP status 407)"


def test_a_proxy_may_refuse_a_password_with_401() -> None:
    asked = Asked(says(b"", status="401 Unauthorized"), SECURE, login=LOGIN)
    assert asked.failed(UnreachableError) == (WRONG_PASSWORD.replace("407", "401"), False, False)


@pytest.mark.parametrize("url", [PLAIN, SECURE])
@pytest.mark.parametrize(("login", "message"), [(NOBODY, NO_PASSWORD), (LOGIN, WRONG_PASSWORD)])
def test_a_proxy_that_wants_another_password_has_passed_nothing_on(
    login: Login, message: str, url: str
) -> None:
    asked = Asked(says(b"<html>", status="407 Proxy Authentication Required"), url, login=login)
    assert asked.failed(UnreachableError) == (message, False, False)


@pytest.mark.parametrize("url", [PLAIN, SECURE])
def test_a_proxy_that_is_not_there_is_named(url: str) -> None:
    with pytest.raises(UnreachableError) as caught:
        asyncio.run(ask_through(Proxy(f"http://127.0.0.1:{closed_port()}"), url))
    assert str(caught.value) == "no connection to the proxy: Connection refused"
    assert not caught.value.sent


class Unknown(AbstractResolver):
    """Knows no name."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def close(self) -> None:
        return


@pytest.mark.parametrize("url", [PLAIN, SECURE])
def test_a_proxy_whose_name_is_unknown_is_named(url: str) -> None:
    async def run() -> None:
        async with open_session(Unknown()) as session:
            account = make_account(proxies=((url, Proxy("http://proxy.example:3128")),))
            await Client(session).fetch(account, make_link(), url)

    with pytest.raises(UnreachableError) as caught:
        asyncio.run(run())
    message = "no connection to the proxy: host name not resolved: Name or service not known"
    assert (str(caught.value), caught.value.sent) == (message, False)


# --- what goes wrong once a plain request has left: it may have been passed on


@pytest.mark.parametrize(
    ("answer", "kind", "message", "abandoned"),
    [
        (says(b"<html>", status="502 Bad Gateway"), HttpStatusError, "HTTP status 502", False),
        (says(b"", status="504 Gateway Timeout"), HttpStatusError, "HTTP status 504", True),
        (says(b"<html>log in</html>"), NoAnswerError, "the answer is a web page", False),
        (says(b""), NoAnswerError, "the answer is empty", False),
        (CLOSES, UnreachableError, "the connection was closed without an answer", True),
        (RESETS, UnreachableError, "Connection reset by peer", True),
        (
            then_closes(writes(CUT_SHORT)),
            NoAnswerError,
            "the connection broke in the middle of the answer",
            False,
        ),
        (sleeps, PollTimeoutError, "no complete answer within 0.2 s", True),
    ],
    ids=["502", "504", "a web page", "nothing", "closes", "resets", "cut short", "timeout"],
)
def test_a_plain_request_may_have_been_passed_on(
    answer: Answer, kind: type[PollError], message: str, *, abandoned: bool
) -> None:
    asked = Asked(answer, PLAIN, seconds=0.2 if answer is sleeps else 10.0)
    assert asked.failed(kind) == (f"through the proxy: {message}", True, abandoned)


def test_407_without_a_proxy_is_a_status_like_any_other() -> None:
    async def run() -> None:
        async with serving(says(b"", status="407 x")) as server, open_session() as session:
            await Client(session).fetch(make_account(), make_link(), server.url)

    with pytest.raises(HttpStatusError, match=r"^HTTP status 407$"):
        asyncio.run(run())


# --- secrets


async def echoes(request: bytes, writer: asyncio.StreamWriter) -> None:
    """Says back all it was sent, and the password that is in there."""
    token = request.partition(b"Basic ")[2].partition(b"\r\n")[0]
    body = b"ERROR = 7 (%s %s %s)" % (token, base64.b64decode(token), request.replace(b"\r\n", b" "))
    await says(body)(request, writer)


def test_a_proxys_password_is_starred_in_what_the_proxy_says(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    error = Asked(echoes, PLAIN, login=LOGIN).error
    assert error
    assert str(error).startswith("error 7: *** ***:*** POST http://provider.example/sys/tinyurls.php ")
    said = f"{error!r} {vars(error)} {caplog.text}"
    assert not [word for word in ("ёser", "p@ss", TOKEN.decode(), "hunter2") if word in said]
    assert (error.__cause__, error.__context__) == (None, None)

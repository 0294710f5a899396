"""The client against real servers on 127.0.0.1: what goes over the wire, and what must never come out."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import logging
import socket
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal
from urllib.parse import quote, quote_plus

import pytest
import trustme
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from exporter import __version__
from exporter.errors import (
    HttpStatusError,
    MalformedError,
    NoAnswerError,
    PollError,
    PollTimeoutError,
    ThrottledError,
    UnauthorizedError,
    UnreachableError,
)
from exporter.model import Credentials, Reading
from exporter.provider.client import Client, open_session
from exporter.secret import SecretStr
from tests.factories import make_account, make_link, make_reading
from tests.unit.provider.servers import (
    CLOSES,
    CUT_SHORT,
    FAULTLESS,
    JSON,
    RESETS,
    Answer,
    ask,
    closed_port,
    drips,
    echoes,
    failure,
    fetch,
    over_tls,
    says,
    serving,
    sleeps,
    then_closes,
    then_resets,
    writes,
)

BOTH = pytest.mark.parametrize("method", ["GET", "POST"])


# --- What is sent


@pytest.mark.parametrize(
    "value",
    [
        "mywebsite.ru",
        "https://mywebsite.ru/?q=a+b&c=d e%20f#части",
        "https://смс.рф/ы?a=1;b=\"'<>\\^|`{}~!*()",
    ],
)
@pytest.mark.parametrize(("answers", "fmt"), [("json", "3"), ("xml", "2"), ("csv", "1"), ("plain", "0")])
@BOTH
def test_the_parameters_arrive_as_they_are(method: str, answers: str, fmt: str, value: str) -> None:
    seen: dict[str, str] = {}

    async def handle(request: web.Request) -> web.Response:
        told = request.query if method == "GET" else await request.post()
        seen.update({name: str(value) for name, value in told.items()})
        seen.update(method=request.method, path=request.path)
        return web.Response(body=JSON, content_type="application/json")

    async def run() -> Reading:
        app = web.Application()
        app.router.add_route("*", "/base/sys/tinyurls.php", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        account = make_account(method=method, format=answers, credentials=login("Алекс+1", "p&s %"))
        try:
            async with open_session() as session:
                url = f"http://127.0.0.1:{runner.addresses[0][1]}/base/"
                return await Client(session).fetch(account, make_link(url=value), url)
        finally:
            await runner.cleanup()

    assert asyncio.run(run()) == FAULTLESS
    form = {"get": "1", "login": "Алекс+1", "psw": "p&s %", "link": value, "fmt": fmt}
    assert seen == {**form, "method": method, "path": "/base/sys/tinyurls.php"}


def login(name: str, password: str) -> Credentials:
    return Credentials(SecretStr(name), SecretStr(password))


def key(value: str) -> Credentials:
    return Credentials(api_key=SecretStr(value))


@BOTH
def test_the_request_on_the_wire(method: str) -> None:
    form = b"get=1&apikey=a+b%2B%D1%91~&id=1%2F2+%D1%91&fmt=3"
    got: list[bytes] = []

    async def keep(request: bytes, writer: asyncio.StreamWriter) -> None:
        got.append(request)
        await says(JSON.replace(b"145142", "1/2 ё".encode()))(request, writer)

    fetch(keep, link=make_link(id="1/2 ё"), method=method, credentials=key("a b+ё~"))
    head, _, body = got[0].partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    assert line == b"%s /sys/tinyurls.php%s HTTP/1.1" % (
        method.encode(),
        b"?" + form if method == "GET" else b"",
    )
    assert body == (b"" if method == "GET" else form)
    assert f"User-Agent: smsc-exporter/{__version__}".encode() in headers
    assert b"Accept-Encoding: identity" in headers
    assert (b"Content-Type: application/x-www-form-urlencoded" in headers) == (method == "POST")


@BOTH
def test_the_environment_adds_nothing(method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    got: list[bytes] = []

    async def keep(request: bytes, writer: asyncio.StreamWriter) -> None:
        got.append(request)
        await says(JSON)(request, writer)

    fetch(keep, method=method)
    assert b"authorization" not in got[0].lower()


@BOTH
def test_a_connection_is_kept_and_a_cookie_is_not(method: str) -> None:
    async def run() -> None:
        async with serving(says(JSON, "Set-Cookie: session=1; Path=/")) as server, open_session() as session:
            client, account = Client(session), make_account(method=method)
            # By name, for cookies of an address are not kept anyway.
            url = server.url.replace("127.0.0.1", "localhost")
            for _ in range(3):
                assert await client.fetch(account, make_link(), url) == FAULTLESS
        assert (len(server.requests), server.connections) == (3, 1)
        assert not any(b"cookie" in request.lower() for request in server.requests)

    asyncio.run(run())


# --- One request, whatever happens


@pytest.mark.parametrize("breaks", [CLOSES, RESETS], ids=["closes", "resets"])
@BOTH
def test_nothing_is_sent_again_on_a_fresh_connection(method: str, breaks: Answer) -> None:
    failure(UnreachableError, breaks, method=method)


@pytest.mark.parametrize("breaks", [CLOSES, RESETS], ids=["closes", "resets"])
@BOTH
def test_nothing_is_sent_again_on_a_kept_connection(method: str, breaks: Answer) -> None:
    answers = iter([says(JSON), breaks])

    async def once_well(request: bytes, writer: asyncio.StreamWriter) -> None:
        await next(answers)(request, writer)

    async def run() -> None:
        async with serving(once_well) as server, open_session() as session:
            client, account = Client(session), make_account(method=method)
            await client.fetch(account, make_link(), server.url)
            with pytest.raises(UnreachableError):
                await client.fetch(account, make_link(), server.url)
        assert (len(server.requests), server.connections) == (2, 1)

    asyncio.run(run())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@BOTH
def test_a_redirect_is_not_followed(method: str, status: int) -> None:
    error = failure(
        HttpStatusError, says(b"", "Location: /elsewhere", status=f"{status} Moved"), method=method
    )
    assert str(error) == f"HTTP status {status}"


# --- What comes back


def test_the_charset_of_the_header_is_heard() -> None:
    body = JSON.replace(b"tips/a", "tips/ё".encode("koi8-r"))
    reading = fetch(says(body, "Content-Type: application/json; charset=KOI8-R"))
    assert reading == make_reading(short_link="smsc.tips/ё")


@pytest.mark.parametrize(
    "answer",
    [
        then_closes(writes(b"HTTP/1.0 200 OK\r\n\r\n" + JSON)),
        writes(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(JSON), JSON)
        ),
        says(JSON.ljust(64 * 1024)),
    ],
    ids=["until closed", "chunked", "64 KiB"],
)
def test_a_whole_body_is_read(answer: Answer) -> None:
    assert fetch(answer) == FAULTLESS


@pytest.mark.parametrize("status", ["200 OK", "503 Service Unavailable"])
@BOTH
def test_a_body_without_end_is_left(method: str, status: str) -> None:
    """The server notices: the connection is closed under it."""
    noticed = asyncio.Event()

    async def pours(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
        try:
            while True:
                writer.write(b" " * 65_536)
                await writer.drain()
        except ConnectionError:
            noticed.set()

    async def run() -> None:
        async with serving(pours) as server, open_session() as session:
            with pytest.raises(
                PollError, match="larger than 64 KiB" if status == "200 OK" else "HTTP status 503"
            ):
                await Client(session).fetch(make_account(method=method), make_link(), server.url)
            await asyncio.wait_for(noticed.wait(), 10)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (says(JSON.ljust(64 * 1024 + 1)), MalformedError, "the answer is larger than 64 KiB"),
        (says(b""), NoAnswerError, "the answer is empty"),
        (says(b"<html></html>"), NoAnswerError, "the answer is a web page"),
        (then_closes(writes(CUT_SHORT)), NoAnswerError, "the connection broke in the middle of the answer"),
        (then_resets(writes(CUT_SHORT)), NoAnswerError, "the connection broke in the middle of the answer"),
        (
            then_closes(writes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n99\r\n{")),
            NoAnswerError,
            "the connection broke in the middle of the answer",
        ),
        (
            writes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"),
            NoAnswerError,
            "the answer is not HTTP",
        ),
        (writes(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), NoAnswerError, "the answer is not HTTP"),
        (CLOSES, UnreachableError, "the connection was closed without an answer"),
        (
            then_closes(writes(b"HTTP/1.1 200 OK\r\n")),
            UnreachableError,
            "the connection was closed without an answer",
        ),
        (RESETS, UnreachableError, "Connection reset by peer"),
        (says(b"", status="204 No Content"), HttpStatusError, "HTTP status 204"),
        (says(b"ERROR = 4 (x)", status="404 Not Found"), HttpStatusError, "HTTP status 404"),
    ],
)
@BOTH
def test_what_goes_wrong_is_told_apart(
    method: str, answer: Answer, kind: type[PollError], message: str
) -> None:
    error = failure(kind, answer, method=method)
    assert str(error).startswith(message)
    assert error.sent


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (CLOSES, UnreachableError),
        (RESETS, UnreachableError),
        (then_closes(writes(b"HTTP/1.1 200 OK\r\n")), UnreachableError),
        (sleeps, PollTimeoutError),
        (says(b"", status="504 Gateway Timeout"), HttpStatusError),
    ],
    ids=["closed", "reset", "closed within the headers", "timeout", "HTTP 504"],
)
@BOTH
def test_a_request_without_an_answer_is_abandoned(method: str, answer: Answer, kind: type[PollError]) -> None:
    assert failure(kind, answer, method=method, timeout=0.2 if answer is sleeps else 10.0).abandoned


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (says(b"ERROR = 9 (wait)"), ThrottledError),
        (says(b"?"), MalformedError),
        (says(b""), NoAnswerError),
        (then_closes(writes(CUT_SHORT)), NoAnswerError),
        (says(b"", status="502 Bad Gateway"), HttpStatusError),
        (says(b"", status="503 Service Unavailable"), HttpStatusError),
    ],
    ids=["error number", "malformed", "empty", "cut short", "HTTP 502", "HTTP 503"],
)
@BOTH
def test_a_request_with_an_answer_is_not_abandoned(
    method: str, answer: Answer, kind: type[PollError]
) -> None:
    assert not failure(kind, answer, method=method).abandoned


@pytest.mark.parametrize("answer", [sleeps, drips])
@BOTH
def test_the_timeout_covers_the_whole_answer(method: str, answer: Answer) -> None:
    error = failure(PollTimeoutError, answer, method=method, timeout=0.2)
    assert str(error) == "no complete answer within 0.2 s"


class Resolver(AbstractResolver):
    """Names are resolved as ``find`` does it."""

    def __init__(self, find: Callable[[], Awaitable[list[ResolveResult]]]) -> None:
        self._find = find

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return await self._find()

    async def close(self) -> None:
        return


async def never() -> list[ResolveResult]:
    await asyncio.sleep(60)
    return []


async def unknown() -> list[ResolveResult]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def unconnected(
    url: str, find: Callable[[], Awaitable[list[ResolveResult]]] | None = None, **account: object
) -> PollError:
    """The error of a fetch that gets no connection, where names are found so."""

    async def run() -> None:
        async with open_session(Resolver(find) if find else None) as session:
            await Client(session).fetch(make_account(**account), make_link(), url)  # type: ignore[arg-type]  # an account's fields by name, for brevity

    with pytest.raises(PollError) as caught:
        asyncio.run(run())
    return caught.value


@BOTH
def test_no_connection_has_a_reason(method: str) -> None:
    error = unconnected(f"http://127.0.0.1:{closed_port()}", method=method)
    assert (type(error), str(error), error.sent) == (UnreachableError, "Connection refused", False)
    assert not error.abandoned


@BOTH
def test_an_unknown_host_is_unreachable(method: str) -> None:
    error = unconnected("http://example.invalid", unknown, method=method)
    assert (type(error), str(error)) == (
        UnreachableError,
        "host name not resolved: Name or service not known",
    )


@BOTH
def test_a_connection_that_takes_too_long_was_never_made(method: str) -> None:
    error = unconnected("http://example.invalid", never, method=method, timeout=1.0)
    assert (type(error), str(error)) == (UnreachableError, "no connection within 0.5 s")
    assert not error.sent


@BOTH
def test_what_is_no_address_is_unreachable(method: str) -> None:
    error = unconnected("http://", method=method)
    assert (type(error), str(error)) == (UnreachableError, "InvalidUrlClientError")


@BOTH
def test_a_certificate_nobody_vouches_for_is_refused(method: str) -> None:
    async def run() -> None:
        async with serving(says(JSON), over_tls(trustme.CA(), "127.0.0.1")) as server:
            try:
                await ask(server, make_account(method=method))
            finally:
                assert not server.requests

    with pytest.raises(
        UnreachableError, match=r"^certificate not valid: unable to get local issuer certificate$"
    ):
        asyncio.run(run())


@pytest.mark.parametrize("name", ["127.0.0.1", "example.org"])
@BOTH
def test_a_certificate_must_be_the_hosts(method: str, name: str) -> None:
    authority = trustme.CA()
    account = make_account(method=method, authorities=authority.cert_pem.bytes().decode())

    async def run() -> Reading:
        async with serving(says(JSON), over_tls(authority, name)) as server:
            return await ask(server, account)

    if name == "127.0.0.1":
        assert asyncio.run(run()) == FAULTLESS
    else:
        with pytest.raises(UnreachableError, match=r"^certificate not valid: IP address mismatch"):
            asyncio.run(run())


@BOTH
def test_a_server_without_tls_is_unreachable(method: str) -> None:
    async def run() -> None:
        listening = await asyncio.start_server(babble, "127.0.0.1", 0)
        async with listening, open_session() as session:
            url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            await Client(session).fetch(make_account(method=method), make_link(), url)

    with pytest.raises(UnreachableError, match=r"^TLS failed: [A-Z_]+$"):
        asyncio.run(run())


async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example.org ESMTP\r\n")
    writer.close()


NOW = "Date: Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (["Retry-After: 120"], 120.0),
        (["Retry-After: 0"], 0.0),
        ([], None),
        (["Retry-After: -5"], None),
        (["Retry-After: 1.5"], None),
        (["Retry-After: " + "9" * 5000], None),
        (["Retry-After: soon"], None),
        (["Retry-After: Sun, 06 Nov 1994 08:50:37 GMT", NOW], 60.0),
        (["Retry-After: Sun, 06 Nov 1994 08:50:37 -0000", NOW], 60.0),
        (["Retry-After: Sun, 06 Nov 1994 08:48:37 GMT", NOW], None),
        (["Retry-After: Sun, 06 Nov 1994 08:49:47 GMT"], 10.0),
        (["Retry-After: Sun, 06 Nov 1994 08:49:47 GMT", "Date: today"], 10.0),
        (["Retry-After: Sun, 06 Nov 1994 08:49:37 +9999999999999999"], None),
    ],
)
def test_retry_after(headers: list[str], seconds: float | None) -> None:
    error = failure(HttpStatusError, says(b"", *headers, status="429 Too Many Requests"))
    assert error.retry_after == seconds


def test_a_cancelled_fetch_is_cancelled() -> None:
    arrived = asyncio.Event()

    async def waits(request: bytes, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await asyncio.sleep(60)

    async def run() -> None:
        async with serving(waits) as server:
            task = asyncio.create_task(ask(server, make_account()))
            await arrived.wait()
            task.cancel()
            await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())


# --- Secrets

LOGIN, PASSWORD, KEY = "Лог-0001 x", "p@sŝ\\W0rd/\"+&<'%", "KEY~8c5f/00ё=="
SIGNED = {"login": login(LOGIN, PASSWORD), "api key": key(KEY)}
SPELLED = [
    way(secret)
    for secret in (LOGIN, PASSWORD, KEY)
    for way in (str, quote, quote_plus, lambda text: quote(text, safe=""), lambda text: repr(text)[1:-1])
]

FAILURES: dict[str, tuple[Answer, type[PollError]]] = {
    "closed": (CLOSES, UnreachableError),
    "reset": (RESETS, UnreachableError),
    "timeout": (sleeps, PollTimeoutError),
    "drip": (drips, PollTimeoutError),
    "cut short": (then_closes(writes(CUT_SHORT)), NoAnswerError),
    "cut short, echoed": (then_closes(echoes(b"ERROR = 2 (", b")" + b" " * 70_000)), MalformedError),
    "not HTTP": (writes(b"nonsense\r\n\r\n"), NoAnswerError),
    "empty": (says(b""), NoAnswerError),
    "redirect": (echoes(b"", status="302 Found"), HttpStatusError),
    "status": (echoes(b"", status="500 Internal Server Error"), HttpStatusError),
    "web page": (echoes(b"<html>"), NoAnswerError),
    "unknown shape": (echoes(b""), MalformedError),
    "not JSON": (echoes(b"{"), MalformedError),
    "not XML": (echoes(b"<"), MalformedError),
    "not a count": (echoes(b"145142,"), MalformedError),
    "another link": (echoes(b"id = ", b", cnt = 1"), MalformedError),
    "error": (echoes(b"ERROR = 2 (no such ", b") sorry"), UnauthorizedError),
    "error in JSON": (echoes(b'{"error": "', b'", "error_code": 2}'), UnauthorizedError),
    "error in XML": (
        echoes(b"<result><error>", b"</error><error_code>2</error_code></result>"),
        UnauthorizedError,
    ),
    "error, cut in a secret": (echoes(b"ERROR = 2 (" + b"." * 180, b")"), UnauthorizedError),
    "shape, cut in a secret": (echoes(b"." * 40), MalformedError),
}


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and all that hangs on it."""
    while error is not None:
        yield error
        if error.__cause__ is not None:
            yield from chain(error.__cause__)
        error = error.__context__


def frames(trace: TracebackType | None) -> Iterator[str]:
    """What the local variables of the exporter's own frames show."""
    while trace is not None:
        if "/exporter/" in trace.tb_frame.f_code.co_filename:
            yield repr(trace.tb_frame.f_locals)
        trace = trace.tb_next


def told(error: BaseException) -> str:
    """Everything that an error could tell a log."""
    lines = [*traceback.format_exception(error)]
    for each in chain(error):
        lines += [str(each), repr(each), repr(vars(each)), *frames(each.__traceback__)]
    return "\n".join(lines)


def assert_silent(error: PollError, logged: str) -> None:
    assert error.__cause__ is None
    assert error.__context__ is None
    assert not [secret for secret in SPELLED if secret in told(error) or secret in logged]


@pytest.mark.parametrize("signed", SIGNED.values(), ids=SIGNED)
@pytest.mark.parametrize(("answer", "kind"), FAILURES.values(), ids=FAILURES)
@BOTH
def test_no_answer_brings_a_secret_out(
    method: Literal["GET", "POST"],
    answer: Answer,
    kind: type[PollError],
    signed: Credentials,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    error = failure(
        kind, answer, method=method, credentials=signed, timeout=0.2 if kind is PollTimeoutError else 10.0
    )
    assert_silent(error, caplog.text)


@pytest.mark.parametrize("signed", SIGNED.values(), ids=SIGNED)
@pytest.mark.parametrize(
    "url", ["http://", "http://127.0.0.1:{port}", "https://127.0.0.1:{port}", "http://[", "ftp://a"]
)
@BOTH
def test_no_failed_connection_brings_a_secret_out(
    method: str, url: str, signed: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = url.format(port=closed_port())
    error = unconnected(url, method=method, credentials=signed)
    assert type(error) is UnreachableError
    assert_silent(error, caplog.text)


@pytest.mark.parametrize("find", [never, unknown])
@BOTH
def test_no_failed_name_brings_a_secret_out(
    method: str, find: Callable[[], Awaitable[list[ResolveResult]]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    error = unconnected(
        "http://example.invalid", find, method=method, credentials=SIGNED["login"], timeout=0.05
    )
    assert_silent(error, caplog.text)


@BOTH
def test_a_refused_certificate_brings_no_secret_out(method: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def run() -> None:
        async with serving(says(JSON), over_tls(trustme.CA(), "127.0.0.1")) as server:
            await ask(server, make_account(method=method, credentials=SIGNED["login"]))

    with pytest.raises(UnreachableError) as caught:
        asyncio.run(run())
    assert_silent(caught.value, caplog.text)


@BOTH
def test_a_half_letter_that_cannot_be_sent_is_a_poll_error(method: str) -> None:
    error = failure_of(login(LOGIN, PASSWORD + "\ud800"), method)
    assert (type(error), str(error)) == (UnreachableError, "UnicodeEncodeError")
    assert_silent(error, "")


def failure_of(signed: Credentials, method: str) -> PollError:
    return unconnected("http://127.0.0.1:9", method=method, credentials=signed)


def test_a_secret_in_the_providers_words_is_starred() -> None:
    error = failure(
        UnauthorizedError, echoes(b"ERROR = 2 (", b")"), credentials=login(LOGIN, PASSWORD), format="csv"
    )
    assert (
        str(error)
        == "error 2: get=1 login=*** psw=*** id=145142 fmt=1 get=1&login=***&psw=***&id=145142&fmt=1"
    )


PHP = json.dumps(PASSWORD).replace("/", r"\/")
MOJIBAKE = "Лог-0001 x".encode() + "ы".encode("cp1251")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (f"{{{PHP}", "the answer is not complete JSON: '{\"***\"'"),
        (f"<{html.escape(PASSWORD)}>", "the answer is not complete XML: '<***>'"),
        (MOJIBAKE, "the answer has an unknown shape: '***ы'"),
        (quote(PASSWORD).lower(), "the answer has an unknown shape: '***'"),
    ],
)
def test_a_secret_is_starred_however_it_is_spelled(body: str | bytes, message: str) -> None:
    answer = says(body if isinstance(body, bytes) else body.encode())
    assert str(failure(MalformedError, answer, credentials=login(LOGIN, PASSWORD))) == message


@pytest.mark.parametrize("before", ["", ":", "x:", "alex:"])
def test_a_secret_in_base64_is_starred_but_for_its_ends(before: str) -> None:
    encoded = base64.b64encode(f"{before}correct horse battery:".encode())
    error = failure(
        UnauthorizedError,
        says(b"ERROR = 2 (" + encoded + b")"),
        credentials=login("alex", "correct horse battery"),
    )
    left = str(error).removeprefix("error 2: ").replace("***", "")
    assert "***" in str(error)
    assert len(left) <= 12


def test_a_secret_that_holds_another_is_starred_whole() -> None:
    error = failure(
        UnauthorizedError, says(b"ERROR = 2 (alex:alex2024)"), credentials=login("alex", "alex2024")
    )
    assert str(error) == "error 2: ***:***"


def test_without_credentials_nothing_is_starred() -> None:
    error = failure(UnauthorizedError, says(b"ERROR = 2 (who?)"), credentials=Credentials())
    assert str(error) == "error 2: who?"

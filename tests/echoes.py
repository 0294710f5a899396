"""A provider that repeats what it was asked, login and password, in every place an answer has for text."""

from __future__ import annotations

import base64
import contextlib
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, quote_plus, unquote_plus


def _whole(status: str, body: str, *headers: str, kind: str = "text/html; charset=utf-8") -> bytes:
    data = body.encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(data)}", *headers]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + data


def _json(**fields: object) -> bytes:
    return _whole("200 OK", json.dumps(fields, ensure_ascii=False), kind="application/json; charset=utf-8")


class Request:
    """What was asked: the parameters ``raw``, as they came; ``echo`` has them in every spelling.

    ``token`` is what signs in at a proxy, if this server was taken for one. It is repeated like the rest.
    """

    def __init__(self, raw: str, token: str = "") -> None:
        self.parameters = {name: values[0] for name, values in parse_qs(raw).items()}
        at_proxy = base64.b64decode(token).decode()
        self.raw = f"{raw}&proxy={quote_plus(at_proxy)}"
        self.spoken = f"{unquote_plus(raw)} {at_proxy}"
        encoded = base64.b64encode(self.spoken.encode()).decode()
        self.echo = f"{self.spoken} {self.raw} {json.dumps(self.spoken)} {encoded} {token}"

    @property
    def password(self) -> str:
        return self.parameters.get("psw") or self.parameters["apikey"]

    @property
    def reading(self) -> dict[str, str]:
        """A right answer."""
        counts = dict.fromkeys(("cnt", "cnt_mon", "cnt_day", "cnt_yes", "cnt_pmon"), "1")
        return {"id": self.parameters["id"], **counts, "link": "smsc.tips/x"}


ANSWERS: dict[str, Callable[[Request], bytes]] = {
    "right": lambda asked: _json(**asked.reading),
    "redirect": lambda asked: _whole("302 Found", asked.echo, f"Location: http://localhost/?{asked.raw}"),
    "error-500": lambda asked: _whole(
        f"500 {asked.raw}", asked.echo, f"Retry-After: {asked.raw}", f"Date: {asked.raw}", f"X-{asked.raw}: 1"
    ),
    "web-page": lambda asked: _whole("200 OK", f"<html><title>{asked.spoken}</title>{asked.echo}</html>"),
    "text": lambda asked: _whole("200 OK", asked.echo, kind="text/plain"),
    "unknown-charset": lambda asked: _whole("200 OK", asked.echo, kind=f"text/plain; charset={asked.raw}"),
    "wrong-login": lambda asked: _json(error=f"invalid login: {asked.echo}", error_code="2"),
    "throttled": lambda asked: _json(error=asked.spoken, error_code="9"),
    "unknown-error": lambda asked: _json(error=asked.raw, error_code="17"),
    "error-code": lambda asked: _json(error="x", error_code=asked.spoken),
    "wrong-id": lambda asked: _json(**{**asked.reading, "id": asked.spoken}),
    "wrong-count": lambda asked: _json(**{**asked.reading, "cnt": asked.password}),
    "xml": lambda asked: _whole("200 OK", f"<result><error>{asked.spoken}</error><error_code>3</error_code>"),
    "csv": lambda asked: _whole("200 OK", f"0,-1,{asked.spoken}", kind="text/plain"),
    "truncated": lambda asked: _json(error=asked.spoken, error_code="1")[:-20],
    "bad-status-line": lambda asked: f"HTTP/1.1 {asked.raw}\r\n\r\n".encode(),
    "no-http": lambda asked: asked.echo.encode(),
    "bad-header": lambda asked: f"HTTP/1.1 200 OK\r\n{asked.echo}\r\n\r\n".encode(),
    "bad-chunk": lambda asked: (
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{asked.raw}\r\n".encode()
    ),
    "bad-length": lambda asked: f"HTTP/1.1 200 OK\r\nContent-Length: {asked.raw}\r\n\r\n".encode(),
    "bad-coding": lambda asked: _whole("200 OK", asked.echo, f"Content-Encoding: {asked.raw}"),
    "nothing": lambda asked: b"",
}


class Server(socketserver.ThreadingTCPServer):
    """Answers about a link in the way its id names; ``heard`` is all it was told."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("0.0.0.0", 0), _Handler)  # noqa: S104 - every 127.x.y.z is a host of its own
        self.heard: list[str] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (line := self.rfile.readline()):
                return
            head += line
        first, *headers = head.decode("latin-1").split("\r\n")
        lengths = [line.partition(":")[2] for line in headers if line.lower().startswith("content-length")]
        body = self.rfile.read(int(lengths[0])).decode() if lengths else ""
        tokens = [line.rpartition(" ")[2] for line in headers if line.lower().startswith("proxy-auth")]
        asked = Request(body or first.split(" ")[1].partition("?")[2], *tokens)
        self.server.heard.append(asked.spoken)
        self.wfile.write(ANSWERS[asked.parameters["id"]](asked))


@contextlib.contextmanager
def echoing() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

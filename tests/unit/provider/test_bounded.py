"""What a hostile server sends without end, or packed, or in headers of any size."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import zlib

import pytest
import trustme

from exporter.errors import MalformedError, NoAnswerError, PollError
from exporter.model import Reading
from exporter.provider.bounded import MOST_RECEIVED, BoundedSocket
from exporter.provider.client import Client, open_session
from tests.factories import make_account, make_link
from tests.unit.provider.servers import (
    FAULTLESS,
    JSON,
    Answer,
    Server,
    ask,
    failure,
    fetch,
    over_tls,
    says,
    serving,
    then_closes,
    writes,
)

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FLOODS = {
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "interim answers with headers": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"),
    "empty lines": (b"", b"\r\n"),
    "one chunk extension": (CHUNKED + b"5;", b"x"),
    "an extension of each chunk": (CHUNKED, b"1;" + b"x" * 10_000 + b"\r\n{\r\n"),
}
TOO_MUCH = "the answer is larger than 256 KiB with its headers"
AUTHORITY = trustme.CA()
LARGEST = JSON.ljust(64 * 1024)


class Flood:
    """Sends ``piece`` for as long as it is read, after ``head``, and counts the bytes."""

    def __init__(self, head: bytes, piece: bytes) -> None:
        self.sent = 0
        self._head, self._block = head, piece * (65_536 // len(piece) + 1)

    async def __call__(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(self._head)
        while not writer.is_closing():
            writer.write(self._block)
            await writer.drain()
            await asyncio.sleep(0)  # drain does not always, and the loss of the connection would go unnoticed
            self.sent += len(self._block)


@pytest.mark.parametrize("context", [None, over_tls(AUTHORITY, "127.0.0.1")], ids=["plain", "TLS"])
@pytest.mark.parametrize(("head", "piece"), FLOODS.values(), ids=FLOODS)
def test_a_flood_is_cut_off(head: bytes, piece: bytes, context: ssl.SSLContext | None) -> None:
    flood = Flood(head, piece)

    async def run() -> PollError:
        async with serving(flood, context) as server:
            with pytest.raises(NoAnswerError) as caught:
                await ask(server, make_account(timeout=60.0, authorities=trusted()))
            return caught.value

    assert str(asyncio.run(run())) == TOO_MUCH
    # The rest is what the kernel and the server's own buffers hold.
    assert flood.sent < MOST_RECEIVED + 16 * 2**20


def trusted() -> str:
    return AUTHORITY.cert_pem.bytes().decode()


@pytest.mark.parametrize("context", [None, over_tls(AUTHORITY, "127.0.0.1")], ids=["plain", "TLS"])
def test_each_request_on_a_kept_connection_may_bring_a_large_answer(context: ssl.SSLContext | None) -> None:
    async def run() -> tuple[list[Reading], Server]:
        async with serving(says(LARGEST), context) as server, open_session() as session:
            account = make_account(authorities=trusted())
            client = Client(session)
            return [await client.fetch(account, make_link(), server.url) for _ in range(8)], server

    readings, server = asyncio.run(run())
    assert readings == [FAULTLESS] * 8
    assert server.connections == 1


def bounded_pair() -> tuple[BoundedSocket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = BoundedSocket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0)))
        ours.connect(listening.getsockname())
        return ours, listening.accept()[0]


def exhaust(ours: BoundedSocket, theirs: socket.socket) -> None:
    """Has the socket receive until it refuses."""
    buffer = bytearray(4096)
    for _ in range(MOST_RECEIVED // 8192):
        theirs.sendall(bytes(8192))
        assert len(ours.recv(4096)) == ours.recv_into(buffer) == 4096
    theirs.sendall(b"!")
    with pytest.raises(OSError, match="Message too long"):
        ours.recv(1)


def test_only_a_task_that_sends_begins_a_request() -> None:
    """What TLS sends by itself while it receives is sent outside any task."""
    ours, theirs = bounded_pair()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        exhaust(ours, theirs)
        loop.call_soon(ours.send, b"key update")
        await asyncio.sleep(0)
        theirs.sendall(b"!")
        with pytest.raises(OSError, match="Message too long"):
            ours.recv(1)
        assert ours.send(b"request") == 7
        exhaust(ours, theirs)
        assert ours.sendmsg([b"req", b"uest"]) == 7
        exhaust(ours, theirs)

    with ours, theirs:
        asyncio.run(run())


COOKIE = "Set-Cookie: "


def with_header(size: int) -> Answer:
    return says(JSON, COOKIE + "x" * (size - len(COOKIE)))


@pytest.mark.parametrize("size", [8 * 1024, 32 * 1024])
def test_a_header_of_up_to_32_kib_is_read(size: int) -> None:
    assert fetch(with_header(size)) == FAULTLESS


@pytest.mark.parametrize("size", [34 * 1024, 2**20])
def test_a_header_beyond_32_kib_is_named(size: int) -> None:
    error = failure(NoAnswerError, with_header(size))
    assert str(error) == "a header of the answer is larger than 32 KiB"


def test_headers_of_32_kib_are_read_with_the_largest_body() -> None:
    cookie = COOKIE + "x" * (32 * 1024 - len(COOKIE))
    assert fetch(says(LARGEST, *[cookie] * 5)) == FAULTLESS


def test_headers_without_end_are_too_much() -> None:
    cookie = COOKIE + "x" * (32 * 1024 - len(COOKIE))
    assert str(failure(NoAnswerError, says(JSON, *[cookie] * 100))) == TOO_MUCH


PACKED = {
    "small": gzip.compress(JSON),
    "in two parts": gzip.compress(JSON[:30]) + gzip.compress(JSON[30:]),
    "largest": gzip.compress(LARGEST),
}
DAMAGED = "the answer is gzip that is cut short or damaged"


@pytest.mark.parametrize("headers", [(), ("Content-Encoding: gzip",)], ids=["unsaid", "said"])
@pytest.mark.parametrize("body", PACKED.values(), ids=PACKED)
def test_a_gzipped_answer_is_read(body: bytes, headers: tuple[str, ...]) -> None:
    assert fetch(says(body, *headers)) == FAULTLESS


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (gzip.compress(JSON)[:-4], DAMAGED),
        (gzip.compress(JSON)[:20] + b"?" * 20, DAMAGED),
        (gzip.compress(JSON)[:-8] + b"?" * 8, DAMAGED),
        (b"\x1f\x8b?", DAMAGED),
        (gzip.compress(LARGEST + b" "), "the answer is larger than 64 KiB, unpacked"),
        (gzip.compress(bytes(40 * 2**20)), "the answer is larger than 64 KiB, unpacked"),
    ],
    ids=["cut short", "damaged", "wrong checksum", "no gzip", "too large", "a bomb"],
)
def test_gzip_that_cannot_be_read_is_malformed(body: bytes, message: str) -> None:
    assert str(failure(MalformedError, says(body, "Content-Encoding: gzip"))) == message


@pytest.mark.parametrize("encoding", ["br", "deflate", "ZSTD ", "compress"])
def test_another_compression_is_named(encoding: str) -> None:
    error = failure(MalformedError, says(zlib.compress(JSON), f"Content-Encoding: {encoding}"))
    assert str(error) == f"the answer is compressed ({encoding.strip().lower()}), which was not asked for"


@pytest.mark.parametrize("encoding", ["identity", "", "none", "gzip"])
def test_an_answer_that_is_not_compressed_is_read_whatever_a_header_says(encoding: str) -> None:
    assert fetch(then_closes(says(JSON, f"Content-Encoding: {encoding}"))) == FAULTLESS


def test_a_flood_after_the_answer_is_not_read() -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(JSON), JSON)
    assert fetch(writes(whole + b"\r\n" * 500_000)) == FAULTLESS

"""Those who mean harm, or are broken: what their connections cost, and that the others are answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import resource
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from exporter.simulator import Provider, Settings, numbered_links
from exporter.web.connections import (
    HEADERS,
    MAX_CONNECTIONS,
    MAX_REQUEST,
    RETRY_AFTER,
    Connections,
    Slots,
    max_connections,
)
from exporter.web.server import Site
from tests.processes import Program, exporter, get, program, until
from tests.providers import provider

LARGE = 24 * 1024 * 1024  # more than the kernel keeps for a reader
SHORT = 1.0
LONG = 600.0


class House:
    """A server with a short answer, a large one, and one that waits until it may go."""

    def __init__(self) -> None:
        self.may_go = asyncio.Event()
        self.arrived = asyncio.Semaphore(0)
        self.slots = Slots(2)
        self.app = web.Application()
        self.app.router.add_get("/", self.short)
        self.app.router.add_get("/large", self.large)
        self.app.router.add_get("/slow", self.slots.limited(self.slow))
        self.app.router.add_get("/left", self.slots.limited(self.left))
        self.app.router.add_get("/hasty", Slots(2, send_timeout=SHORT).limited(self.large))
        self.app.router.add_get("/crowded", Slots(1, grace=0.0).limited(self.large))
        self.app.router.add_post("/", self.short)
        self.app.router.add_get("/broken", self.broken)
        self.runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=0.1)

    async def short(self, request: web.Request) -> web.Response:
        return web.Response(text="hello")

    async def large(self, request: web.Request) -> web.Response:
        return web.Response(body=bytes(LARGE))

    async def slow(self, request: web.Request) -> web.Response:
        self.arrived.release()
        await self.may_go.wait()
        return web.Response(text="done")

    async def left(self, request: web.Request) -> web.Response:
        self.arrived.release()
        await come_about(lambda: request.transport is None)
        return web.Response(text="to nobody")

    async def broken(self, request: web.Request) -> web.Response:
        raise ZeroDivisionError

    def connections(self) -> int:
        assert self.runner.server
        return len(self.runner.server.connections)


def stay(talk: Callable[[House, int], Awaitable[None]], **limits: Any) -> None:
    """Serves a house with these limits while ``talk`` goes on; it gets the port."""

    async def main() -> None:
        house = House()
        connections = Connections(**limits)
        house.app.middlewares.append(connections.answer)
        await house.runner.setup()
        sock = socket.create_server(("127.0.0.1", 0))
        site = Site(house.runner, sock, connections)
        await site.start()
        assert str(sock.getsockname()[1]) in site.name
        try:
            async with asyncio.timeout(60):
                await talk(house, sock.getsockname()[1])
        finally:
            await house.runner.cleanup()

    asyncio.run(main())


@contextlib.asynccontextmanager
async def visitor(
    port: int, said: bytes = b""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def ask(path: str = "/", *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


async def come_about(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - what is waited for lies in aiohttp
        await asyncio.sleep(0.05)


# --- senders ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", ask(), ask() + b"GET"])
def test_whoever_sends_no_whole_request_is_left(said: bytes) -> None:
    async def talk(house: House, port: int) -> None:
        async with visitor(port, said) as (reader, _):
            answer = await reader.read()
            assert answer.endswith(b"hello") or not answer

    stay(talk, idle_timeout=SHORT)


def test_whoever_drips_headers_is_left() -> None:
    async def talk(house: House, port: int) -> None:
        async with visitor(port, b"GET / HTTP/1.1\r\n") as (reader, writer):
            with contextlib.suppress(ConnectionError):
                while not reader.at_eof():
                    writer.write(b"X-Drip: 1\r\n")
                    await writer.drain()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.1):
                            await reader.read(1)

    stay(talk, idle_timeout=SHORT)


def test_whoever_sends_a_body_without_end_is_answered_and_left() -> None:
    async def talk(house: House, port: int) -> None:
        begun = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nabc"
        async with visitor(port, begun) as (reader, _):
            assert (await reader.read()).endswith(b"hello")

    stay(talk, idle_timeout=LONG)


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        ask("/" + "x" * 9000),
        ask("/", "X-Long: " + "x" * 9000),
        ask("/", *(f"X-{n}: 1" for n in range(80))),
    ],
    ids=["TLS", "version", "long address", "long header", "many headers"],
)
def test_what_is_no_request_gets_400_and_no_line_in_the_log(
    said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(house: House, port: int) -> None:
        async with visitor(port, said) as (reader, _):
            answer = await reader.read()
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
        head, _, body = answer.partition(b"\r\n\r\n")
        for name, value in {**HEADERS, "X-Frame-Options": "sameorigin"}.items():
            assert f"\r\n{name}: {value}\r\n".encode() in head + b"\r\n"
        assert body == b"400: Bad Request\n"

    counted: list[tuple[str, int]] = []
    with caplog.at_level(logging.INFO):
        stay(
            talk,
            headers=lambda: {**HEADERS, "X-Frame-Options": "sameorigin"},
            count=lambda handler, code: counted.append((handler, code)),
        )
    assert caplog.records == []
    assert counted == [("other", 400)]


def test_responses_are_counted_by_path_and_status() -> None:
    counted: list[tuple[str, int]] = []

    async def talk(house: House, port: int) -> None:
        async with ClientSession() as session:
            for path in ("/", "/broken", "/nowhere/at/all"):
                async with session.get(f"http://127.0.0.1:{port}{path}"):
                    pass
            async with session.put(f"http://127.0.0.1:{port}/"):
                pass

    stay(talk, count=lambda handler, code: counted.append((handler, code)))
    assert counted == [("/", 200), ("/broken", 500), ("other", 404), ("other", 405)]


HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


def test_every_request_of_a_connection_may_be_as_large_as_is_allowed_but_no_larger() -> None:
    async def talk(house: House, port: int) -> None:
        longest = HEAD + b"".join(b"X: %b\r\n" % (b"x" * 5000) for _ in range(3))
        longest += b"Y: %b\r\n\r\n" % (b"y" * (MAX_REQUEST - len(longest) - 7))
        assert len(longest) == MAX_REQUEST
        async with visitor(port) as (reader, writer):
            for _ in range(3):
                writer.write(longest)
                assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
            writer.write(longest.replace(b"Y: ", b"YY: "))
            assert await received(reader) == b""

    stay(talk, idle_timeout=LONG)


async def received(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection ends; what was still on its way to the server resets it."""
    with contextlib.suppress(ConnectionError):
        return await reader.read()
    return b""


def test_a_head_that_comes_in_parts_may_not_be_larger() -> None:
    async def talk(house: House, port: int) -> None:
        async with visitor(port, HEAD) as (reader, writer):
            with contextlib.suppress(ConnectionError):
                for number in range(40):
                    writer.write(b"X-%d: %b\r\n" % (number, b"x" * 1000))
                    await writer.drain()
                    await asyncio.sleep(0)
            assert await received(reader) == b""
        await come_about(lambda: house.connections() == 0)

    stay(talk, idle_timeout=LONG)


@pytest.mark.parametrize(
    "more", [ask() * 1000, b"x" * 100_000, HEAD + b"X: x\r\n" * 4000], ids=["requests", "a body", "a head"]
)
def test_who_sends_too_much_while_it_is_answered_loses_the_connection(more: bytes) -> None:
    async def talk(house: House, port: int) -> None:
        body = "Content-Length: 1000000" if more.startswith(b"x") else ""
        async with visitor(port, ask("/slow", *filter(None, [body]))) as (reader, writer):
            await house.arrived.acquire()
            with contextlib.suppress(ConnectionError):
                writer.write(more)
                await writer.drain()
            assert await received(reader) == b""
            house.may_go.set()
        await come_about(lambda: house.connections() == 0)

    stay(talk, idle_timeout=LONG)


def test_a_handler_that_breaks_answers_500_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(house: House, port: int) -> None:
        async with visitor(port, ask("/broken", "Connection: close")) as (reader, _):
            answer = await reader.read()
        assert b" 500 " in answer
        assert b"Traceback" not in answer
        assert b"ZeroDivision" not in answer

    stay(talk)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


# --- readers ----------------------------------------------------------------------------------------------


def test_whoever_does_not_read_is_left() -> None:
    async def talk(house: House, port: int) -> None:
        async with visitor(port, ask("/hasty")) as (reader, _):
            await come_about(lambda: house.connections() == 1)
            await come_about(lambda: house.connections() == 0)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(LARGE)

    stay(talk)


def test_whoever_reads_slowly_but_reads_is_waited_for() -> None:
    async def talk(house: House, port: int) -> None:
        async with visitor(port, ask("/large", "Connection: close")) as (reader, _):
            read = 0
            while chunk := await reader.read(8 * 1024 * 1024):
                read += len(chunk)
                await asyncio.sleep(0.02)
            assert read > LARGE

    stay(talk)


def test_whoever_leaves_in_the_middle_of_an_answer_leaves_nothing_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def talk(house: House, port: int) -> None:
        for _ in range(3):  # one more than there are slots
            async with visitor(port, ask("/left")):
                await house.arrived.acquire()
            await come_about(lambda: house.connections() == 0)
        async with visitor(port, ask("/large")) as (reader, _):
            await reader.read(100)
        await come_about(lambda: house.connections() == 0)

    stay(talk)
    assert caplog.records == []


# --- many at once -----------------------------------------------------------------------------------------


def test_the_oldest_connections_make_room_and_one_that_is_being_answered_is_answered() -> None:
    async def talk(house: House, port: int) -> None:
        async with contextlib.AsyncExitStack() as stack:
            busy, _ = await stack.enter_async_context(visitor(port, ask("/slow", "Connection: close")))
            await house.arrived.acquire()
            idle = [(await stack.enter_async_context(visitor(port)))[0] for _ in range(40)]
            async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as response:
                assert await response.text() == "hello"
            for reader in idle[:30]:
                assert await reader.read() == b""
            assert house.connections() <= 10
            assert not idle[-1].at_eof()
            house.may_go.set()
            assert (await busy.read()).endswith(b"done")

    stay(talk, most=8)


def test_more_requests_than_there_are_slots_are_told_to_come_back() -> None:
    async def talk(house: House, port: int) -> None:
        url = f"http://127.0.0.1:{port}/slow"
        async with ClientSession() as session:
            inside = [asyncio.create_task(session.get(url)) for _ in range(2)]
            for _ in inside:
                await house.arrived.acquire()
            async with session.get(url) as refused:
                assert (refused.status, refused.headers["Retry-After"]) == (503, str(RETRY_AFTER))
                assert "--web.max-requests" in await refused.text()
            house.may_go.set()
            for response in await asyncio.gather(*inside):
                assert await response.text() == "done"
            async with session.get(url) as answered:
                assert answered.status == 200

    stay(talk)


def test_whoever_does_not_read_keeps_nobody_out() -> None:
    async def talk(house: House, port: int) -> None:
        async with visitor(port, ask("/crowded")) as (lazy, _):
            assert await lazy.readexactly(12) == b"HTTP/1.1 200"
            async with visitor(port, ask("/crowded", "Connection: close")) as (eager, _):
                assert len(await eager.read()) > LARGE
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await lazy.readexactly(LARGE)

    stay(talk)


def test_there_may_be_any_number_of_slots() -> None:
    async def talk(house: House, port: int) -> None:
        house.slots.most = 0
        url = f"http://127.0.0.1:{port}/slow"
        async with ClientSession() as session:
            waiting = [asyncio.create_task(session.get(url)) for _ in range(50)]
            for _ in waiting:
                await house.arrived.acquire()
            house.may_go.set()
            assert {response.status for response in await asyncio.gather(*waiting)} == {200}

    stay(talk)


def test_a_site_needs_a_runner_that_is_set_up() -> None:
    with socket.socket() as sock, pytest.raises(RuntimeError, match="setup"):
        Site(web.AppRunner(web.Application()), sock, Connections())


@pytest.mark.parametrize(
    ("descriptors", "most"), [(1_048_576, MAX_CONNECTIONS), (1024, 448), (256, 64), (64, 16)]
)
def test_descriptors_are_left_to_polling(descriptors: int, most: int) -> None:
    assert max_connections(descriptors) == most


LINKS = [{"id": link.id} for link in numbered_links(100)]


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[tuple[Provider, Program, str]]:
    """A provider, and an exporter that polls it and may open sixty-four files; its address."""
    with provider(Settings(links=numbered_links(100))) as (simulated, url):
        account = {"name": "main", "login": "demo", "password": "demo", "base_url": url, "links": LINKS}
        (tmp_path / "config.yaml").write_text(json.dumps({"refresh_interval": "21s", "accounts": [account]}))
        command = f"ulimit -S -n 64; exec {sys.executable} -m exporter --web.listen-address=127.0.0.1:0"
        with program("sh", "-c", command, cwd=tmp_path) as running:
            yield simulated, running, running.expect(r"event=listening url=(\S+)")[1]


def connect(address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))


def test_among_visitors_who_say_nothing_scrapes_and_polls_go_on(
    crowded: tuple[Provider, Program, str],
) -> None:
    simulated, running, address = crowded
    with contextlib.ExitStack() as visitors:
        for _ in range(200):
            visitors.enter_context(connect(address))
        assert get(f"{address}/metrics")[0] == 200
        polled = str(simulated.audit()["requests"])
        until(lambda: str(simulated.audit()["requests"]) != polled, "polls among them")
        assert running.stop() == 0
    assert "accept_failed" not in running.output
    assert "link_failing" not in running.output


BIG = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %b\r\n" % (n, b"\xff" * 8000) for n in range(60))


@pytest.mark.parametrize(
    "sent", [len(BIG), MAX_REQUEST], ids=["half a megabyte", "as much as there is room for"]
)
def test_senders_of_big_heads_cost_little(tmp_path: Path, sent: int) -> None:
    """Each of them could hold what it has sent for ``IDLE`` seconds: what they cost is bounded."""
    with exporter("demo", "--web.listen-address=127.0.0.1:0", cwd=tmp_path) as running:
        address = running.expect(r"event=listening url=(\S+)")[1]
        assert get(f"{address}/metrics")[0] == 200
        before = memory(running)
        with contextlib.ExitStack() as visitors:
            for _ in range(400):
                sock = visitors.enter_context(connect(address))
                with contextlib.suppress(ConnectionError):
                    sock.sendall(BIG[:sent])
            assert get(f"{address}/metrics")[0] == 200
            assert memory(running) - before < 64_000_000
        assert running.stop() == 0


def memory(running: Program) -> int:
    """Bytes of the process that are in memory."""
    pages = Path(f"/proc/{running.process.pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def test_without_descriptors_the_exporter_waits_for_some(crowded: tuple[Provider, Program, str]) -> None:
    _, running, address = crowded
    pid = running.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    with connect(address):
        assert "Too many open files" in running.expect("event=accept_failed.*")[0]
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        assert get(f"{address}/metrics")[0] == 200
        assert running.stop() == 0

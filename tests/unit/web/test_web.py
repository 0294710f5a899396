"""The HTTP side, over real sockets."""

from __future__ import annotations

import asyncio
import errno
import gzip
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.errors import Outcome
from exporter.exposition.exposition import Exposition
from exporter.journal import MemoryJournal
from exporter.limits import Ledger, Request
from exporter.model import Account, AccountStatus, Link, Reading, Snapshot, State
from exporter.polling.poller import Poller
from exporter.polling.recorder import Recorder
from exporter.snapshots import Snapshots
from exporter.telemetry import Telemetry
from exporter.web.listen import open_socket, url_of
from exporter.web.management import Health, Lifecycle
from exporter.web.scrape import PIECE, Scrape
from exporter.web.site import make_app
from exporter.web.status import StatusPage
from tests.factories import make_account, make_link, make_links, make_reading, show
from tests.oracle import parse_openmetrics
from tests.virtual import VirtualClock

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


class Served(TestServer):
    """As the exporter serves: a handler goes on when its reader has left."""

    async def _make_runner(self, **options: Any) -> web.AppRunner:
        return web.AppRunner(self.app, **options | {"handler_cancellation": False})


class Desk:
    """The web application over one account with one link that was read, or with the links given."""

    def __init__(self, *links: Link) -> None:
        self.not_alive: str | None = None
        self.not_ready: str | None = None
        self.storage_up = True
        self.status = AccountStatus("main", State.POLLING, None, 0.0, 1, 0.0, 1, 0)
        clock = self.clock = VirtualClock()
        account = self.account = make_account(links=links or (make_link(),))
        self.exposition = Exposition(clock)
        self.snapshots = Snapshots(self.exposition.update)
        self.snapshots.swap(self.snapshots.build(account.links, ()))
        show(self.exposition, [account], self.snapshots.all().values())
        if not links:
            self.read(account.links[0])
        self.telemetry = Telemetry(lambda: [self.status], lambda: self.storage_up)
        self.telemetry.configure([account])
        self.telemetry.reloaded(clock.time())
        self.scrape = Scrape(self.exposition, self.telemetry.registry, clock)
        self.recorder = Recorder(Ledger(), MemoryJournal(clock), clock, lambda news: None)
        self.poller = Poller(self.recorder, self.snapshots, self.fetch, self.telemetry.request_ended, clock)
        self.lifecycle = True
        self.begin_polling: Callable[[Ledger, Request], None] | None = None
        self.asked: list[str] = []
        self.page_thread: Executor | None = None

    def read(self, link: Link, age: float = 0.0, **fields: Any) -> None:
        snapshot = self.snapshots.get(link)
        assert snapshot
        self.snapshots.put(snapshot.succeeded(make_reading(**fields), self.clock.time() - age))

    def fail(self, link: Link, outcome: Outcome) -> None:
        snapshot = self.snapshots.get(link)
        assert snapshot
        self.snapshots.put(snapshot.ended(outcome))

    async def fetch(self, account: Account, link: Link, url: str) -> Reading:
        raise AssertionError("a web client had the provider asked")

    async def reload(self) -> tuple[str, ...]:
        self.asked.append("reload")
        return ()

    def run(self, talk: Callable[[TestClient[Any, Any]], Awaitable[None]], path: str = "/metrics") -> None:
        async def main() -> None:
            if self.begin_polling is not None:
                self.poller.swap(self.poller.build([self.account]))
                self.begin_polling(
                    self.recorder.ledger, Request.of(self.account, self.account.links[0].target)
                )
            health = Health(alive=lambda: self.not_alive, ready=lambda: self.not_ready)
            lifecycle = Lifecycle(self.reload, lambda: self.asked.append("quit"), enabled=self.lifecycle)
            page = StatusPage(
                self.exposition, self.poller, self.telemetry, self.clock, health.ready, self.page_thread
            )
            app = make_app(self.scrape, health, lifecycle, page, path)
            async with TestClient(Served(app), auto_decompress=False) as client:
                await talk(client)
            await self.poller.close()

        asyncio.run(main())


def test_others_go_on_between_the_pieces_of_a_page_that_a_reader_takes_at_once() -> None:
    desk = Desk(*make_links(2000))
    for link in desk.account.links:
        desk.read(link)
    turns: list[int] = []

    async def watch() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    async def main() -> None:
        request = make_mocked_request("GET", "/metrics")  # whatever is written to it is taken
        page = await desk.scrape.handle(request)
        await page.prepare(request)
        watching = asyncio.create_task(watch())
        await page.write_eof()
        watching.cancel()
        assert page.content_length
        assert page.content_length > 5 * PIECE
        assert len(turns) > 5  # a family's lines are one piece

    asyncio.run(main())


def test_metrics_are_the_links_and_then_the_exporters_own() -> None:
    desk = Desk()

    async def talk(client: TestClient[Any, Any]) -> None:
        async with client.get("/metrics", headers={"Accept-Encoding": "identity"}) as response:
            text = await response.text()
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert "Content-Encoding" not in response.headers
            assert response.headers["Server"] == "smsc-exporter"
        names = [family.name for family in parse_text(text)]
        assert names[0] == "smsc_link_clicks_all_time"
        assert {"smsc_api_requests", "process_cpu_seconds", "python_info", "smsc_account_state"} <= set(names)
        assert len(names) == len(set(names))

    desk.run(talk)


def test_openmetrics_is_served_when_asked_for() -> None:
    desk = Desk()

    async def talk(client: TestClient[Any, Any]) -> None:
        headers = {"Accept": OPENMETRICS, "Accept-Encoding": "identity"}
        async with client.get("/metrics", headers=headers) as response:
            text = await response.text()
            assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0;")
        families = {family.name: family.type for family in parse_openmetrics(text)}
        assert families["smsc_link_clicks"] == "counter"
        assert text.endswith("# EOF\n")

    desk.run(talk)


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("application/*", False),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        (OPENMETRICS, True),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8", True),
        ("text/plain;version=0.0.4;q=0.5, application/openmetrics-text;q=0.4", True),
        ("application/openmetrics-text;version=0.0.1;q=0.9, text/plain;version=0.0.4;q=0.3", False),
        ("application/openmetrics-text;version=99.7", False),
        ("application/openmetrics-text; version=abc", False),
        ("text/plain; version=x.y, ,;", False),
        # What Prometheus 3 sends.
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "application/openmetrics-text;version=0.0.1;q=0.5,"
            "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            True,
        ),
        ("text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3", False),
    ],
)
def test_openmetrics_is_for_those_who_name_it_in_our_version(accept: str, openmetrics: bool) -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        async with client.get("/metrics", headers=headers) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == (
                "application/openmetrics-text; version=1.0.0; charset=utf-8"
                if openmetrics
                else "text/plain; version=0.0.4; charset=utf-8"
            )
            assert (await response.text()).endswith("# EOF\n") is openmetrics

    Desk().run(talk)


def test_a_name_left_blank_asks_for_everything() -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        async with client.get("/metrics?name[]=", headers={"Accept-Encoding": "identity"}) as response:
            assert "smsc_link_up{" in await response.text()

    Desk().run(talk)


def test_a_large_page_arrives_whole_in_either_coding() -> None:
    desk = Desk()
    links = make_links(3000)
    show(desk.exposition, [make_account(links=links)], [Snapshot(link) for link in links])

    async def talk(client: TestClient[Any, Any]) -> None:
        async with client.get(
            "/metrics?name[]=smsc_link_info", headers={"Accept-Encoding": "identity"}
        ) as one:
            plain = await one.read()
        async with client.get("/metrics?name[]=smsc_link_info", headers={"Accept-Encoding": "gzip"}) as other:
            assert gzip.decompress(await other.read()) == plain
        assert plain.count(b"\nsmsc_link_info{") == len(links)

    desk.run(talk)


def test_a_page_has_the_date_of_its_figures() -> None:
    """Whatever the time is when it leaves at last."""
    desk = Desk()
    wanted = formatdate(desk.clock.time(), usegmt=True)

    async def talk(client: TestClient[Any, Any]) -> None:
        for coding in ("identity", "gzip"):
            async with client.get("/metrics", headers={"Accept-Encoding": coding}) as response:
                assert response.headers["Date"] == wanted

    desk.run(talk)


def test_a_head_request_gets_the_headers_alone() -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        async with client.head("/metrics") as response:
            assert response.status == 200
            assert int(response.headers["Content-Length"]) > 0
            assert await response.read() == b""
        async with client.get("/metrics") as response:
            assert response.status == 200

    Desk().run(talk)


def test_gzip_is_served_when_asked_for_and_holds_the_same() -> None:
    desk = Desk()

    async def talk(client: TestClient[Any, Any]) -> None:
        named = {"name[]": "smsc_link_clicks_total"}
        async with client.get("/metrics", params=named, headers={"Accept-Encoding": "gzip"}) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            assert "Accept-Encoding" in response.headers["Vary"]
            packed = await response.read()
        async with client.get("/metrics", params=named, headers={"Accept-Encoding": "br"}) as response:
            assert gzip.decompress(packed) == await response.read()

    desk.run(talk)


def test_named_series_alone_are_served() -> None:
    desk = Desk()

    async def talk(client: TestClient[Any, Any]) -> None:
        names = ["smsc_link_up", "smsc_account_links", "smsc_link_failing"]
        async with client.get("/metrics", params=[("name[]", name) for name in names]) as response:
            text = gzip.decompress(await response.read()).decode()
        assert {family.name for family in parse_text(text)} == {"smsc_link_up", "smsc_account_links"}

    desk.run(talk)


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5, br", True),
        ("identity", False),
        ("x-gzip-not", False),
        ("", False),
    ],
)
def test_gzip_is_for_those_who_name_it(header: str, accepted: bool) -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        async with client.get("/metrics", headers={"Accept-Encoding": header}) as response:
            assert ("Content-Encoding" in response.headers) is accepted

    Desk().run(talk)


def test_health_and_readiness_tell_their_reason() -> None:
    desk = Desk()

    async def talk(client: TestClient[Any, Any]) -> None:
        for path, word in (("/-/healthy", "healthy"), ("/-/ready", "ready")):
            async with client.get(path) as response:
                assert (response.status, await response.text()) == (200, f"{word}\n")
        desk.not_alive, desk.not_ready = "polling has stopped", "stopping"
        for path, word in (("/-/healthy", "polling has stopped"), ("/-/ready", "stopping")):
            async with client.get(path) as response:
                assert (response.status, await response.text()) == (503, f"{word}\n")

    desk.run(talk)


def test_the_status_page_links_to_what_there_is() -> None:
    desk = Desk()

    async def talk(client: TestClient[Any, Any]) -> None:
        async with client.get("/") as response:
            text = await response.text()
            assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        for path in ("/a.b", "/-/healthy", "/-/ready", "/api/v1/links"):
            assert f'href=".{path}' in text
            async with client.get(path) as response:
                assert response.status == 200
        async with client.post("/") as response:
            assert response.status == 405
        async with client.get("/nowhere") as response:
            assert response.status == 404

    desk.run(talk, path="/a.b")


def test_every_answer_is_sent_for_one_reader_alone_and_says_nothing_of_what_runs_here() -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        for path in ("/", "/metrics", "/api/v1/links", "/-/ready", "/-/reload", "/nowhere"):
            async with client.get(path) as response:
                headers = response.headers
            assert headers["Server"] == "smsc-exporter"
            assert headers["Cache-Control"] == "no-store"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-Frame-Options"] == "DENY"
            policy = headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; ")
            assert policy.endswith("frame-ancestors 'none'")
            assert "unsafe" not in policy

    Desk().run(talk)


@pytest.mark.parametrize("path", ["/", "/metrics", "/api/v1/links", "/-/healthy", "/-/ready"])
def test_pages_are_for_get_and_head_alone(path: str) -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        async with client.head(path) as response:
            assert (response.status, await response.read()) == (200, b"")
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
            async with client.request(method, path) as response:
                assert (response.status, response.headers["Allow"]) == (405, "GET,HEAD")

    Desk().run(talk)


def test_a_path_that_is_not_there_leads_nowhere() -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        for path in ("/nowhere", "/metrics/", "/-/", "/api/v1/links/", "/static/../x"):
            async with client.get(path, allow_redirects=False) as response:
                assert (response.status, await response.text()) == (404, "404: Not Found")
                assert response.content_type == "text/plain"

    Desk().run(talk)


def test_the_metrics_may_take_the_landing_pages_place() -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        async with client.get("/", headers={"Accept-Encoding": "identity"}) as response:
            assert "smsc_link_up" in await response.text()

    Desk().run(talk, path="/")


# --- lifecycle --------------------------------------------------------------------------------------------

LIFECYCLE = ("/-/reload", "/-/quit")


def test_lifecycle_endpoints_are_off_unless_enabled() -> None:
    desk = Desk()
    desk.lifecycle = False

    async def talk(client: TestClient[Any, Any]) -> None:
        for path in LIFECYCLE:
            async with client.post(path) as response:
                assert response.status == 403
                assert "--web.enable-lifecycle" in await response.text()

    desk.run(talk)
    assert desk.asked == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_lifecycle_endpoints_are_for_post_alone(method: str) -> None:
    desk = Desk()

    async def talk(client: TestClient[Any, Any]) -> None:
        for path in LIFECYCLE:
            async with client.request(method, path) as response:
                assert (response.status, response.headers["Allow"]) == (405, "POST")

    desk.run(talk)
    assert desk.asked == []


@pytest.mark.parametrize("header", ["Origin", "Sec-Fetch-Site"])
def test_what_a_web_page_asks_for_is_refused(header: str) -> None:
    desk = Desk()

    async def talk(client: TestClient[Any, Any]) -> None:
        for path in LIFECYCLE:
            async with client.post(path, headers={header: "http://localhost:10145"}) as response:
                assert response.status == 403
                assert "web page" in await response.text()

    desk.run(talk)
    assert desk.asked == []


def test_a_program_may_reload_and_quit() -> None:
    desk = Desk()

    async def talk(client: TestClient[Any, Any]) -> None:
        for path in LIFECYCLE:
            async with client.post(path) as response:
                assert response.status == 200

    desk.run(talk)
    assert desk.asked == ["reload", "quit"]


# --- the exporter's own metrics ---------------------------------------------------------------------------


def _own(telemetry: Telemetry) -> dict[str, float]:
    text = generate_latest(telemetry.registry).decode()
    found = {}
    for family in parse_text(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_every_outcome_is_there_from_the_start_at_0() -> None:
    own = _own(Desk().telemetry)
    for outcome in Outcome:
        assert own[f"smsc_api_requests_total{{account=main,outcome={outcome}}}"] == 0
    assert own["smsc_api_request_duration_seconds_count{account=main}"] == 0
    assert not [name for name in own if "_created" in name]


def test_requests_are_counted_by_outcome_and_those_of_accounts_that_left_are_dropped() -> None:
    telemetry = Desk().telemetry
    telemetry.request_ended("main", Outcome.THROTTLED, 0.3)
    own = _own(telemetry)
    assert own["smsc_api_requests_total{account=main,outcome=throttled}"] == 1
    assert own["smsc_api_request_duration_seconds_bucket{account=main,le=0.5}"] == 1
    assert own["smsc_api_request_duration_seconds_bucket{account=main,le=0.25}"] == 0
    telemetry.configure([make_account("other")])
    telemetry.request_ended("main", Outcome.OK, 0.3)
    own = _own(telemetry)
    assert not [name for name in own if "account=main,outcome" in name]
    assert own["smsc_api_requests_total{account=other,outcome=ok}"] == 0


def test_account_gauges_follow_the_account() -> None:
    desk = Desk()
    assert "smsc_account_up{account=main}" not in _own(desk.telemetry)
    desk.status = AccountStatus("main", State.BLOCKED, False, 1.75e9, 12, 3.5, 7, 2, 0.25)
    assert not any("possible" in name for name in _own(desk.telemetry))
    desk.telemetry.request_ended("main", Outcome.OK, 20.0)
    own = _own(desk.telemetry)
    assert own["smsc_account_up{account=main}"] == 0
    assert own["smsc_account_paused_until_timestamp_seconds{account=main}"] == 1.75e9
    assert own["smsc_account_links{account=main}"] == 12
    assert own["smsc_account_polling_lag_seconds{account=main}"] == 3.5
    assert own["smsc_account_concurrency_limit{account=main}"] == 7
    assert own["smsc_api_requests_in_flight{account=main}"] == 2
    assert own["smsc_account_requests_wanted_per_second{account=main}"] == 0.25
    assert own["smsc_account_requests_possible_per_second{account=main}"] == 7 / 20
    states = {state: own[f"smsc_account_state{{account=main,state={state}}}"] for state in State}
    assert states == {state: float(state is State.BLOCKED) for state in State}


def test_reloads_are_told() -> None:
    telemetry = Desk().telemetry
    telemetry.reloaded(1.75e9)
    telemetry.reloaded(None)
    own = _own(telemetry)
    assert own["smsc_exporter_config_last_reload_successful{}"] == 0
    assert own["smsc_exporter_config_last_reload_success_timestamp_seconds{}"] == 1.75e9
    assert own["smsc_exporter_storage_up{}"] == 1


# --- listening --------------------------------------------------------------------------------------------


def _has_ipv6() -> bool:
    try:
        open_socket("::1", 0).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="needs IPv6 on this machine")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:"),
        ("localhost", "http://127.0.0.1:"),
        pytest.param("::1", "http://[::1]:", marks=needs_ipv6),
        ("", "http://localhost:"),
        ("::", "http://localhost:"),
    ],
)
def test_a_socket_is_named_by_a_url_that_works_here(host: str, url: str) -> None:
    with open_socket(host, 0) as sock:
        assert url_of(sock) == f"{url}{sock.getsockname()[1]}"


@needs_ipv6
@pytest.mark.parametrize("host", ["", "::"])
def test_every_interface_is_those_of_both_protocols(host: str) -> None:
    with open_socket(host, 0) as sock:
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, sock.getsockname()[1])).close()


@needs_ipv6
def test_a_name_that_has_only_an_ipv6_address_works() -> None:
    def resolve(host: str, port: int, **options: Any) -> list[Any]:
        assert host == "six.example"
        return socket.getaddrinfo("::1", port, **options)

    with open_socket("six.example", 0, resolve=resolve) as sock:
        assert url_of(sock).startswith("http://[::1]:")


@needs_ipv6
def test_of_a_names_addresses_that_of_ipv4_is_taken() -> None:
    def resolve(host: str, port: int, **options: Any) -> list[Any]:
        return [each for ip in ("::1", "127.0.0.1") for each in socket.getaddrinfo(ip, port, **options)]

    with open_socket("both.example", 0, resolve=resolve) as sock:
        assert url_of(sock).startswith("http://127.0.0.1:")


@pytest.mark.parametrize("host", ["", "::"])
def test_without_ipv6_every_interface_is_those_of_ipv4(host: str) -> None:
    def create(address: tuple[str, int], family: int = socket.AF_INET, **options: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return socket.create_server(address, **options)

    with open_socket(host, 0, create=create) as sock:
        assert sock.family == socket.AF_INET
        assert url_of(sock).startswith("http://localhost:")


@pytest.mark.parametrize("host", ["", "127.0.0.1"])
def test_an_address_that_is_taken_says_what_to_do(host: str) -> None:
    with open_socket(host, 0) as sock, pytest.raises(OSError, match="in use") as caught:
        open_socket(host, port := sock.getsockname()[1], "--web.health-address")
    assert str(caught.value) == (
        f"--web.health-address={host}:{port}: the address is in use: stop the program that listens there, "
        "or write another port"
    )


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("no.such.host.invalid", "no.such.host.invalid:0: no such host is known here: write an address"),
        ("192.0.2.1", "192.0.2.1:0: this machine has no such address: write one of its own"),
        ("2001:db8::1", "[2001:db8::1]:0: this machine has no such address: write one of its own"),
    ],
)
def test_an_address_that_cannot_be_had_says_what_to_do(host: str, message: str) -> None:
    with pytest.raises(OSError, match="write") as caught:
        open_socket(host, 0)
    assert str(caught.value).startswith(f"--web.listen-address={message}")


def test_any_other_error_is_said_in_the_systems_words() -> None:
    def create(*address: Any, **options: Any) -> socket.socket:
        raise OSError(errno.ENOBUFS, "No buffer space available")

    with pytest.raises(OSError, match=r"--web\.listen-address=127\.0\.0\.1:0: No buffer space available"):
        open_socket("127.0.0.1", 0, create=create)

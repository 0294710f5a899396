import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import urlencode

import aiohttp
import pytest

from exporter.simulator import Provider, Settings, serving
from tests.unit.simulator.helpers import AUTUMN, LINKS, LOGIN, PATH, SPRING, Clock, utc

Steps = Callable[[Provider, aiohttp.ClientSession], Awaitable[None]]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def play(steps: Steps, settings: Settings | None = None, host: str = "127.0.0.1") -> None:
    async def main() -> None:
        clock = Clock(utc("2024-05-15 09:00"))
        provider = Provider(settings or Settings(links=LINKS), clock=clock, monotonic=Clock())
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        async with (
            serving(provider, socket.create_server((host, 0), family=family)) as url,
            aiohttp.ClientSession(base_url=url, timeout=aiohttp.ClientTimeout(30)) as session,
        ):
            await steps(provider, session)

    asyncio.run(main())


async def get(session: aiohttp.ClientSession, path: str, **parameters: str) -> str:
    async with session.get(path, params=parameters) as response:
        assert response.status == HTTPStatus.OK
        return await response.text()


async def post(
    session: aiohttp.ClientSession, path: str, data: dict[str, str] | str, status: int = 200
) -> str:
    async with session.post(path, data=data) as response:
        assert response.status == status
        return await response.text()


async def until(condition: Callable[[], bool]) -> None:
    """Let the server work until it holds; a test that waits in vain fails by the limit."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the server tells nobody of what is waited for here
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_get_and_post_are_answered_alike(host: str) -> None:
    async def steps(_provider: Provider, session: aiohttp.ClientSession) -> None:
        by_get = await get(session, PATH, **LOGIN, link=AUTUMN.url, fmt="3")
        by_post = await post(session, PATH, {**LOGIN, "link": AUTUMN.url, "fmt": "3"})
        mixed = await post(
            session, f"{PATH}?{urlencode(LOGIN | {'id': '404'})}", {"id": AUTUMN.id, "fmt": "3"}
        )
        assert by_get == by_post == mixed
        assert json.loads(by_get)["id"] == AUTUMN.id

    play(steps, host=host)


def test_a_plus_a_space_and_a_broken_encoding_are_read_as_forms_are() -> None:
    async def steps(provider: Provider, session: aiohttp.ClientSession) -> None:
        async with session.post(PATH, data=b"get=1&link=a+b%2B\xff%FF", headers=FORM) as response:
            assert await response.text() == "ERROR = 1 (parameters error)"
        assert provider.auditor.links == {"a b+\ufffd\ufffd": 1}

    play(steps)


def test_a_body_that_is_no_form_is_not_read() -> None:
    async def steps(_provider: Provider, session: aiohttp.ClientSession) -> None:
        headers = {"Content-Type": "text/plain"}
        async with session.post(PATH, data=urlencode(LOGIN | {"id": "1"}), headers=headers) as response:
            assert await response.text() == "ERROR = 1 (parameters error)"

    play(steps)


def test_the_header_announces_the_encoding() -> None:
    async def steps(_provider: Provider, session: aiohttp.ClientSession) -> None:
        async with session.get(PATH, params={**LOGIN, "id": SPRING.id, "fmt": "3"}) as response:
            assert response.headers["Content-Type"] == "application/json; charset=windows-1251"

    play(steps)


def test_an_address_without_access_is_told_apart_by_its_socket() -> None:
    async def steps(_provider: Provider, session: aiohttp.ClientSession) -> None:
        assert "ERROR = 2" in await get(session, PATH, **LOGIN, id=SPRING.id)

    play(steps, Settings(links=LINKS, allowed_ips=frozenset({"127.0.0.2"})))


def test_the_home_page_names_the_paths() -> None:
    async def steps(_provider: Provider, session: aiohttp.ClientSession) -> None:
        page = await get(session, "/")
        paths = (
            PATH,
            "/audit/reset",
            "/truth",
            "/control/faults",
            "/control/clicks",
            "/control/password",
            "/control/allow",
        )
        assert all(path in page for path in paths)

    play(steps)


def test_latency_holds_a_request_in_flight() -> None:
    async def steps(provider: Provider, session: aiohttp.ClientSession) -> None:
        asking = asyncio.create_task(get(session, PATH, **LOGIN, id=SPRING.id))
        await until(lambda: provider.audit()["in_flight"] == {"demo": 1})
        asking.cancel()

    play(steps, Settings(links=LINKS, latency="1000"))


def test_a_short_latency_ends_with_the_answer() -> None:
    async def steps(_provider: Provider, session: aiohttp.ClientSession) -> None:
        assert "id = 145142" in await get(session, PATH, **LOGIN, id=SPRING.id)

    play(steps, Settings(links=LINKS, latency="1ms"))


def test_truth_is_not_a_request() -> None:
    async def steps(provider: Provider, session: aiohttp.ClientSession) -> None:
        by_id = json.loads(await get(session, "/truth", id=AUTUMN.id))
        by_link = json.loads(await get(session, "/truth", link=AUTUMN.url))
        counts = provider.figures(AUTUMN.id)._asdict()
        assert by_id == by_link == {"id": AUTUMN.id, "link": AUTUMN.short, "url": AUTUMN.url, **counts}
        assert provider.audit()["requests"] == 0
        async with session.get("/truth", params={"id": "404"}) as response:
            assert response.status == HTTPStatus.NOT_FOUND
            assert "no link '404'" in await response.text()

    play(steps)


def test_the_audit_is_read_and_begun_anew_over_http() -> None:
    async def steps(_provider: Provider, session: aiohttp.ClientSession) -> None:
        await get(session, PATH, **LOGIN, id=SPRING.id)
        found = json.loads(await get(session, "/audit"))
        assert (found["requests"], found["worst_window"], found["answers"]) == (1, 1, {"ok": 1})
        assert "links" not in found
        assert json.loads(await get(session, "/audit", links="1"))["links"] == {SPRING.id: 1}
        await post(session, "/audit/reset", "")
        assert json.loads(await get(session, "/audit"))["requests"] == 0

    play(steps)


def test_faults_are_changed_over_http() -> None:
    async def steps(_provider: Provider, session: aiohttp.ClientSession) -> None:
        assert await post(session, "/control/faults", "error_17@145142, html:0.5\n") == "Faults: 17, html\n"
        assert await get(session, PATH, **LOGIN, id=SPRING.id) == "ERROR = 17 (unknown error)"
        assert "fault 'explode': write one of" in await post(session, "/control/faults", "explode", 400)
        assert await post(session, "/control/faults", "") == "Faults: none\n"
        assert (await get(session, PATH, **LOGIN, id=SPRING.id)).startswith("id = 145142")

    play(steps)


def test_clicks_are_put_in_over_http() -> None:
    async def steps(provider: Provider, session: aiohttp.ClientSession) -> None:
        before = provider.figures(SPRING.id).cnt
        await post(session, "/control/clicks", {"id": SPRING.id, "clicks": "10"})
        await post(session, "/control/clicks", {"link": SPRING.url, "clicks": "-3"})
        assert provider.figures(SPRING.id).cnt == before + 7
        assert "no link '404'" in await post(session, "/control/clicks", {"id": "404", "clicks": "1"}, 404)
        assert "whole number" in await post(session, "/control/clicks", {"id": SPRING.id}, 400)

    play(steps)


def test_passwords_are_changed_over_http() -> None:
    async def steps(_provider: Provider, session: aiohttp.ClientSession) -> None:
        await post(session, "/control/password", {"login": "demo", "password": "new"})
        assert "ERROR = 2" in await get(session, PATH, **LOGIN, id=SPRING.id)
        assert "145142" in await get(session, PATH, **LOGIN | {"psw": "new"}, id=SPRING.id)
        assert "write login=" in await post(session, "/control/password", {"login": "demo"}, 400)

    play(steps)


def test_logins_are_refused_and_allowed_over_http() -> None:
    async def steps(_provider: Provider, session: aiohttp.ClientSession) -> None:
        assert await post(session, "/control/allow", "") == "May log in: nobody\n"
        assert "ERROR = 2" in await get(session, PATH, **LOGIN, id=SPRING.id)
        await post(session, "/control/allow", "192.0.2.1, 127.0.0.1")
        assert "145142" in await get(session, PATH, **LOGIN, id=SPRING.id)
        assert await post(session, "/control/allow", "*") == "May log in: *\n"
        assert "145142" in await get(session, PATH, **LOGIN, id=SPRING.id)

    play(steps)


def test_two_servers_of_one_provider_are_its_mirrors() -> None:
    async def steps(provider: Provider, session: aiohttp.ClientSession) -> None:
        async with serving(provider) as mirror:
            for base in ("", mirror, "", mirror):
                answer = await get(session, f"{base}{PATH}", **LOGIN, id=SPRING.id)
        assert answer == "ERROR = 9 (duplicate request, wait a minute)"

    play(steps)

import asyncio
from http import HTTPStatus

import aiohttp
import pytest

from exporter.simulator import Provider, Settings
from tests.unit.simulator.helpers import LINKS, LOGIN, PATH, SPRING, Scene
from tests.unit.simulator.test_site import Steps, get, play, until

ASK = {**LOGIN, "id": SPRING.id}
GOOD = Scene().text(id=SPRING.id)


def play_fault(steps: Steps, faults: str, **settings: float) -> None:
    play(steps, Settings(links=LINKS, faults=faults, **settings))  # type: ignore[arg-type]  # settings by name


async def nothing_in_flight(provider: Provider) -> None:
    await until(lambda: provider.audit()["in_flight"] == {})


def test_a_cut_answer_ends_before_it_should() -> None:
    async def steps(provider: Provider, session: aiohttp.ClientSession) -> None:
        async with session.get(PATH, params=ASK) as response:
            assert response.headers["Content-Length"] == str(len(GOOD))
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        await nothing_in_flight(provider)

    play_fault(steps, "cut")


def test_a_dripping_answer_is_whole_in_the_end() -> None:
    async def steps(provider: Provider, session: aiohttp.ClientSession) -> None:
        async with session.get(PATH, params=ASK) as response:
            assert await response.text() == GOOD
        await nothing_in_flight(provider)

    play_fault(steps, "drip", drip_seconds=0.0001)


def test_a_client_that_tires_of_dripping_ends_it() -> None:
    async def steps(provider: Provider, session: aiohttp.ClientSession) -> None:
        async with session.get(PATH, params=ASK) as response:
            assert await response.content.readexactly(3) == GOOD[:3].encode()
        await nothing_in_flight(provider)

    play_fault(steps, "drip", drip_seconds=0.01)


def test_a_hung_request_stays_in_flight_when_its_client_has_left() -> None:
    async def steps(provider: Provider, session: aiohttp.ClientSession) -> None:
        asking = [asyncio.create_task(get(session, PATH, **LOGIN, id=str(number))) for number in range(14)]
        await until(lambda: provider.audit()["in_flight"] == {"demo": 14})
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
        await session.get("/")
        assert provider.audit()["in_flight"] == {"demo": 14}
        assert await get(session, PATH, **ASK) == "ERROR = 9 (too many concurrent requests)"
        assert provider.audit()["most_in_flight"] == 15

    play_fault(steps, "hang", hang_seconds=1000.0)


def test_a_hung_request_is_given_up_by_the_proxy() -> None:
    async def steps(provider: Provider, session: aiohttp.ClientSession) -> None:
        async with session.get(PATH, params=ASK) as response:
            assert response.status == HTTPStatus.GATEWAY_TIMEOUT
        await nothing_in_flight(provider)

    play_fault(steps, "hang", hang_seconds=0.001)


def test_a_huge_answer_comes_to_its_end() -> None:
    async def steps(_provider: Provider, session: aiohttp.ClientSession) -> None:
        async with session.get(PATH, params=ASK) as response:
            assert "Content-Length" not in response.headers
            assert len(await response.read()) == 200_000

    play_fault(steps, "huge", huge_bytes=200_000)


def test_a_huge_answer_ends_when_its_client_leaves() -> None:
    async def steps(provider: Provider, session: aiohttp.ClientSession) -> None:
        async with session.get(PATH, params=ASK) as response:
            await response.content.readexactly(1_000_000)
        await nothing_in_flight(provider)

    play_fault(steps, "huge")


def test_a_reset_connection_has_no_answer() -> None:
    async def steps(provider: Provider, session: aiohttp.ClientSession) -> None:
        with pytest.raises((ConnectionResetError, aiohttp.ClientOSError)):
            await session.post(PATH, data=ASK)  # a GET would be tried again by aiohttp itself
        await nothing_in_flight(provider)
        assert provider.audit()["answers"] == {"reset": 1}

    play_fault(steps, "reset")


@pytest.mark.parametrize("fault", ["reset", "cut"])
def test_a_client_that_left_needs_no_reset(fault: str) -> None:
    async def steps(provider: Provider, session: aiohttp.ClientSession) -> None:
        asking = asyncio.create_task(session.get(PATH, params=ASK))
        await until(lambda: provider.audit()["in_flight"] == {"demo": 1})
        asking.cancel()
        await nothing_in_flight(provider)

    play(steps, Settings(links=LINKS, faults=fault, latency="200ms"))


def test_a_redirect_carries_the_query_and_is_noticed_when_followed() -> None:
    async def steps(provider: Provider, session: aiohttp.ClientSession) -> None:
        async with session.get(PATH, params=ASK, allow_redirects=False) as response:
            assert response.status == HTTPStatus.FOUND
            assert response.headers["Location"] == "/moved?get=1&login=demo&psw=demo&id=145142"
        assert provider.audit()["followed_redirects"] == 0
        assert "followed a redirect" in await get(session, PATH, **ASK)
        assert provider.audit()["followed_redirects"] == 1

    play_fault(steps, "redirect")

"""Redis: who has lost it and who has not, and what it has forgotten."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from exporter.rules import ATTEMPTS, FAILED_LOGIN_SPAN, FAILED_LOGINS, HARD_CAP, SPAN
from exporter.store.backend import Grant, Scope
from exporter.store.redis import RedisBackend
from exporter.store.redis_lua import ALONE, FORGOTTEN, GRACE, IN_FLIGHT
from exporter.store.redis_members import OVER, Members
from exporter.store.redis_readings import SLICE, Readings
from exporter.store.redis_script import PREFIX, Script
from tests import needs
from tests.redis_servers import Server, redis_server
from tests.unit.store.places import (
    LASTS,
    SILENCE,
    UNKNOWN,
    RedisPlace,
    attempt,
    denied,
    granted,
    scenario,
    settled,
    snapshot,
)
from tests.unit.store.proxy import Proxy
from tests.unit.store.test_redis import calls, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from exporter.store.backend import Backend

pytestmark = needs.redis


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def place(server: Server) -> RedisPlace:
    return RedisPlace(server)


def readings(backend: Backend) -> Readings:
    assert isinstance(backend, RedisBackend)
    return backend._readings


async def leave_silent(place: RedisPlace, backend: Backend) -> None:
    """It says nothing more, as if it were cut off, or killed."""
    assert isinstance(backend, RedisBackend)
    backend._members._silent = True
    await place.close(backend)


async def window(backend: Backend, link: int) -> int:
    """How many requests for a link are granted at once."""
    answers = [await backend.claim(attempt(link)) for _ in range(ATTEMPTS + 1)]
    for answer in answers:
        if isinstance(answer, Grant):
            backend.end(answer, login_failed=False)
    return sum(isinstance(answer, Grant) for answer in answers)


@pytest.fixture
def own_place(own_server: Server) -> RedisPlace:
    return RedisPlace(own_server)


# --- room for one that may be alone -----------------------------------------------------------------------


@scenario
async def test_those_with_redis_leave_room_for_those_that_fell_silent(place: RedisPlace) -> None:
    backend, second, third, fourth = [await place.open() for _ in range(4)]
    assert await window(backend, 1) == ATTEMPTS
    with capture_logs() as events:
        for silent, left in ((second, 2), (third, 1), (fourth, 1)):
            await leave_silent(place, silent)
            await place.advance(GRACE)
            await settled(backend)
            assert await window(backend, left + 10) == left
            place.clock.advance(SPAN)
            await settled(backend)
    assert {1, 2} <= {event["missing"] for event in events if event["event"] == "replicas_missing"}
    grants = [await backend.claim(attempt(100 + n)) for n in range(HARD_CAP)]
    assert sum(isinstance(grant, Grant) for grant in grants) == HARD_CAP - 2 * IN_FLIGHT
    # After a day, nobody goes on by itself any more.
    place.clock.advance(FORGOTTEN)
    await settled(backend)
    assert await window(backend, 1) == ATTEMPTS


@scenario
async def test_room_is_left_for_a_failed_login_too(place: RedisPlace) -> None:
    backend, silent = await place.open(), await place.open()
    await leave_silent(place, silent)
    await place.advance(GRACE)
    answers = [await backend.claim(attempt(n, proven=False)) for n in range(FAILED_LOGINS)]
    assert sum(isinstance(answer, Grant) for answer in answers) == FAILED_LOGINS - 1


@scenario
async def test_one_that_says_goodbye_or_comes_back_needs_no_room(server: Server, place: RedisPlace) -> None:
    backend = await place.open()
    await place.close(await place.open())
    async with Proxy(server.port) as proxy:
        cut_off = RedisBackend(proxy.url, place.own_clock, home="here", ahead=place.ahead)
        await cut_off.open(lambda kept: None)
        proxy.cut = True
        await denied(cut_off, attempt())
        await place.advance(GRACE)
        assert await window(backend, 1) == ATTEMPTS - 1
        proxy.cut = False
        await until(lambda: cut_off.up)
        await settled(cut_off)
        assert await window(backend, 2) == ATTEMPTS
        await cut_off.close()


@scenario
async def test_one_alone_and_one_with_redis_keep_the_limits_together(
    server: Server, place: RedisPlace
) -> None:
    """Second by second: all that is granted to one that is cut off and one that is not."""
    backend = await place.open()
    sent: list[tuple[float, float]] = []
    flying: list[tuple[float, Backend, Grant]] = []
    alone = 0
    async with Proxy(server.port) as proxy:
        other = RedisBackend(proxy.url, place.own_clock, home="here", ahead=place.ahead)
        await other.open(lambda kept: None)
        for second in range(400):
            if second == 100:
                proxy.cut = True
                await other.claim(attempt(2))
            for each in (backend, other):
                answer = await each.claim(attempt())
                if isinstance(answer, Grant):
                    alone += each is other and not other.up
                    flying.append((place.clock.elapsed + 9, each, answer))
                    sent.append((place.clock.elapsed, place.clock.elapsed + 9))
            for until_when, each, grant in [*flying]:
                if place.clock.elapsed >= until_when:
                    flying.remove((until_when, each, grant))
                    each.end(grant, login_failed=False)
            place.clock.advance(1)
        await other.close()
    assert alone > 3
    # The provider counts each somewhere between its sending and its end.
    for _, end in sent:
        counted = [at for at, ends in sent if end <= ends and at < end + 60]
        assert len(counted) <= ATTEMPTS, counted


@scenario
async def test_alone_for_a_day_at_most(own_server: Server, own_place: RedisPlace) -> None:
    backend = await own_place.open()
    own_server.kill()
    await denied(backend, attempt())
    own_place.clock.advance(SILENCE)
    await granted(backend, attempt())
    own_place.clock.advance(ALONE - SILENCE - 1)
    await granted(backend, attempt())
    own_place.clock.advance(200)
    await denied(backend, attempt())


@scenario
async def test_a_guest_is_nobody_to_leave_room_for_and_sends_nothing_alone(
    own_server: Server, own_place: RedisPlace
) -> None:
    guest = RedisBackend(own_server.url, own_place.clock, guest=True)
    await guest.open(lambda kept: None)
    await granted(guest, attempt())
    assert own_server.look.zcard(f"{PREFIX}members") == 0
    own_server.kill()
    await denied(guest, attempt(2))
    own_place.clock.advance(SILENCE)
    await denied(guest, attempt(2))
    await guest.close()


def test_one_of_this_machine_that_is_dead_needs_no_room() -> None:
    script = Script(PREFIX, "me", lambda: 0.0)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    told = [name for n in (process.pid, os.getpid(), 1) for name in (f"a{n} here {n}", "1000")]
    members = Members("me", home="here")
    strange = Members("me", home="elsewhere")
    for each in (members, strange):
        each.heard(told, 100)
    process.communicate(b"x")
    dead = script.bye(f"a{process.pid} here {process.pid}")
    beat = script.beat(members._name)
    assert members.due(script, 104) == []
    assert members.due(script, 106) == [dead, beat]
    assert len(strange.due(script, 106)) == 1
    # One that was silent for long may have sent something by itself, until just now.
    told[1] = "200000"
    late = Members("me", home="here")
    late.heard(told, 100)
    assert late.due(script, 110) == [beat]
    assert late.due(script, 110 + OVER) == [dead, beat]


def test_where_a_process_cannot_be_looked_for(tmp_path: Path) -> None:
    from exporter.store.redis_members import _home

    assert _home(tmp_path) != _home(tmp_path)
    assert _home() == _home()


# --- Redis has forgotten ----------------------------------------------------------------------------------


@scenario
async def test_emptied_redis_is_noticed_by_the_next_request(server: Server, place: RedisPlace) -> None:
    first, second = await place.open(), await place.open()
    assert await window(first, 1) == ATTEMPTS
    await leave_silent(place, await place.open())
    await settled(second)
    await place.advance(5)
    server.look.flushall()
    with capture_logs() as events:
        # The server is the same, and takes what is written: but what was sent before is gone.
        assert (await denied(second, attempt())).scope is Scope.HOST
        assert (await denied(first, attempt(2))).scope is Scope.HOST
    assert {event["event"] for event in events} == {"storage_forgot"}
    assert first.up
    third = await place.open()
    await denied(third, attempt())
    await place.advance(UNKNOWN - 1)
    for backend in (first, second, third):
        await denied(backend, attempt(2))
    await place.advance(1)
    # Room is still left for the one that was silent before.
    assert await window(third, 3) == ATTEMPTS - 1


@scenario
async def test_a_login_may_fail_once_where_failures_may_have_been_forgotten(
    server: Server, place: RedisPlace
) -> None:
    server.look.flushall()
    backend = await place.open()
    place.clock.advance(UNKNOWN)
    await granted(backend, attempt(1, proven=False))
    assert (await denied(backend, attempt(2, proven=False))).scope is Scope.HOST
    place.clock.advance(FAILED_LOGIN_SPAN + LASTS)
    for number in range(FAILED_LOGINS):
        await granted(backend, attempt(number, proven=False))


@pytest.mark.parametrize("how", ["restarted", "emptied"])
@scenario
async def test_readings_and_counters_are_put_back_in_slices(
    own_server: Server, own_place: RedisPlace, how: str
) -> None:
    first, second = await own_place.open(), await own_place.open()
    links = SLICE * 3 + 10
    for number in range(links):
        first.keep(
            snapshot(number, read_at=own_place.clock.time() - 60, total=number + 5, name=f"link-{number}")
        )
    await settled(first)
    await until(lambda: len(readings(second)._latest) == links)
    # The one that read them is gone; the other one heard of them.
    await own_place.close(first)
    if how == "restarted":
        own_server.kill()
        await denied(second, attempt())
        # What was read meanwhile goes the same way.
        second.keep(snapshot(77, read_at=own_place.clock.time() - 5, total=100, name="link-0"))
        own_server.start()
        await until(lambda: second.up)
    else:
        own_server.look.flushall()
        await denied(second, attempt())
        second.keep(snapshot(77, read_at=own_place.clock.time() - 5, total=100, name="link-0"))
    await until(lambda: own_server.look.hlen(f"{PREFIX}readings") == links)
    await until(lambda: not readings(second).owed)
    await settled(second)
    await own_place.open()
    assert sorted(kept.total for kept in own_place.kept.values()) == sorted([*range(6, links + 5), 100])
    assert own_place.kept["main", "link-1"].read_at == pytest.approx(own_place.clock.time() - 60, abs=5)
    assert own_place.kept["main", "link-0"].reading.all_time == 77


@scenario
async def test_what_others_have_put_back_is_not_told_again(server: Server, place: RedisPlace) -> None:
    told: list[object] = []
    backends = [await place.open(told.append) for _ in range(3)]
    backends[0].keep(snapshot(3, read_at=place.clock.time() - 60))
    await settled(backends[0])
    await until(lambda: len(told) == 2)
    server.look.flushall()
    for backend in backends:
        await denied(backend, attempt())
    for backend in backends:
        await until(lambda: not readings(backend).owed)  # noqa: B023 - called at once
        await settled(backend)
    await asyncio.sleep(0.2)
    assert len(told) == 4
    assert calls(server)


@scenario
async def test_what_is_owed_at_the_end_is_written_before_it(
    own_server: Server, own_place: RedisPlace
) -> None:
    backend = await own_place.open()
    own_server.freeze()
    await denied(backend, attempt())
    for number in range(SLICE * 2 + 1):
        backend.keep(snapshot(number, read_at=own_place.clock.time(), name=f"link-{number}"))
    own_server.thaw()
    await until(lambda: backend.up)
    await own_place.close(backend)
    assert own_server.look.hlen(f"{PREFIX}readings") == SLICE * 2 + 1
    assert own_server.look.zcard(f"{PREFIX}members") == 0

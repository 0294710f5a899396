"""The journal in Redis when Redis is lost, forgets, or refuses."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.errors import Outcome
from exporter.journal import Appended
from exporter.journal.redis import FORGOTTEN_LOGINS, UNSURE
from exporter.journal.redis_script import EPOCH, EVENTS, LASTING, READINGS
from exporter.limits.constants import FAILED_LOGIN_WINDOW, REMEMBERED, REMEMBERED_SHORTLY
from tests import needs
from tests.processes import free_port
from tests.processes import until as wait
from tests.redis_servers import Server, redis_server
from tests.unit.journal.proxy import Proxy
from tests.unit.journal.redis_places import (
    LINK,
    RedisPlace,
    answered,
    refused,
    scenario,
    sent,
    until,
    with_reading,
)
from tests.virtual import VirtualClock

pytestmark = needs.redis


def said(events: Any) -> list[str]:
    return [event["event"] for event in events if event["log_level"] != "debug"]


# --- a connection breaks ----------------------------------------------------------------------------------


@scenario
async def test_a_broken_connection_is_not_the_loss_of_redis(redis_place: RedisPlace) -> None:
    replica = await redis_place.open(guest=True)
    await replica.read([LINK])
    one = sent()
    replica.note(with_reading(one, 3))
    await replica.settled()
    with capture_logs() as events:
        redis_place.server.look.client_kill_filter(_type="normal", skipme=True)
        assert await replica.append(sent()) is Appended.YES
        redis_place.server.look.client_kill_filter(_type="normal", skipme=True)
        assert [stored.total for stored in await replica.read([LINK])] == [3]
    assert events == []
    assert replica.listener.unknown == []


@scenario
async def test_redis_is_lost_and_comes_back_as_it_was(own_place: RedisPlace) -> None:
    first, second = await own_place.open(), await own_place.open()
    one, two = sent(1), sent(2)
    await first.append(one)
    await second.settled()
    with capture_logs() as events:
        own_place.server.freeze()
        first.note(answered(one))
        claims = [asyncio.create_task(first.append(sent(n))) for n in range(2)]
        assert set(await asyncio.gather(*claims)) == {Appended.NO}
        await until(lambda: not second.journal.up)
        assert await first.append(two) is Appended.NO
        assert await first.journal.read([LINK]) is None
        own_place.server.thaw()
        await until(lambda: first.journal.up and second.journal.up)
    assert sorted(said(events)) == ["storage_failed"] * 2 + ["storage_works_again"] * 2
    await first.settled()
    await second.settled()
    assert answered(one) in [dated.event for dated in second.listener.news]
    assert first.listener.unknown == second.listener.unknown == []
    assert await first.append(sent(3)) is Appended.YES


@scenario
async def test_what_a_frozen_server_grants_when_it_wakes_is_taken_back(own_place: RedisPlace) -> None:
    first, second = await own_place.open(guest=True), await own_place.open(guest=True)
    one = sent()
    own_place.server.freeze()
    assert await first.append(one) is Appended.NO
    own_place.server.thaw()
    await until(lambda: first.journal.up)
    await first.settled()
    await first.settled()
    await second.settled()
    events = [dated.event for dated in second.listener.news]
    assert answered(one, None) in events


@scenario
async def test_the_loss_is_told_once(own_place: RedisPlace) -> None:
    replica = await own_place.open(guest=True)
    own_place.server.kill()
    with capture_logs() as events:
        verdict, stored = await asyncio.gather(replica.append(sent()), replica.journal.read([LINK]))
    assert (verdict, stored) == (Appended.NO, None)
    assert said(events) == ["storage_failed"]


@scenario
async def test_a_read_that_fails_tells_of_the_loss(own_place: RedisPlace) -> None:
    replica = await own_place.open(guest=True)
    own_place.server.kill()
    with capture_logs() as events:
        assert await replica.journal.read([LINK]) is None
    assert said(events) == ["storage_failed"]
    assert not replica.journal.up


# --- Redis forgets ----------------------------------------------------------------------------------------


async def forgotten(place: RedisPlace, forget: Callable[[Server], None]) -> None:
    """Three replicas share events; Redis forgets; one replica is gone for good."""
    first, second, third = [await place.open() for _ in range(3)]
    await first.read([LINK])
    one, two, plain = sent(1), sent(2), sent(3)
    await first.append(one, plain)
    await second.settled()
    await second.append(two)
    first.note(refused(one))
    first.note(with_reading(plain, 5, total=9))
    await first.settled()
    await third.settled()
    await place.close(third)
    with capture_logs() as events:
        forget(place.server)
        await until(lambda: first.listener.unknown and second.listener.unknown)
    await until(lambda: first.journal.up and second.journal.up)
    assert "storage_unsure" in said(events)
    for replica in (first, second):
        await replica.settled()
        (unknown,) = replica.listener.unknown
        assert (unknown.seconds, unknown.failed_logins) == (UNSURE, FORGOTTEN_LOGINS)
    late = await place.open()
    found = late.found
    assert {one.number, two.number, plain.number} == {event.number for event in found}
    assert refused(one) in found
    assert answered(plain, link=LINK, total=9) in found
    assert [(stored.reading.all_time, stored.total) for stored in await late.read([LINK])] == [(5, 9)]
    assert late.history.unknown is not None
    assert late.history.unknown.failed_logins == FORGOTTEN_LOGINS
    # Nobody is told of its own events, nor twice of others'.
    assert not {one.number, plain.number} & set(first.listener.numbers)
    assert await late.append(sent(4)) is Appended.YES


@scenario
async def test_a_flushed_server_is_told_again(own_place: RedisPlace) -> None:
    await forgotten(own_place, lambda server: server.look.flushall())


@scenario
async def test_a_server_that_began_anew_without_its_file_is_told_again(own_place: RedisPlace) -> None:
    def restart(server: Server) -> None:
        server.kill()
        server.start()

    await forgotten(own_place, restart)


@pytest.mark.parametrize("keys", [(EVENTS, LASTING, READINGS), (EPOCH,)])
@scenario
async def test_a_server_that_lost_one_of_its_keys_is_told_again(
    own_place: RedisPlace, keys: tuple[str, ...]
) -> None:
    await forgotten(own_place, lambda server: server.look.delete(*keys))


@pytest.fixture
def saved_place(tmp_path: Path) -> Any:
    with redis_server(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        place = RedisPlace(server)
        place.mature()
        yield place


@scenario
async def test_a_restart_with_its_file_may_have_lost_the_last_moment(saved_place: RedisPlace) -> None:
    def restart(server: Server) -> None:
        server.kill()
        server.start()

    await forgotten(saved_place, restart)


@scenario
async def test_nothing_is_put_back_that_is_still_there_or_counts_no_more(own_place: RedisPlace) -> None:
    clock = VirtualClock()
    replica = await own_place.open(guest=True, clock=clock)
    replica.note(refused(sent(1)))
    await replica.settled()
    clock.advance(REMEMBERED - REMEMBERED_SHORTLY)
    replica.note(refused(lasting := sent(2)))
    replica.note(answered(sent(3)))
    await replica.settled()
    clock.advance(REMEMBERED_SHORTLY)
    await replica.append(shortly := sent(4))
    own_place.server.look.flushall()
    await replica.settled()
    await replica.settled()
    late = await own_place.open()
    assert [event.number for event in late.found] == [lasting.number, shortly.number]
    await own_place.close(late)
    own_place.server.look.set(EPOCH, f"another {own_place.server.look.info('server')['run_id']}")
    before = own_place.server.look.xlen(LASTING)
    await replica.settled()
    await replica.settled()
    assert own_place.server.look.xlen(LASTING) == before


@scenario
async def test_what_is_put_back_keeps_its_age(own_place: RedisPlace) -> None:
    clock = VirtualClock()
    replica = await own_place.open(guest=True, clock=clock)
    replica.note(refused(sent(1)))
    await replica.append(sent(2))
    clock.advance(100)
    own_place.server.look.flushall()
    await replica.settled()
    await replica.settled()
    late = await own_place.open()
    now = late.clock.monotonic()
    assert [now - dated.latest for dated in late.history.events] == [pytest.approx(100, abs=5)] * 2
    own_place.server.look.delete(EVENTS)  # as if minutes had passed
    later = await own_place.open()
    now = later.clock.monotonic()
    assert [now - dated.latest for dated in later.history.events] == [pytest.approx(100 - 60, abs=5)]


@scenario
async def test_requests_that_were_decided_before_redis_forgot_are_not_appended(own_place: RedisPlace) -> None:
    replica = await own_place.open(guest=True)
    own_place.server.look.flushall()
    one = sent()
    assert await replica.append(one) is Appended.BEHIND
    own_place.server.kill()
    own_place.server.start()
    assert await replica.append(one) is Appended.BEHIND
    assert len(replica.listener.unknown) == 2
    assert (await own_place.open()).found == []


@scenario
async def test_a_server_whose_events_went_while_the_connection_broke(own_place: RedisPlace) -> None:
    replica = await own_place.open(guest=True)
    own_place.server.look.delete(EVENTS)
    own_place.server.look.client_kill_filter(_type="normal", skipme=True)
    assert await replica.append(sent()) is Appended.BEHIND
    await replica.settled()
    assert len(replica.listener.unknown) == 1
    own_place.server.kill()
    own_place.server.start()
    await replica.journal.read([LINK])
    assert len(replica.listener.unknown) == 2


# --- a start ----------------------------------------------------------------------------------------------


@scenario
async def test_a_new_server_may_have_forgotten(own_redis: Server) -> None:
    place = RedisPlace(own_redis)
    first = await place.open()
    assert first.history.unknown
    assert (first.history.unknown.seconds, first.history.unknown.failed_logins) == (UNSURE, FORGOTTEN_LOGINS)
    second = await place.open()
    assert second.history.unknown == first.history.unknown
    await place.close(first)
    await place.close(second)


@pytest.mark.parametrize(
    ("ago", "seconds"),
    [(30, UNSURE), (160, UNSURE - 100), (1000, 0), (FAILED_LOGIN_WINDOW + 61, None), (-3600, UNSURE)],
)
@scenario
async def test_how_long_a_server_is_doubted_that_once_forgot(
    redis_place: RedisPlace, ago: float, seconds: float | None
) -> None:
    server_now, _ = redis_place.server.look.time()
    redis_place.server.look.xadd(
        LASTING, {"e": "", "b": "0", "a": "0"}, id=f"{(server_now - int(ago)) * 1000}-0"
    )
    replica = await redis_place.open()
    unknown = replica.history.unknown
    assert (unknown and unknown.seconds) == (seconds if seconds is None else pytest.approx(seconds, abs=5))


@scenario
async def test_a_start_without_redis(own_place: RedisPlace) -> None:
    first = await own_place.open()
    one = sent()
    await first.append(one)
    await own_place.close(first)
    own_place.server.freeze()
    with capture_logs() as events:
        replica = await own_place.open()
        assert (replica.found, replica.journal.up) == ([], False)
        assert await replica.append(sent()) is Appended.NO
        own_place.server.thaw()
        await until(lambda: replica.journal.up)
    assert said(events) == ["storage_failed", "storage_works_again"]
    assert [dated.event for dated in replica.listener.news] == [one]
    assert replica.listener.unknown == []


@scenario
async def test_a_start_without_redis_that_turns_out_to_be_new(own_redis: Server) -> None:
    place = RedisPlace(own_redis)
    async with Proxy(own_redis.port) as proxy:
        proxy.lost = 1
        replica = await place.open(proxy.url)
        assert not replica.journal.up
        await until(lambda: replica.journal.up)
        assert [unknown.seconds for unknown in replica.listener.unknown] == [UNSURE]
        await place.close(replica)


# --- Redis that can be reached, and takes nothing ---------------------------------------------------------


def full(server: Server) -> None:
    server.look.config_set("maxmemory", 1)


def replica_of_another(server: Server) -> None:
    server.look.replicaof("127.0.0.1", free_port())


def without_permission(server: Server) -> None:
    server.look.execute_command("ACL", "SETUSER", "default", "-xadd")


def unsaved(server: Server) -> None:
    """It could not save what it has, and so takes no more."""
    shutil.rmtree(server.folder)
    server.look.config_set("save", "3600 1")
    server.look.bgsave()
    wait(lambda: server.look.info("persistence")["rdb_last_bgsave_status"] == "err", "a failure to save")


def wrong_type(server: Server) -> None:
    server.look.delete(READINGS)
    server.look.set(READINGS, "somebody else's")


@pytest.mark.parametrize(
    ("refuse", "reason"),
    [
        (full, "command not allowed when used memory > 'maxmemory'."),
        (replica_of_another, "the server is a replica: name the master"),
        (unsaved, "MISCONF Redis is configured to save RDB snapshots, but it"),
        (without_permission, "the user has no permission to run this command or subcommand"),
        (wrong_type, "WRONGTYPE Operation against a key holding the wrong kind of value"),
    ],
)
@scenario
async def test_redis_that_takes_nothing_is_no_journal(
    own_place: RedisPlace, refuse: Callable[[Server], None], reason: str
) -> None:
    replica = await own_place.open()
    with capture_logs() as events:
        refuse(own_place.server)
        replica.note(with_reading(sent(), 1))
        await until(lambda: not replica.journal.up)
        await until(lambda: "storage_not_back" in [event["event"] for event in events])
    assert said(events) == ["storage_failed"]
    assert events[0]["reason"].startswith(reason)
    assert "script" not in events[0]["reason"]
    assert not replica.journal.up


@pytest.mark.parametrize("refuse", [full, replica_of_another])
@scenario
async def test_redis_that_takes_what_is_written_again_is_back(
    own_place: RedisPlace, refuse: Callable[[Server], None]
) -> None:
    replica = await own_place.open()
    await replica.read([LINK])
    refuse(own_place.server)
    replica.note(with_reading(sent(), 3))
    await until(lambda: not replica.journal.up)
    own_place.server.look.config_set("maxmemory", 0)
    own_place.server.look.replicaof("no", "one")
    await until(lambda: replica.journal.up)
    await replica.settled()
    assert [stored.total for stored in await replica.read([LINK])] == [3]
    assert replica.listener.unknown == []


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"maxmemory": 10**9, "maxmemory-policy": "allkeys-lru"}, "maxmemory-policy is allkeys-lru"),
        ({"maxmemory": 10**9, "maxmemory-policy": "volatile-lru"}, None),
        ({"maxmemory-policy": "allkeys-lru"}, None),
    ],
)
@scenario
async def test_a_server_that_may_drop_our_keys_is_no_journal(
    own_place: RedisPlace, setting: dict[str, Any], reason: str | None
) -> None:
    for name, value in setting.items():
        own_place.server.look.config_set(name, value)
    with capture_logs() as events:
        replica = await own_place.open()
    assert replica.journal.up is (reason is None)
    assert [event["reason"].startswith(reason) for event in events] == [True] * (reason is not None)


@scenario
async def test_a_replica_is_no_journal(own_place: RedisPlace) -> None:
    replica_of_another(own_place.server)
    with capture_logs() as events:
        replica = await own_place.open()
    assert not replica.journal.up
    assert events[0]["reason"] == "the server is a replica: name the master"


# --- the end ----------------------------------------------------------------------------------------------


@scenario
async def test_closing_writes_what_was_noted(redis_place: RedisPlace) -> None:
    replica = await redis_place.open()
    one = sent()
    replica.note(answered(one, Outcome.TIMEOUT))
    with capture_logs() as events:
        await redis_place.close(replica)
    assert events == []
    assert (await redis_place.open()).found == [answered(one, Outcome.TIMEOUT)]
    assert await replica.append(sent()) is Appended.NO


@scenario
async def test_closing_while_redis_is_lost(own_place: RedisPlace) -> None:
    first, second, third = [await own_place.open(guest=True) for _ in range(3)]
    own_place.server.freeze()
    claim = asyncio.create_task(first.append(sent()))
    await asyncio.sleep(0)
    second.note(refused(sent()))
    with capture_logs() as events:
        await asyncio.gather(*(own_place.close(each) for each in (first, second, third)))
        assert await claim is Appended.NO
    assert "storage_not_written" in said(events)
    own_place.server.thaw()


@scenario
async def test_closing_while_redis_was_never_reached(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        place = RedisPlace(server)
        server.kill()
        replica = await place.open()
        replica.note(answered(sent()))
        await asyncio.sleep(0.01)  # it waits to try again
        await place.close(replica)
        assert not replica.journal.up


@scenario
async def test_an_error_of_the_reader_does_not_end_the_work(redis_place: RedisPlace) -> None:
    first, second = await redis_place.open(guest=True), await redis_place.open(guest=True)
    learn, bugs = second.listener.learn, [RuntimeError("a bug")]

    def raise_once(news: Any) -> None:
        if bugs:
            raise bugs.pop()
        learn(news)

    second.listener.learn = raise_once  # type: ignore[method-assign] # the test's own listener
    with capture_logs() as events:
        await first.append(sent(1))
        assert await second.append(sent(2)) is Appended.NO
        await until(lambda: second.journal.up)
    assert said(events) == ["storage_failed", "storage_unsure", "storage_works_again"]
    assert len(second.listener.unknown) == 1
    assert isinstance(events[0]["exc_info"], RuntimeError)
    assert await second.append(sent(3)) is Appended.YES


@scenario
async def test_an_error_of_the_reader_as_redis_comes_back_does_not_end_the_work(
    own_place: RedisPlace,
) -> None:
    replica = await own_place.open()
    assume, bugs = replica.listener.assume, [RuntimeError("a bug")]

    def raise_once(unknown: Any) -> None:
        if bugs:
            raise bugs.pop()
        assume(unknown)

    replica.listener.assume = raise_once  # type: ignore[method-assign] # the test's own listener
    with capture_logs() as events:
        own_place.server.freeze()
        await until(lambda: not replica.journal.up)
        own_place.server.kill()
        own_place.server.start()
        await until(lambda: replica.journal.up)
        await replica.settled()
    assert said(events) == [
        *("storage_failed", "storage_unsure", "storage_failed"),
        *("storage_unsure", "storage_works_again"),
    ]
    assert len(replica.listener.unknown) == 1

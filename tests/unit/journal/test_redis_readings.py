"""Readings in Redis: the latest of each link, for whoever starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from exporter.journal.redis_memory import MOST_READINGS, Memory
from exporter.journal.redis_script import EVENTS, LASTING, READINGS, field
from exporter.journal.redis_wire import CHUNK
from exporter.limits.constants import REMEMBERED, REMEMBERED_SHORTLY
from exporter.limits.events import encode
from tests import needs
from tests.factories import make_reading
from tests.redis_servers import redis_server
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

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.journal import StoredReading
    from tests.unit.journal.redis_places import Replica


pytestmark = needs.redis


async def latest(replica: Replica) -> StoredReading:
    (stored,) = await replica.journal.read([LINK])
    return stored


@scenario
async def test_a_reading_is_kept_with_its_total_and_its_age(redis_place: RedisPlace) -> None:
    replica = await redis_place.open()
    replica.journal.note(with_reading(sent(), 5, total=9, elapsed=100))
    await replica.settled()
    stored = await latest(replica)
    assert (stored.link, stored.target, stored.total) == (LINK, ("id", "1"), 9)
    assert stored.reading == make_reading(5, id="1")
    assert replica.clock.time() - stored.read_at == pytest.approx(101, abs=3)
    assert replica.clock.time() - stored.read_at > 100


@scenario
async def test_only_what_was_asked_for_is_read(redis_place: RedisPlace) -> None:
    replica = await redis_place.open()
    replica.journal.note(with_reading(sent(), 5))
    await replica.settled()
    assert list(await replica.journal.read([("main", "another")])) == []
    assert list(await replica.journal.read([])) == []


@scenario
async def test_a_reading_that_comes_late_does_not_replace_a_newer_one(redis_place: RedisPlace) -> None:
    first, second = await redis_place.open(), await redis_place.open()
    first.journal.note(with_reading(sent(), 10, total=10))
    await first.settled()
    second.journal.note(with_reading(sent(), 7, total=12, elapsed=30))
    await second.settled()
    stored = await latest(first)
    assert (stored.reading.all_time, stored.total) == (10, 12)
    second.journal.note(with_reading(sent(), 11, total=3))
    await second.settled()
    stored = await latest(first)
    assert (stored.reading.all_time, stored.total) == (11, 12)


@scenario
async def test_a_name_that_means_another_link_has_the_total_of_its_latest_reading(
    redis_place: RedisPlace,
) -> None:
    replica = await redis_place.open()
    replica.journal.note(with_reading(sent(1), 10, total=10))
    await replica.settled()
    replica.journal.note(with_reading(sent(2), 2, total=2))
    await replica.settled()
    replica.journal.note(with_reading(sent(1), 11, total=11, elapsed=30))
    await replica.settled()
    stored = await latest(replica)
    assert (stored.target, stored.reading.all_time, stored.total) == (("id", "2"), 2, 2)


@scenario
async def test_a_great_many_readings(redis_place: RedisPlace) -> None:
    replica = await redis_place.open()
    names = [f"link-{number}" for number in range(CHUNK + 100)]
    for number, name in enumerate(names):
        reading = make_reading(number, id=str(number))
        replica.journal.note(answered(sent(number), link=("main", name), reading=reading, total=number))
    await replica.settled()
    stored = await replica.journal.read([("main", name) for name in names])
    assert [one.total for one in stored] == list(range(CHUNK + 100))


@scenario
async def test_what_is_not_ours_is_passed_over(redis_place: RedisPlace) -> None:
    look = redis_place.server.look
    look.hset(READINGS, field(("a", "1")), "what")
    look.hset(READINGS, field(("a", "2")), '1\n2\n["id","1"]\n["1"]')
    look.hset(READINGS, field(("a", "3")), '1\n2\n7\n["1"]')
    look.hset(READINGS, field(LINK), "what")
    for fields in ({"x": "y"}, {"e": "[]", "b": "0", "a": "0"}, {"e": encode(sent()), "a": "x"}):
        look.xadd(EVENTS, fields)
        look.xadd(LASTING, fields)
    with capture_logs() as events:
        replica = await redis_place.open()
        assert replica.found == []
        assert list(await replica.journal.read([("a", "1"), ("a", "2"), ("a", "3")])) == []
    assert {event["event"] for event in events} == {"storage_not_understood"}
    assert len(events) == 9
    replica.journal.note(with_reading(sent(), 4))
    await replica.settled()
    assert (await latest(replica)).total == 4


@scenario
async def test_the_history_holds_no_figures(redis_place: RedisPlace) -> None:
    replica = await redis_place.open()
    replica.journal.note(with_reading(one := sent(), 4))
    replica.journal.note(refused(sent()))
    await replica.settled()
    late = await redis_place.open()
    assert answered(one, link=LINK, total=4) in late.found


@scenario
async def test_the_reading_that_was_learnt_from_another_is_put_back(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        place = RedisPlace(server)
        place.mature()
        first, second = await place.open(), await place.open()
        await second.journal.read([LINK])
        first.journal.note(with_reading(sent(), 6, total=8))
        await first.settled()
        await place.close(first)
        await second.settled()
        server.look.flushall()
        await until(lambda: second.listener.unknown)
        await second.settled()
        stored = await latest(second)
        assert (stored.reading.all_time, stored.total) == (6, 8)
        await place.close(second)


def test_memory_is_bounded_by_what_counts_and_what_is_configured() -> None:
    memory = Memory()
    for number in range(MOST_READINGS + 5):
        memory.ask_for([("main", str(number))])
    memory.add_reading(with_reading(sent(), 1), 0)
    assert memory.missing(0, {}) == []
    memory.ask_for([LINK])
    memory.add_reading(with_reading(sent(), 1), 0)
    assert len(memory.missing(0, {})) == 1
    memory.ask_for([("other", str(number)) for number in range(MOST_READINGS)])
    assert memory.missing(0, {}) == []
    one, two, three = refused(sent(1)), answered(sent(2)), sent(3)
    memory.add(one, 0)
    memory.add(two, 1)
    memory.add(three, 2)
    assert [memory.knows(event) for event in (one, two, three)] == [True] * 3
    memory.add(sent(4), REMEMBERED_SHORTLY + 1.5)
    assert [memory.knows(event) for event in (one, two, three)] == [True, False, True]
    memory.add(sent(5), REMEMBERED + 1)
    assert [memory.knows(event) for event in (one, two, three)] == [False] * 3


def test_the_end_of_a_request_makes_its_beginning_known_and_not_the_other_way_round() -> None:
    memory, one = Memory(), sent()
    memory.add(one, 0)
    assert not memory.knows(answered(one))
    memory.add(answered(one), 0)
    assert memory.knows(one)
    assert memory.knows(answered(one))
    assert [entry.event for entry in memory.missing(0, {one.number: False})] == [answered(one)]
    assert memory.missing(0, {one.number: True}) == []

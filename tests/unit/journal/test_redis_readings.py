"""Readings in Redis: the latest of each link, for whoever starts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from exporter.journal import StoredReading
from exporter.journal.redis_script import EVENTS, LASTING, READINGS
from exporter.journal.redis_wire import CHUNK
from exporter.limits.events import encode
from tests import needs
from tests.factories import make_reading
from tests.unit.journal.redis_places import (
    LINK,
    RedisPlace,
    Replica,
    answered,
    refused,
    scenario,
    sent,
    with_reading,
)

pytestmark = needs.redis


async def latest(replica: Replica) -> StoredReading:
    (stored,) = await replica.read([LINK])
    return stored


@scenario
async def test_a_reading_is_kept_with_its_total_and_its_age(redis_place: RedisPlace) -> None:
    replica = await redis_place.open()
    replica.note(with_reading(sent(), 5, total=9, elapsed=100))
    await replica.settled()
    stored = await latest(replica)
    assert (stored.link, stored.target, stored.total) == (LINK, ("id", "1"), 9)
    assert stored.reading == make_reading(5, id="1")
    assert replica.clock.time() - stored.read_at == pytest.approx(101, abs=3)
    assert replica.clock.time() - stored.read_at > 100


@scenario
async def test_only_what_was_asked_for_is_read(redis_place: RedisPlace) -> None:
    replica = await redis_place.open()
    replica.note(with_reading(sent(), 5))
    await replica.settled()
    assert await replica.read([("main", "another")]) == []
    assert await replica.read([]) == []


@scenario
async def test_a_reading_that_comes_late_does_not_replace_a_newer_one(redis_place: RedisPlace) -> None:
    first, second = await redis_place.open(), await redis_place.open()
    first.note(with_reading(sent(), 10, total=10))
    await first.settled()
    second.note(with_reading(sent(), 7, total=12, elapsed=30))
    await second.settled()
    stored = await latest(first)
    assert (stored.reading.all_time, stored.total) == (10, 12)
    second.note(with_reading(sent(), 11, total=3))
    await second.settled()
    stored = await latest(first)
    assert (stored.reading.all_time, stored.total) == (11, 12)


@scenario
async def test_a_name_that_means_another_link_has_the_total_of_its_latest_reading(
    redis_place: RedisPlace,
) -> None:
    replica = await redis_place.open()
    replica.note(with_reading(sent(1), 10, total=10))
    await replica.settled()
    replica.note(with_reading(sent(2), 2, total=2))
    await replica.settled()
    replica.note(with_reading(sent(1), 11, total=11, elapsed=30))
    await replica.settled()
    stored = await latest(replica)
    assert (stored.target, stored.reading.all_time, stored.total) == (("id", "2"), 2, 2)


@scenario
async def test_readings_of_links_that_are_no_longer_polled_are_deleted(redis_place: RedisPlace) -> None:
    replica, days = await redis_place.open(), 86_400.0
    for name, age in {"kept": 29 * days, "old": 31 * days}.items():
        replica.note(replace(with_reading(sent(), 5, elapsed=age), link=("main", name)))
    many = [f"old-{number}" for number in range(CHUNK)]
    for number, name in enumerate(many):
        replica.note(replace(with_reading(sent(number), 5, elapsed=31 * days), link=("main", name)))
    replica.note(with_reading(sent(), 5))
    await replica.settled()
    redis_place.server.look.hset(READINGS, "another's", "what")
    await replica.read([LINK])
    left = {field.decode() for field in redis_place.server.look.hkeys(READINGS)}
    assert left == {encode(("main", "kept")), encode(LINK), "another's"}


@scenario
async def test_a_great_many_readings(redis_place: RedisPlace) -> None:
    replica = await redis_place.open()
    names = [f"link-{number}" for number in range(CHUNK + 100)]
    for number, name in enumerate(names):
        reading = make_reading(number, id=str(number))
        replica.note(answered(sent(number), link=("main", name), reading=reading, total=number))
    await replica.settled()
    stored = await replica.read([("main", name) for name in names])
    assert [one.total for one in stored] == list(range(CHUNK + 100))


@scenario
async def test_what_is_not_ours_is_passed_over(redis_place: RedisPlace) -> None:
    look = redis_place.server.look
    look.hset(READINGS, encode(("a", "1")), "what")
    look.hset(READINGS, encode(("a", "2")), '1\n2\n["id","1"]\n["1"]')
    look.hset(READINGS, encode(("a", "3")), '1\n2\n7\n["1"]')
    look.hset(READINGS, encode(LINK), "what")
    for fields in ({"x": "y"}, {"e": "[]", "b": "0", "a": "0"}, {"e": encode(sent()), "a": "x"}):
        look.xadd(EVENTS, fields)
        look.xadd(LASTING, fields)
    with capture_logs() as events:
        replica = await redis_place.open()
        assert replica.found == []
        assert await replica.read([("a", "1"), ("a", "2"), ("a", "3")]) == []
    assert {event["event"] for event in events} == {"storage_not_understood"}
    assert len(events) == 9
    replica.note(with_reading(sent(), 4))
    await replica.settled()
    assert (await latest(replica)).total == 4


FIGURES = '["1",5,4,3,2,1,"smsc.tips/a"]'
ODD = [
    ("9" * 400, "5", FIGURES),
    ("-5", "5", FIGURES),
    ("1", "9" * 400, FIGURES),
    ("1", "-5", FIGURES),
    ("1", "5", "[" * 10_000),
    ("1", "5", FIGURES.replace('"1"', "1")),
    ("1", "5", FIGURES.replace("5", '"5"')),
    ("1", "5", FIGURES.replace("5", "5" * 400)),
    ("1", "5", FIGURES.replace("5", "-5")),
    ("1", "5", FIGURES.replace("5", "Infinity")),
    ("1", "5", FIGURES.replace("5", "true")),
    ("1", "5", FIGURES.replace("tips", "t" * 3000)),
    ("1", "5", FIGURES.replace("tips", r"\ud800")),
    ("1", "5", FIGURES.replace("tips", r"\n")),
]


@scenario
async def test_figures_that_no_exporter_wrote_are_passed_over(redis_place: RedisPlace) -> None:
    look = redis_place.server.look
    for number, (at, total, figures) in enumerate(ODD):
        look.hset(READINGS, encode(("a", str(number))), f'{at}\n{total}\n["id","1"]\n{figures}')
    look.hset(READINGS, encode(("a", "good")), f'1\n5\n["id","1"]\n{FIGURES}')
    for fields in ({"e": "", "b": "0", "a": "x"}, {"e": encode(sent()), "a": "9" * 400}):
        look.xadd(EVENTS, fields)
        look.xadd(LASTING, fields)
    replica = await redis_place.open()
    stored = await replica.read([("a", "good"), *(("a", str(number)) for number in range(len(ODD)))])
    assert [one.link for one in stored] == [("a", "good")]


@scenario
async def test_the_history_holds_no_figures(redis_place: RedisPlace) -> None:
    replica = await redis_place.open()
    replica.note(with_reading(one := sent(), 4))
    replica.note(refused(sent()))
    await replica.settled()
    late = await redis_place.open()
    assert answered(one, link=LINK, total=4) in late.found

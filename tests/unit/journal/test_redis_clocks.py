"""The clock of the Redis server is set, in both directions, under journals that go by their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.journal import Appended
from exporter.journal.redis import TRIM_AFTER
from exporter.journal.redis_script import EVENTS, LASTING
from exporter.limits.constants import REMEMBERED
from tests import needs
from tests.e2e.faults.machine import stepped
from tests.factories import make_reading
from tests.redis_servers import redis_server
from tests.unit.journal.redis_places import (
    LINK,
    RedisPlace,
    answered,
    refused,
    scenario,
    sent,
    with_reading,
)
from tests.virtual import VirtualClock

pytestmark = [needs.redis, needs.faketime]

HOUR = 3600


class SteppedPlace(RedisPlace):
    """A server whose clock is off by as many seconds as it was last told."""

    file: Path

    def step(self, seconds: float) -> None:
        self.file.write_text(f"{seconds:+d}")


@pytest.fixture
def stepped_place(tmp_path: Path) -> Iterator[SteppedPlace]:
    file = tmp_path / "clock"
    file.write_text("+0")
    env = stepped(file)
    env["LD_PRELOAD"] += ":libc.so.6"  # its malloc: that of jemalloc asks for the time before there is one
    with redis_server(tmp_path, env=env) as server:
        place = SteppedPlace(server)
        place.file = file
        place.mature()
        before = server.look.time()[0]
        place.step(HOUR)
        assert server.look.time()[0] - before >= HOUR
        place.step(0)
        yield place


@pytest.mark.parametrize("step", [HOUR, -HOUR])
@scenario
async def test_those_who_run_notice_nothing(stepped_place: SteppedPlace, step: int) -> None:
    first, second = await stepped_place.open(guest=True), await stepped_place.open(guest=True)
    one, two, three = sent(1), sent(2), sent(3)
    assert await first.append(one) is Appended.YES
    await second.settled()
    stepped_place.step(step)
    assert await second.append(two) is Appended.YES
    assert await first.append(three) is Appended.BEHIND
    assert await first.append(three) is Appended.YES
    await second.settled()
    assert (first.listener.numbers, second.listener.numbers) == ([two.number], [one.number, three.number])
    now = second.clock.monotonic()
    assert {(dated.earliest, dated.latest) for dated in second.listener.news} == {(now, now)}
    assert first.listener.unknown == second.listener.unknown == []


@pytest.mark.parametrize("step", [HOUR, -HOUR])
@scenario
async def test_the_stream_of_minutes_is_trimmed_by_nobody_elses_clock(
    stepped_place: SteppedPlace, step: int
) -> None:
    clock = VirtualClock()
    replica = await stepped_place.open(guest=True, clock=clock)
    await replica.append(one := sent(1))
    await replica.append(two := sent(2))
    stepped_place.step(step)
    clock.advance(TRIM_AFTER - 1)
    await replica.append(three := sent(3))
    await replica.append(four := sent(4))
    late = await stepped_place.open()
    assert late.found == [one, two, three, four]
    assert {dated.latest for dated in late.history.events} == {late.clock.monotonic()}
    clock.advance(1)
    await replica.append(five := sent(5))
    assert (await stepped_place.open()).found == [two, three, four, five]


@pytest.mark.parametrize(
    ("step", "ago"),
    [(0, 0), (100, 40), (HOUR, HOUR - 60), (-HOUR, 0), (REMEMBERED + HOUR, REMEMBERED + HOUR - 60)],
)
@scenario
async def test_what_counts_for_hours_is_dated_too_late_rather_than_too_early(
    stepped_place: SteppedPlace, step: float, ago: float
) -> None:
    first = await stepped_place.open(guest=True)
    first.note(refused(sent()))
    await first.settled()
    stepped_place.server.look.delete(EVENTS)  # as if minutes had passed
    stepped_place.step(int(step))
    late = await stepped_place.open(guest=True)
    (dated,) = late.history.events
    assert late.clock.monotonic() - dated.latest == pytest.approx(ago, abs=10)
    assert dated.latest <= late.clock.monotonic()


@scenario
async def test_what_no_longer_counts_is_dropped_from_the_stream_of_hours(stepped_place: SteppedPlace) -> None:
    replica = await stepped_place.open(guest=True)
    replica.note(refused(sent(1)))
    await replica.settled()
    stepped_place.step(int(REMEMBERED) + 120)
    replica.note(refused(two := sent(2)))
    await replica.settled()
    texts = [fields[b"e"].decode() for _, fields in stepped_place.server.look.xrange(LASTING)]
    assert len(texts) == 1
    assert str(two.number) in texts[0]


@scenario
async def test_a_reading_from_the_future_has_no_known_age_and_gives_way(stepped_place: SteppedPlace) -> None:
    replica = await stepped_place.open(guest=True)
    stepped_place.step(HOUR)
    replica.note(with_reading(sent(), 1))
    await replica.settled()
    stepped_place.step(0)
    (stored,) = await replica.read([LINK])
    assert (stored.reading.all_time, stored.read_at) == (1, 0)
    replica.note(with_reading(sent(), 2))
    await replica.settled()
    (stored,) = await replica.read([LINK])
    assert stored.reading.all_time == 2
    assert stored.read_at == pytest.approx(replica.clock.time(), abs=5)


@pytest.mark.parametrize("step", [HOUR, -HOUR])
@scenario
async def test_our_own_wall_clock_tells_nothing_but_when_a_reading_was_taken(
    redis_place: RedisPlace, step: float
) -> None:
    clock = VirtualClock()
    replica = await redis_place.open(guest=True, clock=clock)
    await replica.append(one := sent())
    clock.step(step)
    reading = make_reading(3, id="1")
    replica.note(answered(one, link=LINK, reading=reading, total=3))
    await replica.settled()
    (stored,) = await replica.read([LINK])
    assert stored.read_at == pytest.approx(clock.time(), abs=5)

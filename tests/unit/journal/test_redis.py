"""The journal in Redis: one order for all, few round trips, and lost replies."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from exporter.errors import Outcome
from exporter.journal import Appended
from exporter.journal.redis import LOOK, TRIM_AFTER
from exporter.journal.redis_script import EVENTS, KEYS, LASTING, PREFIX, READINGS
from exporter.journal.redis_wire import CHUNK
from exporter.limits import SEND_BY
from exporter.limits.constants import VERIFIED_TTL
from tests import needs
from tests.redis_servers import Server
from tests.unit.journal.proxy import Proxy
from tests.unit.journal.redis_places import (
    RedisPlace,
    answered,
    refused,
    request,
    scenario,
    sent,
    until,
    with_reading,
)
from tests.virtual import VirtualClock

pytestmark = needs.redis


def trips(server: Server) -> int:
    """How often the server found something to read: once for each round trip (and for this question)."""
    return int(server.look.info("stats")["total_reads_processed"])


# --- one order for all ------------------------------------------------------------------------------------


@scenario
async def test_a_request_is_recorded_and_others_learn_of_it(redis_place: RedisPlace) -> None:
    first, second = await redis_place.open(), await redis_place.open()
    one = sent()
    assert await first.append(one) is Appended.YES
    await until(lambda: second.listener.numbers == [one.number])
    assert second.listener.news[0].event == one
    assert first.listener.news == []


@scenario
async def test_who_has_not_learnt_of_a_request_is_behind(redis_place: RedisPlace) -> None:
    first = await redis_place.open(guest=True)
    second = await redis_place.open(guest=True)
    one, two = sent(1), sent(2)
    assert await first.append(one) is Appended.YES
    assert await second.append(two) is Appended.BEHIND
    assert second.listener.numbers == [one.number]
    assert await second.append(two) is Appended.YES
    await first.settled()
    assert first.listener.numbers == [two.number]


@scenario
async def test_what_was_decided_on_before_news_came_is_never_granted(redis_place: RedisPlace) -> None:
    """Requests are asked for one after the other while the first is on its way; the later ones wait."""
    first = await redis_place.open(guest=True)
    second = await redis_place.open(guest=True)
    assert await first.append(sent(1)) is Appended.YES

    async def ask(link: int) -> tuple[bool, Appended]:
        knew = bool(second.listener.news)
        return knew, await second.append(sent(link))

    asking = []
    for link in range(2, 40):
        asking.append(asyncio.ensure_future(ask(link)))
        await asyncio.sleep(0)
    answers = await asyncio.gather(*asking)
    assert {answer for knew, answer in answers if not knew} == {Appended.BEHIND}
    assert await second.append(sent(40)) is Appended.YES


@pytest.mark.parametrize("binds", [False, True])
@scenario
async def test_only_an_end_that_binds_puts_others_behind(redis_place: RedisPlace, binds: bool) -> None:
    first = await redis_place.open(guest=True)
    second = await redis_place.open(guest=True)
    one = sent()
    await first.append(one)
    await second.settled()
    end = refused(one) if binds else answered(one)
    first.note(end)
    await first.settled()
    assert await second.append(sent(2)) is (Appended.BEHIND if binds else Appended.YES)
    assert [dated.event for dated in second.listener.news] == [one, end]


@scenario
async def test_an_end_is_written_even_where_requests_are_refused(redis_place: RedisPlace) -> None:
    first = await redis_place.open(guest=True)
    second = await redis_place.open(guest=True)
    one, two = sent(1), sent(2)
    await first.append(one)
    await second.settled()
    await second.append(two)
    first.note(refused(one))
    assert await first.append(sent(3)) is Appended.BEHIND
    await second.settled()
    assert [dated.event for dated in second.listener.news] == [one, refused(one)]


@scenario
async def test_several_requests_are_recorded_all_or_none(redis_place: RedisPlace) -> None:
    first = await redis_place.open(guest=True)
    second = await redis_place.open(guest=True)
    assert await first.append(sent(1), sent(2)) is Appended.YES
    assert await second.append(sent(3), sent(4)) is Appended.BEHIND
    await first.settled()
    assert first.listener.news == []


@scenario
async def test_news_is_dated_by_our_own_clock(redis_place: RedisPlace) -> None:
    clock = VirtualClock()
    first = await redis_place.open(guest=True)
    second = await redis_place.open(guest=True, clock=clock)
    looked = clock.monotonic()
    clock.advance(10)
    await first.append(sent())
    await second.settled()
    assert (second.listener.news[0].earliest, second.listener.news[0].latest) == (looked, clock.monotonic())


@scenario
async def test_an_end_that_waited_to_be_written_is_dated_back(own_place: RedisPlace) -> None:
    first, second = VirtualClock(), VirtualClock()
    writer = await own_place.open(guest=True, clock=first)
    learner = await own_place.open(guest=True, clock=second)
    one = sent()
    await writer.append(one)
    await learner.settled()
    looked = second.monotonic()
    own_place.server.look.execute_command("ACL", "SETUSER", "default", "-xadd")
    writer.note(answered(one))
    await until(lambda: not writer.journal.up)
    first.advance(30)
    second.advance(40)
    own_place.server.look.execute_command("ACL", "SETUSER", "default", "+xadd")
    await until(lambda: writer.journal.up)
    await writer.settled()
    await learner.settled()
    news = learner.listener.news[-1]
    assert news.event == answered(one)
    assert (news.earliest, news.latest) == (looked - 30, second.monotonic() - 30)


@scenario
async def test_the_stream_is_trimmed_by_our_own_clock(redis_place: RedisPlace) -> None:
    clock = VirtualClock()
    replica = await redis_place.open(guest=True, clock=clock)
    look = redis_place.server.look
    for number in range(4):
        await replica.append(sent(number))
        clock.advance(TRIM_AFTER / 3)
    await replica.settled()
    await replica.settled()
    held = [fields.get(b"e") for _, fields in look.xrange(EVENTS)]
    assert len(held) == 3
    assert await replica.append(sent(9)) is Appended.YES


# --- what it costs ----------------------------------------------------------------------------------------


@scenario
async def test_a_poll_costs_two_round_trips(redis_place: RedisPlace) -> None:
    replica = await redis_place.open(guest=True)
    await replica.append(sent(0))
    before = trips(redis_place.server)
    one = sent()
    await replica.append(one)
    assert trips(redis_place.server) - before == 1 + 1
    replica.note(with_reading(one, 3))
    await until(lambda: redis_place.server.look.hlen(READINGS))
    before = trips(redis_place.server)
    await replica.append(sent(2))
    assert trips(redis_place.server) - before == 1 + 1


@scenario
async def test_what_is_due_in_one_moment_goes_in_one_round_trip(redis_place: RedisPlace) -> None:
    replica = await redis_place.open(guest=True)
    one = sent(1)
    await replica.append(one)
    before = trips(redis_place.server)
    replica.note(answered(one))
    verdicts = await asyncio.gather(*(replica.append(sent(n)) for n in range(2, 12)))
    assert set(verdicts) == {Appended.YES}
    assert trips(redis_place.server) - before == 1 + 1


@scenario
async def test_many_ends_go_out_before_the_request_that_came_after_them(redis_place: RedisPlace) -> None:
    replica = await redis_place.open(guest=True)
    for number in range(CHUNK + 10):
        replica.note(answered(sent(number)))
    last = sent()
    assert await replica.append(last) is Appended.YES
    texts = [fields[b"e"].decode() for _, fields in redis_place.server.look.xrange(EVENTS)]
    assert len(texts) == 2 + CHUNK + 10 + 1
    assert str(last.number) in texts[-1]


@scenario
async def test_a_plain_end_waits_for_others_a_little_and_one_that_binds_does_not(
    redis_place: RedisPlace,
) -> None:
    replica = await redis_place.open(guest=True)
    look, one, two = redis_place.server.look, sent(1), sent(2)
    before = look.xlen(EVENTS)
    replica.note(answered(one))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert look.xlen(EVENTS) == before
    replica.note(refused(two))
    await until(lambda: look.xlen(EVENTS) == before + 2)


@scenario
async def test_every_key_stands_under_the_prefix_and_none_expires(redis_place: RedisPlace) -> None:
    replica = await redis_place.open()
    one = sent()
    await replica.append(one)
    replica.note(refused(one))
    replica.note(with_reading(sent(), 1))
    await replica.settled()
    found = {key.decode(): redis_place.server.look.ttl(key) for key in redis_place.server.look.scan_iter()}
    assert found == dict.fromkeys(KEYS, -1)
    assert all(key.startswith(PREFIX) for key in found)


@scenario
async def test_flushed_scripts_are_loaded_again(redis_place: RedisPlace) -> None:
    replica = await redis_place.open()
    await replica.append(sent(1))
    redis_place.server.look.script_flush()
    with capture_logs() as events:
        assert await replica.append(sent(2)) is Appended.YES
    assert events == []


# --- replies that are lost --------------------------------------------------------------------------------


@scenario
async def test_a_request_whose_reply_was_lost_is_granted(redis_place: RedisPlace) -> None:
    async with Proxy(redis_place.server.port) as proxy:
        replica = await redis_place.open(proxy.url, guest=True)
        one, two = sent(1), sent(2)
        await replica.append(one)
        proxy.lost = 1
        replica.note(answered(one))
        assert await replica.append(two) is Appended.YES
        assert proxy.lost == 0
        assert replica.listener.news == []
        assert replica.journal.up
        await redis_place.close(replica)
    other = await redis_place.open()
    assert {event.number for event in other.found} == {one.number, two.number}


@scenario
async def test_a_request_that_nobody_knows_to_be_recorded_is_taken_back(redis_place: RedisPlace) -> None:
    async with Proxy(redis_place.server.port) as proxy:
        replica = await redis_place.open(proxy.url, guest=True)
        one = sent()
        proxy.lost = 2  # the reconnecting one as well
        assert await replica.append(one) is Appended.NO
        await until(lambda: replica.journal.up)
        await replica.settled()
        await replica.settled()
        other = await redis_place.open()
        assert answered(one, None) in other.found
        await redis_place.close(replica)


@scenario
async def test_a_request_that_was_granted_too_late_is_not_sent(redis_place: RedisPlace) -> None:
    class Slow(VirtualClock):
        """Time that passes while the reply is under way."""

        asked = 0

        def monotonic(self) -> float:
            self.asked += 1
            return super().monotonic() + self.asked * SEND_BY

    replica = await redis_place.open(guest=True, clock=Slow())
    recorder = replica.recorder()
    one = recorder.begin(request())
    assert not await recorder.record([one])
    await replica.settled()
    other = await redis_place.open()
    assert answered(one, None) in other.found


@scenario
async def test_a_request_that_is_given_up_is_not_recorded_or_taken_back(redis_place: RedisPlace) -> None:
    replica = await redis_place.open(guest=True)
    recorder = replica.recorder()
    before, during, after = (recorder.begin(request(n)) for n in range(3))
    tasks = [asyncio.create_task(recorder.record([one])) for one in (before, during)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await recorder.record([after])
    other = await redis_place.open()
    assert before not in other.found
    assert answered(during, None) in other.found


@scenario
async def test_a_request_given_up_just_when_it_is_granted_is_taken_back(redis_place: RedisPlace) -> None:
    replica = await redis_place.open(guest=True)
    recorder = replica.recorder()
    one, two = recorder.begin(request(1)), recorder.begin(request(2))

    async def cancel_the_other() -> None:
        await recorder.record([one])
        other.cancel()

    first = asyncio.create_task(cancel_the_other())
    other = asyncio.create_task(recorder.record([two]))
    await asyncio.gather(first, other, return_exceptions=True)
    assert other.cancelled()
    await replica.settled()
    assert answered(two, None) in (await redis_place.open()).found


# --- the past ---------------------------------------------------------------------------------------------


@scenario
async def test_a_start_reads_what_was_sent(redis_place: RedisPlace) -> None:
    first = await redis_place.open()
    one, two = sent(1), sent(2)
    await first.append(one, two)
    first.note(refused(one))
    await first.settled()
    second = await redis_place.open()
    assert second.found == [one, two, refused(one)]
    now = second.clock.monotonic()
    assert {dated.latest for dated in second.history.events} == {now}
    assert not any(dated.orphan for dated in second.history.events)
    assert second.history.verified_since == now - VERIFIED_TTL
    assert second.history.unknown is None
    assert second.listener.news == []


@scenario
async def test_what_counts_for_hours_outlives_the_stream_of_minutes(redis_place: RedisPlace) -> None:
    clock = VirtualClock()
    first = await redis_place.open(guest=True, clock=clock)
    one, two = sent(1), sent(2)
    first.note(refused(one))
    first.note(answered(two))
    await first.settled()
    await first.append(sent(3))
    clock.advance(TRIM_AFTER)
    await first.append(sent(4))
    assert [fields[b"e"] for _, fields in redis_place.server.look.xrange(LASTING)]
    second = await redis_place.open()
    assert refused(one) in second.found
    assert answered(two) not in second.found


@scenario
async def test_whoever_looks_in_the_background_learns_without_asking(redis_place: RedisPlace) -> None:
    first, second = await redis_place.open(), await redis_place.open(guest=True)
    one = sent()
    before = asyncio.get_running_loop().time()
    await second.append(one)
    await until(lambda: first.listener.numbers == [one.number])
    assert asyncio.get_running_loop().time() - before < 20 * LOOK
    first.note(answered(one, Outcome.TIMEOUT))
    await first.settled()
    assert second.listener.news == []  # a guest asks only with its own requests

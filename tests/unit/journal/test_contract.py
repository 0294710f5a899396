"""What every journal offers, wherever it keeps events."""

from __future__ import annotations

import asyncio

import pytest

from exporter.errors import Outcome
from exporter.journal import Appended
from exporter.limits import Sent
from tests.unit.journal.places import Place, answered, read, refused, scenario, sent

LINK = ("main", "link")


def only(place: Place, *, shared: bool = False, lasting: bool = False) -> None:
    """Skips the test where the place cannot do that."""
    if (shared and not place.shared) or (lasting and not place.lasting):
        pytest.skip("this place cannot do that")


@scenario
async def test_what_is_appended_alone_is_granted(place: Place) -> None:
    writer = await place.writer()
    for link in range(3):
        request = await writer.sent(link)
        writer.note(answered(request))
    assert await writer.send(*map(sent, range(14))) is Appended.YES
    assert writer.journal.up
    assert writer.news == []


@scenario
async def test_several_that_ask_together_are_all_answered(place: Place) -> None:
    writer = await place.writer()
    answers = await asyncio.gather(*(writer.send(sent(link)) for link in range(10)))
    assert answers == [Appended.YES] * 10


@scenario
async def test_who_gives_up_waiting_does_no_harm(place: Place) -> None:
    writer = await place.writer()
    waiting = asyncio.ensure_future(writer.send(sent()))
    await asyncio.sleep(0)
    waiting.cancel()
    assert await writer.send(sent(2)) is Appended.YES


@scenario
async def test_a_reading_is_given_back(place: Place) -> None:
    writer = await place.writer()
    request = await writer.sent()
    writer.note(read(request, 7, total=9, elapsed=2.0))
    (stored,) = await writer.read([LINK, ("main", "another")])
    assert (stored.link, stored.target, stored.reading.all_time, stored.total) == (LINK, ("id", "1"), 7, 9)
    assert stored.read_at == pytest.approx(place.clock.time() - 2.0)


@scenario
async def test_the_sent_of_another_is_learnt_before_anything_is_granted(place: Place) -> None:
    only(place, shared=True)
    one, two = await place.writer(), await place.another()
    theirs = await one.sent()
    place.clock.advance(1.0)
    assert await two.send(sent(2)) is Appended.BEHIND
    assert two.numbers == [theirs.number]
    assert await two.send(sent(2)) is Appended.YES
    assert two.numbers == [theirs.number]


@scenario
async def test_what_was_decided_on_before_news_came_is_never_granted(place: Place) -> None:
    """Requests are asked for one after the other while the first is on its way; the later ones wait."""
    only(place, shared=True)
    one, two = await place.writer(), await place.another()
    await one.sent()

    async def ask(link: int) -> tuple[bool, Appended]:
        knew = bool(two.news)
        return knew, await two.send(sent(link))

    asking = []
    for link in range(2, 40):
        asking.append(asyncio.ensure_future(ask(link)))
        await asyncio.sleep(0)
    answers = await asyncio.gather(*asking)
    assert {answer for knew, answer in answers if not knew} == {Appended.BEHIND}
    assert await two.send(sent(40)) is Appended.YES


@scenario
async def test_news_was_recorded_between_two_looks(place: Place) -> None:
    only(place, shared=True)
    one, two = await place.writer(), await place.another()
    await two.settled()
    looked = place.clock.monotonic()
    place.clock.advance(3.0)
    await one.sent()
    place.clock.advance(4.0)
    await two.settled()
    (news,) = two.news
    assert news.earliest == pytest.approx(looked)
    assert news.latest == pytest.approx(looked + 7.0)
    assert not news.orphan


@scenario
async def test_an_end_that_does_not_bind_holds_nobody_up(place: Place) -> None:
    only(place, shared=True)
    one, two = await place.writer(), await place.another()
    request = await one.sent()
    await two.sent(2)
    one.note(read(request))
    await one.settled()
    assert await two.send(sent(3)) is Appended.YES
    assert two.numbers == [request.number, request.number]
    assert two.news[-1].event == read(request)


@scenario
async def test_a_refusal_binds_at_once(place: Place) -> None:
    only(place, shared=True)
    one, two = await place.writer(), await place.another()
    request = await one.sent()
    await two.sent(2)
    one.note(refused(request))
    await one.settled()
    assert await two.send(sent(3)) is Appended.BEHIND
    assert two.news[-1].event == refused(request)


@scenario
async def test_what_ended_is_written_though_the_requests_must_wait(place: Place) -> None:
    only(place, shared=True)
    one, two = await place.writer(), await place.another()
    request = await one.sent()
    theirs = await two.sent(2)
    one.note(answered(request))
    assert await one.send(sent(3)) is Appended.BEHIND
    await two.settled()
    assert one.numbers == [theirs.number]
    assert two.numbers == [request.number, request.number]


@scenario
async def test_the_next_start_knows_what_happened(place: Place) -> None:
    only(place, lasting=True)
    writer = await place.writer()
    request = await writer.sent()
    writer.note(refused(request, Outcome.BLOCKED))
    await writer.settled()
    other = await writer.sent(2)
    await place.crash(writer)
    place.clock.advance(10.0)
    later = await place.writer()
    assert later.known == [request.number, request.number, other.number]
    assert later.history.unknown is None
    assert all(dated.orphan for dated in later.history.events)
    latest = place.clock.monotonic() - 10.0
    assert [dated.latest for dated in later.history.events] == pytest.approx([latest] * 3, abs=0.5)
    assert later.history.events[1].event == refused(request, Outcome.BLOCKED)


@scenario
async def test_of_two_readings_the_one_sent_later_stays(place: Place) -> None:
    only(place, shared=True)
    one, two = await place.writer(), await place.another()
    early = await one.sent()
    place.clock.advance(1.0)
    late = await two.sent()
    two.note(read(late, 9, total=9))
    await two.settled()
    one.note(read(early, 8, total=11, elapsed=1.0))
    (stored,) = await one.read([LINK])
    assert (stored.reading.all_time, stored.total) == (9, 11)


@scenario
async def test_a_name_that_means_another_link_starts_from_its_own_total(place: Place) -> None:
    writer = await place.writer()
    writer.note(read(await writer.sent(1), 100, total=100))
    writer.note(read(await writer.sent(2), 5, total=5))
    (stored,) = await writer.read([LINK])
    assert (stored.target, stored.total) == (("id", "2"), 5)


@scenario
async def test_requests_of_many_links_are_recorded_together_or_not_at_all(place: Place) -> None:
    only(place, shared=True)
    one, two = await place.writer(), await place.another()
    await one.sent()
    batch = [sent(link) for link in range(2, 16)]
    assert await two.send(*batch) is Appended.BEHIND
    await one.settled()
    assert one.news == []
    assert await two.send(*batch) is Appended.YES
    await one.settled()
    assert one.numbers == [request.number for request in batch]
    assert all(isinstance(dated.event, Sent) for dated in one.news)

"""Reading a link by hand in virtual time: how long it waits, for what, and what it says meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from exporter.clock import SystemClock
from exporter.config import Config
from exporter.errors import Outcome, PollError, StorageError, ThrottledError, UnreachableError, api_error
from exporter.journal import StoredReading
from exporter.limits import MAX_IN_FLIGHT, RATE_LIMIT, SEND_BY, Answered, Ledger, Request, Sent, Unknown
from exporter.limits.events import decode
from exporter.model import Account, Link, Reading, Snapshot
from exporter.polling import oneshot
from exporter.polling.oneshot import NOT_SHARED, UNCOUNTED, OneShot, ReadFailure
from exporter.polling.poller import LONGEST_WAIT
from exporter.polling.recorder import Recorder
from exporter.secret import SecretStr
from tests.factories import make_account, make_link, make_links, make_reading
from tests.shared_log import LogJournal, SharedLog
from tests.virtual import VirtualClock, run

LINK = make_link()
THREE = "three requests in the last minute"


class World:
    """One account at a provider that answers with ``errors`` first; ``told`` is what the user heard.

    Beside the reader there is a service, which shares its journal.
    """

    def __init__(
        self,
        *errors: PollError,
        links: tuple[Link, ...] = (LINK,),
        stored: tuple[StoredReading, ...] = (),
        at_once: int = MAX_IN_FLIGHT,
    ) -> None:
        self.clock = VirtualClock()
        self.told: list[str] = []
        self.asked: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._errors = list(errors)
        self.log = SharedLog(self.clock, Random(1))
        mirror = "https://mirror.example"
        self.account = make_account(links=links, fallback_urls=(mirror,), max_concurrent_requests=at_once)
        self.journal = self.log.journal()
        self.service = self._recorder(self.log.journal())
        self.recorder = self._recorder(self.journal)
        accounts = (make_account("other"), self.account)
        self._reader = OneShot(accounts, self.recorder, self._fetch, self.clock, self.told.append, stored)
        self._start = self.clock.elapsed

    def _recorder(self, journal: LogJournal) -> Recorder:
        recorder = Recorder(Ledger(), journal, self.clock, lambda news: None)
        recorder.ledger.configure([Request.of(self.account)])
        return recorder

    async def _fetch(self, account: Account, link: Link, url: str) -> Reading:
        self.asked.append(url)
        if self._errors:
            raise self._errors.pop(0)
        return make_reading(id=link.id or "")

    async def serve(self, link: Link = LINK, outcome: Outcome | None = Outcome.OK, login: str = "") -> None:
        """The service sends a request, which ends at once unless ``outcome`` is None."""
        request = Request.of(self.account, link.target)
        if login:
            request = replace(request, login=login, secret=login)
        sent = self.service.begin(request)
        while not await self.service.record([sent]):
            sent = self.service.begin(sent.request)
        if outcome is not None:
            self.service.end(Answered(sent.request, sent.number, outcome, elapsed=0.0))

    def read(
        self, *links: Link, served: Callable[[], Awaitable[None]] | None = None
    ) -> list[Snapshot | ReadFailure]:
        async def main() -> list[Snapshot | ReadFailure]:
            await self.service.open()
            if served is not None:
                await served()
            await self.recorder.open()
            self._start = self.clock.elapsed
            try:
                return [await self._reader.read(link) for link in links]
            finally:
                await self.recorder.journal.close()
                await self.service.journal.close()

        return run(self.clock, main())

    @property
    def waited(self) -> float:
        return self.clock.elapsed - self._start


def test_a_link_that_is_free_is_read_at_once() -> None:
    world = World()
    (answer,) = world.read(LINK)
    assert isinstance(answer, Snapshot)
    assert (answer.reading, answer.total) == (make_reading(), 7)
    assert (world.told, world.waited) == ([], 0)


def test_a_reading_is_recorded_with_its_counter_for_the_service_to_show() -> None:
    world = World()
    world.read(LINK)
    ((_, stored),) = world.log.readings.values()
    assert (stored.link, stored.reading, stored.total) == (LINK.key, make_reading(), 7)
    assert [decoded.count("ok") for _, decoded in world.log.events] == [0, 1]


def test_a_failure_is_recorded_without_a_link_for_the_service_has_its_own_way_to_the_provider() -> None:
    world = World(api_error(3, ""))
    world.read(LINK)
    ended = [event for _, text in world.log.events if isinstance(event := decode(text), Answered)]
    assert [(event.outcome, event.link) for event in ended] == [(Outcome.NOT_FOUND, ("", ""))]


def test_a_fresh_reading_that_is_stored_is_no_answer_and_its_counter_goes_on() -> None:
    reading = make_reading(all_time=5)
    world = World(stored=(StoredReading(LINK.key, LINK.target, reading, VirtualClock().time(), 20),))
    (answer,) = world.read(LINK)
    assert isinstance(answer, Snapshot)
    assert (answer.reading, answer.total) == (make_reading(), 22)
    assert (len(world.asked), world.waited) == (1, 0)


def test_the_minute_is_that_of_the_service_too() -> None:
    world = World()

    async def served() -> None:
        for _ in range(RATE_LIMIT):
            await world.serve()
        await asyncio.sleep(20)

    (answer,) = world.read(LINK, served=served)
    assert isinstance(answer, Snapshot)
    assert len(world.told) == 1
    assert world.told[0].startswith("link spring-sale: waiting ")
    assert world.told[0].endswith(f" s: {THREE}")
    assert 40 <= world.waited <= 66


def test_a_wait_beyond_patience_is_given_up_at_once() -> None:
    world = World()

    async def served() -> None:
        world.recorder.ledger.assume(Unknown("flushed", 130.0), world.clock.monotonic())

    assert world.read(LINK, served=served) == [
        ReadFailure(LINK, "it is not known what was sent before: try again in 2m10s")
    ]
    assert (world.told, world.waited, world.asked) == ([], 0, [])


async def _fourteen(world: World, ends_after: float) -> None:
    """The service has as many in flight as it may; they end after a while."""
    links = make_links(MAX_IN_FLIGHT)
    await world.serve(links[0], Outcome.OK)
    sent = [world.service.begin(Request.of(world.account, link.target)) for link in links]
    assert await world.service.record(sent)
    world.tasks.append(asyncio.create_task(_end(world, sent, ends_after)))


async def _end(world: World, sent: list[Sent], seconds: float) -> None:
    await asyncio.sleep(seconds)
    for one in sent:
        world.service.end(Answered(one.request, one.number, Outcome.OK))


def test_what_others_have_in_flight_is_asked_for_again_and_said_once() -> None:
    world = World()
    (answer,) = world.read(LINK, served=lambda: _fourteen(world, 12))
    assert isinstance(answer, Snapshot)
    (told,) = world.told
    assert told.endswith("s: as many requests as allowed are in flight")
    assert world.waited == pytest.approx(12, abs=LONGEST_WAIT)


def test_no_more_are_in_flight_than_the_account_allows() -> None:
    world = World(at_once=1)

    async def served() -> None:
        await world.serve(make_link("another", id="2"), Outcome.OK)
        await world.serve(make_link("another", id="2"), None)

    (answer,) = world.read(LINK, served=served)
    assert isinstance(answer, Snapshot)
    # What another process began may have ended by then.
    assert world.waited == pytest.approx(SEND_BY, abs=LONGEST_WAIT)


def test_a_busy_service_does_not_hold_it_back() -> None:
    world = World(at_once=4)

    async def served() -> None:
        for n in range(3):
            await world.serve(make_link("another", id=str(n)), Outcome.OK if n == 0 else None)

    (answer,) = world.read(LINK, served=served)
    assert isinstance(answer, Snapshot)
    assert (world.told, world.waited) == ([], 0)


def test_the_refusals_of_other_logins_count_while_it_reads() -> None:
    world = World()
    world.read(LINK)
    assert len(world.recorder.ledger.host(world.account.host).secrets_in_use) == 2


def test_a_budget_of_failed_logins_that_is_spent_is_not_waited_for() -> None:
    world = World()

    async def served() -> None:
        for n in range(4):
            await world.serve(LINK, Outcome.UNAUTHORIZED, f"other-{n}")

    (answer,) = world.read(LINK, served=served)
    assert isinstance(answer, ReadFailure)
    assert answer.reason.startswith("four failed logins in half an hour: try again in ")
    assert (world.asked, world.waited) == ([], 0)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome.BLOCKED, "the provider blocks our address: try again in "),
        (Outcome.UNAUTHORIZED, "the provider refuses the login: correct it, or try again in "),
    ],
)
def test_a_pause_is_named_and_not_waited_for(outcome: Outcome, reason: str) -> None:
    first, second = make_links(2)
    world = World(links=(first, second))
    answers = world.read(first, second, served=lambda: world.serve(first, outcome))
    for answer in answers:
        assert isinstance(answer, ReadFailure)
        assert answer.reason.startswith(reason)
    assert (world.asked, world.waited) == ([], 0)


def test_a_refused_login_holds_back_the_next_link() -> None:
    first, second = make_links(2)
    world = World(api_error(2), links=(first, second))
    refused, paused = world.read(first, second)
    assert isinstance(refused, ReadFailure)
    assert isinstance(paused, ReadFailure)
    assert refused.reason.startswith("error 2")
    assert paused.reason.startswith("the provider refuses the login: correct it, or try again in ")
    assert len(world.asked) == 1


def test_an_error_9_is_reported_and_no_mirror_is_asked() -> None:
    world = World(ThrottledError(9, "too many"))
    assert world.read(LINK) == [ReadFailure(LINK, "error 9: too many", Outcome.THROTTLED)]
    assert world.asked == ["https://smscentre.com"]


def test_every_address_is_tried_once() -> None:
    world = World(UnreachableError("no route", sent=False))
    (answer,) = world.read(LINK)
    assert isinstance(answer, Snapshot)
    assert world.asked == ["https://smscentre.com", "https://mirror.example"]
    world = World(*[UnreachableError("no route", sent=False)] * 2)
    assert world.read(LINK) == [ReadFailure(LINK, "no route", Outcome.UNREACHABLE)]


def test_what_another_process_recorded_meanwhile_is_learnt_and_asked_again() -> None:
    world = World()
    world.log.latency = (0.01, 0.02)
    others = make_links(3)

    async def served() -> None:
        world.tasks += [asyncio.create_task(world.serve(link)) for link in others]
        await asyncio.sleep(0)

    (answer,) = world.read(LINK, served=served)
    assert isinstance(answer, Snapshot)
    assert world.asked == ["https://smscentre.com"]


def test_nothing_is_sent_once_the_storage_is_known_to_be_down() -> None:
    world = World()

    async def served() -> None:
        world.journal.up = False

    with pytest.raises(StorageError, match=UNCOUNTED):
        world.read(LINK, served=served)
    assert world.asked == []


def test_nothing_is_sent_that_could_not_be_recorded() -> None:
    world = World()

    async def served() -> None:
        world.log.down = True

    with pytest.raises(StorageError, match=UNCOUNTED):
        world.read(LINK, served=served)
    assert world.asked == []


async def _read_at(url: str, storage: str) -> tuple[list[Snapshot | ReadFailure], list[str]]:
    """The answers of the command, and what it said."""
    account = make_account(links=(LINK,), base_url=url, fallback_urls=("http://127.0.0.1:9",))
    answers: list[Snapshot | ReadFailure] = []
    said: list[str] = []
    config = Config((account,), SecretStr(storage), ())
    await oneshot.read(config, [LINK], SystemClock(), said.append, answers.append)
    return answers, said


def test_a_refused_login_holds_back_a_reader_that_is_opened_later(tmp_path: Path) -> None:
    """The provider is asked once, however often the command is started."""
    asked = []

    async def refuse(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.json_response({"error": "authorise error", "error_code": 2})

    async def main() -> list[Snapshot | ReadFailure]:
        async with RawTestServer(refuse) as server:
            url = str(server.make_url("")).rstrip("/")
            return [(await _read_at(url, f"sqlite:{tmp_path}/x.db"))[0][0] for _ in range(2)]

    refused, held_back = asyncio.run(main())
    assert isinstance(refused, ReadFailure)
    assert refused.reason == "error 2: authorise error"
    assert isinstance(held_back, ReadFailure)
    assert held_back.reason.startswith("the provider refuses the login: correct it, or try again in ")
    assert len(asked) == 1


def test_without_a_shared_storage_one_request_is_sent_and_no_mirror_is_asked() -> None:
    asked = []

    async def fail(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.Response(status=503)

    async def main() -> tuple[list[Snapshot | ReadFailure], list[str]]:
        async with RawTestServer(fail) as server:
            return await _read_at(str(server.make_url("")).rstrip("/"), "memory:")

    answers, said = asyncio.run(main())
    assert answers == [ReadFailure(LINK, "HTTP status 503", Outcome.HTTP_ERROR)]
    assert said == [f"warning: {NOT_SHARED}"]
    assert len(asked) == 1

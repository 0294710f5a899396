"""Redis: one ledger for several exporters, what it costs, and what becomes of all that without it."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from pydantic import SecretStr
from structlog.testing import capture_logs

from exporter.errors import StorageError
from exporter.model import State
from exporter.rules import FAILED_LOGIN_SPAN, FAILED_LOGINS, SPAN
from exporter.store.backend import Grant, Kept, Pause, Scope
from exporter.store.redis import RedisBackend
from exporter.store.redis_contact import ALONE, NOTHING
from exporter.store.redis_local import RETRY
from exporter.store.redis_lua import KEEP
from exporter.store.redis_script import PERMISSIONS, PREFIX, LostError
from exporter.store.redis_url import parse
from exporter.store.redis_wire import CHUNK, Wire, stop
from tests import needs
from tests.factories import make_reading
from tests.processes import PATIENCE, free_port
from tests.processes import until as wait
from tests.redis_servers import Server, redis_server
from tests.unit.store.places import (
    HOST,
    LASTS,
    SILENCE,
    UNKNOWN,
    RedisPlace,
    asked,
    attempt,
    denied,
    granted,
    held,
    scenario,
    settled,
    snapshot,
)
from tests.unit.store.proxy import Proxy
from tests.virtual import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = needs.redis


@pytest.fixture
def place(server: Server) -> RedisPlace:
    return RedisPlace(server)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, to be killed, frozen, or filled up."""
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def own_place(own_server: Server) -> RedisPlace:
    return RedisPlace(own_server)


async def until(ready: Callable[[], Any]) -> None:
    """Waits for what comes about by itself."""
    async with asyncio.timeout(PATIENCE):
        while not ready():  # noqa: ASYNC110 - what is awaited happens in another process
            await asyncio.sleep(0.01)


def reads(server: Server) -> int:
    """How often the server found something to read: once for each pipeline (and for this question)."""
    return int(server.look.info("stats")["total_reads_processed"])


def calls(server: Server) -> int:
    stats = server.look.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


# --- what it costs ----------------------------------------------------------------------------------------


@scenario
async def test_a_poll_costs_two_round_trips(server: Server, place: RedisPlace) -> None:
    backend = await place.open()
    trips, scripts = reads(server), calls(server)
    grant = await granted(backend, attempt())
    assert (reads(server) - trips, calls(server) - scripts) == (1 + 1 + 1, 1)
    backend.end(grant, login_failed=False)
    backend.end(grant, login_failed=False)  # once is enough
    backend.keep(snapshot(read_at=place.clock.time()))
    backend.hold(HOST, None)
    await until(lambda: calls(server) == scripts + 4)
    trips = reads(server)
    await granted(backend, attempt(2))
    assert reads(server) - trips == 1 + 1


@scenario
async def test_what_is_due_in_one_moment_goes_in_one_round_trip(server: Server, place: RedisPlace) -> None:
    backend = await place.open()
    grant = await granted(backend, attempt())
    trips, scripts = reads(server), calls(server)
    backend.end(grant, login_failed=False)
    backend.keep(snapshot(read_at=place.clock.time()))
    await asyncio.gather(*(backend.claim(attempt(n)) for n in range(2, 12)))
    assert reads(server) - trips == 1 + 1 + 1
    assert calls(server) - scripts == 12


@scenario
async def test_every_key_stands_under_the_prefix_and_expires(server: Server, place: RedisPlace) -> None:
    backend = await place.open()
    await granted(backend, attempt(1, proven=False, apart=3600))
    await asked(backend, times=1, link=2, proven=False, login_failed=True)
    backend.hold(HOST, Pause(State.BLOCKED, 1800, 1))
    backend.hold(attempt().secret, Pause(State.THROTTLED, 60, 1))
    backend.hold("smsc.kz", None)
    backend.keep(snapshot(read_at=place.clock.time()))
    await settled(backend)
    found = {key.decode(): server.look.pttl(key) for key in server.look.scan_iter("*")}
    assert all(key.startswith(PREFIX) for key in found)
    kinds = {key.removeprefix(PREFIX).partition(":")[0] for key in found}
    assert kinds == {"link", "login", "failed", "pause", "readings", "read", "members", "epoch"}
    assert all(0 < left <= (KEEP + 1800) * 1000 for left in found.values())
    assert max(left for key, left in found.items() if ":link:" in key) > 3500 * 1000


@scenario
async def test_flushed_scripts_are_loaded_again(server: Server, place: RedisPlace) -> None:
    backend = await place.open()
    server.look.script_flush()
    await granted(backend, attempt())
    assert backend.up


@scenario
async def test_a_great_many_readings(server: Server, place: RedisPlace) -> None:
    backend = await place.open()
    for number in range(CHUNK + 100):
        backend.keep(snapshot(number, read_at=place.clock.time(), name=f"link-{number}"))
    await settled(backend)
    await place.open()
    assert {kept.reading.all_time for kept in place.kept.values()} == set(range(CHUNK + 100))


# --- readings ---------------------------------------------------------------------------------------------


@scenario
async def test_clocks_of_exporters_may_differ(place: RedisPlace) -> None:
    told: list[Kept] = []
    first = await place.open()
    second = await place.open(told.append)
    place.own_clock.ahead = 30
    first.keep(snapshot(read_at=place.clock.time() - 10))
    await until(lambda: told)
    assert told[0].read_at == pytest.approx(place.own_clock.time() - 10, abs=5)
    await asked(first, times=3, link=1)
    await settled(first)
    assert (await denied(second, attempt())).seconds == pytest.approx(SPAN, abs=5)


@scenario
async def test_a_reading_never_goes_back_and_a_total_never_falls(place: RedisPlace) -> None:
    told: list[Kept] = []
    now = place.clock.time()
    first, second = await place.open(told.append), await place.open()
    first.keep(snapshot(10, read_at=now, total=10))
    await settled(first)
    second.keep(snapshot(7, read_at=now - 100, total=12))
    await until(lambda: told)
    second.keep(snapshot(8, read_at=now - 50, total=3))
    await until(lambda: len(told) == 2)
    assert [(kept.reading.all_time, kept.total) for kept in told] == [(10, 12), (10, 12)]
    assert told[1].read_at == pytest.approx(now, abs=5)
    await place.open()
    assert place.kept["main", "spring-sale"].total == 12


@scenario
async def test_a_name_that_means_another_link_starts_anew(place: RedisPlace) -> None:
    now = place.clock.time()
    first, second = await place.open(), await place.open()
    first.keep(snapshot(10, read_at=now - 50, total=10))
    await settled(first)
    second.keep(snapshot(2, read_at=now, total=2, id="other"))
    await settled(second)
    first.keep(snapshot(11, read_at=now - 40, total=11))
    await settled(first)
    await place.open()
    kept = place.kept["main", "spring-sale"]
    assert (kept.target, kept.reading.all_time, kept.total) == (("id", "other"), 2, 2)


@scenario
async def test_what_seems_to_be_read_in_the_future_has_no_known_age(place: RedisPlace) -> None:
    backend = await place.open()
    place.clock.elapsed += 3600
    backend.keep(snapshot(1, read_at=place.clock.time()))
    await settled(backend)
    place.clock.elapsed -= 3600  # the server's clock is set back
    await place.open()
    assert place.kept["main", "spring-sale"].read_at == 0
    other = await place.open()
    other.keep(snapshot(2, read_at=place.clock.time()))
    await settled(other)
    await place.open()
    assert place.kept["main", "spring-sale"].reading == make_reading(2)
    assert place.kept["main", "spring-sale"].read_at == pytest.approx(place.clock.time(), abs=5)


@scenario
async def test_an_age_that_is_not_known_stays_so(place: RedisPlace) -> None:
    backend = await place.open()
    backend.keep(snapshot(1, read_at=0))
    await settled(backend)
    await place.open()
    assert place.kept["main", "spring-sale"].read_at == 0


@scenario
async def test_readings_that_nobody_renews_are_dropped(server: Server, place: RedisPlace) -> None:
    backend = await place.open()
    backend.keep(snapshot(1, read_at=place.clock.time(), name="gone"))
    await settled(backend)
    place.clock.advance(KEEP + 1)
    backend.keep(snapshot(1, read_at=place.clock.time(), name="stays"))
    await settled(backend)
    await place.open()
    assert list(place.kept) == [("main", "stays")]
    assert server.look.zcard(f"{PREFIX}read") == 1


@scenario
async def test_what_is_not_ours_is_passed_over(server: Server, place: RedisPlace) -> None:
    told: list[Kept] = []
    server.look.hset(f"{PREFIX}readings", "[]", "what")
    server.look.hset(f"{PREFIX}readings", '["a","b"]', '1\n2\nx\n["id","1"]\n["1"]')
    server.look.expire(f"{PREFIX}readings", 60)
    with capture_logs() as events:
        await place.open(told.append)
        backend = await place.open()
        announced = ("what", "[]", '["x","what"]', '["x","keep"]', '["x","hold","y","nonsense",1,1]', "7")
        for message in (*announced, json.dumps(["x", "keep", "[]", "what", 1])):
            server.look.publish(f"{PREFIX}announcements", message)
        backend.keep(snapshot(read_at=place.clock.time()))
        await until(lambda: told)
    assert place.kept == {}
    assert {event["event"] for event in events} == {"storage_not_understood"}


# --- said twice, or late ----------------------------------------------------------------------------------


@scenario
async def test_a_claim_whose_answer_was_lost_is_asked_again(server: Server) -> None:
    clock = VirtualClock()
    server.age()
    async with Proxy(server.port) as proxy:
        backend = RedisBackend(proxy.url, clock)
        await backend.open(lambda kept: None)
        proxy.lost = 1
        await granted(backend, attempt(apart=60))
        assert backend.up
        assert proxy.lost == 0
        assert (await denied(backend, attempt(apart=60))).scope is Scope.LINK
        await backend.close()


@scenario
async def test_what_was_said_later_stands(place: RedisPlace) -> None:
    first, second = await place.open(), await place.open()
    late = place.opened[1]
    assert isinstance(late, RedisBackend)
    second.hold(HOST, Pause(State.BLOCKED, 1800, 1))
    place.clock.advance(5)
    # The second one's word is still on its way when the first one speaks.
    first.hold(HOST, None)
    await first.claim(attempt(50))
    await settled(second)
    assert isinstance(await first.claim(attempt(51)), Grant)


@scenario
async def test_a_clock_set_back_holds_nothing_for_longer_than_a_window(place: RedisPlace) -> None:
    backend = await place.open()
    place.clock.elapsed += 7200
    for _ in range(3):
        await granted(backend, attempt())
    place.clock.elapsed -= 7200
    for asked_first in (True, False):
        assert (await denied(backend, attempt(apart=30))).seconds <= LASTS + SPAN, asked_first
    place.clock.advance(LASTS + SPAN)
    await granted(backend, attempt(apart=30))


@scenario
async def test_a_claim_that_is_given_up_leaves_nothing_in_flight(server: Server, place: RedisPlace) -> None:
    backend = await place.open()
    claim = asyncio.create_task(backend.claim(attempt(1)))
    before = asyncio.create_task(backend.claim(attempt(2)))
    await asyncio.sleep(0)
    before.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    claim.cancel()
    await asyncio.gather(claim, before, return_exceptions=True)
    await settled(backend)
    await settled(backend)
    assert server.look.zcard(f"{PREFIX}login:{attempt().login}") == 0


@scenario
async def test_a_claim_given_up_just_when_it_is_granted(server: Server, place: RedisPlace) -> None:
    backend = await place.open()
    backend.hold("smsc.kz", Pause(State.BLOCKED, 1800, 1))
    await settled(backend)
    claim = asyncio.create_task(backend.claim(attempt(1)))
    after = asyncio.create_task(backend.claim(attempt(2, host="smsc.kz")))

    def give_up() -> None:
        if server.look.exists(f"{PREFIX}login:{attempt().login}"):
            claim.cancel()

    # The clock is asked when the second one is denied: the first one has been granted, and knows nothing yet.
    place.own_clock.asked = give_up
    await asyncio.gather(claim, after, return_exceptions=True)
    assert claim.cancelled()
    await settled(backend)
    assert server.look.zcard(f"{PREFIX}login:{attempt().login}") == 0


# --- Redis is lost, and found again -----------------------------------------------------------------------


@scenario
async def test_without_redis_each_goes_on_by_itself(own_server: Server, own_place: RedisPlace) -> None:
    told: list[Kept] = []
    first, second = await own_place.open(), await own_place.open(told.append)
    await settled(first)
    with capture_logs() as events:
        own_server.kill()
        assert (await denied(first, attempt())).seconds <= RETRY
        await until(lambda: not second.up)
        assert [event["event"] for event in events if event["log_level"] == "error"] == ["storage_failed"] * 2
        assert {event["meanwhile"] for event in events if "meanwhile" in event} == {ALONE}
        own_place.clock.advance(SILENCE - 1)
        assert (await denied(first, attempt())).scope is Scope.HOST
        own_place.clock.advance(1)
        grant = await granted(first, attempt())
        first.end(grant, login_failed=False)
        first.hold("smsc.kz", Pause(State.BLOCKED, 7200, 1))
        first.keep(snapshot(5, read_at=own_place.clock.time()))
        own_place.clock.advance(1)
        assert (await denied(first, attempt())).scope is Scope.LINK
        assert (await denied(first, attempt(host="smsc.kz"))).pause
        await denied(second, attempt(proven=False))
        own_place.clock.advance(FAILED_LOGIN_SPAN)
        await granted(second, attempt(proven=False))
        await until(lambda: "storage_not_back" in {event["event"] for event in events})
        own_server.start()
        await until(lambda: first.up and second.up and told)
    assert [kept.reading.all_time for kept in told] == [5]
    loud = {event["event"] for event in events if event["log_level"] != "debug"}
    assert loud - {"replicas_missing"} == {"storage_failed", "storage_works_again", "storage_forgot"}
    own_place.clock.advance(UNKNOWN)
    await settled(first)
    # A third one finds what both have sent meanwhile, and what they had been told.
    third = await own_place.open()
    assert (await denied(third, attempt(apart=200))).scope is Scope.LINK
    assert (await denied(third, attempt(host="smsc.kz"))).pause
    assert own_server.look.zcard(f"{PREFIX}failed:{HOST}") == 1


@scenario
async def test_three_exporters_never_breach_the_limit_whatever_becomes_of_redis(
    own_server: Server, own_place: RedisPlace
) -> None:
    backends = [await own_place.open() for _ in range(3)]
    sent: list[float] = []
    known: list[float] = []  # by the server's clock, on which a busy machine's time goes by, too
    for second in range(600):
        if second in {100, 300, 480}:
            own_server.kill()
        if second in {200, 300, 520}:
            own_server.start()
        for backend in backends:
            if second in range(100, 200) or second in range(480, 520):
                await backend.claim(attempt(2, apart=3600))
                assert not backend.up
            else:
                await until(partial(getattr, backend, "up"))
            answer = await backend.claim(attempt(apart=21 if second % 2 else 0))
            if isinstance(answer, Grant):
                sent.append(own_place.clock.elapsed)
                known.append(own_place.clock.elapsed + time.monotonic())
                backend.end(answer, login_failed=False)
        for backend in backends:
            await settled(backend)
        own_place.clock.advance(1)
    windows = [later - first for first, later in zip(known, known[3:], strict=False)]
    assert min(windows) >= SPAN - 2
    assert len(sent) > 15
    phases = [range(100), range(186, 200), range(271, 300), range(371, 480), range(591, 600)]
    start = own_place.clock.elapsed - 600
    assert all(any(at - start in phase for at in sent) for phase in phases)


@scenario
async def test_a_broken_connection_is_not_the_loss_of_redis(server: Server, place: RedisPlace) -> None:
    told: list[Kept] = []
    first, second = await place.open(), await place.open(told.append)
    with capture_logs() as events:
        server.look.client_kill_filter(_type="normal", skipme=True)
        await granted(first, attempt())
        server.look.client_kill_filter(_type="pubsub")
        first.keep(snapshot(3, read_at=place.clock.time()))
        await until(lambda: told)
        await granted(second, attempt())
    assert events == []
    assert told[0].reading.all_time == 3


@scenario
async def test_a_server_that_does_not_answer(own_server: Server, own_place: RedisPlace) -> None:
    backend = await own_place.open()
    own_server.freeze()
    assert (await denied(backend, attempt())).seconds <= RETRY
    assert not backend.up
    own_server.thaw()
    await until(lambda: backend.up)
    await granted(backend, attempt())


@scenario
async def test_a_subscription_that_falls_silent(own_server: Server) -> None:
    wire = Wire(parse(own_server.url), silence=0.05)
    messages = wire.listen("channel")
    assert await anext(messages) is None
    waiting = asyncio.create_task(anext(messages))
    await until(lambda: own_server.look.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"] > 3)
    own_server.look.publish("channel", "still here")
    assert await waiting == "still here"
    own_server.freeze()
    with pytest.raises(LostError, match="silent"):
        await anext(messages)
    own_server.thaw()
    await wire.close()


@scenario
async def test_failed_logins_and_pauses_outlive_the_memory_of_redis(
    own_server: Server, own_place: RedisPlace
) -> None:
    first, second = await own_place.open(), await own_place.open()
    await asked(first, times=FAILED_LOGINS, proven=False, login_failed=True)
    first.hold("smsc.kz", Pause(State.BLOCKED, 1800, 2))
    first.hold("smsc.ua", Pause(State.BLOCKED, 1800, 2))
    first.hold("smsc.ua", None)
    await settled(first)
    assert held(await denied(second, attempt(host="smsc.kz")), State.BLOCKED, 1800, 2)
    # The one who was told goes on, and the one who told is gone.
    await own_place.close(first)
    own_server.kill()
    await denied(second, attempt())
    own_place.clock.advance(SILENCE)
    assert (await denied(second, attempt(proven=False))).seconds > 1000
    own_server.start()
    await until(lambda: second.up)
    await own_place.advance(UNKNOWN)
    third = await own_place.open()
    assert (await denied(third, attempt(proven=False))).scope is Scope.HOST
    assert held(await denied(third, attempt(host="smsc.kz")), State.BLOCKED, 1800 - SILENCE - UNKNOWN, 2)


@scenario
async def test_a_start_without_redis(own_server: Server, own_place: RedisPlace) -> None:
    first = await own_place.open()
    first.keep(snapshot(4, read_at=own_place.clock.time()))
    await own_place.close(first)
    own_server.freeze()
    told: list[Kept] = []
    backend = RedisBackend(own_server.url, own_place.own_clock, ahead=own_place.ahead)
    own_place.opened.append(backend)
    with capture_logs() as events:
        assert list(await backend.open(told.append)) == []
    assert (events[0]["event"], events[0]["meanwhile"]) == ("storage_failed", NOTHING)
    assert not backend.up
    # Nobody knows of it, nor it of anybody: it sends nothing, however long that lasts.
    for seconds in (0, SILENCE, FAILED_LOGIN_SPAN, 86_400):
        own_place.clock.advance(seconds)
        assert (await denied(backend, attempt())).scope is Scope.HOST
    own_server.thaw()
    await until(lambda: backend.up and told)
    assert told[0].reading.all_time == 4
    own_place.clock.advance(UNKNOWN)
    await granted(backend, attempt())


@scenario
async def test_a_start_without_redis_waits_even_if_redis_is_soon_back(server: Server) -> None:
    clock = VirtualClock()
    server.age()
    async with Proxy(server.port) as proxy:
        proxy.lost = 1
        backend = RedisBackend(proxy.url, clock)
        await backend.open(lambda kept: None)
        assert not backend.up
        await until(lambda: backend.up)
        # The process before this one may have gone on by itself, until just now.
        await denied(backend, attempt())
        clock.advance(UNKNOWN)
        await granted(backend, attempt())
        await backend.close()


@pytest.mark.parametrize("old", [False, True])
@scenario
async def test_a_server_that_has_just_begun_may_have_forgotten(server: Server, old: bool) -> None:
    clock = VirtualClock()
    if old:
        server.age()
    backend = RedisBackend(server.url, clock)
    await backend.open(lambda kept: None)
    if not old:
        assert (await denied(backend, attempt())).seconds <= RETRY
        clock.advance(UNKNOWN)
    await granted(backend, attempt())
    await backend.close()


@scenario
async def test_closing_while_redis_is_lost(own_server: Server, own_place: RedisPlace) -> None:
    first, second, third = [await own_place.open() for _ in range(3)]
    own_server.freeze()
    claims = [asyncio.create_task(first.claim(attempt(n))) for n in range(2)]
    await asyncio.sleep(0)
    claims.append(asyncio.create_task(third.claim(attempt(3))))
    second.keep(snapshot(read_at=own_place.clock.time()))
    with capture_logs() as events:
        await asyncio.gather(*(own_place.close(backend) for backend in (first, second, third)))
    assert not any(isinstance(answer, Grant) for answer in await asyncio.gather(*claims))
    assert "storage_not_written" in {event["event"] for event in events}
    own_server.thaw()


@scenario
async def test_the_end_is_seen_of_a_task_that_loses_a_cancellation() -> None:
    lost = 0

    async def hard_of_hearing() -> None:
        nonlocal lost
        while lost < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(hard_of_hearing())
    await asyncio.sleep(0)
    await stop(task)
    assert (task.cancelled(), lost) == (True, 2)


@scenario
async def test_a_fault_of_who_is_told_does_not_end_the_listening(place: RedisPlace) -> None:
    told: list[Kept] = []

    def changed(kept: Kept) -> None:
        told.append(kept)
        if len(told) == 1:
            raise RuntimeError("a bug")

    first, _ = await place.open(), await place.open(changed)
    with capture_logs() as events:
        first.keep(snapshot(1, read_at=place.clock.time()))
        await until(lambda: len(told) == 2)
    assert [event["event"] for event in events] == ["storage_crashed"]


@scenario
async def test_a_fault_of_our_own_is_as_bad_as_the_loss_of_redis_and_no_worse(place: RedisPlace) -> None:
    class Bug(Exception):  # noqa: N818 - it has no other name
        pass

    bugs = [Bug(), Bug()]
    backend = await place.open()
    await granted(backend, attempt(1))

    def ahead() -> float:
        if bugs:
            raise bugs.pop()
        return 0.0

    place.ahead = ahead
    with capture_logs() as events:
        assert (await denied(backend, attempt(2))).seconds <= RETRY
        await until(lambda: backend.up)
        await settled(backend)
    assert [event["event"] for event in events] == [
        "storage_failed",
        "storage_crashed",
        "storage_works_again",
    ]
    assert isinstance(events[0]["exc_info"], Bug)


# --- Redis that can be reached, and takes nothing ---------------------------------------------------------


def full(server: Server) -> None:
    server.look.config_set("maxmemory", 1)


def replica(server: Server) -> None:
    server.look.replicaof("127.0.0.1", free_port())


def short(server: Server) -> None:
    server.look.execute_command("ACL", "SETUSER", "default", "-hset")


def mute(server: Server) -> None:
    server.look.execute_command("ACL", "SETUSER", "default", "resetchannels")


def unsaved(server: Server) -> None:
    """It could not save what it has, and so takes no more."""
    shutil.rmtree(server.folder)
    server.look.config_set("save", "3600 1")
    server.look.bgsave()
    wait(lambda: server.look.info("persistence")["rdb_last_bgsave_status"] == "err", "a failure to save")


REFUSALS = pytest.mark.parametrize(
    ("refuse", "reason"),
    [
        (full, "command not allowed when used memory > 'maxmemory'."),
        (replica, "You can't write against a read only replica."),
        (unsaved, "MISCONF Redis is configured to save RDB snapshots, but it"),
        (short, "the user has no permission to run this command or subcommand"),
        (mute, "the user has no permission to publish to the channel mentioned in the command"),
    ],
)


@REFUSALS
@scenario
async def test_redis_that_takes_nothing_is_as_good_as_none(
    own_server: Server, own_place: RedisPlace, refuse: Callable[[Server], None], reason: str
) -> None:
    backend = await own_place.open()
    with capture_logs() as events:
        refuse(own_server)
        backend.keep(snapshot(read_at=own_place.clock.time()))
        await until(lambda: not backend.up)
        own_place.clock.advance(SILENCE)
        tries = starts(own_server)
        await until(lambda: starts(own_server) > tries + 2)
        assert not backend.up
        # It goes on by itself meanwhile.
        await granted(backend, attempt())
    loud = [event for event in events if event["log_level"] != "debug"]
    assert [event["event"] for event in loud] == ["storage_failed"]
    assert loud[0]["reason"].startswith(reason)
    assert "script" not in loud[0]["reason"]


def starts(server: Server) -> int:
    """How often somebody has connected anew, to see whether Redis is back."""
    return int(server.look.info("stats")["total_connections_received"])


@pytest.mark.parametrize("refuse", [full, replica])
@scenario
async def test_redis_that_takes_what_we_write_again_is_back(
    own_server: Server, own_place: RedisPlace, refuse: Callable[[Server], None]
) -> None:
    backend = await own_place.open()
    refuse(own_server)
    backend.keep(snapshot(3, read_at=own_place.clock.time()))
    await until(lambda: not backend.up)
    own_server.look.config_set("maxmemory", 0)
    own_server.look.replicaof("no", "one")
    await until(lambda: backend.up)
    await granted(backend, attempt())
    await own_place.open()
    assert own_place.kept["main", "spring-sale"].reading.all_time == 3


# --- who we are to Redis ----------------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Server]:
    with redis_server(tmp_path, "--requirepass", "hunter2/@") as server:
        yield server


def with_password(server: Server, user: str, path: str = "") -> SecretStr:
    return SecretStr(f"redis://{user}@127.0.0.1:{server.port}{path}")


@scenario
async def test_a_password_that_is_right_is_never_told(guarded: Server) -> None:
    backend = RedisBackend(with_password(guarded, ":hunter2%2F%40"), VirtualClock())
    with capture_logs() as events:
        await backend.open(lambda kept: None)
        assert backend.up
        guarded.kill()
        await denied(backend, attempt())
        await backend.close()
    told = [repr(events), repr(backend), repr(vars(backend)), repr(vars(backend._wire))]
    assert not [text for text in told if "hunter2" in text]


@pytest.mark.parametrize(
    ("user", "path", "reason"),
    [
        (":hunter3", "", "invalid username-password pair"),
        ("alex:hunter2%2F%40", "", "invalid username-password pair"),
        ("", "", "Authentication required"),
        (":hunter2%2F%40", "/99", "DB index is out of range"),
        ("weak:hunter4", "", "no permissions"),
    ],
)
@scenario
async def test_redis_refuses_us(guarded: Server, user: str, path: str, reason: str) -> None:
    guarded.look.acl_setuser("weak", enabled=True, passwords=["+hunter4"], categories=["-@all"])
    backend = RedisBackend(with_password(guarded, user, path), VirtualClock())
    with pytest.raises(StorageError, match=reason) as refused:
        await backend.open(lambda kept: None)
    assert f"127.0.0.1:{guarded.port}" in str(refused.value)
    assert "hunter" not in str(refused.value)
    assert refused.value.__suppress_context__
    await backend.close()


@pytest.mark.parametrize(
    ("permissions", "reason"),
    [
        ("~* &* +@all -info", "'info' command"),
        ("~* &* +@all -evalsha", "'evalsha' command"),
        ("~* &* +@all -zadd", "run this command"),
        ("~other:* &* +@all", "keys"),
        ("~* resetchannels +@all", "channel"),
        ("~* resetchannels &other +@all", "channel"),
        ("~* &* +@all -subscribe", "'subscribe' command"),
        ("~* &* +@all -hscan", "'hscan' command"),
    ],
)
@scenario
async def test_a_permission_is_missing(guarded: Server, permissions: str, reason: str) -> None:
    guarded.look.execute_command("ACL", "SETUSER", "weak", "on", ">hunter4", *permissions.split())
    backend = RedisBackend(with_password(guarded, "weak:hunter4"), VirtualClock())
    with pytest.raises(StorageError, match="refuses us: ") as refused:
        await backend.open(lambda kept: None)
    assert reason in str(refused.value)
    assert str(refused.value).endswith(f"; the user needs {PERMISSIONS}")


@scenario
async def test_the_permissions_that_are_asked_for_suffice(guarded: Server) -> None:
    guarded.look.execute_command("ACL", "SETUSER", "weak", "on", ">hunter4", *PERMISSIONS.split())
    guarded.age()
    told: list[Kept] = []
    with capture_logs() as events:
        first, second = (RedisBackend(with_password(guarded, "weak:hunter4"), VirtualClock()) for _ in "12")
        await first.open(lambda kept: None)
        await second.open(told.append)
        await asked(first, times=1, proven=False, login_failed=True)
        first.hold(HOST, Pause(State.BLOCKED, 1800, 1))
        first.keep(snapshot(read_at=VirtualClock().time()))
        await settled(first)
        await until(lambda: told)
        await first.close()
        await second.close()
    assert events == []


@scenario
async def test_tls(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    names = {name: tmp_path / f"{name}.pem" for name in ("ca", "stranger", "cert", "key")}
    authority.cert_pem.write_to_path(names["ca"])
    stranger.cert_pem.write_to_path(names["stranger"])
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(names["cert"])
    issued.private_key_pem.write_to_path(names["key"])
    options = ("--port", "0", "--tls-auth-clients", "no", "--tls-ca-cert-file", str(names["ca"]))
    files = ("--tls-cert-file", str(names["cert"]), "--tls-key-file", str(names["key"]))
    look = {"ssl": True, "ssl_ca_certs": str(names["ca"])}
    with redis_server(tmp_path, *options, *files, tls=look) as server:
        for name, up in (("ca", True), ("stranger", False)):
            url = SecretStr(f"rediss://127.0.0.1:{server.port}?ssl_ca_certs={names[name]}")
            backend = RedisBackend(url, VirtualClock())
            await backend.open(lambda kept: None)
            assert backend.up is up
            await backend.close()


@scenario
async def test_nobody_there(tmp_path: Path) -> None:
    backend = RedisBackend(SecretStr(f"redis://127.0.0.1:{free_port()}"), VirtualClock())
    with capture_logs() as events:
        assert await backend.open(lambda kept: None) == []
    assert not backend.up
    assert "Connect call failed" in events[0]["reason"] or "refused" in events[0]["reason"]
    await backend.close()


def test_without_the_package_it_is_named(tmp_path: Path) -> None:
    code = """if True:
        import sys
        sys.modules["redis"] = None
        from pydantic import SecretStr
        from exporter.clock import SystemClock
        from exporter.errors import StorageError
        from exporter.store.choose import backend_for
        try:
            backend_for(SecretStr("redis://:hunter2@h"), SystemClock())
        except StorageError as error:
            print(error)
    """
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'smsc-exporter[redis]'" in told.stdout
    assert "hunter2" not in told.stdout + told.stderr

"""What every place of state promises (``exporter.store.backend``), shown of each by the same tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from exporter.model import State
from exporter.rules import ATTEMPTS, FAILED_LOGIN_SPAN, SPAN
from exporter.store.backend import Grant, Kept, Pause, Scope
from tests import needs
from tests.factories import make_reading
from tests.processes import PATIENCE
from tests.unit.store.places import (
    HOST,
    LASTS,
    Place,
    RedisPlace,
    SqlitePlace,
    asked,
    attempt,
    denied,
    granted,
    held,
    scenario,
    settled,
    snapshot,
)

if TYPE_CHECKING:
    from pathlib import Path

MOST_IN_FLIGHT = 14
MOST_FAILED_LOGINS = 4
"""What is promised, whatever the exporter's own constants say."""

MEMORY = pytest.param("memory")
SQLITE = pytest.param("sqlite")
REDIS = pytest.param("redis", marks=needs.redis)

EVERY = pytest.mark.parametrize("kind", [MEMORY, SQLITE, REDIS])
# memory: remembers nothing by design. Pacing does, for as long as the process lives.
REMEMBERS = pytest.mark.parametrize("kind", [SQLITE, REDIS])
# One SQLite file serves one exporter: a second one is refused.
SHARED = pytest.mark.parametrize("kind", [REDIS])


@pytest.fixture
def place(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    if kind == "redis":
        return RedisPlace(request.getfixturevalue("server"))
    return SqlitePlace(tmp_path) if kind == "sqlite" else Place()


@EVERY
@scenario
async def test_an_attempt_is_granted_and_everything_may_be_said_of_it(place: Place) -> None:
    backend = await place.open()
    assert place.kept == {}
    assert backend.up
    grant = await granted(backend, attempt(proven=False))
    backend.hold(HOST, Pause(State.BLOCKED, 60, 1))
    backend.hold(HOST, None)
    backend.end(grant, login_failed=False)
    backend.keep(snapshot(read_at=place.clock.time()))
    await settled(backend)
    assert backend.up


# --- a link -----------------------------------------------------------------------------------------------


@REMEMBERS
@scenario
async def test_a_fourth_request_waits_until_the_first_counts_no_longer(place: Place) -> None:
    backend = await place.open()
    for _ in range(ATTEMPTS):
        await asked(backend, times=1, link=1)
        place.clock.advance(5)
    answer = await denied(backend, attempt())
    assert answer.scope is Scope.LINK
    assert answer.pause is None
    assert answer.seconds == pytest.approx(SPAN - 15, abs=5)
    await granted(backend, attempt(2))
    place.clock.advance(answer.seconds - 10)
    await denied(backend, attempt())
    place.clock.advance(10)
    await granted(backend, attempt())
    await denied(backend, attempt())


@REMEMBERS
@scenario
async def test_an_attempt_counts_from_its_end(place: Place) -> None:
    backend = await place.open()
    grants = [await granted(backend, attempt()) for _ in range(ATTEMPTS)]
    place.clock.advance(40)
    for grant in grants:
        backend.end(grant, login_failed=False)
    place.clock.advance(SPAN - 10)
    assert (await denied(backend, attempt())).scope is Scope.LINK
    place.clock.advance(10)
    await granted(backend, attempt())


@REMEMBERS
@scenario
async def test_an_attempt_that_never_ended_counts_as_if_it_had_after_all(place: Place) -> None:
    backend = await place.open()
    for _ in range(ATTEMPTS):
        await granted(backend, attempt())
    place.clock.advance(LASTS + SPAN - 10)
    assert (await denied(backend, attempt())).seconds <= 10
    place.clock.advance(10)
    await granted(backend, attempt())


@REMEMBERS
@scenario
async def test_nobody_asks_again_before_its_time(place: Place) -> None:
    backend = await place.open()
    await asked(backend, times=1, link=1)
    place.clock.advance(20)
    answer = await denied(backend, attempt(apart=3600))
    assert answer.scope is Scope.LINK
    assert answer.seconds == pytest.approx(3580, abs=5)
    await asked(backend, times=1, link=1, apart=0)
    place.clock.advance(3590)
    await denied(backend, attempt(apart=3600))
    place.clock.advance(10)
    await granted(backend, attempt(apart=3600))


@REMEMBERS
@scenario
async def test_what_is_asked_at_once_keeps_the_limit_too(place: Place) -> None:
    backend = await place.open()
    answers = await asyncio.gather(*(backend.claim(attempt()) for _ in range(10)))
    assert sum(isinstance(answer, Grant) for answer in answers) == ATTEMPTS
    others = await asyncio.gather(*(backend.claim(attempt(link)) for link in range(2, 13)))
    assert all(isinstance(answer, Grant) for answer in others)
    numbers = {answer.number for answer in (*answers, *others) if isinstance(answer, Grant)}
    assert len(numbers) == MOST_IN_FLIGHT


@REMEMBERS
@scenario
async def test_links_are_told_apart_by_login_and_by_how_they_are_asked_for(place: Place) -> None:
    backend = await place.open()
    await asked(backend, times=3, link=1)
    for other in ({"target": ("link", "1")}, {"login": f"{HOST}/kim"}, {"target": ("id", "1\n")}):
        await granted(backend, attempt(**other))
    await denied(backend, attempt())


# --- a login ----------------------------------------------------------------------------------------------


@REMEMBERS
@scenario
async def test_no_more_than_the_hard_cap_are_in_flight_under_a_login(place: Place) -> None:
    backend = await place.open()
    grants = [await granted(backend, attempt(link)) for link in range(MOST_IN_FLIGHT)]
    answer = await denied(backend, attempt(50))
    assert answer.scope is Scope.LOGIN
    assert answer.seconds <= LASTS
    assert answer.pause is None
    await granted(backend, attempt(50, login=f"{HOST}/kim"))
    backend.end(grants[3], login_failed=False)
    await granted(backend, attempt(50))
    await denied(backend, attempt(51))
    place.clock.advance(LASTS + 1)
    await granted(backend, attempt(51))


# --- failed logins ----------------------------------------------------------------------------------------


@REMEMBERS
@scenario
async def test_failed_logins_use_up_the_budget_of_the_host(place: Place) -> None:
    backend = await place.open()
    await asked(backend, times=MOST_FAILED_LOGINS, proven=False, login_failed=True)
    place.clock.advance(600)
    answer = await denied(backend, attempt(proven=False, login=f"{HOST}/kim", secret=f"{HOST}/kim/x"))
    assert answer.scope is Scope.HOST
    assert answer.pause is None
    assert answer.seconds == pytest.approx(FAILED_LOGIN_SPAN - 600, abs=5)
    await granted(backend, attempt(proven=True))
    await granted(backend, attempt(2, host="smsc.kz", proven=False))
    place.clock.advance(answer.seconds + 1)
    await granted(backend, attempt(3, proven=False))


@REMEMBERS
@scenario
async def test_a_login_that_was_proven_before_may_fail_too(place: Place) -> None:
    backend = await place.open()
    await asked(backend, times=MOST_FAILED_LOGINS, proven=True, login_failed=True)
    await denied(backend, attempt(proven=False))


@REMEMBERS
@scenario
async def test_logins_that_may_fail_yet_count_until_they_have_not(place: Place) -> None:
    backend = await place.open()
    grants = [await granted(backend, attempt(link, proven=False)) for link in range(MOST_FAILED_LOGINS)]
    assert (await denied(backend, attempt(9, proven=False))).scope is Scope.HOST
    backend.end(grants[0], login_failed=False)
    await granted(backend, attempt(9, proven=False))


@REMEMBERS
@scenario
async def test_logins_nothing_was_heard_of_count_as_failed(place: Place) -> None:
    backend = await place.open()
    for link in range(MOST_FAILED_LOGINS):
        await granted(backend, attempt(link, proven=False))
    place.clock.advance(LASTS + FAILED_LOGIN_SPAN - 10)
    assert (await denied(backend, attempt(9, proven=False))).seconds <= 10
    place.clock.advance(11)
    await granted(backend, attempt(9, proven=False))


# --- pauses -----------------------------------------------------------------------------------------------

KEYS = pytest.mark.parametrize(
    ("key", "scope"), [(HOST, Scope.HOST), (attempt().secret, Scope.LOGIN)], ids=["host", "secret"]
)


@REMEMBERS
@KEYS
@scenario
async def test_a_throttled_pause_runs_out_by_itself(place: Place, key: str, scope: Scope) -> None:
    backend = await place.open()
    backend.hold(key, Pause(State.THROTTLED, 60, 2))
    place.clock.advance(10)
    answer = await denied(backend, attempt())
    assert answer.scope is scope
    assert held(answer, State.THROTTLED, 50, 2)
    place.clock.advance(51)
    await granted(backend, attempt(1))
    await granted(backend, attempt(2))


@REMEMBERS
@KEYS
@pytest.mark.parametrize("state", [State.BLOCKED, State.UNAUTHORIZED])
@scenario
async def test_a_pause_that_has_run_out_lets_one_try_at_a_time(
    place: Place, key: str, scope: Scope, state: State
) -> None:
    backend = await place.open()
    backend.hold(key, Pause(state, 1800, 1))
    assert held(await denied(backend, attempt()), state, 1800, 1)
    place.clock.advance(1801)
    probe = await granted(backend, attempt(1))
    assert probe.probe
    answer = await denied(backend, attempt(2))
    assert answer.scope is scope
    assert answer.seconds <= LASTS
    assert answer.pause == Pause(state, answer.seconds, 1)
    backend.end(probe, login_failed=False)
    place.clock.advance(LASTS)
    await granted(backend, attempt(2))
    await denied(backend, attempt(3))
    # That one is never heard of: the next may leave when it is over.
    place.clock.advance(LASTS + 1)
    await granted(backend, attempt(3))
    backend.hold(key, Pause(state, 3600, 2))
    answer = await denied(backend, attempt(4))
    assert held(answer, state, 3600, 2)
    backend.hold(key, None)
    assert not (await granted(backend, attempt(4))).probe
    await granted(backend, attempt(5))


@REMEMBERS
@scenario
async def test_another_secret_and_another_host_are_not_held_back(place: Place) -> None:
    backend = await place.open()
    backend.hold(attempt().secret, Pause(State.UNAUTHORIZED, 1800, 1))
    backend.hold("smsc.kz", Pause(State.BLOCKED, 1800, 1))
    await denied(backend, attempt())
    await denied(backend, attempt(host="smsc.kz", secret="smsc.kz/a/b"))
    await granted(backend, attempt(secret=f"{HOST}/alex/correct"))


# --- readings ---------------------------------------------------------------------------------------------


def whole(read_at: float, **fields: Any) -> Kept:
    reading = make_reading(2**40)
    return Kept(
        "main", 'spring "sale"\nü', ("link", "https://a.example/?q=\n1"), reading, read_at, 2**41, **fields
    )


@REMEMBERS
@scenario
async def test_readings_come_back_with_their_age(place: Place) -> None:
    backend = await place.open()
    expected = whole(place.clock.time() - 30)
    backend.keep(snapshot(1, read_at=place.clock.time() - 60, name=expected.name, url=expected.target[1]))
    backend.keep(
        snapshot(2**40, read_at=expected.read_at, total=2**41, name=expected.name, url=expected.target[1])
    )
    backend.keep(snapshot(3, read_at=place.clock.time(), total=5, name="other"))
    await place.close(backend)
    place.clock.advance(100)
    await place.open()
    found = place.kept[expected.key]
    assert found.read_at == pytest.approx(expected.read_at, abs=5)
    assert found == whole(found.read_at)
    assert place.kept["main", "other"].total == 5
    assert len(place.kept) == 2


@EVERY
@scenario
async def test_what_memory_keeps_is_gone_and_nothing_else_is(kind: str, place: Place) -> None:
    backend = await place.open()
    backend.keep(snapshot(read_at=place.clock.time()))
    await place.close(backend)
    await place.open()
    assert bool(place.kept) is (kind != "memory")


# --- the next process -------------------------------------------------------------------------------------


@REMEMBERS
@pytest.mark.parametrize("crashed", [False, True], ids=["closed", "crashed"])
@scenario
async def test_the_next_process_is_bound_by_what_the_last_one_sent(place: Place, crashed: bool) -> None:
    first = await place.open()
    await asked(first, times=ATTEMPTS, link=1)
    await asked(first, times=MOST_FAILED_LOGINS, proven=False, login_failed=True)
    first.hold("smsc.kz", Pause(State.BLOCKED, 1800, 3))
    await settled(first)
    await (place.crash(first) if crashed else place.close(first))
    place.clock.advance(10)
    second = await place.open()
    assert (await denied(second, attempt())).scope is Scope.LINK
    assert (await denied(second, attempt(2, proven=False))).scope is Scope.HOST
    paused = await denied(second, attempt(host="smsc.kz", secret="smsc.kz/a/b"))
    assert held(paused, State.BLOCKED, 1790, 3)
    await granted(second, attempt(2))


@REMEMBERS
@scenario
async def test_attempts_of_a_process_that_died_count_until_they_are_over(place: Place) -> None:
    first = await place.open()
    for link in range(MOST_IN_FLIGHT):
        await granted(first, attempt(link))
    await place.crash(first)
    second = await place.open()
    assert (await denied(second, attempt(50))).scope is Scope.LOGIN
    place.clock.advance(LASTS + 1)
    await granted(second, attempt(50))


# --- several processes ------------------------------------------------------------------------------------


@SHARED
@scenario
async def test_several_exporters_hold_the_limits_together(place: Place) -> None:
    backends = [await place.open() for _ in range(3)]
    answers = await asyncio.gather(*(backend.claim(attempt()) for backend in backends * 3))
    assert sum(isinstance(answer, Grant) for answer in answers) == ATTEMPTS
    more = await asyncio.gather(*(backends[n % 3].claim(attempt(n)) for n in range(100, 130)))
    assert sum(isinstance(answer, Grant) for answer in more) == MOST_IN_FLIGHT - ATTEMPTS


@SHARED
@scenario
async def test_one_exporter_asks_where_several_would(place: Place) -> None:
    backends = [await place.open() for _ in range(3)]
    for _ in range(5):
        answers = await asyncio.gather(*(backend.claim(attempt(apart=59)) for backend in backends))
        grants = [(n, answer) for n, answer in enumerate(answers) if isinstance(answer, Grant)]
        assert len(grants) == 1
        backends[grants[0][0]].end(grants[0][1], login_failed=False)
        place.clock.advance(60)


@SHARED
@scenario
async def test_what_one_exporter_is_told_holds_for_all(place: Place) -> None:
    first, second = await place.open(), await place.open()
    first.hold(HOST, Pause(State.BLOCKED, 1800, 1))
    await settled(first)
    assert held(await denied(second, attempt()), State.BLOCKED, 1800, 1)
    second.hold(HOST, None)
    await settled(second)
    await asked(first, times=MOST_FAILED_LOGINS, proven=False, login_failed=True)
    await settled(first)
    await denied(second, attempt(proven=False))


@SHARED
@scenario
async def test_what_one_exporter_reads_the_others_are_told(place: Place) -> None:
    told: asyncio.Queue[Kept] = asyncio.Queue()
    own: list[Kept] = []
    first, _ = await place.open(own.append), await place.open(told.put_nowait)
    read_at = place.clock.time() - 5
    first.keep(snapshot(8, read_at=read_at, total=9))
    async with asyncio.timeout(PATIENCE):
        kept = await told.get()
    assert (kept.key, kept.target, kept.reading, kept.total) == (
        ("main", "spring-sale"),
        ("id", "145142"),
        make_reading(8),
        9,
    )
    assert kept.read_at == pytest.approx(read_at, abs=5)
    await settled(first)
    assert own == []

"""Reading a link by hand in virtual time: how long it waits, for what, and what it says meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exporter.errors import PollError, StorageError, ThrottledError, UnreachableError
from exporter.model import Snapshot, State
from exporter.polling import Pacing
from exporter.polling.oneshot import UNCOUNTED, Failure, OneShot, Quiet
from exporter.polling.poller import Poller
from exporter.store import Attempt, Denied, Grant, MemoryBackend, Pause, Scope, Store
from tests.factories import make_account, make_link, make_links, make_reading
from tests.virtual import VirtualClock, run

if TYPE_CHECKING:
    from exporter.model import Account, Link, Reading

LINK = make_link()
THREE = "three requests in the last minute"


class Scripted(MemoryBackend):
    """Answers claims with what it was given, and grants after that; fails with the last of ``lives``."""

    def __init__(self, *answers: Denied, lives: int = 1000) -> None:
        self.answers = list(answers)
        self.lives = lives

    @property
    def up(self) -> bool:  # type: ignore[override]  # memory never fails
        return self.lives > 0

    async def claim(self, attempt: Attempt) -> Grant | Denied:
        assert attempt.apart == 0
        self.lives -= 1
        return self.answers.pop(0) if self.answers else Grant(1, attempt)


class World:
    """One account at a provider that answers with ``errors`` first; ``told`` is what the user heard."""

    def __init__(self, backend: MemoryBackend, *errors: PollError, links: tuple[Link, ...] = (LINK,)) -> None:
        self.clock = VirtualClock()
        self.told: list[str] = []
        self.asked: list[str] = []
        self._errors = list(errors)
        account = make_account(links=links, fallback_urls=("https://mirror.example",))
        pacing = Pacing(self.clock.time() - self.clock.monotonic())
        pacing.configure([account], self.clock.monotonic())
        store = Store(backend, lambda snapshot: None)
        store.configure(links)
        poller = Poller(pacing, store, self._fetch, Quiet(), self.clock)
        self._reader = OneShot(poller, pacing, store, self.clock)
        self._start = self.clock.elapsed

    async def _fetch(self, account: Account, link: Link, url: str) -> Reading:
        self.asked.append(url)
        if self._errors:
            raise self._errors.pop(0)
        return make_reading()

    def read(self, *links: Link) -> list[Snapshot | Failure]:
        async def main() -> list[Snapshot | Failure]:
            return [await self._reader.read(link, self.told.append) for link in links]

        return run(self.clock, main())

    @property
    def waited(self) -> float:
        return self.clock.elapsed - self._start


def test_a_link_that_is_free_is_read_at_once() -> None:
    world = World(Scripted())
    (answer,) = world.read(LINK)
    assert isinstance(answer, Snapshot)
    assert (answer.reading, answer.total) == (make_reading(), 7)
    assert (world.told, world.waited) == ([], 0)


def test_a_window_is_waited_for_and_told() -> None:
    world = World(Scripted(Denied(Scope.LINK, 22.4)))
    (answer,) = world.read(LINK)
    assert isinstance(answer, Snapshot)
    assert world.told == [f"link spring-sale: waiting 23 s: {THREE}"]
    assert world.waited == pytest.approx(22.4)


def test_a_moment_is_not_told() -> None:
    world = World(Scripted(Denied(Scope.LINK, 1.0)))
    world.read(LINK)
    assert world.told == []


def test_a_wait_beyond_a_window_is_given_up_at_once() -> None:
    world = World(Scripted(Denied(Scope.LINK, 130.0)))
    assert world.read(LINK) == [Failure(LINK, f"{THREE}, for 2m10s more")]
    assert (world.told, world.waited) == ([], 0)


def test_what_others_have_in_flight_is_asked_for_again_and_told_once() -> None:
    world = World(Scripted(*[Denied(Scope.LOGIN, 60.0)] * 3))
    (answer,) = world.read(LINK)
    assert isinstance(answer, Snapshot)
    assert world.told == ["link spring-sale: waiting 60 s: fourteen requests at once under its login"]
    assert world.waited == pytest.approx(15)


def test_patience_ends() -> None:
    world = World(Scripted(*[Denied(Scope.LOGIN, 60.0)] * 100))
    (answer,) = world.read(LINK)
    assert answer == Failure(LINK, "fourteen requests at once under its login, for 1m more")
    assert 70 <= world.waited <= 75


def test_a_budget_of_failed_logins_that_is_spent_is_not_waited_for() -> None:
    world = World(Scripted(Denied(Scope.HOST, 1500.0)))
    (answer,) = world.read(LINK)
    assert isinstance(answer, Failure)
    assert answer.reason == "failed logins, or requests that nobody knows of, may still count, for 25m more"


@pytest.mark.parametrize("state", [State.BLOCKED, State.UNAUTHORIZED, State.THROTTLED])
def test_a_pause_is_named_and_not_waited_for(state: State) -> None:
    scope = Scope.HOST if state is State.BLOCKED else Scope.LOGIN
    world = World(Scripted(Denied(scope, 45.0, Pause(state, 45.0, 1))), links=make_links(2))
    first, second = make_links(2)
    assert world.read(first, second) == [
        Failure(link, f"account main is {state}, for 45s more") for link in (first, second)
    ]
    assert world.asked == []


def test_an_error_9_lets_the_account_rest() -> None:
    first, second = make_links(2)
    world = World(Scripted(), ThrottledError(9, "too many"), links=(first, second))
    assert world.read(first, second) == [
        Failure(first, "error 9: too many"),
        Failure(second, "account main is throttled, for 1m1s more"),
    ]


def test_every_address_is_tried_once() -> None:
    world = World(Scripted(), UnreachableError("no route", sent=False))
    (answer,) = world.read(LINK)
    assert isinstance(answer, Snapshot)
    assert world.asked == ["https://smscentre.com", "https://mirror.example"]
    world = World(Scripted(), *[UnreachableError("no route", sent=False)] * 2)
    assert world.read(LINK) == [Failure(LINK, "no route")]


def test_an_account_that_cannot_be_reached_is_asked_less_and_less() -> None:
    links = make_links(4)
    world = World(Scripted(), *[UnreachableError("no route", sent=False)] * 5, links=links)
    *failed, answer = world.read(*links)
    assert [one.reason for one in failed if isinstance(one, Failure)] == ["no route"] * 2
    assert isinstance(answer, Snapshot)
    assert world.told[0].endswith(": requests just before it failed")
    assert world.waited >= 1


@pytest.mark.parametrize("lives", [0, 1])
def test_nothing_is_sent_that_could_not_be_counted(lives: int) -> None:
    world = World(Scripted(Denied(Scope.HOST, 5.0), lives=lives))
    with pytest.raises(StorageError, match=UNCOUNTED):
        world.read(LINK)
    assert world.asked == []

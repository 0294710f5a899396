"""Polling, in virtual time: the answers come from a function, the hours from a clock that jumps."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from exporter.errors import HttpStatusError, Outcome, PollError, PollTimeoutError, UnreachableError, api_error
from exporter.model import Snapshot, State
from exporter.polling import Pacing, Planner, Ticket
from exporter.polling.host import Host
from exporter.polling.poller import FAILURES, Poller
from exporter.slices import at_once, in_slices
from exporter.store import Attempt, Denied, Grant, MemoryBackend, Pause, Scope, Store
from tests import virtual
from tests.factories import make_account, make_link, make_links, make_reading
from tests.virtual import START

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from exporter.model import Account, Link, Reading


class Desk:
    """A poller with its surroundings; ``answer`` says how the next request ends."""

    def __init__(self, *accounts: Account, backend: MemoryBackend | None = None) -> None:
        self.clock = virtual.VirtualClock()
        self.accounts = accounts
        self.answer: Callable[[Link], Reading | Exception] = lambda link: make_reading(id=link.id or "1")
        self.seconds = 0.1
        self.requests: list[tuple[float, str]] = []
        self.sent = asyncio.Event()
        self.snapshots: dict[str, Snapshot] = {}
        self.outcomes: Counter[Outcome] = Counter()
        self.store = Store(backend or MemoryBackend(), self._changed)
        pacing = Pacing(self.clock.time() - self.clock.monotonic(), Random(1))
        self.poller = Poller(pacing, self.store, self._fetch, self, self.clock)

    def _changed(self, snapshot: Snapshot) -> None:
        self.snapshots[snapshot.link.name] = snapshot

    def request_ended(self, account: str, outcome: Outcome, seconds: float) -> None:
        assert seconds >= 0
        self.outcomes[outcome] += 1

    async def _fetch(self, account: Account, link: Link, url: str) -> Reading:
        self.requests.append((self.clock.monotonic(), link.name))
        self.sent.set()
        await asyncio.sleep(self.seconds)
        answer = self.answer(link)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def configure(self, *accounts: Account) -> None:
        self.store.configure(link for account in accounts for link in account.links)
        at_once(self.poller.configure(accounts))

    def run(self, *steps: float | Callable[[], None]) -> None:
        """Starts the poller, then waits the given seconds and calls the given functions, in order."""

        async def main() -> None:
            self.configure(*self.accounts)
            for step in steps:
                if callable(step):
                    step()
                else:
                    await asyncio.sleep(step)
            await self.poller.close()

        virtual.run(self.clock, main())


def _account(count: int = 3, **fields: Any) -> Account:
    return make_account(links=make_links(count), **fields)


def test_every_link_is_read_within_an_interval_and_then_once_an_interval() -> None:
    desk = Desk(_account(20))
    desk.run(601)
    times = Counter(name for _, name in desk.requests)
    assert len(times) == 20
    assert set(times.values()) <= {10, 11}
    assert desk.outcomes == {Outcome.OK: len(desk.requests)}


def test_a_reading_becomes_a_snapshot_dated_by_its_sending() -> None:
    desk = Desk(_account(1))
    desk.seconds = 5.0
    desk.run(61)
    snapshot = desk.snapshots["link-0"]
    assert snapshot.outcome is Outcome.OK
    assert snapshot.reading == make_reading(id="0")
    assert snapshot.read_at == pytest.approx(desk.requests[0][0] + desk.clock.offset)


def test_a_failure_keeps_the_reading_and_its_age() -> None:
    desk = Desk(_account(1))

    def fail() -> None:
        desk.answer = lambda link: api_error(3)

    desk.run(61, fail, 61)
    snapshot = desk.snapshots["link-0"]
    assert snapshot.outcome is Outcome.NOT_FOUND
    assert snapshot.reading is not None
    assert snapshot.read_at < desk.requests[1][0] + desk.clock.offset


class _SlowBackend(MemoryBackend):
    """Records attempts slowly, and knows which were recorded."""

    def __init__(self) -> None:
        self.recorded: list[str] = []

    async def claim(self, attempt: Attempt) -> Grant | Denied:
        await asyncio.sleep(1)
        self.recorded.append(attempt.target[1])
        return Grant(len(self.recorded), attempt)


def test_an_attempt_is_recorded_before_its_request_leaves() -> None:
    backend = _SlowBackend()
    desk = Desk(_account(5), backend=backend)
    seen: list[bool] = []

    def answer(link: Link) -> Reading:
        seen.append(link.id in backend.recorded)
        return make_reading()

    desk.answer = answer
    desk.run(120)
    assert len(seen) >= 5
    assert all(seen)


class _Script(MemoryBackend):
    """Answers claims as it is told, and knows what it was told in turn."""

    def __init__(self, *answers: Denied, probe: bool = False) -> None:
        self.answers = list(answers)
        self.probe = probe
        self.claims: list[Attempt] = []
        self.ended: list[bool] = []
        self.held: list[tuple[str, Pause | None]] = []
        self.kept: list[Snapshot] = []

    async def claim(self, attempt: Attempt) -> Grant | Denied:
        self.claims.append(attempt)
        return self.answers.pop(0) if self.answers else Grant(len(self.claims), attempt, self.probe)

    def end(self, grant: Grant, *, login_failed: bool) -> None:
        self.ended.append(login_failed)

    def hold(self, key: str, pause: Pause | None) -> None:
        self.held.append((key, pause))

    def keep(self, snapshot: Snapshot) -> None:
        self.kept.append(snapshot)


def test_what_a_claim_says_of_the_attempt() -> None:
    account = _account(1, timeout=7.0)
    backend = _Script()
    desk = Desk(account, backend=backend)
    desk.run(130)
    first, second, *_ = backend.claims
    assert (first.host, first.login, first.target) == (account.host, account.login_key, ("id", "0"))
    assert (first.apart, first.lasts) == (30.0, 67.0)
    assert (first.proven, second.proven) == (False, True)
    assert first.secret.startswith(f"{account.login_key}#")
    assert backend.ended[:2] == [False, False]
    assert [snapshot.total for snapshot in backend.kept[:2]] == [7, 7]


def test_a_link_that_is_denied_waits_for_its_next_regular_turn() -> None:
    """Another exporter on the login has just read it."""
    desk = Desk(_account(1), backend=_Script(Denied(Scope.LINK, 29.0)))
    desk.run(61)
    assert not desk.requests
    assert not desk.outcomes
    desk = Desk(_account(1), backend=_Script(Denied(Scope.LINK, 29.0)))
    desk.run(121)
    assert len(desk.requests) == 1


def _busy_and_quiet() -> Account:
    """Two links that are read ten times as often as others once they are known to be clicked, and not."""
    links = tuple(replace(link, bounds=(21.0, 210.0)) for link in make_links(8))
    return make_account(links=links)


def _clicked(desk: Desk, link: Link, *, kept: float = 0.0) -> Reading:
    """Link 0 is clicked once a second and the others never."""
    clicks = int(desk.clock.monotonic() - kept) if link.id == "0" else 0
    return make_reading(clicks, id=link.id, today=clicks, yesterday=0)


def test_links_that_are_clicked_are_read_more_often() -> None:
    desk = Desk(_busy_and_quiet())
    desk.answer = lambda link: _clicked(desk, link)
    desk.run(7200)
    times = Counter(name for _, name in desk.requests)
    assert times["link-0"] > 1.7 * max(times[f"link-{n}"] for n in range(1, 8))
    assert sum(times.values()) == pytest.approx(8 * 120, rel=0.1)


@pytest.mark.parametrize("read_at", [0.0, virtual.START - 30.0])
def test_what_was_kept_tells_of_clicks(read_at: float) -> None:
    """So it does after a restart, and where another exporter did the reading."""
    desk = Desk(_busy_and_quiet())
    links = desk.accounts[0].links

    async def main() -> None:
        desk.store.configure(links)
        for link in links:
            clicks = 36_000 if link.id == "0" else 0
            desk.store.put(Snapshot(link, make_reading(id=link.id, today=clicks, yesterday=0), read_at))
        await in_slices(desk.poller.configure(desk.accounts))
        await asyncio.sleep(600)
        await desk.poller.close()

    desk.answer = lambda link: api_error(3) if link.id != "0" else make_reading(id="0")
    virtual.run(desk.clock, main())
    times = [time for time, name in desk.requests if name == "link-0"]
    assert times[-1] - times[-2] == pytest.approx(21, abs=10)


def test_a_denied_link_learns_from_what_the_other_exporter_read() -> None:
    backend = _Script(*[Denied(Scope.LINK, 1.0)] * 1000)
    desk = Desk(_busy_and_quiet(), backend=backend)

    def shared() -> None:
        for link in desk.accounts[0].links:
            known = desk.store.get(link)
            assert known
            desk.store._put(known.succeeded(_clicked(desk, link), desk.clock.time()))

    steps: list[float | Callable[[], None]] = [60.0, shared]
    desk.run(*steps * 60)
    asked = Counter(claim.target[1] for claim in backend.claims)
    assert asked["0"] > 1.7 * max(asked[str(n)] for n in range(1, 8))


@pytest.mark.parametrize("scope", [Scope.LOGIN, Scope.HOST])
def test_a_login_that_is_denied_asks_again_soon(scope: Scope) -> None:
    backend = _Script(*[Denied(scope, 1000.0)] * 3, Denied(scope, 0.5))
    desk = Desk(_account(3), backend=backend)
    desk.run(90)
    assert len(desk.requests) >= 3


@pytest.mark.parametrize(
    ("scope", "state"),
    [(Scope.LOGIN, State.UNAUTHORIZED), (Scope.HOST, State.BLOCKED), (Scope.LOGIN, State.THROTTLED)],
)
def test_a_pause_that_others_met_holds_here_too(scope: Scope, state: State) -> None:
    backend = _Script(Denied(scope, 1000.0, Pause(state, 1000.0, 2)))
    desk = Desk(_account(3), backend=backend)
    desk.run(900)
    (status,) = desk.poller.statuses()
    assert status.state is state
    assert status.paused_until == pytest.approx(desk.clock.time() + 100, abs=61)
    assert not desk.requests
    assert not backend.held
    desk = Desk(_account(3), backend=_Script(Denied(scope, 1000.0, Pause(state, 1000.0, 2))))
    desk.run(1400)
    assert desk.poller.statuses()[0].state is State.POLLING


def test_pauses_are_told_and_lifted() -> None:
    backend = _Script()
    desk = Desk(_account(3), backend=backend)
    desk.answer = lambda link: api_error(2)

    def accept() -> None:
        desk.answer = lambda link: make_reading(id=link.id or "")

    desk.run(61, accept, 2000)
    host, secret = backend.claims[0].host, backend.claims[0].secret
    assert backend.held == [(secret, Pause(State.UNAUTHORIZED, 1800.0, 1)), (secret, None)]
    assert backend.ended[0] is True
    backend = _Script()
    desk = Desk(_account(3), backend=backend)
    desk.answer = lambda link: api_error(4)
    desk.run(61)
    assert (host, Pause(State.BLOCKED, 1800.0, 1)) in backend.held


def test_a_probe_that_succeeds_lifts_pauses_that_a_process_before_this_one_met() -> None:
    backend = _Script(probe=True)
    Desk(_account(1), backend=backend).run(61)
    attempt = backend.claims[0]
    assert backend.held == [(attempt.host, None), (attempt.secret, None)]
    backend = _Script(probe=True)
    desk = Desk(_account(1), backend=backend)
    desk.answer = lambda link: PollTimeoutError("nothing is known")
    desk.run(61)
    assert backend.held == []


class _Broken(MemoryBackend):
    async def claim(self, attempt: Attempt) -> Grant | Denied:
        raise ZeroDivisionError


def test_a_poll_that_broke_is_told() -> None:
    desk = Desk(_account(1), backend=_Broken())
    desk.run(61)
    assert desk.poller.broken() == "a poll broke: ZeroDivisionError()"


def test_a_wrong_password_costs_one_login_and_the_next_half_an_hour_later() -> None:
    desk = Desk(_account(50, max_concurrent_requests=14))
    desk.answer = lambda link: api_error(2)
    desk.run(1790)
    assert len(desk.requests) == 1
    assert desk.poller.statuses()[0].state is State.UNAUTHORIZED


def test_a_reload_wakes_an_account_whose_secret_changed() -> None:
    account = _account()
    desk = Desk(account)
    desk.answer = lambda link: api_error(2)
    other = make_account("other", links=account.links).credentials
    right = replace(account.credentials, password=other.login)

    def reload() -> None:
        desk.answer = lambda link: make_reading(id=link.id or "")
        desk.configure(replace(account, credentials=right))

    desk.run(120, reload, 61)
    assert desk.outcomes[Outcome.OK] >= 3
    assert desk.poller.statuses()[0].up


def test_a_probe_that_is_answered_frees_all_accounts_of_the_host() -> None:
    accounts = [make_account(name, make_links(3, name)) for name in "ab"]
    desk = Desk(*accounts)

    def block() -> None:
        desk.answer = lambda link: api_error(4)

    def free() -> None:
        desk.answer = lambda link: make_reading(id=link.id or "")

    desk.run(180, block, 60, free, 1700)
    assert {status.state for status in desk.poller.statuses()} == {State.BLOCKED}
    desk = Desk(*accounts)
    desk.run(180, block, 60, free, 1900)
    assert {status.state for status in desk.poller.statuses()} == {State.POLLING}
    assert desk.outcomes[Outcome.BLOCKED] <= 6


def test_accounts_that_wait_for_the_failed_login_budget_go_on_when_one_is_accepted() -> None:
    """Six unproven accounts at one host: four may try at once, the others as those are accepted."""
    desk = Desk(*[make_account(f"a{n}", make_links(1, f"a{n}")) for n in range(6)])
    desk.seconds = 5.0
    desk.run(70)
    assert desk.outcomes[Outcome.OK] >= 6
    assert len({time for time, _ in desk.requests[:5]}) > 1


@pytest.mark.parametrize("polls", [1, 2])
def test_a_removed_account_is_polled_no_more_and_its_late_answer_is_dropped(polls: int) -> None:
    leaver, stayer = make_account("a", make_links(1, "a")), make_account("b", (make_link("x", "b"),))
    desk = Desk()
    desk.seconds = 9.0

    async def main() -> None:
        desk.configure(leaver)
        for _ in range(polls):
            desk.sent.clear()
            await desk.sent.wait()
        desk.configure(stayer)
        await asyncio.sleep(300)
        await desk.poller.close()

    virtual.run(desk.clock, main())
    assert [name for _, name in desk.requests].count("link-0") == polls
    assert desk.outcomes[Outcome.OK] == len(desk.requests)
    assert desk.store.get(leaver.links[0]) is None


def test_a_mirror_that_answers_at_once_hides_that_the_first_address_failed() -> None:
    account = _account(1, fallback_urls=("https://www2.smscentre.com",))
    desk = Desk(account)
    failing = iter([UnreachableError("refused", sent=False)])
    desk.answer = lambda link: next(failing, None) or make_reading(id="0")
    with capture_logs() as logs:
        desk.run(61)
    assert desk.outcomes == {Outcome.UNREACHABLE: 1, Outcome.OK: 1}
    assert "link_failing" not in {entry["event"] for entry in logs}
    assert desk.snapshots["link-0"].outcome is Outcome.OK


def test_a_name_that_means_another_link_after_a_reload_starts_from_nothing() -> None:
    desk = Desk(_account(1))
    new = make_account(links=(make_link("link-0", id="999"),))
    desk.run(61, lambda: desk.configure(new))
    assert desk.store.get(new.links[0]) is not None
    snapshot = desk.store.configure(new.links)[0]
    assert (snapshot.reading, snapshot.total, snapshot.outcome) == (None, 0, None)


def test_new_labels_keep_the_reading() -> None:
    account = _account(1)
    link = replace(account.links[0], labels=(("team", "growth"),))
    desk = Desk(account)
    desk.run(61)
    (snapshot,) = desk.store.configure([link])
    assert snapshot.reading is not None
    assert snapshot.link.labels == (("team", "growth"),)


def test_a_bug_in_a_poll_is_logged_and_the_others_go_on() -> None:
    desk = Desk(_account(3))
    desk.answer = lambda link: ZeroDivisionError("oops") if link.name == "link-1" else make_reading()
    with capture_logs() as logs:
        desk.run(61)
    assert desk.snapshots["link-1"].outcome is Outcome.UNKNOWN_ERROR
    assert desk.snapshots["link-2"].outcome is Outcome.OK
    crashed = [entry for entry in logs if entry["event"] == "poll_crashed"]
    assert {entry["link"] for entry in crashed} == {"link-1"}


def test_changes_are_logged_once_and_polls_only_to_debug() -> None:
    desk = Desk(_account(1))

    def fail() -> None:
        desk.answer = lambda link: HttpStatusError(502)

    def recover() -> None:
        desk.answer = lambda link: make_reading(id="0")

    with capture_logs() as logs:
        desk.run(61, fail, 70, recover, 400)
    told = [entry["event"] for entry in logs if entry["log_level"] != "debug"]
    assert told == ["link_failing", "link_recovered"]
    (failing,) = [entry for entry in logs if entry["event"] == "link_failing"]
    assert failing["reason"] == "HTTP status 502"
    assert failing["outcome"] == "http_error"
    assert len([entry for entry in logs if entry["event"] == "poll"]) == len(desk.requests)


def test_changes_of_state_are_logged_once() -> None:
    desk = Desk(_account(3))

    def fail() -> None:
        desk.answer = lambda link: UnreachableError("no route", sent=False)

    def recover() -> None:
        desk.answer = lambda link: make_reading(id=link.id or "")

    with capture_logs() as logs:
        desk.run(61, fail, 900, recover, 900)
    states = [(e["state"], e["log_level"]) for e in logs if e["event"] == "account_state"]
    assert states == [("unreachable", "warning"), ("polling", "info")]


@pytest.mark.parametrize(("seconds", "ended"), [(1.5, 1), (30.0, 0)])
def test_closing_lets_requests_in_flight_end_but_not_for_ever(seconds: float, ended: int) -> None:
    desk = Desk(_account(1))
    desk.seconds = seconds

    async def main() -> None:
        desk.configure(*desk.accounts)
        await desk.sent.wait()
        await desk.poller.close(grace=2.0)

    virtual.run(desk.clock, main())
    assert desk.outcomes.total() == ended


def test_once_closing_no_request_leaves_though_many_are_due() -> None:
    desk = Desk(_account(500, max_concurrent_requests=2))
    desk.seconds = 1.0

    async def main() -> None:
        desk.configure(*desk.accounts)
        await asyncio.sleep(60.5)
        before = len(desk.requests)
        await desk.poller.close(grace=5.0)
        assert len(desk.requests) == before == sum(desk.outcomes.values())

    virtual.run(desk.clock, main())


class _Listener(MemoryBackend):
    """Hears in which order attempts and readings come."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def claim(self, attempt: Attempt) -> Grant | Denied:
        self.heard.append("claim")
        return await super().claim(attempt)

    def keep(self, snapshot: Snapshot) -> None:
        self.heard.append("reading")


def test_the_next_attempt_is_recorded_before_the_last_ones_figures_are_shown() -> None:
    backend = _Listener()
    desk = Desk(_account(500, max_concurrent_requests=1), backend=backend)
    desk.seconds = 1.0
    desk.run(30)
    assert backend.heard[:41] == ["claim", *["claim", "reading"] * 20]


class _BrokenPlanner(Planner):
    """A planner with a bug in it."""

    def next(self, now: float) -> Ticket | float:
        raise ZeroDivisionError


class _BrokenPacing(Pacing):
    def switch(self, accounts: Iterable[Account], now: float) -> Iterator[tuple[Planner, Link]]:
        self.active = tuple(_BrokenPlanner(account, Host(), Random(1), 0.0) for account in accounts)
        return iter(())


def test_polling_that_broke_is_told() -> None:
    desk = Desk(_account(1))
    poller = Poller(_BrokenPacing(0.0), desk.store, desk._fetch, desk, desk.clock)

    async def main() -> None:
        await in_slices(poller.configure(desk.accounts))
        assert poller.broken() is None
        await asyncio.sleep(1)
        assert poller.broken() == "polling of account main has stopped: ZeroDivisionError()"
        await poller.close()

    virtual.run(desk.clock, main())


def test_a_wall_clock_that_jumps_moves_no_request() -> None:
    steady, jumpy = Desk(_account(5)), Desk(_account(5))
    jumps = [+86_400.0, -3_600.0, -200_000.0, +59.0, -61.0]
    steady.run(60, *[61.0] * len(jumps))
    jumpy.run(60, *[step for jump in jumps for step in (lambda jump=jump: jumpy.clock.step(jump), 61.0)])
    assert jumpy.requests == steady.requests


@pytest.mark.uncovered  # much is calculated in virtual time
def test_a_day_of_random_failures_breaks_no_limit_and_ends_with_every_link_read() -> None:
    desk = Desk(_account(20, max_concurrent_requests=6))
    random = Random(7)
    errors: list[PollError] = [api_error(9), HttpStatusError(503), PollTimeoutError("t"), api_error(17)]

    def answer(link: Link) -> Reading | Exception:
        desk.seconds = random.uniform(0.01, 3.0)
        return random.choice(errors) if random.random() < 0.1 else make_reading(id=link.id or "")

    def calm() -> None:
        desk.answer = lambda link: make_reading(id=link.id or "")

    desk.answer = answer
    desk.run(86_400, calm, 2000)
    by_link: dict[str, list[float]] = {}
    for time, name in desk.requests:
        by_link.setdefault(name, []).append(time)
    assert len(by_link) == 20
    assert all(
        later - sooner > 60
        for times in by_link.values()
        for sooner, later in zip(times, times[3:], strict=False)
    )
    assert {snapshot.outcome for snapshot in desk.snapshots.values()} == {Outcome.OK}


# --- what a page tells ------------------------------------------------------------------------------------


def test_failures_are_remembered_and_successes_push_none_out() -> None:
    desk = Desk(_account(1))
    desk.answer = lambda link: HttpStatusError(502)
    desk.run(30, lambda: setattr(desk, "answer", lambda link: make_reading(id="0")), 1200)
    assert desk.outcomes[Outcome.OK] > 10
    first = desk.poller.failures[0]
    assert (first.account, first.link, first.outcome) == ("main", "link-0", Outcome.HTTP_ERROR)
    assert first.message == "HTTP status 502"
    assert first.at == pytest.approx(desk.requests[0][0] + desk.seconds + desk.clock.offset)
    assert len(desk.poller.failures) == desk.outcomes[Outcome.HTTP_ERROR]


def test_only_the_latest_failures_are_remembered() -> None:
    desk = Desk(_account(200))
    desk.answer = lambda link: api_error(3)
    desk.run(60)
    assert desk.outcomes[Outcome.NOT_FOUND] > FAILURES
    assert [failure.link for failure in desk.poller.failures] == [
        name for _, name in desk.requests[: desk.outcomes[Outcome.NOT_FOUND]][-FAILURES:]
    ]


def test_the_next_poll_of_a_link_is_told_while_none_is_under_way() -> None:
    account = _account(2)
    desk = Desk(account)
    told: list[list[float | None]] = []

    def look() -> None:
        told.append(desk.poller.next_polls([*account.links, make_link("gone", "nobody")]))

    desk.run(look, 60, look)
    first = sorted(at for at, _ in desk.requests[:2])
    assert sorted(moment - desk.clock.offset for moment in told[0] if moment) == pytest.approx(first)
    assert told[0][2] is None
    assert all(moment and moment >= START + 60 for moment in told[1][:2])


def test_a_link_that_is_being_asked_has_no_next_poll() -> None:
    account = _account(1)
    desk = Desk(account)
    told: list[list[float | None]] = []

    async def main() -> None:
        desk.configure(account)
        await desk.sent.wait()
        told.append(desk.poller.next_polls(account.links))
        await desk.poller.close()

    virtual.run(desk.clock, main())
    assert told == [[None]]

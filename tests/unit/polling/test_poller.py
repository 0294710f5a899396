"""Polling, in virtual time: the answers come from a function, the hours from a clock that jumps."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.errors import HttpStatusError, Outcome, PollError, PollTimeoutError, UnreachableError, api_error
from exporter.journal import Appended, MemoryJournal
from exporter.limits import Answered, Dated, Ledger, Request, Sent, Unknown
from exporter.model import Account, Link, Reading, Snapshot, State
from exporter.polling.poller import FAILURES, Poller
from exporter.polling.recorder import Recorder
from exporter.snapshots import Snapshots
from tests import virtual
from tests.factories import make_account, make_link, make_links, make_reading
from tests.virtual import START


class Desk:
    """A poller with its surroundings; ``answer`` says how the next request ends."""

    def __init__(self, *accounts: Account, journal: MemoryJournal | None = None) -> None:
        self.clock = virtual.VirtualClock()
        self.accounts = accounts
        self.answer: Callable[[Link], Reading | Exception] = lambda link: make_reading(id=link.id or "1")
        self.seconds = 0.1
        self.started = False
        self.requests: list[tuple[float, str]] = []
        self.sent = asyncio.Event()
        self.snapshots: dict[str, Snapshot] = {}
        self.outcomes: Counter[Outcome] = Counter()
        self.store = Snapshots(self._changed)
        self.journal = journal or MemoryJournal(self.clock)
        self.recorder = Recorder(Ledger(), self.journal, self.clock, lambda news: self.poller.heard(news))
        self.poller = Poller(self.recorder, self.store, self._fetch, self._ended, self.clock, Random(1))

    def _changed(self, snapshot: Snapshot) -> None:
        self.snapshots[snapshot.link.name] = snapshot

    def _ended(self, account: str, outcome: Outcome, seconds: float) -> None:
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
        self.store.swap(self.store.build([link for account in accounts for link in account.links], ()))
        self.poller.swap(self.poller.build(accounts))
        if not self.started:
            self.started = True
            self.poller.start()

    def run(self, *steps: float | Callable[[], None]) -> None:
        """Starts the poller, then waits the given seconds and calls the given functions, in order."""

        async def main() -> None:
            self.started = False
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


class _SlowJournal(MemoryJournal):
    """Records requests slowly, and knows which were recorded; ``answers`` are given in turn."""

    def __init__(self, clock: virtual.VirtualClock, *answers: Appended, seconds: float = 1.0) -> None:
        super().__init__(clock)
        self.recorded: list[str] = []
        self.noted: list[Answered] = []
        self._answers = list(answers)
        self._seconds = seconds

    async def append(self, requests: Sequence[Sent]) -> Appended:
        await asyncio.sleep(self._seconds)
        answer = self._answers.pop(0) if self._answers else Appended.YES
        if answer is Appended.YES:
            self.recorded += [sent.request.target[1] for sent in requests]
        return answer

    def note(self, answer: Answered) -> None:
        self.noted.append(answer)
        super().note(answer)


def _slow(*answers: Appended, links: int = 5, seconds: float = 1.0) -> tuple[Desk, _SlowJournal]:
    desk = Desk(_account(links))
    journal = _SlowJournal(desk.clock, *answers, seconds=seconds)
    desk.recorder.journal = journal
    return desk, journal


def test_a_request_is_recorded_before_it_leaves() -> None:
    desk, journal = _slow()
    seen: list[bool] = []

    def answer(link: Link) -> Reading:
        seen.append(link.id in journal.recorded)
        return make_reading()

    desk.answer = answer
    desk.run(120)
    assert len(seen) >= 5
    assert all(seen)


@pytest.mark.parametrize("answer", [Appended.BEHIND, Appended.NO])
def test_a_request_that_is_not_recorded_does_not_leave_and_is_decided_again(answer: Appended) -> None:
    desk, journal = _slow(answer, answer, links=1)
    asked: list[int] = []
    desk.run(2.5, lambda: asked.append(len(desk.requests)), 10)
    assert asked == [0]
    assert len(desk.requests) == 1
    assert [noted.outcome for noted in journal.noted] == [Outcome.OK]


def test_a_request_whose_record_took_too_long_does_not_leave() -> None:
    desk, journal = _slow(links=1, seconds=5.5)
    desk.run(6)
    assert not desk.requests
    assert journal.noted[0].outcome is None


def test_a_request_is_noted_as_not_sent_if_the_process_ends_while_it_is_being_recorded() -> None:
    desk, journal = _slow(links=1)
    desk.run(0.5)
    assert [answer.outcome for answer in journal.noted] == [None]


def test_a_request_in_flight_at_the_end_is_noted_as_abandoned() -> None:
    desk, journal = _slow(links=1, seconds=0.0)
    desk.seconds = 30.0
    desk.run(1)
    (answer,) = journal.noted
    assert (answer.outcome, answer.abandoned) == (Outcome.TIMEOUT, True)
    assert answer.unclear, "it may have been a failed login"


def test_what_is_recorded_of_a_request() -> None:
    account = _account(1, timeout=7.0)
    desk, journal = _slow(links=1, seconds=0.0)
    desk.accounts = (account,)
    desk.run(130)
    first, second, *_ = journal.noted
    assert first.request == Request(
        account.host, account.login_key, account.secret_key, ("id", "0"), timeout=7.0
    )
    assert (first.lasting, second.lasting) == (True, False)
    assert (first.link, first.reading, first.total) == (("main", "link-0"), make_reading(id="0"), 7)
    assert first.elapsed == pytest.approx(0.1)


# --- what other processes did ---------------------------------------------------------------------------


def _request(account: Account, link: Link) -> Request:
    return Request(account.host, account.login_key, account.secret_key, link.target, account.timeout)


def _tell(desk: Desk, *events: Sent | Answered, ago: float = 0.0) -> None:
    now = desk.clock.monotonic()
    desk.recorder.learn([Dated(event, now - ago, now) for event in events])


def _answered(sent: Sent, link: Link, reading: Reading | None = None, **fields: Any) -> Answered:
    fields = {"outcome": Outcome.OK, "link": link.key} | fields
    return Answered(sent.request, sent.number, reading=reading, **fields)


def test_a_link_that_another_process_asks_for_waits_for_its_next_regular_moment() -> None:
    account = _account(1)
    desk = Desk(account)
    desk.recorder.ledger.assume(Unknown("a fresh start", seconds=1.0), desk.clock.monotonic())
    asked: list[int] = []
    sent = Sent(_request(account, account.links[0]))
    desk.run(0.5, lambda: _tell(desk, sent), 28, lambda: asked.append(len(desk.requests)), 63)
    assert asked == [0]
    assert len(desk.requests) == 1


def test_a_reading_of_another_process_is_shown_with_its_age_and_counts_as_a_poll() -> None:
    account = _account(1)
    desk = Desk(account)
    sent = Sent(_request(account, account.links[0]))
    reading = make_reading(70, id="0")
    desk.answer = lambda link: make_reading(30, id="0")

    def tell() -> None:
        _tell(desk, sent, _answered(sent, account.links[0], reading, elapsed=4.0), ago=1.0)

    desk.run(2, tell, 0.1)
    snapshot = desk.snapshots["link-0"]
    assert (snapshot.reading, snapshot.total, snapshot.outcome) == (reading, 70, Outcome.OK)
    assert snapshot.read_at == pytest.approx(START + 2 - 5)
    assert len(desk.requests) == 1


def test_an_older_reading_of_another_process_changes_nothing() -> None:
    """Not even where its clock, or the moment of its answer, says that it is newer."""
    account = _account(1)
    desk = Desk(account)
    sent = Sent(_request(account, account.links[0]))
    desk.recorder.ledger.assume(Unknown("a fresh start", seconds=1.0), desk.clock.monotonic())
    desk.answer = lambda link: api_error(3)
    desk.run(
        0.5,
        lambda: _tell(desk, sent),
        70,  # our own poll, sent later, has failed
        lambda: _tell(desk, _answered(sent, account.links[0], make_reading(id="0"))),
        0.1,
    )
    snapshot = desk.snapshots["link-0"]
    assert snapshot.outcome is Outcome.NOT_FOUND
    assert snapshot.reading == make_reading(id="0")


def test_what_another_process_met_holds_here_too() -> None:
    account = _account(3)
    sent = Sent(_request(account, account.links[0]))
    for outcome, state in (
        (Outcome.UNAUTHORIZED, State.UNAUTHORIZED),
        (Outcome.BLOCKED, State.BLOCKED),
        (Outcome.THROTTLED, State.THROTTLED),
    ):
        desk = Desk(account)
        answer = _answered(sent, account.links[0], outcome=outcome)
        desk.run(5, partial(_tell, desk, sent, answer), 6)
        assert desk.poller.statuses()[0].state is state


@pytest.mark.parametrize("outcome", [Outcome.NOT_FOUND, Outcome.PARAMETERS, Outcome.TIMEOUT])
def test_a_link_rests_after_a_failure_elsewhere(outcome: Outcome) -> None:
    account = _account(1)
    desk = Desk(account)
    sent = Sent(_request(account, account.links[0]))
    desk.run(2, lambda: _tell(desk, sent, _answered(sent, account.links[0], outcome=outcome)), 20)
    assert len(desk.requests) == 1
    assert desk.snapshots["link-0"].outcome is outcome


def test_events_of_others_accounts_and_links_change_nothing() -> None:
    account = _account(1)
    desk = Desk(account)
    stranger, unknown = make_account("stranger", make_links(1)), make_link("unknown", id="99")
    events: list[Sent | Answered] = []
    for request, link in (
        (_request(stranger, stranger.links[0]), stranger.links[0]),
        (_request(account, unknown), unknown),
    ):
        sent = Sent(request)
        events += [sent, _answered(sent, link, make_reading(id="99")), Answered(request, 7, None)]
    sent = Sent(_request(account, account.links[0]))
    events += [sent, Answered(sent.request, sent.number, Outcome.TIMEOUT)]
    desk.run(2, lambda: _tell(desk, *events), 1)
    assert set(desk.snapshots) == {"link-0"}
    assert desk.snapshots["link-0"].outcome is Outcome.OK


# --- clicks ---------------------------------------------------------------------------------------------


def _busy_and_quiet() -> Account:
    """Two links that are read ten times as often as others once they are known to be clicked, and not."""
    links = tuple(replace(link, bounds=(21.0, 210.0)) for link in make_links(8))
    return make_account(links=links)


def _clicked(desk: Desk, link: Link) -> Reading:
    """Link 0 is clicked once a second and the others never."""
    clicks = int(desk.clock.monotonic()) if link.id == "0" else 0
    return make_reading(clicks, id=link.id, today=clicks, yesterday=0)


def test_links_that_are_clicked_are_read_more_often() -> None:
    desk = Desk(_busy_and_quiet())
    desk.answer = lambda link: _clicked(desk, link)
    desk.run(7200)
    times = Counter(name for _, name in desk.requests)
    assert times["link-0"] > 1.7 * max(times[f"link-{n}"] for n in range(1, 8))
    assert sum(times.values()) == pytest.approx(8 * 120, rel=0.1)


@pytest.mark.parametrize("read_at", [0.0, virtual.START - 30.0])
def test_stored_readings_tell_of_clicks(read_at: float) -> None:
    """So they do after a restart, and where another exporter did the reading."""
    desk = Desk(_busy_and_quiet())
    links = desk.accounts[0].links

    async def main() -> None:
        known = {}
        for link in links:
            clicks = 36_000 if link.id == "0" else 0
            known[link.key] = Snapshot(link, make_reading(id=link.id, today=clicks, yesterday=0), read_at)
        desk.store.swap(known)
        desk.poller.swap(desk.poller.build(desk.accounts))
        desk.poller.start()
        await asyncio.sleep(600)
        await desk.poller.close()

    desk.answer = lambda link: api_error(3) if link.id != "0" else make_reading(id="0")
    virtual.run(desk.clock, main())
    times = [time for time, name in desk.requests if name == "link-0"]
    assert times[-1] - times[-2] == pytest.approx(21, abs=10)


def test_a_fresh_stored_reading_is_not_read_again_in_the_first_round() -> None:
    account = _account(2)
    desk = Desk(account)
    fresh, stale = account.links
    known = {
        fresh.key: Snapshot(fresh, make_reading(id="0"), START - 5),
        stale.key: Snapshot(stale, make_reading(id="1"), START - 65),
    }

    async def main() -> None:
        desk.store.swap(known)
        desk.poller.swap(desk.poller.build(desk.accounts))
        desk.poller.start()
        await asyncio.sleep(20)
        await desk.poller.close()

    virtual.run(desk.clock, main())
    assert [name for _, name in desk.requests] == ["link-1"]


class _BrokenJournal(MemoryJournal):
    async def append(self, requests: Sequence[Sent]) -> Appended:
        raise ZeroDivisionError


def test_a_journal_that_breaks_is_told() -> None:
    desk = Desk(_account(1))
    desk.recorder.journal = _BrokenJournal(desk.clock)
    desk.run(61)
    assert desk.poller.broken() == "polling has stopped: ZeroDivisionError()"


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


def test_a_name_that_is_given_to_another_link_keeps_its_counter_and_starts_no_jump() -> None:
    desk = Desk(_account(1))
    new = make_account(links=(make_link("link-0", id="999"),))
    seen: list[Snapshot] = []

    def reload() -> None:
        desk.configure(new)
        seen.append(desk.store.get(new.links[0]) or Snapshot(new.links[0]))
        desk.answer = lambda link: make_reading(5000, id="999")

    desk.run(61, reload, 10)
    assert (seen[0].reading, seen[0].outcome) == (None, None)
    assert desk.snapshots["link-0"].reading == make_reading(5000, id="999")
    assert desk.snapshots["link-0"].total == 7


def test_new_labels_keep_the_reading() -> None:
    account = _account(1)
    link = replace(account.links[0], labels=(("team", "growth"),))
    desk = Desk(account)
    desk.run(61, lambda: desk.configure(replace(account, links=(link,))))
    snapshot = desk.store.get(link)
    assert snapshot is not None
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
    assert told == ["first_reading", "link_failing", "link_recovered"]
    (failing,) = [entry for entry in logs if entry["event"] == "link_failing"]
    assert failing["reason"] == "HTTP status 502"
    assert 21 <= failing["retry_seconds"] <= 60
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
    probes = [e for e in logs if e["event"] == "account_waiting"]
    assert {(e["log_level"], e["reason"]) for e in probes} == {("debug", "the provider cannot be reached")}
    assert {e["seconds"] for e in probes} >= {20, 40, 45}


def test_each_wait_of_an_account_is_logged_with_its_seconds_and_reason() -> None:
    desk = Desk(_account(1))
    desk.answer = lambda link: api_error(2, "wrong")
    with capture_logs() as logs:
        desk.run(2 * 3600)
    waits = [(e["event"], e["log_level"], e.get("seconds")) for e in logs if "account_" in e["event"]]
    assert waits == [
        ("account_state", "warning", 1800),
        ("account_waiting", "info", 3600),
        ("account_waiting", "info", 7200),
    ]
    assert {e["reason"] for e in logs if "seconds" in e} == {"the provider refuses the login"}


def test_the_first_reading_of_each_account_is_logged_once() -> None:
    desk = Desk(_account(3), make_account("other", make_links(2, "other")))
    with capture_logs() as logs:
        desk.run(200, lambda: desk.configure(*desk.accounts), 200)
    first = [
        (e["account"], e["clicks_today"], e["clicks_all_time"]) for e in logs if e["event"] == "first_reading"
    ]
    assert [account for account, *_ in first] == ["main", "other"]


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


class _Listener(MemoryJournal):
    """Hears in which order requests are recorded and figures are shown."""

    def __init__(self, clock: virtual.VirtualClock) -> None:
        super().__init__(clock)
        self.heard: list[str] = []

    async def append(self, requests: Sequence[Sent]) -> Appended:
        self.heard.append("record")
        return await super().append(requests)


def test_the_next_request_is_recorded_before_the_last_ones_figures_are_shown() -> None:
    desk = Desk(_account(500, max_concurrent_requests=1))
    journal = _Listener(desk.clock)
    desk.recorder.journal = journal
    desk.store = Snapshots(lambda snapshot: journal.heard.append("figures"))
    desk.poller = Poller(desk.recorder, desk.store, desk._fetch, desk._ended, desk.clock)
    desk.seconds = 1.0
    desk.run(30)
    assert journal.heard[:41] == ["record", *["record", "figures"] * 20]


def test_a_wall_clock_that_jumps_moves_no_request() -> None:
    steady, jumpy = Desk(_account(5)), Desk(_account(5))
    jumps = [+86_400.0, -3_600.0, -200_000.0, +59.0, -61.0]
    steady.run(60, *[61.0] * len(jumps))
    jumpy.run(60, *[step for jump in jumps for step in (lambda jump=jump: jumpy.clock.step(jump), 61.0)])
    assert jumpy.requests == steady.requests


@pytest.mark.slow  # much is calculated in virtual time
def test_hours_of_random_failures_break_no_limit_and_ends_with_every_link_read() -> None:
    desk = Desk(_account(20, max_concurrent_requests=6))
    random = Random(7)
    errors: list[PollError] = [api_error(9), HttpStatusError(503), PollTimeoutError("t"), api_error(17)]

    def answer(link: Link) -> Reading | Exception:
        desk.seconds = random.uniform(0.01, 3.0)
        return random.choice(errors) if random.random() < 0.1 else make_reading(id=link.id or "")

    def calm() -> None:
        desk.answer = lambda link: make_reading(id=link.id or "")

    desk.answer = answer
    desk.run(20_000, calm, 2000)
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
    assert sorted(moment - desk.clock.offset for moment in told[0] if moment) == pytest.approx(first, abs=0.2)
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

"""What each answer means for the requests that follow, case by case."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from math import inf
from random import Random
from typing import Any

import pytest

from exporter.errors import (
    CrashedError,
    HttpStatusError,
    MalformedError,
    NoAnswerError,
    Outcome,
    PollError,
    PollTimeoutError,
    UnreachableError,
    api_error,
)
from exporter.journal import MemoryJournal
from exporter.limits import Ledger
from exporter.model import Account, Credentials, State
from exporter.polling.planner import Planner, Poll
from exporter.polling.poller import answer_of
from exporter.polling.recorder import Recorder
from exporter.secret import SecretStr
from tests.factories import make_account, make_link, make_links, make_reading

MINUTE, HOUR, WALL = 60.0, 3600.0, 1_750_000_000.0
REFUSED = UnreachableError("refused", sent=False)


class Player:
    """Plays the poller by hand, for one account or several. ``now`` moves only when told to."""

    def __init__(self, *accounts: Account) -> None:
        self.now = 0.0
        self.recorder = Recorder(Ledger(), MemoryJournal(self), self, lambda news: None)
        self.by_login: dict[str, Planner] = {}
        self.planners: list[Planner] = []
        self.configure(accounts, self.now)

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return WALL + self.now

    def configure(self, accounts: Iterable[Account], now: float) -> None:
        self.planners = []
        for account in accounts:
            planner = self.by_login.get(account.login_key) or Planner(account, self.recorder, Random(1), 0.0)
            planner.swap(planner.build(account), now, lambda link: None)
            self.by_login[account.login_key] = planner
            self.planners.append(planner)
        self.recorder.ledger.configure(planner.request for planner in self.planners)

    @property
    def planner(self) -> Planner:
        return self.planners[0]

    def send(self, planner: Planner | None = None) -> Poll:
        """The next poll, after as much waiting as it takes."""
        planner = planner or self.planner
        while not isinstance(step := planner.next(self.now), Poll):
            assert step < inf, "nothing will ever leave"
            self.now = step
        return step

    def burst(self) -> list[Poll]:
        """All polls that can be had within a second, one slot after another."""
        polls: list[Poll] = []
        until = self.now + 2.0
        while True:
            step = self.planner.next(self.now)
            if isinstance(step, Poll):
                polls.append(step)
            elif step < until:
                self.now = step
            else:
                return polls

    def finish(self, poll: Poll, at: float, error: PollError | None) -> bool:
        """A poll ended, with a reading unless there is an error."""
        self.now = max(self.now, at)
        planner = self.by_login[poll.account.login_key]
        result = error or make_reading(id=poll.link.id)
        settles = planner.finish(poll, self.now, result)
        self.recorder.end(answer_of(poll.sent, result, self.now - poll.sent_at))
        return settles

    def poll(self, error: PollError | None = None, seconds: float = 0.1) -> Poll:
        """One request from its sending to its end."""
        poll = self.send()
        self.finish(poll, self.now + seconds, error)
        return poll

    def until(self, ready: Callable[[], bool], error: PollError | None = None) -> None:
        for _ in range(200):
            if ready():
                return
            self.poll(error)
        raise AssertionError("never came about")

    def state(self) -> State:
        return self.planner.state(self.now)

    def paused_for(self) -> float:
        until = self.planner.status(self.now, WALL + self.now).paused_until
        return until - WALL - self.now if until else 0.0


def _player(links: int = 200, **fields: Any) -> Player:
    return Player(make_account(links=make_links(links), **fields))


def _warm(most: int = 4, **fields: Any) -> Player:
    """A player whose account has climbed to its full concurrency and has many links due."""
    player = _player(max_concurrent_requests=most, **fields)
    player.until(lambda: player.planner.concurrency.limit == most)
    player.now += 10 * MINUTE
    return player


# --- concurrency ------------------------------------------------------------------------------------------


def test_the_first_request_of_an_account_goes_alone() -> None:
    player = _player()
    player.now = 5 * MINUTE
    assert len(player.burst()) == 1
    assert player.planner.next(player.now) == inf


def test_the_limit_climbs_by_one_for_each_round_of_successes_up_to_the_configured() -> None:
    player = _player(max_concurrent_requests=3)
    limits = []
    for _ in range(8):
        limits.append(player.planner.concurrency.limit)
        player.poll()
    assert limits == [1, 2, 2, 3, 3, 3, 3, 3]


def test_error_9_halves_the_limit_once_for_all_that_were_in_flight_together() -> None:
    player = _warm(most=12)
    flight = player.burst()
    assert len(flight) == 12
    for ticket in flight:
        player.finish(ticket, player.now + 1, api_error(9))
    assert player.planner.concurrency.limit == 6
    assert player.state() is State.THROTTLED


def test_error_9_cools_its_link_for_a_minute_and_longer_each_time() -> None:
    player = _warm()
    player.configure([make_account(links=(make_link(refresh_interval=21.0),))], player.now)
    sent = [player.poll(api_error(9)).sent_at for _ in range(4)]
    rests = [after - before for before, after in pairwise(sent)]
    assert rests[0] >= 61
    assert rests[1] >= 122
    assert rests[2] >= 244


def test_error_9_without_concurrency_left_to_give_up_pauses_the_account() -> None:
    player = _player()
    player.poll(api_error(9))
    assert player.paused_for() == pytest.approx(61)
    player.poll(api_error(9))
    assert player.paused_for() == pytest.approx(122)
    player.poll()
    player.planner.concurrency.limit = 1
    player.poll(api_error(9))
    assert player.paused_for() == pytest.approx(61)


def test_throttled_ends_a_minute_after_the_last_error_9() -> None:
    player = _warm()
    player.poll(api_error(9))
    assert player.state() is State.THROTTLED
    assert player.planner.status(player.now, WALL).up is True  # slower, but not held back
    player.now += 61
    assert player.state() is State.POLLING
    assert player.planner.status(player.now, WALL).up is True


def test_requests_given_up_still_count_towards_the_hard_cap() -> None:
    """A provider that hangs may still be at work on what we have stopped waiting for."""
    player = _warm(most=14)
    flight = player.burst()
    assert len(flight) == 14
    player.now += 10
    for ticket in flight[:4]:
        player.finish(ticket, player.now, PollTimeoutError("timeout"))
    for ticket in flight[4:10]:
        player.finish(ticket, player.now, None)
    gave_up = player.now
    assert len(player.burst()) == 6
    assert player.planner.next(player.now) == gave_up + 60


# --- logins and blocks ------------------------------------------------------------------------------------


def test_a_refused_login_stops_the_account_longer_each_time() -> None:
    player = _player()
    pauses = []
    for _ in range(6):
        player.poll(api_error(2))
        pauses.append(player.paused_for() / HOUR)
    assert pauses == pytest.approx([0.5, 1, 2, 4, 4, 4])
    assert player.state() is State.UNAUTHORIZED
    player.poll()
    assert player.state() is State.POLLING
    player.poll(api_error(2))
    assert player.paused_for() == pytest.approx(0.5 * HOUR)


def test_a_reading_sent_before_the_refusal_does_not_vouch_for_the_login_after_it() -> None:
    player = _warm()
    first, second, third, *_ = player.burst()
    player.now += 1
    player.finish(first, player.now, api_error(2))
    player.finish(second, player.now, None)
    assert player.state() is State.UNAUTHORIZED
    player.finish(third, player.now, api_error(2))
    assert player.paused_for() == pytest.approx(0.5 * HOUR)


def test_a_new_secret_lets_the_account_try_again_within_the_failed_login_budget() -> None:
    account = make_account(links=make_links(50))
    player = Player(account)
    for attempt in range(4):
        player.poll(api_error(2))
        secret = Credentials(account.credentials.login, SecretStr(f"guess-{attempt}"))
        player.configure([replace(account, credentials=secret)], player.now)
        assert player.state() is (State.POLLING if attempt < 3 else State.UNAUTHORIZED)
    step = player.planner.next(player.now)
    assert isinstance(step, float)
    assert step > 0.5 * HOUR
    assert player.paused_for() > 0.4 * HOUR


def _with_secret(account: Account, secret: str) -> Account:
    return replace(account, credentials=Credentials(account.credentials.login, SecretStr(secret)))


def test_answers_to_the_old_secret_do_not_vouch_for_the_new_one() -> None:
    player = _warm(most=12)
    flight = player.burst()
    player.configure([_with_secret(player.planner.account, "new")], player.now)
    for ticket in flight:
        player.finish(ticket, player.now, None)
    assert len(player.burst()) == 1
    assert player.planner.next(player.now) == inf


def test_a_refusal_of_the_old_secret_does_not_stop_the_new_one() -> None:
    player = _warm()
    flight = player.burst()
    player.configure([_with_secret(player.planner.account, "new")], player.now)
    player.finish(flight[0], player.now, api_error(2))
    for ticket in flight[1:]:
        player.finish(ticket, player.now, None)
    assert player.state() is State.POLLING
    assert player.paused_for() == 0


def test_a_new_secret_does_not_lift_what_the_server_asked_for() -> None:
    player = _warm()
    player.poll(HttpStatusError(503, retry_after=3600.0))
    player.configure([_with_secret(player.planner.account, "new")], player.now)
    assert player.paused_for() == pytest.approx(3600.0)


def test_an_unchanged_secret_keeps_the_account_stopped_through_a_reload() -> None:
    player = _player()
    player.poll(api_error(2))
    player.configure([player.planner.account], player.now)
    assert player.state() is State.UNAUTHORIZED
    assert player.paused_for() == pytest.approx(0.5 * HOUR)


def test_accounts_of_a_host_share_the_failed_logins() -> None:
    """Five accounts with a bad password each: the fifth has to wait, though its own was never tried."""
    accounts = [make_account(f"a{n}", make_links(5, f"a{n}")) for n in range(6)]
    player = Player(*accounts)
    for number, planner in enumerate(player.planners[:4], 1):
        poll = planner.next(player.now)
        assert isinstance(poll, Poll)
        assert all(other.next(player.now) == inf for other in player.planners[number:])
        player.finish(poll, player.now + 1, api_error(2))
    assert player.planners[4].next(player.now) == 1 + 1801


def test_accounts_at_another_host_are_not_held_by_it() -> None:
    elsewhere = make_account("b", make_links(5, "b"), base_url="https://smsc.kz")
    player = Player(*[make_account(f"a{n}", make_links(5, f"a{n}")) for n in range(5)], elsewhere)
    player.now = MINUTE
    for planner in player.planners[:4]:
        step = planner.next(player.now)
        assert isinstance(step, Poll)
        player.finish(step, player.now, api_error(2))
    assert isinstance(player.planners[5].next(player.now), Poll)


@pytest.mark.parametrize("error", [PollTimeoutError("t"), UnreachableError("reset"), NoAnswerError("empty")])
def test_an_unproven_login_without_an_answer_counts_as_refused(error: PollError) -> None:
    player = _player()
    for _ in range(4):
        player.poll(error)
    step = player.planner.next(player.now)
    assert isinstance(step, float)
    assert step > 1800


@pytest.mark.parametrize("error", [PollTimeoutError("t"), MalformedError("a proxy's page")])
def test_a_start_in_a_bad_moment_is_noticed_to_be_over_long_before_half_an_hour(error: PollError) -> None:
    player = Player(make_account(links=make_links(50)), make_account("other", make_links(50, "other")))
    failed = [player.poll(error).sent_at for _ in range(4)]
    waits = [later - earlier for earlier, later in pairwise(failed)]
    assert [30 <= waits[0] < 60, 120 <= waits[1] < 150, 480 <= waits[2] < 510] == [True] * 3
    step = player.planners[1].next(player.now)
    assert isinstance(step, float)
    assert step > player.now + 1000
    assert player.state() is State.UNREACHABLE


def test_an_answer_ends_the_wait_after_unclear_ones() -> None:
    """They cost failed logins all the same, of which one is left."""
    player = Player(make_account(links=make_links(50)), make_account("other", make_links(50, "other")))
    for _ in range(3):
        player.poll(PollTimeoutError("t"))
    player.poll()
    assert isinstance(player.planners[1].next(player.now), Poll)
    assert isinstance(player.planner.next(player.now + 21), Poll)


@pytest.mark.parametrize("error", [REFUSED, HttpStatusError(502)])
def test_a_request_that_never_reached_the_login_check_does_not_count(error: PollError) -> None:
    player = _player()
    for _ in range(12):
        player.poll(error)
    assert player.now < 1800


def test_a_block_stops_every_account_of_the_host_and_lets_one_probe_through() -> None:
    player = Player(make_account("a", make_links(50, "a")), make_account("b", make_links(50, "b")))
    one, other = player.planners
    player.poll()
    player.poll(api_error(4))
    assert one.state(player.now) is other.state(player.now) is State.BLOCKED
    assert other.next(player.now) == one.next(player.now) == player.now + 1800
    player.now += 1800
    probe = other.next(player.now)
    assert isinstance(probe, Poll)
    assert one.next(player.now) == inf
    player.finish(probe, player.now, api_error(4))
    assert one.next(player.now) == player.now + HOUR


def test_blocks_double_to_four_hours_and_a_probe_that_is_answered_lifts_them() -> None:
    player = _player()
    player.poll()
    pauses = []
    for _ in range(5):
        player.poll(api_error(4))
        pauses.append(player.paused_for() / HOUR)
    assert pauses == pytest.approx([0.5, 1, 2, 4, 4])
    player.poll(api_error(3))
    assert player.state() is State.POLLING
    player.poll(api_error(4))
    assert player.paused_for() == pytest.approx(0.5 * HOUR)


def test_answers_in_flight_when_the_block_came_change_nothing() -> None:
    player = _warm()
    first, second, third, *_ = player.burst()
    player.now += 1
    for ticket, error in ((first, api_error(4)), (second, api_error(4)), (third, None)):
        player.finish(ticket, player.now, error)
    assert player.state() is State.BLOCKED
    assert player.paused_for() == pytest.approx(0.5 * HOUR)


@pytest.mark.parametrize("error", [REFUSED, MalformedError("odd"), CrashedError("bug")])
def test_a_probe_that_meets_no_api_leaves_the_block_and_waits(error: PollError) -> None:
    player = _player()
    player.poll()
    player.poll(api_error(4))
    player.poll(error)
    assert player.state() is State.BLOCKED
    assert player.paused_for() == pytest.approx(HOUR / 6)


def test_an_account_that_waits_for_the_failed_login_budget_does_not_say_it_polls() -> None:
    player = _player()
    for _ in range(4):
        player.poll(PollTimeoutError("t"))
    assert player.state() is State.UNREACHABLE
    assert player.paused_for() > 1000
    accounts = [make_account(f"a{n}", make_links(5, f"a{n}")) for n in range(5)]
    player = Player(*accounts)
    player.now = 2 * MINUTE
    for planner in player.planners[:4]:
        ticket = planner.next(player.now)
        assert isinstance(ticket, Poll)
        player.finish(ticket, player.now, api_error(2))
    assert player.planners[4].state(player.now) is State.UNAUTHORIZED


# --- transport --------------------------------------------------------------------------------------------


def test_five_failures_of_transport_in_a_row_make_the_account_unreachable() -> None:
    player = _warm()
    for _ in range(4):
        player.poll(REFUSED)
    assert player.state() is State.POLLING
    assert player.planner.status(player.now, WALL).up is False
    player.poll(REFUSED)
    assert player.state() is State.UNREACHABLE
    assert player.paused_for() > 0
    player.now += HOUR
    assert len(player.burst()) == 1


def test_one_answer_makes_it_reachable_again_and_it_starts_slowly() -> None:
    player = _warm()
    for _ in range(8):
        player.poll(REFUSED)
    player.poll()
    assert player.state() is State.POLLING
    assert player.planner.concurrency.limit == 2


def test_failures_of_requests_sent_before_the_breaker_opened_do_not_lengthen_it() -> None:
    player = _warm(most=12)
    flight = player.burst()
    player.now += 1
    for ticket in flight[:5]:
        player.finish(ticket, player.now, REFUSED)
    for ticket in flight[5:]:
        player.finish(ticket, player.now, REFUSED)
    assert 0 < player.paused_for() <= 10


def test_a_link_backs_off_with_jitter_and_comes_back_within_a_minute() -> None:
    player = Player(make_account(links=(make_link(refresh_interval=21.0),)))
    player.poll()
    sent = [player.poll(MalformedError("odd")).sent_at for _ in range(40)]
    rests = [after - before for before, after in pairwise(sent)]
    assert min(rests) >= 21
    assert max(rests) > 45
    assert max(rests) <= 61
    assert len(set(rests)) > 20


def test_retry_after_is_honoured_for_the_whole_account() -> None:
    player = _warm()
    player.poll(HttpStatusError(503, retry_after=77.0))
    assert player.paused_for() == pytest.approx(77.0)
    assert player.state() is State.THROTTLED
    player.poll(HttpStatusError(429, retry_after=10**9))
    assert player.paused_for() == pytest.approx(4 * HOUR)


@pytest.mark.parametrize("code", [1, 3])
def test_a_link_that_is_wrong_is_looked_at_again_after_an_hour(code: int) -> None:
    player = Player(make_account(links=(make_link(),)))
    first = player.poll(api_error(code))
    assert player.poll().sent_at - first.sent_at >= HOUR


def test_an_unknown_error_number_backs_off_its_link_alone() -> None:
    player = _warm()
    player.poll(api_error(17))
    assert player.state() is State.POLLING
    assert player.planner.concurrency.limit == 4


def test_a_request_given_up_may_reach_the_provider_a_minute_later() -> None:
    player = Player(make_account(links=(make_link(refresh_interval=21.0),)))
    player.poll()
    first = player.poll(PollTimeoutError("t"), seconds=10.0)
    sent = [player.poll(seconds=0.1).sent_at for _ in range(3)]
    assert sent[0] - first.sent_at < 60
    assert sent[2] - sent[0] >= 61


def test_a_link_is_not_asked_again_before_half_an_interval_is_over() -> None:
    player = Player(make_account(links=(make_link(refresh_interval=60.0),)))
    first = player.poll(seconds=0.0)
    second = player.poll(seconds=0.0)
    assert first.sent_at + 30 <= second.sent_at <= first.sent_at + 90
    assert player.planner.next(player.now) == pytest.approx(second.sent_at + 60)
    player.now += 60 + 35
    player.poll(seconds=0.0)
    assert player.planner.next(player.now) == pytest.approx(second.sent_at + 180)


# --- mirrors ----------------------------------------------------------------------------------------------

MIRRORS = ("https://www2.smscentre.com", "https://www3.smscentre.com")


def _mirrored() -> Player:
    player = Player(make_account(links=(make_link(),), fallback_urls=MIRRORS))
    player.poll()
    player.now += 10 * MINUTE
    return player


def test_mirrors_are_tried_at_once_and_the_one_that_answers_is_kept_to() -> None:
    player = _mirrored()
    tickets = [player.poll(REFUSED), player.poll(REFUSED), player.poll(), player.poll()]
    assert [ticket.url for ticket in tickets] == ["https://smscentre.com", *MIRRORS, MIRRORS[1]]
    assert tickets[1].sent_at - tickets[0].sent_at < 1


def test_a_try_at_a_mirror_counts_like_any_other() -> None:
    player = _mirrored()
    first, _, third = player.poll(REFUSED), player.poll(REFUSED), player.poll(REFUSED)
    fourth = player.poll()
    assert third.sent_at - first.sent_at < 1
    assert fourth.sent_at - first.sent_at >= 61


def test_one_request_tries_the_base_url_again_after_a_while() -> None:
    player = _mirrored()
    player.poll(REFUSED)
    urls = {player.poll().url for _ in range(5)}
    player.now += 601
    assert urls == {MIRRORS[0]}
    assert player.poll(REFUSED).url == "https://smscentre.com"
    assert player.poll().url in MIRRORS
    assert player.poll().url in MIRRORS
    player.now += 601
    assert player.poll().url == "https://smscentre.com"
    assert player.poll().url == "https://smscentre.com"


def test_a_turn_is_settled_when_the_last_mirror_was_asked() -> None:
    player = _mirrored()
    tickets = [player.send()]
    settled = [player.finish(tickets[0], player.now, REFUSED)]
    settled.append(player.finish(player.send(), player.now, REFUSED))
    settled.append(player.finish(player.send(), player.now, REFUSED))
    settled.append(player.finish(player.send(), player.now, None))
    assert settled == [False, False, True, True]


# --- configuration ----------------------------------------------------------------------------------------


def test_a_link_taken_out_and_put_back_keeps_its_window() -> None:
    link = make_link(refresh_interval=21.0)
    account = make_account(links=(link,))
    player = Player(account)
    sent = []
    for _ in range(10):
        sent.append(player.poll(seconds=0.01).sent_at)
        player.configure([replace(account, links=())], player.now)
        player.configure([account], player.now)
    assert all(sent[n + 3] - sent[n] >= 61 for n in range(7))


def test_a_reload_moves_no_link_that_stays() -> None:
    account = make_account(links=make_links(50))
    plain, reloaded = Player(account), Player(account)
    more = replace(account, links=(*make_links(60)[50:], *account.links))
    reloaded.configure([more], 0.0)
    moments = [
        {t.link.name: t.sent_at for t in (p.poll(seconds=0.001) for _ in range(n))}
        for p, n in ((plain, 50), (reloaded, 60))
    ]
    for name, sent_at in moments[0].items():
        assert moments[1][name] == pytest.approx(sent_at, abs=0.01)


def test_a_new_interval_takes_effect_at_once() -> None:
    account = make_account(links=(make_link(refresh_interval=6 * HOUR),))
    player = Player(account)
    player.poll()
    player.configure([make_account(links=(make_link(refresh_interval=60.0),))], player.now)
    assert player.poll().sent_at <= 2 * MINUTE + 1


def test_a_new_name_is_read_soon() -> None:
    account = make_account(links=(make_link(refresh_interval=24 * HOUR),))
    player = Player(account)
    player.poll()
    player.configure([make_account(links=(make_link("new", refresh_interval=24 * HOUR),))], player.now)
    before = player.now
    assert player.poll().sent_at - before <= 61


@pytest.mark.parametrize("code", [3, 9])
@pytest.mark.parametrize("gap", [False, True])
def test_a_reload_does_not_shorten_a_rest(code: int, gap: bool) -> None:
    player = Player(make_account(links=(make_link(refresh_interval=30.0),)))
    player.poll()
    first = player.poll(api_error(code))
    if gap:
        player.now += 200 if code == 3 else 0
        player.configure([make_account()], player.now)
    player.configure([make_account(links=(make_link(refresh_interval=31.0),))], player.now)
    assert player.poll().sent_at - first.sent_at >= {3: HOUR, 9: 61}[code]


def test_a_lower_ceiling_takes_effect_at_once() -> None:
    player = _warm(most=12)
    player.configure([replace(player.planner.account, max_concurrent_requests=3)], player.now)
    assert len(player.burst()) == 3


def test_small_accounts_do_not_all_ask_at_once_after_their_first_readings() -> None:
    accounts = [make_account(f"a{n}", (make_link(account=f"a{n}"),)) for n in range(50)]
    player = Player(*accounts)
    for planner in player.planners:
        player.finish(player.send(planner), player.now, None)
    assert len({planner.next(player.now) for planner in player.planners}) == 50


def test_a_link_in_flight_at_a_reload_is_not_asked_twice() -> None:
    account = make_account(links=(make_link(),))
    player = Player(account)
    ticket = player.send()
    player.configure([replace(account, links=())], player.now)
    player.configure([account], player.now)
    assert player.planner.next(player.now + MINUTE) == inf
    player.finish(ticket, player.now, None)
    assert player.poll().link.name == ticket.link.name


# --- status -----------------------------------------------------------------------------------------------


def test_status_before_the_first_answer_says_neither_up_nor_down() -> None:
    player = _player(links=3)
    status = player.planner.status(0.0, WALL)
    assert (status.up, status.state, status.links, status.paused_until) == (None, State.POLLING, 3, 0.0)
    assert (status.lag, status.concurrency_limit, status.in_flight) == (0.0, 1, 0)


def test_status_tells_how_late_the_most_overdue_link_is() -> None:
    player = _player(links=3)
    assert player.planner.status(90, WALL).lag == pytest.approx(90)


def test_status_of_an_account_without_links_has_no_lag() -> None:
    player = _player(links=0)
    assert player.planner.next(0.0) == inf
    assert player.planner.status(5.0, WALL).lag == 0.0


def test_a_link_that_is_due_keeps_its_turn_through_a_reload_that_changes_its_interval() -> None:
    player = _player(links=50)
    player.now = 5 * MINUTE
    before = player.planner.status(player.now, WALL).lag
    assert before > 4 * MINUTE
    account = player.planner.account
    links = tuple(replace(link, refresh_interval=link.refresh_interval + 1) for link in account.links)
    player.configure([replace(account, links=links)], player.now)
    assert player.planner.status(player.now, WALL).lag == before


def test_a_mirror_that_a_reload_removed_is_not_asked_again() -> None:
    mirrors = "https://m1.example", "https://m2.example"
    account = make_account(links=make_links(1), fallback_urls=mirrors)
    player = Player(account)
    player.poll(REFUSED)
    poll = player.send()
    assert poll.url == mirrors[0]
    player.configure([replace(account, fallback_urls=mirrors[1:])], player.now)
    player.finish(poll, player.now, None)
    assert player.send().url == account.base_url
    player = Player(account)
    player.poll(REFUSED)
    poll = player.send()
    player.configure([replace(account, fallback_urls=mirrors[::-1])], player.now)
    player.finish(poll, player.now, None)
    assert player.send().url == mirrors[0]


def test_a_link_that_another_process_just_asked_for_is_not_asked_for_again() -> None:
    player = _player(1)
    poll = player.send()
    player.planner.on_sent_elsewhere(poll.link.target, player.now)
    player.recorder.ledger.withdraw(poll.sent)
    player.planner.put_back(poll)
    before = player.now
    assert player.send().sent_at >= before + MINUTE / 2


def test_a_success_of_another_process_without_its_figures_is_no_failure() -> None:
    player = _player(1)
    target = player.poll().link.target
    player.now += MINUTE / 2
    player.planner.on_answered_elsewhere(target, Outcome.OK, None, player.now, player.now)
    due = player.planner.next_poll(player.planner.account.links[0], player.now)
    assert due is not None
    assert due >= player.now + MINUTE / 2

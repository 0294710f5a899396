"""Which logins are verified, what a refusal means for the others, and the budget of four failed logins."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from exporter.errors import Outcome
from exporter.limits import Answered, Denied, Reason, Sent
from exporter.limits.logins import Trust
from tests.unit.limits.driver import (
    HALF_HOUR,
    HOST,
    HOUR,
    LOGIN,
    MINUTE,
    NO_CONNECTION,
    NOT_SENT,
    REFUSED,
    TIMEOUT,
    Driver,
)

# --- a login that was never accepted ----------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.NOT_FOUND])
def test_an_accepted_answer_verifies_a_login(outcome: Outcome) -> None:
    driver = Driver()
    assert driver.secret().trust is Trust.NEW
    driver.poll(outcome=outcome)
    assert driver.secret().trust is Trust.VERIFIED


@pytest.mark.parametrize("outcome", [Outcome.PARAMETERS, Outcome.UNKNOWN_ERROR, Outcome.THROTTLED])
def test_other_answers_do_not_verify_it(outcome: Outcome) -> None:
    driver = Driver()
    driver.poll(outcome=outcome)
    assert driver.secret().trust is Trust.NEW


def test_logins_that_were_never_accepted_are_tried_one_at_a_time_at_each_host() -> None:
    driver = Driver("c")
    sent = driver.send("a")
    assert driver.denied("b") == Denied(inf, Reason.LOGIN_UNDER_WAY)
    assert driver.denied("a") is not None
    assert driver.denied("c") is None
    assert driver.denied("b", host="smsc.kz") is None
    driver.end(sent)
    assert driver.denied("b") is None


def test_a_refused_login_pauses_longer_each_time_up_to_four_hours() -> None:
    driver = Driver()
    pauses = []
    for _ in range(6):
        driver.poll(**REFUSED)
        pauses.append(driver.waits() / HALF_HOUR)
        driver.now += driver.waits()
    assert pauses == [1, 2, 4, 8, 8, 8]


def test_an_accepted_answer_ends_the_pause_and_the_doubling() -> None:
    driver = Driver()
    driver.poll(**REFUSED)
    driver.now += HALF_HOUR
    driver.poll()
    assert driver.denied() is None
    driver.poll(**REFUSED)
    assert driver.waits() == HALF_HOUR


def test_what_was_sent_before_its_own_refusal_does_not_verify_a_login() -> None:
    driver = Driver()
    first, second = driver.send(), driver.send()
    driver.end(first, **REFUSED)
    driver.end(second)
    assert driver.secret().trust is Trust.NEW
    assert driver.reason() is Reason.UNAUTHORIZED


# --- the budget -------------------------------------------------------------------------------------------


def test_all_logins_of_a_host_share_four_failed_logins_in_half_an_hour() -> None:
    driver = Driver()
    for login in "abcd":
        driver.poll(login, **REFUSED)
        driver.now += 1
    assert driver.failed_logins == 4
    assert driver.denied("e") == Denied(1000 + 1801, Reason.FAILED_LOGINS)
    driver.now = 1000 + 1801
    assert driver.failed_logins == 3
    assert driver.denied("e") is None


def test_verified_logins_need_no_budget() -> None:
    driver = Driver("f")
    for login in "abcd":
        driver.poll(login, **REFUSED)
    assert driver.denied("f") is None


def test_refused_logins_leave_one_of_the_four_to_others() -> None:
    driver = Driver()
    for login in "ab":
        driver.poll(login, **REFUSED)
    driver.now += HALF_HOUR - 1  # the pauses have nearly ended, and both failures still count
    driver.poll("c", **REFUSED)
    driver.now += 1
    assert driver.failed_logins == 3
    assert driver.denied("a") == Denied(1000 + 1801, Reason.FAILED_LOGINS)
    assert driver.denied("d") is None


def test_a_refused_secret_that_is_not_configured_any_more_counts_and_changes_nothing_else() -> None:
    driver = Driver("b")
    driver.end(driver.send(secret="a:old"), **REFUSED)
    assert driver.failed_logins == 1
    assert driver.denied("a") is None
    assert driver.secret("b").trust is Trust.VERIFIED


def test_a_host_without_accounts_has_no_secret_in_use() -> None:
    driver = Driver()
    driver.ledger.configure([driver.request(host="smsc.kz")])
    driver.poll(**REFUSED)
    assert driver.failed_logins == 1
    assert driver.denied() is None


def test_a_request_whose_end_is_never_told_may_have_been_a_failed_login() -> None:
    driver = Driver("b")
    driver.learn(Sent(driver.request("a")), Sent(driver.request("b")))
    assert driver.failed_logins == 0
    driver.now += 15  # sent late and timed out, at worst
    assert driver.failed_logins == 1
    driver.now += 200
    driver.poll("b")  # by now both are forgotten as requests
    assert driver.failed_logins == 1
    driver.now += HALF_HOUR
    assert driver.failed_logins == 0


# --- the order in which logins are tried ------------------------------------------------------------------


def test_suspects_are_tried_first_then_new_logins_then_refused_ones() -> None:
    driver = Driver("a", "b")
    driver.poll("c", **REFUSED)
    driver.poll("d", **REFUSED)
    driver.poll("a", **REFUSED)
    assert driver.secret("b").trust is Trust.SUSPECT
    assert driver.in_order("dcaeb") == ["b", "e", "c", "d", "a"]


def test_of_logins_alike_the_longest_untried_is_tried_first() -> None:
    driver = Driver("a", "b", "c")
    driver.poll("b", **REFUSED)
    assert driver.in_order("ca") == ["a", "c"]
    driver.poll("a", **NO_CONNECTION)
    assert driver.in_order("ca") == ["c", "a"]


# --- when a verified login is refused ---------------------------------------------------------------------


def test_when_a_verified_login_is_refused_it_pauses_and_the_others_become_suspect() -> None:
    driver = Driver("a", "b", "c")
    driver.poll("a", **REFUSED)
    trusts = [driver.secret(login).trust for login in "abc"]
    assert trusts == [Trust.NEW, Trust.SUSPECT, Trust.SUSPECT]
    assert driver.reason("a") is Reason.UNAUTHORIZED
    assert driver.waits("a") == HALF_HOUR
    assert driver.denied("b") is None


def test_suspects_are_tried_one_at_a_time_and_verified_by_their_answer() -> None:
    driver = Driver("a", "b", "c")
    driver.poll("a", **REFUSED)
    sent = driver.send("b")
    assert driver.reason("c") is Reason.LOGIN_UNDER_WAY
    driver.end(sent)
    assert driver.secret("b").trust is Trust.VERIFIED
    assert driver.denied("b") is driver.denied("c") is None


def test_a_refusal_of_what_was_in_the_air_counts_and_changes_nothing_else() -> None:
    driver = Driver("a", "b")
    first, second, other = driver.send("a"), driver.send("a"), driver.send("b")
    driver.end(first, **REFUSED)
    driver.now += 1
    driver.end(second, **REFUSED)
    driver.end(other, **REFUSED)
    assert driver.failed_logins == 3
    assert driver.secret("a").paused_until == 1000 + HALF_HOUR
    assert driver.secret("b").trust is Trust.SUSPECT
    assert driver.secret("b").refusals == 0


def test_an_answer_to_what_was_sent_after_the_refused_request_verifies_a_suspect() -> None:
    driver = Driver("a", "b", "c")
    before, refused, after = driver.send("b"), driver.send("a"), driver.send("c")
    driver.end(refused, **REFUSED)
    driver.end(before)
    driver.end(after)
    assert driver.secret("b").trust is Trust.SUSPECT
    assert driver.secret("c").trust is Trust.VERIFIED


def test_logins_are_judged_by_their_state_when_the_answer_comes() -> None:
    """What left while verified is a try of a suspect login once another one has been refused."""
    driver = Driver("a", "b", "c")
    in_the_air, refused = driver.send("b"), driver.send("a")
    assert driver.denied("c") is None
    driver.end(refused, **REFUSED)
    assert driver.reason("c") is Reason.LOGIN_UNDER_WAY
    driver.end(in_the_air, **TIMEOUT)
    assert driver.failed_logins == 1  # an unclear end of a suspect does not count
    assert driver.reason("b") is Reason.UNCLEAR_LOGIN
    assert driver.denied("c") is None


def test_an_answer_to_an_old_secret_says_nothing_of_the_new_one() -> None:
    driver = Driver("a")
    driver.poll("b")
    driver.end(driver.send(secret="a:2"), **NO_CONNECTION)
    driver.poll("a")
    assert driver.at_host.secret("a:2").trust is Trust.NEW


# --- suspects and the budget ------------------------------------------------------------------------------


def _spent(driver: Driver) -> None:
    """Uses up the budget by logins that were never accepted."""
    for login in "def":
        driver.poll(login, **REFUSED)


def test_suspects_need_no_budget_while_one_login_alone_was_refused() -> None:
    driver = Driver("a", "b", "c")
    _spent(driver)
    driver.poll("a", **REFUSED)
    assert driver.failed_logins == 4
    assert driver.denied("b") is None


def test_suspects_keep_to_the_budget_once_a_second_one_was_refused() -> None:
    driver = Driver("a", "b", "c")
    _spent(driver)
    driver.poll("a", **REFUSED)
    driver.now += 600
    driver.poll("b", **REFUSED)
    assert driver.secret("c").trust is Trust.SUSPECT
    assert driver.reason("c") is Reason.FAILED_LOGINS
    driver.now += 1801 - 600  # the first refusal is too long ago
    assert driver.denied("c") is None


def test_when_all_logins_are_revoked_no_more_than_four_fail() -> None:
    driver = Driver(*"abcdef")
    for login in "abcd":
        assert driver.denied(login) is None
        driver.poll(login, **REFUSED)
    assert driver.failed_logins == 4
    assert driver.reason("e") is driver.reason("f") is Reason.FAILED_LOGINS


# --- ends that tell nothing -------------------------------------------------------------------------------


def test_an_unclear_end_of_a_new_login_counts_as_failed_and_it_waits_longer_each_time() -> None:
    driver = Driver()
    waits = []
    for failures in range(1, 4):
        driver.poll("a", **TIMEOUT)
        assert driver.failed_logins == failures
        assert driver.reason("a") is Reason.UNCLEAR_LOGIN
        waits.append(driver.waits("a"))
        driver.now += waits[-1]
    assert waits == [30, 120, 480]
    driver.poll("a", **TIMEOUT)
    assert driver.waits("a") == 1801 - 30 - 120 - 480  # the budget of four is used up
    assert driver.reason("a") is Reason.UNCLEAR_LOGIN
    driver.now += driver.waits("a")
    driver.poll("a", **TIMEOUT)
    assert driver.waits("a") == 480


def test_new_logins_of_the_host_wait_too_until_it_answers_somebody() -> None:
    driver = Driver("f")
    driver.poll("a", **TIMEOUT)
    assert driver.waits("b") == 30
    driver.poll("f")
    assert driver.denied("b") is None
    assert driver.waits("a") == 30


def test_new_logins_do_not_wait_if_the_host_answered_somebody_since_the_unclear_one_was_sent() -> None:
    driver = Driver("f")
    sent = driver.send("a")
    driver.poll("f")
    driver.end(sent, **TIMEOUT)
    assert driver.denied("b") is None
    assert driver.waits("a") == 30


@pytest.mark.parametrize("end", [NO_CONNECTION, NOT_SENT])
def test_what_cannot_have_reached_the_provider_is_no_failed_login(end: dict[str, Any]) -> None:
    driver = Driver()
    driver.poll("a", **end)
    assert driver.failed_logins == 0
    assert driver.denied("a") is None


def test_an_unclear_end_of_a_verified_login_does_not_count() -> None:
    driver = Driver("a")
    driver.poll("a", **TIMEOUT)
    assert driver.failed_logins == 0
    assert driver.denied("a") is None


def test_an_unclear_end_of_a_suspect_does_not_count_and_it_waits_30_seconds() -> None:
    driver = Driver("a", "b", "c")
    driver.poll("a", **REFUSED)
    for _ in range(2):
        driver.poll("b", **TIMEOUT)
        assert (driver.waits("b"), driver.reason("b")) == (30, Reason.UNCLEAR_LOGIN)
        driver.now += 30
    assert driver.failed_logins == 1
    assert driver.denied("c") is None


def test_the_third_unclear_end_in_a_row_at_the_host_makes_suspects_new() -> None:
    driver = Driver("a", "b", "c")
    driver.poll("a", **REFUSED)
    for login in "bcb":
        driver.poll(login, **TIMEOUT)
    assert driver.secret("b").trust is driver.secret("c").trust is Trust.NEW
    assert driver.secret("b").waits_until == driver.now + 30


def test_a_clear_answer_ends_the_row() -> None:
    driver = Driver("a", "b", "c", "d")
    driver.poll("a", **REFUSED)
    for login in "bc":
        driver.poll(login, **TIMEOUT)
    driver.poll("d")
    driver.poll("b", **TIMEOUT)
    assert driver.secret("b").trust is Trust.SUSPECT


# --- blocks -----------------------------------------------------------------------------------------------

BLOCKED = {"outcome": Outcome.BLOCKED}


def test_error_4_stops_every_login_of_the_host_for_half_an_hour() -> None:
    driver = Driver("a", "b")
    driver.poll("a", **BLOCKED)
    assert driver.denied("a") == driver.denied("b") == Denied(2800.0, Reason.BLOCKED)
    assert driver.denied("b", host="smsc.kz") is None
    assert driver.ledger.trouble(driver.request("b")) is Reason.BLOCKED


def test_after_a_block_one_probe_leaves_and_its_answer_ends_the_block() -> None:
    driver = Driver("a", "b")
    driver.poll("a", **BLOCKED)
    driver.now += HALF_HOUR
    probe = driver.send("b")
    assert driver.denied("a") == Denied(inf, Reason.BLOCKED)
    driver.end(probe)
    assert driver.denied("a") is None


def test_blocks_double_up_to_four_hours_and_begin_again_after_an_answer() -> None:
    driver = Driver("a")
    pauses = []
    for _ in range(5):
        driver.poll("a", **BLOCKED)
        pauses.append(driver.waits("a") / HALF_HOUR)
        driver.now += driver.waits("a")
    assert pauses == [1, 2, 4, 8, 8]
    driver.poll("a")
    driver.poll("a", **BLOCKED)
    assert driver.waits("a") == HALF_HOUR


def test_what_was_in_the_air_when_the_block_came_tells_nothing_new() -> None:
    driver = Driver("a")
    first, second, third, fourth = [driver.send("a") for _ in range(4)]
    driver.end(first, **BLOCKED)
    driver.now += 1
    driver.end(second, **BLOCKED)
    driver.end(third)
    driver.end(fourth, **TIMEOUT)
    assert (driver.waits("a"), driver.reason("a")) == (HALF_HOUR - 1, Reason.BLOCKED)


@pytest.mark.parametrize("end", [TIMEOUT, NO_CONNECTION])
def test_a_probe_without_an_answer_extends_the_block_by_ten_minutes(end: dict[str, Any]) -> None:
    driver = Driver("a")
    driver.poll("a", **BLOCKED)
    driver.now += HALF_HOUR
    driver.poll("a", **end)
    assert (driver.waits("a"), driver.reason("a")) == (600, Reason.BLOCKED)


def test_a_probe_that_was_not_sent_extends_nothing() -> None:
    driver = Driver("a")
    driver.poll("a", **BLOCKED)
    driver.now += HALF_HOUR
    driver.poll("a", **NOT_SENT)
    assert driver.denied("a") is None


def test_a_probe_of_another_process_without_an_end_is_waited_for_while_its_sender_may_wait() -> None:
    driver = Driver("a")
    driver.poll("a", **BLOCKED)
    driver.now += HALF_HOUR
    driver.learn(Sent(driver.request("a")))
    assert driver.reason("a") is Reason.BLOCKED
    driver.now += 15
    assert driver.denied("a") is None


def test_a_refused_probe_ends_the_block_and_pauses_its_login() -> None:
    driver = Driver("a", "b")
    driver.poll("a", **BLOCKED)
    driver.now += HALF_HOUR
    driver.poll("a", **REFUSED)
    assert driver.reason("a") is Reason.UNAUTHORIZED
    assert driver.denied("b") is None


# --- a start ----------------------------------------------------------------------------------------------


def test_a_start_takes_a_login_as_verified_if_it_was_accepted_lately() -> None:
    before, after = Driver(), Driver()
    after.learn(before.poll("a"))
    after.now += HOUR
    after.learn(before.poll("b"))
    after.ledger.distrust(since=after.now - HOUR + 1)
    assert after.secret("a").trust is Trust.NEW
    assert after.secret("b").trust is Trust.VERIFIED


def test_an_accepted_login_is_recorded_again_when_its_record_grows_old() -> None:
    driver = Driver()
    assert driver.poll("a").lasting
    assert not driver.poll("a").lasting
    driver.now += 901
    assert driver.poll("a").lasting
    assert not driver.poll("a").lasting


def test_a_start_does_not_trust_a_login_that_was_answered_but_not_accepted() -> None:
    before, after = Driver(), Driver()
    after.learn(before.poll("a", outcome=Outcome.PARAMETERS))
    after.ledger.distrust(since=0.0)
    assert after.secret("a").trust is Trust.NEW


def test_an_answer_that_verifies_nothing_is_not_kept_for_a_later_start() -> None:
    """A start that knows its end alone would take the login as verified."""
    driver = Driver("a")
    in_the_air = driver.send("a")
    refused = driver.end(driver.send("a"), **REFUSED)
    accepted = driver.end(in_the_air)
    later = Driver()
    later.learn(*(one for one in (refused, accepted) if one.lasting))
    later.ledger.distrust(since=0.0)
    assert driver.secret("a").trust is later.secret("a").trust is Trust.NEW


def test_a_block_is_kept_and_so_is_the_answer_that_ends_it() -> None:
    driver = Driver("a")
    assert driver.poll("a", **BLOCKED).lasting
    driver.now += HALF_HOUR
    assert driver.poll("a").lasting


# --- which ends bind --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "end", "binds"),
    [
        ("a", {}, False),
        ("a", {"outcome": Outcome.NOT_FOUND}, False),
        ("a", REFUSED, True),
        ("a", BLOCKED, True),
        ("a", {"outcome": Outcome.THROTTLED}, True),
        ("a", {"outcome": Outcome.HTTP_ERROR, "transport": True, "retry_after": 1.0}, True),
        ("a", TIMEOUT, False),
        ("b", TIMEOUT, True),
        ("b", NO_CONNECTION, False),
        ("b", NOT_SENT, False),
    ],
)
def test_ends_that_forbid_something_bind(login: str, end: dict[str, Any], binds: bool) -> None:
    driver = Driver("a")
    answer = driver.poll(login, **end)
    assert answer.binds is binds


# --- what the status page says ----------------------------------------------------------------------------


def test_trouble_names_a_refused_login_until_it_is_accepted() -> None:
    driver = Driver("a")
    request = driver.request("a")
    assert driver.ledger.trouble(request) is None
    driver.poll("a", **REFUSED)
    driver.now += HALF_HOUR
    assert driver.ledger.trouble(request) is Reason.UNAUTHORIZED
    driver.poll("a")
    assert driver.ledger.trouble(request) is None


def test_a_change_that_may_let_another_login_go_on_is_noticed() -> None:
    driver = Driver("a", "b")
    before = driver.at_host.changes
    driver.poll("a")
    assert driver.at_host.changes == before
    driver.poll("c")
    assert driver.at_host.changes == before + 1
    driver.poll("a", **TIMEOUT)
    driver.poll("a")
    assert driver.at_host.changes == before + 3


def test_the_end_of_an_unknown_request_can_refuse_a_login() -> None:
    driver = Driver("a", "b")
    driver.learn(Answered(driver.request("a"), 1, Outcome.UNAUTHORIZED))
    assert driver.reason("a") is Reason.UNAUTHORIZED
    assert driver.secret("b").trust is Trust.SUSPECT
    assert driver.host == HOST
    driver.now += MINUTE
    assert driver.waits(LOGIN) == HALF_HOUR - MINUTE

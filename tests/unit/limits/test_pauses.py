"""Waits that are no matter of logins: error 9, ``Retry-After``, and a provider that cannot be reached."""

from __future__ import annotations

from math import inf

import pytest

from exporter.errors import Outcome
from exporter.limits import Answered, Denied, Reason, Sent
from tests.unit.limits.driver import HOUR, LOGIN, NO_CONNECTION, NOT_SENT, THROTTLED, Driver, busy

# --- error 9 ----------------------------------------------------------------------------------------------


def test_error_9_rests_its_link_alone_for_a_minute() -> None:
    driver = Driver(LOGIN)
    driver.poll(link="x", **THROTTLED)
    assert driver.denied(link="x") == Denied(driver.now + 61, Reason.THROTTLED)
    assert driver.denied(link="y") is None


def test_the_rest_doubles_up_to_half_an_hour_and_an_answer_ends_that() -> None:
    driver = Driver(LOGIN)
    rests = []
    for _ in range(7):
        driver.poll(link="x", **THROTTLED)
        rests.append(driver.waits(link="x"))
        driver.now += rests[-1]
    assert rests == [61, 122, 244, 488, 976, 1800, 1800]
    driver.poll(link="x")
    driver.poll(link="x", **THROTTLED)
    assert driver.waits(link="x") == 61


def test_an_error_9_of_another_process_rests_the_link_here_too() -> None:
    driver = Driver(LOGIN)
    driver.learn(Answered(driver.request(link="x"), 1, Outcome.THROTTLED))
    assert driver.reason(link="x") is Reason.THROTTLED


# --- Retry-After ------------------------------------------------------------------------------------------


def test_retry_after_pauses_the_login_in_every_process() -> None:
    driver, other = Driver("a", "b"), Driver("a")
    other.learn(driver.poll("a", **busy(77.0)))
    for each in (driver, other):
        assert each.denied("a") == Denied(each.now + 77, Reason.SLOW_DOWN)
    assert driver.denied("b") is None


def test_a_shorter_retry_after_does_not_shorten_a_longer_one() -> None:
    driver = Driver(LOGIN)
    driver.poll(**busy(300.0))
    driver.poll(**busy(5.0))
    assert driver.waits() == 300


def test_retry_after_is_kept_to_for_four_hours_at_most() -> None:
    driver = Driver(LOGIN)
    driver.poll(**busy(1e9))
    assert driver.waits() == 4 * HOUR


# --- a provider that cannot be reached --------------------------------------------------------------------


def _unreachable(driver: Driver, login: str = LOGIN, failures: int = 5) -> None:
    for _ in range(failures):
        driver.poll(login, **NO_CONNECTION)


def test_five_failures_in_a_row_make_a_login_unreachable() -> None:
    driver = Driver(LOGIN)
    _unreachable(driver, failures=4)
    assert driver.denied() is None
    assert driver.ledger.reachable(driver.request())
    _unreachable(driver, failures=1)
    assert driver.denied() == Denied(driver.now + 10, Reason.UNREACHABLE)
    assert driver.ledger.trouble(driver.request()) is Reason.UNREACHABLE


def test_an_answer_in_between_breaks_the_row() -> None:
    driver = Driver(LOGIN)
    _unreachable(driver, failures=4)
    driver.poll(outcome=Outcome.PARAMETERS)
    _unreachable(driver, failures=4)
    assert driver.denied() is None


def test_what_was_not_sent_is_neither_a_failure_nor_an_answer() -> None:
    driver = Driver(LOGIN)
    _unreachable(driver, failures=4)
    driver.poll(**NOT_SENT)
    assert driver.denied() is None
    _unreachable(driver, failures=1)
    assert driver.reason() is Reason.UNREACHABLE


def test_one_probe_at_a_time_leaves_each_later_than_the_last_up_to_45_seconds() -> None:
    driver = Driver(LOGIN)
    _unreachable(driver)
    waits = []
    for _ in range(5):
        waits.append(driver.waits())
        driver.now += waits[-1]
        probe = driver.send()
        assert driver.denied() == Denied(inf, Reason.UNREACHABLE)
        driver.end(probe, **NO_CONNECTION)
    assert waits == [10, 20, 40, 45, 45]


def test_the_time_to_the_next_probe_counts_from_the_sending_of_the_last_request() -> None:
    driver = Driver(LOGIN)
    _unreachable(driver, failures=4)
    sent = driver.send()
    driver.now += 7
    driver.end(sent, **NO_CONNECTION)
    assert driver.waits() == 3


def test_one_answer_makes_a_login_reachable() -> None:
    driver = Driver(LOGIN)
    _unreachable(driver)
    driver.now += 10
    driver.poll()
    assert driver.denied() is None


def test_failures_of_requests_sent_before_do_not_make_the_wait_longer() -> None:
    driver = Driver(LOGIN)
    flight = [driver.send() for _ in range(10)]
    for sent in flight:
        driver.end(sent, **NO_CONNECTION)
    assert driver.waits() == 10


def test_failures_of_another_process_say_nothing_of_our_network() -> None:
    driver = Driver(LOGIN)
    for number in range(10):
        driver.learn(Answered(driver.request(), number, **NO_CONNECTION))
    assert driver.denied() is None


def test_while_nobody_is_answered_one_probe_leaves_for_all_logins_of_the_host() -> None:
    driver = Driver("a", "b")
    _unreachable(driver, "a")
    _unreachable(driver, "b")
    driver.now += 9
    driver.learn(Sent(driver.request("c")))  # another process probes with another login
    assert driver.waits("a") == driver.waits("b") == 10
    driver.now += 10
    driver.poll("a", **NO_CONNECTION)
    assert driver.waits("b") == 10
    assert driver.waits("a") == 20


def test_once_the_host_has_answered_somebody_each_login_is_probed_by_itself() -> None:
    driver = Driver("a", "b")
    _unreachable(driver, "a")
    driver.now += 5
    driver.poll("b")
    driver.now += 4
    driver.poll("b")
    assert driver.waits("a") == 1


@pytest.mark.parametrize(("asked", "waits"), [(3.0, 3.0), (100.0, 100.0), (1e9, 4 * HOUR)])
def test_retry_after_decides_about_the_probe(asked: float, waits: float) -> None:
    driver = Driver(LOGIN)
    _unreachable(driver, failures=4)
    driver.poll(**busy(asked))
    assert driver.waits() == waits
    driver.now += waits
    assert driver.denied() is None

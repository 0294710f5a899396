"""What counts towards the minute and the fourteen, from which moment, and for how long."""

from __future__ import annotations

from math import inf

import pytest

from exporter.errors import Outcome
from exporter.limits import Answered, Denied, Reason, Sent, Unknown
from tests.unit.limits.driver import HOUR, LOGIN, NOT_SENT, TIMEOUT, Driver

SEND_BY, TIMEOUT_SECONDS, ABANDONED = 5.0, 10.0, 60.0


# --- three in a minute ------------------------------------------------------------------------------------


def test_a_fourth_request_waits_until_61_seconds_after_the_end_of_the_first() -> None:
    driver = Driver(LOGIN)
    for _ in range(3):
        sent = driver.send(link="x")
        driver.now += 7
        driver.end(sent)
    assert driver.denied(link="x") == Denied(1007 + 61, Reason.MINUTE)
    driver.now = 1067.9
    assert driver.waits(link="x") > 0
    driver.now = 1068.0
    assert driver.waits(link="x") == 0


def test_three_in_flight_are_three_of_the_minute_for_as_long_as_they_take() -> None:
    driver = Driver(LOGIN)
    for _ in range(3):
        driver.send(link="x")
    assert driver.waits(link="x") == inf


def test_the_minute_is_of_one_link_of_one_login() -> None:
    driver = Driver("a", "b")
    for _ in range(3):
        driver.poll("a", link="x")
    assert driver.reason("a", link="x") is Reason.MINUTE
    assert driver.denied("a", link="y") is None
    assert driver.denied("b", link="x") is None


def test_the_minute_counts_whoever_was_refused_or_not_sent_after_all() -> None:
    driver = Driver(LOGIN)
    driver.poll(link="x", outcome=Outcome.NOT_FOUND)
    driver.poll(link="x", outcome=Outcome.PARAMETERS)
    driver.poll(link="x", **NOT_SENT)
    assert driver.waits(link="x") == 61


# --- fourteen at once -------------------------------------------------------------------------------------


def test_a_fifteenth_request_waits_for_the_end_of_another() -> None:
    driver = Driver(LOGIN)
    flight = [driver.send() for _ in range(14)]
    assert driver.denied() == Denied(inf, Reason.CONCURRENCY)
    driver.end(flight[3])
    assert driver.denied() is None


def test_the_fourteen_are_of_one_login() -> None:
    driver = Driver("a", "b")
    for _ in range(14):
        driver.send("a")
    assert driver.denied("b") is None


def test_an_account_may_keep_to_fewer_in_flight() -> None:
    driver = Driver(LOGIN)
    driver.send()
    assert driver.ledger.check(driver.request(), driver.now, limit=2) is None
    assert driver.ledger.check(driver.request(), driver.now, limit=1) is not None


def test_what_was_abandoned_holds_its_place_for_another_minute() -> None:
    driver = Driver(LOGIN)
    flight = [driver.send() for _ in range(14)]
    driver.end(flight[0], **TIMEOUT)
    assert driver.denied() == Denied(driver.now + ABANDONED, Reason.CONCURRENCY)
    driver.now += ABANDONED
    assert driver.denied() is None


def test_what_was_abandoned_counts_in_the_minute_for_another_minute() -> None:
    driver = Driver(LOGIN)
    driver.poll(link="x", **TIMEOUT)
    driver.poll(link="x")
    driver.poll(link="x")
    assert driver.waits(link="x") == 61
    driver.now += 61
    driver.poll(link="x")
    driver.poll(link="x")
    assert driver.waits(link="x") == ABANDONED  # the abandoned one, 61 s after it counts as over


# --- what other processes sent ----------------------------------------------------------------------------


def test_a_request_without_an_end_counts_until_its_sender_must_have_given_up() -> None:
    driver = Driver(LOGIN)
    driver.learn(*(Sent(driver.request()) for _ in range(14)))
    over = SEND_BY + TIMEOUT_SECONDS + ABANDONED
    assert driver.waits() == inf  # as many as allowed may be waiting for an answer
    driver.now += SEND_BY + TIMEOUT_SECONDS
    assert driver.waits() == ABANDONED
    driver.now = 1000.0 + over
    assert driver.waits() == 0


def test_a_request_without_an_end_counts_in_the_minute_after_that() -> None:
    driver = Driver(LOGIN)
    driver.learn(*(Sent(driver.request(link="x")) for _ in range(3)))
    assert driver.waits(link="x") == SEND_BY + TIMEOUT_SECONDS + ABANDONED + 61


def test_nobody_waits_for_the_answer_to_a_request_whose_process_has_ended() -> None:
    driver = Driver(LOGIN)
    driver.learn(Sent(driver.request()), orphan=True)
    assert driver.ledger.attempts.in_flight(LOGIN, driver.now) == 0
    driver.learn(Sent(driver.request()))
    assert driver.ledger.attempts.in_flight(LOGIN, driver.now) == 1


def test_an_end_whose_beginning_is_unknown_counts_like_any_other() -> None:
    driver = Driver(LOGIN)
    for number in range(3):
        driver.learn(Answered(driver.request(link="x"), number, Outcome.OK))
    assert driver.waits(link="x") == 61


def test_an_abandoned_end_whose_beginning_is_unknown_holds_a_place() -> None:
    driver = Driver(LOGIN)
    for number in range(14):
        driver.learn(Answered(driver.request(), number, **TIMEOUT))
    assert driver.waits() == ABANDONED


def test_the_end_of_a_request_of_another_process_gives_its_place_back() -> None:
    driver = Driver(LOGIN)
    flight = [Sent(driver.request()) for _ in range(14)]
    driver.learn(*flight)
    driver.learn(Answered(flight[0].request, flight[0].number, Outcome.OK))
    assert driver.denied() is None


def test_an_event_told_twice_counts_once() -> None:
    driver = Driver(LOGIN)
    sent = Sent(driver.request(link="x"))
    end = Answered(sent.request, sent.number, Outcome.OK)
    driver.learn(sent, sent)
    driver.learn(sent, end, end, sent)
    driver.poll(link="x")
    assert driver.denied(link="x") is None
    driver.poll(link="x")
    assert driver.reason(link="x") is Reason.MINUTE


def test_an_error_told_twice_counts_once() -> None:
    driver = Driver(LOGIN)
    sent = driver.send()
    end = driver.end(sent, Outcome.UNAUTHORIZED)
    driver.learn(sent, end, end)
    assert driver.failed_logins == 1
    assert driver.waits() == 1800


# --- what is taken back or forgotten ----------------------------------------------------------------------


def test_a_request_that_was_taken_back_counts_no_more() -> None:
    driver = Driver()
    sent = driver.send(link="x")
    assert driver.waits("b") == inf  # one login that was never accepted is tried at a time
    driver.ledger.withdraw(sent)
    driver.ledger.withdraw(sent)
    assert driver.denied("b") is None
    assert driver.ledger.attempts.in_flight(LOGIN, driver.now) == 0


@pytest.mark.parametrize("taken_back", [False, True])
def test_attempts_are_forgotten_once_nobody_counts_them(taken_back: bool) -> None:
    driver = Driver(LOGIN)
    numbers = []
    for _ in range(100):
        if taken_back:
            driver.ledger.withdraw(driver.send())
        sent = driver.send()
        numbers.append(sent.number)
        driver.now += 10
        driver.end(sent)
    known = [number for number in numbers if driver.ledger.attempts.get(number) is not None]
    assert 0 < len(known) < 10


def test_a_login_whose_places_were_given_back_is_counted_from_zero() -> None:
    driver = Driver(LOGIN)
    driver.poll(**TIMEOUT)
    driver.now += 30
    driver.send()
    driver.now += 31
    driver.denied()
    assert len([driver.send() for _ in range(13)]) == 13
    assert driver.waits() == inf


def test_numbers_of_ends_and_rests_are_forgotten_at_last() -> None:
    driver = Driver(LOGIN)
    sent = driver.send(link="x")
    driver.end(sent, Outcome.THROTTLED)
    assert driver.reason(link="x") is Reason.THROTTLED
    driver.now += 6 * HOUR
    driver.poll()
    assert driver.denied(link="x") is None
    driver.learn(sent)  # so late, nobody knows it any more
    assert driver.ledger.attempts.get(sent.number) is not None


# --- an unknown past --------------------------------------------------------------------------------------


def test_nothing_leaves_while_an_unknown_past_may_count() -> None:
    driver = Driver(LOGIN)
    driver.ledger.assume(Unknown("the file is damaged", seconds=120.0), driver.now)
    assert driver.denied() == Denied(driver.now + 120, Reason.UNKNOWN_PAST)
    driver.ledger.assume(Unknown("again, and shorter", seconds=5.0), driver.now)
    assert driver.waits() == 120
    driver.now += 120
    assert driver.denied() is None


def test_attempts_of_an_unknown_past_count_for_every_link() -> None:
    driver = Driver(LOGIN)
    driver.ledger.assume(Unknown("nothing was kept", attempts=2), driver.now)
    assert driver.denied(link="x") is None
    driver.poll(link="x")
    assert driver.waits(link="x") == 61
    driver.now += 61
    assert driver.denied(link="x") is None


def test_failed_logins_of_an_unknown_past_count_at_every_host() -> None:
    driver = Driver()
    driver.ledger.assume(Unknown("Redis forgot", failed_logins=3), driver.now)
    elsewhere = driver.request(host="smsc.kz")
    assert driver.failed_logins == driver.ledger.failed_logins("smsc.kz", driver.now) == 3
    assert driver.ledger.check(elsewhere, driver.now) is None
    driver.poll(outcome=Outcome.UNAUTHORIZED)
    assert driver.reason("b") is Reason.FAILED_LOGINS

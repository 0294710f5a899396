"""What an exporter allows itself while Redis can't be had."""

from __future__ import annotations

import pytest

from exporter.model import State
from exporter.rules import FAILED_LOGIN_SPAN, FAILED_LOGINS, SPAN
from exporter.store.backend import Denied, Pause, Scope
from exporter.store.redis_local import RETRY, Failure, Ledger
from exporter.store.redis_lua import AGAIN, IN_FLIGHT, REPLICAS
from tests.unit.store.places import HOST, LASTS, UNKNOWN, attempt

NOW = 5000.0


def test_three_exporters_by_themselves_stay_inside_the_limits() -> None:
    assert REPLICAS * 1 <= 3
    assert REPLICAS * IN_FLIGHT < 15


def test_nothing_leaves_in_the_quiet() -> None:
    ledger = Ledger()
    ledger.quiet_until = NOW + SPAN
    assert ledger.decide(attempt(), NOW) == Denied(Scope.HOST, RETRY)
    # What others had in flight when the quiet began ends ten seconds later at the latest.
    assert ledger.decide(attempt(), NOW + UNKNOWN - 1) == Denied(Scope.HOST, 1)
    assert ledger.decide(attempt(), NOW + UNKNOWN) is None
    assert ledger.decide(attempt(lasts=120), NOW + UNKNOWN) == Denied(Scope.HOST, RETRY)


def test_nothing_leaves_once_nobody_leaves_room_any_more() -> None:
    ledger = Ledger()
    ledger.alone_until = NOW
    assert ledger.decide(attempt(), NOW - 1) is None
    assert ledger.decide(attempt(), NOW) == Denied(Scope.HOST, RETRY)


def test_who_has_not_listened_for_long_does_not_know_of_failed_logins() -> None:
    ledger = Ledger()
    ledger.listens_since = NOW - 1000
    assert ledger.decide(attempt(proven=False), NOW) == Denied(Scope.HOST, FAILED_LOGIN_SPAN - 1000)
    assert ledger.decide(attempt(), NOW) is None


def test_a_link_is_asked_for_once_a_minute() -> None:
    ledger = Ledger()
    ledger.begin(1, attempt(), NOW)
    assert ledger.decide(attempt(), NOW) == Denied(Scope.LINK, LASTS + SPAN)
    ledger.end(1, NOW + 1, login_failed=False)
    assert ledger.decide(attempt(), NOW + 2) == Denied(Scope.LINK, SPAN - 1)
    assert ledger.decide(attempt(apart=3600), NOW + 2) == Denied(Scope.LINK, 3598)
    assert ledger.decide(attempt(2), NOW + 2) is None
    assert ledger.decide(attempt(), NOW + 1 + SPAN) is None


def test_few_are_in_flight_under_a_login() -> None:
    ledger = Ledger()
    for number in range(IN_FLIGHT):
        ledger.begin(number, attempt(number), NOW)
    assert ledger.decide(attempt(50), NOW) == Denied(Scope.LOGIN, AGAIN)
    assert ledger.decide(attempt(50, login="other"), NOW) is None
    ledger.end(2, NOW, login_failed=False)
    assert ledger.decide(attempt(50), NOW) is None
    ledger.begin(50, attempt(50), NOW)
    assert ledger.decide(attempt(51), NOW + LASTS) is None


def test_one_login_may_fail_by_ourselves() -> None:
    ledger = Ledger()
    ledger.begin(1, attempt(proven=False), NOW)
    assert ledger.decide(attempt(2, proven=False), NOW) == Denied(Scope.HOST, AGAIN)
    assert ledger.decide(attempt(2, proven=False, host="smsc.kz"), NOW) is None
    ledger.end(1, NOW + 1, login_failed=False)
    assert ledger.decide(attempt(2, proven=False), NOW + 1) is None
    ledger.begin(2, attempt(2, proven=False), NOW + 1)
    ledger.end(2, NOW + 2, login_failed=True)
    assert ledger.decide(attempt(3, proven=False), NOW + 2) == Denied(Scope.HOST, FAILED_LOGIN_SPAN)
    assert ledger.decide(attempt(3), NOW + 2) is None
    assert ledger.decide(attempt(3, proven=False), NOW + 2 + FAILED_LOGIN_SPAN) is None


def test_what_others_failed_at_leaves_less_for_each() -> None:
    ledger = Ledger()
    spare = FAILED_LOGINS - REPLICAS
    for number in range(spare + 2):
        assert ledger.decide(attempt(proven=False), NOW) is None or number > spare
        ledger.failures[number] = Failure(HOST, NOW - 100 + number, ours=False)
    assert ledger.decide(attempt(proven=False), NOW) == Denied(Scope.HOST, FAILED_LOGIN_SPAN - 100 + 1)
    assert ledger.decide(attempt(proven=False, host="smsc.kz"), NOW) is None


@pytest.mark.parametrize(("key", "scope"), [(HOST, Scope.HOST), (attempt().secret, Scope.LOGIN)])
def test_pauses_hold(key: str, scope: Scope) -> None:
    ledger = Ledger()
    ledger.hold(key, Pause(State.THROTTLED, 60, 1), NOW)
    assert ledger.decide(attempt(), NOW + 20) == Denied(scope, 40, Pause(State.THROTTLED, 40, 1))
    assert ledger.decide(attempt(), NOW + 60) is None
    ledger.hold(key, Pause(State.BLOCKED, 1800, 2), NOW)
    assert ledger.decide(attempt(), NOW + 20) == Denied(scope, 1780, Pause(State.BLOCKED, 1780, 2))
    assert ledger.decide(attempt(), NOW + 1800) is None
    ledger.begin(1, attempt(), NOW + 1800)
    probed = Denied(scope, AGAIN, Pause(State.BLOCKED, AGAIN, 2))
    assert ledger.decide(attempt(2), NOW + 1801) == probed
    assert ledger.decide(attempt(2), NOW + 1800 + LASTS) is None
    ledger.hold(key, None, NOW)
    ledger.hold(key, None, NOW)
    assert ledger.decide(attempt(2), NOW) is None


def test_what_counts_no_longer_is_forgotten() -> None:
    ledger = Ledger()
    first = ledger.begin(1, attempt(), NOW)
    second = ledger.begin(2, attempt(), NOW + 1)
    ledger.end(1, NOW + 2, login_failed=True)
    assert ledger.end(1, NOW + 3, login_failed=True) is None
    assert list(ledger.owns(NOW + 4)) == [first, second]
    assert list(ledger.owns(NOW + 2 + SPAN)) == [second]
    # One in flight may yet end with a failed login, however long that takes.
    assert list(ledger.owns(NOW + 1 + LASTS + SPAN)) == [second]
    assert ledger.failures
    ledger.end(2, NOW + 500, login_failed=False)
    assert list(ledger.owns(NOW + 2 + FAILED_LOGIN_SPAN)) == []
    assert ledger.failures == {}

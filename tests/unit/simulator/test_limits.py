import pytest

from exporter.simulator import Settings
from exporter.simulator.limits import Limits
from tests.unit.simulator.helpers import AUTUMN, AWAY, HOME, LINKS, SPRING, Scene


def test_the_fourth_identical_request_within_a_minute_is_refused() -> None:
    scene = Scene()
    assert scene.labels(3, id=SPRING.id) == ["ok"] * 3
    scene.monotonic.forward(59.9)
    assert scene.text(id=SPRING.id) == "ERROR = 9 (duplicate request, wait a minute)"


def test_the_window_slides() -> None:
    scene = Scene()
    for _ in range(10):
        assert scene.ask(id=SPRING.id).label == "ok"
        scene.monotonic.forward(20)
    assert scene.ask(id=SPRING.id).label == "ok"
    scene.monotonic.forward(19.9)
    assert scene.labels(3, id=SPRING.id) == ["9", "9", "9"]


def test_neither_format_nor_address_nor_time_of_day_makes_a_request_another() -> None:
    scene = Scene()
    assert [scene.ask(id=SPRING.id, fmt=fmt).label for fmt in "012"] == ["ok"] * 3
    assert scene.ask(AWAY, id=SPRING.id, fmt="3").label == "9"


def test_another_link_another_name_of_it_and_another_login_have_windows_of_their_own() -> None:
    scene = Scene()
    scene.provider.set_password("alex", "123")
    assert scene.labels(4, id=SPRING.id)[-1] == "9"
    assert scene.labels(3, link=SPRING.url) == ["ok"] * 3
    assert scene.labels(3, id=AUTUMN.id) == ["ok"] * 3
    assert scene.labels(3, id=SPRING.id, login="alex", psw="123") == ["ok"] * 3


def test_a_refused_request_keeps_the_window_full() -> None:
    scene = Scene(Settings(links=LINKS, breaches=1000))
    assert scene.labels(3, id=SPRING.id) == ["ok"] * 3
    for _ in range(20):
        scene.monotonic.forward(19)
        assert scene.ask(id=SPRING.id).label == "9"
    scene.monotonic.forward(60)
    assert scene.ask(id=SPRING.id).label == "ok"


def test_the_windows_of_links_nobody_asks_for_any_more_are_forgotten() -> None:
    limits = Limits(breaches=10)
    for number in range(1000):
        limits.repeated(("demo", "id", str(number)), now=0.0)
    for now in (60.0, 120.0):
        limits.repeated(("demo", "id", "last"), now)
    assert len(limits._recent) + len(limits._older) == 2


def test_the_fifteenth_simultaneous_request_of_a_login_is_refused() -> None:
    scene = Scene()
    scene.provider.set_password("alex", "123")
    running = [scene.arrive(id=str(number)) for number in range(14)]
    assert {visit.reply.label for visit in running} == {"3"}
    crowded = scene.ask(id=SPRING.id)
    assert crowded.body.decode() == "ERROR = 9 (too many concurrent requests)"
    assert scene.ask(id=SPRING.id, login="alex", psw="123").label == "ok"
    scene.provider.leave(running.pop())
    assert scene.ask(id=SPRING.id).label == "ok"


def test_five_authorization_errors_block_the_address_for_half_an_hour() -> None:
    scene = Scene()
    for number in range(5):
        assert scene.ask(id=str(number), psw="wrong").label == "2"
        scene.monotonic.forward(449)
    scene.monotonic.forward(-449)
    assert scene.text(id=SPRING.id) == "ERROR = 4 (ip is temporarily blocked)"
    assert scene.ask(AWAY, id=SPRING.id).label == "ok"
    scene.monotonic.forward(1799.9)
    assert scene.ask(id=SPRING.id).label == "4"
    scene.monotonic.forward(0.1)
    assert scene.ask(id=SPRING.id).label == "ok"


def test_five_authorization_errors_over_a_longer_time_block_nothing() -> None:
    scene = Scene()
    for number in range(8):
        assert scene.ask(id=str(number), psw="wrong").label == "2"
        scene.monotonic.forward(451)


def test_authorization_errors_of_several_accounts_add_up() -> None:
    scene = Scene()
    assert [scene.ask(id="1", login=login).label for login in "abcde"] == ["2"] * 5
    assert scene.ask(id=SPRING.id).label == "4"


def test_an_authorization_error_by_a_fault_counts_as_one() -> None:
    scene = Scene(Settings(links=LINKS, faults="error_2"))
    assert [scene.ask(id=str(number)).label for number in range(6)] == ["2"] * 5 + ["4"]


def test_frequent_breaches_block_the_address_for_ten_minutes() -> None:
    scene = Scene(Settings(links=LINKS, breaches=4))
    assert scene.labels(8, id=SPRING.id) == ["ok"] * 3 + ["9"] * 4 + ["4"]
    scene.monotonic.forward(599.9)
    assert scene.ask(id=AUTUMN.id).label == "4"
    scene.monotonic.forward(0.1)
    assert scene.ask(id=AUTUMN.id).label == "ok"


def test_error_9_by_a_fault_is_no_breach() -> None:
    scene = Scene(Settings(links=LINKS, faults="error_9", breaches=2))
    assert [scene.ask(id=str(number)).label for number in range(10)] == ["9"] * 10


def test_a_fault_does_not_hide_a_broken_limit() -> None:
    scene = Scene(Settings(links=LINKS, faults="html"))
    assert scene.labels(4, id=SPRING.id) == ["html"] * 3 + ["9"]


@pytest.mark.parametrize(("until", "blocked"), [(10.0, True), (5.0, False)])
def test_an_address_can_be_blocked_by_hand(until: float, blocked: bool) -> None:
    limits = Limits(breaches=10)
    limits.block(HOME, until)
    assert limits.blocked(HOME, 5.0) is blocked


def test_a_shorter_block_does_not_end_a_longer_one() -> None:
    limits = Limits(breaches=10)
    limits.block(HOME, 100.0)
    limits.block(HOME, 50.0)
    assert limits.blocked(HOME, 99.0)

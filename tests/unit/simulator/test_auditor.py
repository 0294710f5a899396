import pytest

from exporter.simulator import Auditor, Settings, auditor
from exporter.simulator.auditor import MOST_TIMES, Window
from tests.unit.simulator.helpers import AUTUMN, AWAY, HOME, LINKS, SPRING, Scene


def test_the_worst_window_is_the_most_identical_requests_in_any_minute() -> None:
    scene = Scene(Settings(links=LINKS, breaches=1000))
    scene.labels(2, id=AUTUMN.id)
    for seconds in (0, 20, 20, 19.9, 100, 60):
        scene.monotonic.forward(seconds)
        scene.ask(id=SPRING.id)
    found = scene.provider.audit()
    assert found["worst_window"] == 4
    assert found["worst_link"] == SPRING.id


def test_what_is_a_whole_minute_apart_is_not_in_one_window() -> None:
    scene = Scene()
    for _ in range(30):
        scene.ask(id=SPRING.id)
        scene.monotonic.forward(20)
    assert scene.provider.audit()["worst_window"] == 3


def test_id_full_link_and_login_have_windows_of_their_own_in_the_audit() -> None:
    scene = Scene()
    scene.labels(2, id=SPRING.id)
    scene.labels(2, link=SPRING.url)
    scene.labels(2, id=SPRING.id, login="other")
    scene.labels(4, id="")
    assert scene.provider.audit()["worst_window"] == 2


def test_answers_are_counted_by_what_they_were() -> None:
    scene = Scene(Settings(links=LINKS, faults="http_503@145143,error_17@7"))
    scene.labels(4, id=SPRING.id)
    scene.labels(2, id=AUTUMN.id)
    scene.labels(1, id="7")
    scene.labels(1, id="404")
    found = scene.provider.audit()
    assert found["answers"] == {"ok": 3, "9": 1, "http_503": 2, "17": 1, "3": 1}
    assert found["requests"] == 8


def test_links_are_counted_one_by_one_when_asked_for() -> None:
    scene = Scene()
    scene.labels(2, id=SPRING.id)
    scene.labels(1, link=SPRING.url)
    assert scene.provider.audit(links=True)["links"] == {SPRING.id: 2, SPRING.url: 1}
    assert "links" not in scene.provider.audit()


def test_links_beyond_the_memory_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditor, "MOST_LINKS", 2)
    watching = Auditor(now=0.0)
    for value in ("a", "b", "c", "d", "a"):
        watching.arrive("demo", "id", value, 0.0)
    assert watching.report(0.0, links=True)["links"] == {"a": 2, "b": 1, "(others)": 2}


def test_the_most_requests_in_flight_are_those_of_one_login() -> None:
    scene = Scene()
    running = [scene.arrive(id=str(number)) for number in range(3)]
    running += [scene.arrive(id=str(number), login="other") for number in range(2)]
    assert scene.provider.audit()["in_flight"] == {"demo": 3, "other": 2}
    for visit in running:
        scene.provider.leave(visit)
    scene.ask(id=SPRING.id)
    assert scene.provider.audit()["most_in_flight"] == 3
    assert scene.provider.audit()["in_flight"] == {}


def test_the_worst_failed_logins_are_those_of_one_address_in_half_an_hour() -> None:
    scene = Scene()
    for number in range(3):
        scene.ask(id=str(number), psw="wrong")
        scene.ask(AWAY, id=str(number), psw="wrong")
    scene.monotonic.forward(1800)
    scene.ask(HOME, id="9", psw="wrong")
    assert scene.provider.audit()["worst_failed_logins"] == 3


def test_an_audit_begun_anew_knows_only_what_still_runs() -> None:
    scene = Scene()
    scene.labels(3, id=SPRING.id)
    still = scene.arrive(id=AUTUMN.id, psw="wrong")
    scene.monotonic.forward(30)
    scene.provider.reset_audit()
    scene.monotonic.forward(12)
    assert scene.provider.audit(links=True) == {
        "requests": 0,
        "worst_window": 0,
        "worst_link": "",
        "most_in_flight": 1,
        "in_flight": {"demo": 1},
        "worst_failed_logins": 0,
        "followed_redirects": 0,
        "answers": {},
        "duration_seconds": 12.0,
        "links": {},
    }
    scene.provider.leave(still)


def test_a_window_remembers_a_bounded_number_of_times() -> None:
    window = Window(60.0)
    assert [window.add("a", 0.0) for _ in range(MOST_TIMES + 5)][-1] == MOST_TIMES
    assert window.add("a", 60.0) == 1


def test_a_window_forgets_keys_that_are_over() -> None:
    window = Window(60.0)
    for number in range(100):
        window.add(number, 0.0)
    window.add("later", 59.0)
    window.add("last", 60.0)
    assert list(window._times) == ["later", "last"]


def test_a_frozen_request_counts_as_one_that_comes_just_now() -> None:
    scene = Scene(Settings(links=LINKS, faults="freeze"))
    frozen = [scene.arrive(id=SPRING.id) for _ in range(2)]
    scene.provider.faults = ""
    scene.monotonic.forward(100)
    for visit in frozen:
        scene.provider.leave(visit)
    scene.monotonic.forward(59)
    scene.ask(id=SPRING.id)
    assert scene.provider.audit()["worst_window"] == 3
    scene.provider.reset_audit()
    scene.ask(id=SPRING.id)
    assert scene.provider.audit()["worst_window"] == 1


def test_a_request_that_is_still_frozen_counts() -> None:
    scene = Scene(Settings(links=LINKS, faults="freeze"))
    scene.arrive(id=SPRING.id)
    for _ in range(3):
        scene.monotonic.forward(100)
        scene.arrive(id=SPRING.id)
    assert scene.provider.audit()["worst_window"] == 4
    assert scene.provider.audit()["most_in_flight"] == 4


def test_a_frozen_login_that_fails_counts_from_its_thaw_on() -> None:
    scene = Scene(Settings(links=LINKS, faults="freeze"))
    frozen = scene.arrive(id=SPRING.id, psw="wrong")
    scene.monotonic.forward(2000)
    scene.arrive(id=AUTUMN.id, psw="wrong")
    assert scene.provider.audit()["worst_failed_logins"] == 2
    scene.provider.leave(frozen)
    scene.monotonic.forward(1799)
    scene.provider.faults = ""
    scene.ask(id=AUTUMN.id, psw="wrong")
    assert scene.provider.audit()["worst_failed_logins"] == 3


def test_a_request_without_a_link_that_freezes_has_no_window() -> None:
    scene = Scene(Settings(links=LINKS, faults="freeze"))
    scene.provider.leave(scene.arrive(id=""))
    assert scene.provider.audit()["worst_window"] == 0


def test_a_request_that_thaws_after_a_new_audit_began_is_in_it() -> None:
    scene = Scene(Settings(links=LINKS, faults="freeze"))
    frozen = scene.arrive(id=SPRING.id)
    scene.provider.reset_audit()
    scene.provider.leave(frozen)
    scene.arrive(id=SPRING.id)
    assert scene.provider.audit()["worst_window"] == 2

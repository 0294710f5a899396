import json
from dataclasses import replace

import pytest

from exporter.simulator import Settings, numbered_links
from tests.unit.simulator.helpers import HOME, LINKS, LOGIN, SPRING, Scene

STILL = replace(SPRING, rate=0.0)


def still_scene() -> Scene:
    """A link whose counts are 17, 12, 10, 2 and 5."""
    scene = Scene(Settings(links=[STILL]), "2024-04-30 20:00")
    for moment, clicks in (("2024-04-30 20:00", 5), ("2024-05-03 22:00", 2), ("2024-05-04 22:00", 10)):
        scene.clock.at(moment)
        scene.provider.add_clicks(STILL.id, clicks)
    return scene


ANSWERS = {
    "0": "id = 145142, cnt = 17, cnt_mon = 12, cnt_day = 10, cnt_yes = 2, cnt_pmon = 5, link = smsc.tips/a",
    "1": "145142,17,12,10,2,5,smsc.tips/a",
    "2": "<result>\n<id>145142</id>\n<cnt>17</cnt>\n<cnt_mon>12</cnt_mon>\n<cnt_day>10</cnt_day>\n"
    "<cnt_yes>2</cnt_yes>\n<cnt_pmon>5</cnt_pmon>\n<link>smsc.tips/a</link>\n</result>",
    "3": '{\n"id": "145142",\n"cnt": "17",\n"cnt_mon": "12",\n"cnt_day": "10",\n'
    '"cnt_yes": "2",\n"cnt_pmon": "5",\n"link": "smsc.tips/a"\n}',
}
ERRORS = {
    "0": "ERROR = 3 (link not found)",
    "1": "0,-3",
    "2": "<result>\n<error>link not found</error>\n<error_code>3</error_code>\n</result>",
    "3": '{\n"error": "link not found",\n"error_code": 3\n}',
}
ANNOUNCED = {"0": "text/plain", "1": "text/plain", "2": "text/xml", "3": "application/json"}


@pytest.mark.parametrize("fmt", "0123")
def test_a_success_is_written_as_the_providers_page_shows_it(fmt: str) -> None:
    reply = still_scene().ask(id=STILL.id, fmt=fmt)
    assert reply.body.decode() == ANSWERS[fmt]
    assert (reply.label, reply.status) == ("ok", 200)


@pytest.mark.parametrize("fmt", "0123")
def test_an_error_is_written_as_the_providers_page_shows_it(fmt: str) -> None:
    reply = still_scene().ask(id="404", fmt=fmt)
    assert reply.body.decode() == ERRORS[fmt]
    assert (reply.label, reply.status) == ("3", 200)


def test_json_of_both_kinds_is_json() -> None:
    scene = still_scene()
    assert json.loads(scene.text(id=STILL.id, fmt="3"))["cnt_pmon"] == "5"
    assert json.loads(scene.text(id="404", fmt="3"))["error_code"] == 3


def test_without_a_format_the_answer_is_text() -> None:
    assert still_scene().text(id=STILL.id) == ANSWERS["0"]


def test_a_link_is_found_by_its_full_address_as_well() -> None:
    assert still_scene().text(link=STILL.url, fmt="1") == ANSWERS["1"]


@pytest.mark.parametrize("fmt", "0123")
@pytest.mark.parametrize(
    ("asked", "encoding"), [("", "windows-1251"), ("koi8-r", "windows-1251"), ("UTF-8", "utf-8")]
)
def test_the_text_is_encoded_as_announced(fmt: str, asked: str, encoding: str) -> None:
    scene = Scene(Settings(links=[replace(SPRING, short="смск.рф/ё")]))
    reply = scene.ask(id=SPRING.id, fmt=fmt, charset=asked)
    assert reply.content_type == f"{ANNOUNCED[fmt]}; charset={encoding}"
    assert "смск.рф/ё" in reply.body.decode(encoding)


@pytest.mark.parametrize(
    "change",
    [
        {"get": "0"},
        {"get": ""},
        {"login": ""},
        {"psw": ""},
        {"id": ""},
        {"link": SPRING.url},
        {"fmt": "4"},
        {"fmt": ""},
        {"fmt": "٣"},
    ],
    ids=str,
)
def test_parameters_that_are_missing_or_wrong_are_error_1(change: dict[str, str]) -> None:
    reply = Scene().ask_exactly(LOGIN | {"id": SPRING.id} | change)
    assert reply.body.decode() == "ERROR = 1 (parameters error)"


@pytest.mark.parametrize(
    "change", [{"psw": "wrong"}, {"psw": "пароль"}, {"login": "nobody"}, {"apikey": "wrong"}], ids=str
)
def test_a_login_that_does_not_hold_is_error_2(change: dict[str, str]) -> None:
    assert Scene().text(id=SPRING.id, fmt="1", **change) == "0,-2"


def test_a_key_stands_for_login_and_password() -> None:
    scene = Scene()
    assert scene.ask_exactly({"get": "1", "apikey": "demo-key", "id": SPRING.id}).label == "ok"
    # It is the same login's request as one with the password.
    assert scene.labels(3, id=SPRING.id) == ["ok", "ok", "9"]


def test_an_address_outside_the_allow_list_is_error_2() -> None:
    settings = Settings(links=LINKS, allowed_ips=frozenset({HOME}))
    scene = Scene(settings)
    assert scene.ask(id=SPRING.id).label == "ok"
    assert scene.ask("192.0.2.99", id=SPRING.id).label == "2"


def test_a_password_can_be_changed_and_a_login_added() -> None:
    scene = Scene()
    scene.provider.set_password("demo", "new")
    scene.provider.set_password("alex", "123")
    assert scene.ask(id=SPRING.id).label == "2"
    assert scene.ask(id=SPRING.id, psw="new").label == "ok"
    assert scene.ask(id=SPRING.id, login="alex", psw="123").label == "ok"


def test_every_link_of_many_answers_for_itself() -> None:
    links = numbered_links(200)
    scene = Scene(Settings(links=links))
    for link in links:
        answer = json.loads(scene.text(id=link.id, fmt="3"))
        assert (answer["id"], answer["link"]) == (link.id, link.short)
        assert tuple(int(answer[name]) for name in ("cnt", "cnt_mon", "cnt_day", "cnt_yes", "cnt_pmon")) == (
            scene.provider.figures(link.id)
        )

import json
import re
from collections import Counter
from http import HTTPStatus

import pytest

from exporter.simulator import FAULT_NAMES, Fault, Settings, parse_faults
from exporter.simulator.damage import RETRY_AFTER_SECONDS, Reply
from tests.unit.simulator.helpers import AUTUMN, LINKS, SPRING, Scene


def spoiled(fault: str, **parameters: str) -> Reply:
    return Scene(Settings(links=LINKS, faults=fault)).ask(**{"id": SPRING.id, "fmt": "3"} | parameters)


def whole(**parameters: str) -> bytes:
    return Scene().ask(**{"id": SPRING.id, "fmt": "3"} | parameters).body


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("hang", Fault("hang")),
        ("error_9", Fault("error", 9)),
        ("error_17:0.5", Fault("error", 17, 0.5)),
        ("http_500:.05", Fault("http", 500, 0.05)),
        ("error_3@145142", Fault("error", 3, 1.0, "145142")),
        ("html:0.1@https://a.example:8080/?b=c@d", Fault("html", 0, 0.1, "https://a.example:8080/?b=c@d")),
    ],
)
def test_a_fault_is_written_with_or_without_probability_and_target(spec: str, fault: Fault) -> None:
    assert parse_faults(spec) == (fault,)


def test_several_faults_are_separated_by_commas_or_given_apart() -> None:
    assert parse_faults("hang, cut:0.5,") == parse_faults(["hang", "cut:0.5"])
    assert [fault.label for fault in parse_faults("error_9,http_502,drip")] == ["9", "http_502", "drip"]
    assert parse_faults("") == ()


@pytest.mark.parametrize(
    ("spec", "advice"),
    [
        ("explode", f"fault 'explode': write one of {', '.join(FAULT_NAMES)}"),
        ("error_", "write one of error_N, "),
        ("error_0", "fault 'error_0': write an error's number from 1, such as error_9"),
        ("http_200", "write a status from 400 to 599, such as http_503"),
        ("http_600", "write a status from 400 to 599, such as http_503"),
        ("hang:often", "fault 'hang:often': write a probability from 0 to 1, such as http_500:0.05"),
        ("hang:1.1", "write a probability from 0 to 1"),
        ("hang:nan", "write a probability from 0 to 1"),
        ("Hang!", "fault 'Hang!': write name, name:probability or name:probability@link"),
        ("hang@", "write name, name:probability or name:probability@link"),
    ],
)
def test_a_fault_written_wrongly_is_refused_with_advice(spec: str, advice: str) -> None:
    with pytest.raises(ValueError, match=re.escape(advice)):
        parse_faults(spec)


def test_a_fault_strikes_as_often_as_its_probability_says() -> None:
    scene = Scene(Settings(links=LINKS, faults="http_500:0.2,html:0.5"))
    found = Counter(scene.ask(id=str(number)).label for number in range(2000))
    assert 320 <= found["http_500"] <= 480
    assert 720 <= found["html"] <= 880
    assert found["http_500"] + found["html"] + found["3"] == 2000


def test_the_same_seed_gives_the_same_faults() -> None:
    def labels(seed: int) -> list[str]:
        scene = Scene(Settings(links=LINKS, faults="html:0.5", seed=seed))
        return [scene.ask(id=str(number)).label for number in range(100)]

    assert labels(1) == labels(1) != labels(2)


@pytest.mark.parametrize("target", [SPRING.id, SPRING.url])
def test_a_fault_with_a_target_strikes_that_link_only(target: str) -> None:
    scene = Scene(Settings(links=LINKS, faults=f"html@{target}"))
    assert scene.ask(link=SPRING.url).label == "html"
    assert scene.ask(id=AUTUMN.id).label == "ok"
    assert scene.ask(id="404").label == "3"


def test_a_fault_by_id_strikes_the_full_link_as_well_and_unknown_links() -> None:
    scene = Scene(Settings(links=LINKS, faults=f"html@{SPRING.id},error_9@404"))
    assert scene.ask(link=SPRING.url).label == "html"
    assert scene.ask(id="404").label == "9"


def test_faults_can_be_changed_while_it_runs() -> None:
    scene = Scene()
    scene.provider.faults = "html"
    assert scene.ask(id=SPRING.id).label == "html"
    with pytest.raises(ValueError, match="explode"):
        scene.provider.faults = "explode"
    assert scene.provider.faults == (Fault("html"),)
    scene.provider.faults = ""
    assert scene.ask(id=SPRING.id).label == "ok"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (1, "ERROR = 1 (parameters error)"),
        (4, "ERROR = 4 (ip is temporarily blocked)"),
        (17, "ERROR = 17 (unknown error)"),
    ],
)
def test_any_error_can_be_asked_for(code: int, text: str) -> None:
    reply = spoiled(f"error_{code}", fmt="0")
    assert reply.body.decode() == text
    assert reply.label == str(code)


@pytest.mark.parametrize("status", [404, 429, 500, 502, 503, 599])
def test_an_http_error_is_a_page_of_the_front_proxy(status: int) -> None:
    reply = spoiled(f"http_{status}")
    assert (reply.status, reply.label, reply.content_type) == (status, f"http_{status}", "text/html")
    phrase = HTTPStatus(status).phrase if status != 599 else "Error"
    assert f"<h1>{status} {phrase}</h1>".encode() in reply.body
    retry = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status in {429, 503} else {}
    assert reply.headers == retry


def test_a_web_page_comes_with_200() -> None:
    reply = spoiled("html")
    assert (reply.status, reply.content_type) == (200, "text/html")
    assert reply.body.startswith(b"<html>")


def test_bytes_can_be_damaged() -> None:
    good = whole()
    assert spoiled("empty").body == b""
    assert spoiled("truncated").body == good[: len(good) // 2]
    assert spoiled("bom").body == b"\xef\xbb\xbf" + good
    assert spoiled("crlf").body == good.replace(b"\n", b"\r\n") + b"\r\n\r\n"
    assert len(spoiled("garbage").body) == 200
    assert spoiled("garbage").body == spoiled("garbage").body


@pytest.mark.parametrize(("asked", "given"), [("0", "3"), ("1", "0"), ("2", "0"), ("3", "0")])
def test_an_answer_can_come_in_another_format(asked: str, given: str) -> None:
    assert spoiled("other_format", fmt=asked).body == whole(fmt=given)


def test_an_error_can_come_in_another_format() -> None:
    assert spoiled("other_format", id="404").body == b"ERROR = 3 (link not found)"


def test_the_bytes_of_an_error_can_be_damaged_under_the_faults_name() -> None:
    reply = spoiled("crlf", id="404", fmt="0")
    assert (reply.label, reply.body) == ("crlf", b"ERROR = 3 (link not found)\r\n\r\n")


@pytest.mark.parametrize("fault", ["wrong_link", "negative", "comma"])
def test_an_error_has_no_figures_to_damage(fault: str) -> None:
    reply = spoiled(fault, id="404", fmt="0")
    assert (reply.label, reply.body) == ("3", b"ERROR = 3 (link not found)")


def test_another_links_answer_is_a_valid_one() -> None:
    answer = json.loads(spoiled("wrong_link", id=AUTUMN.id).body)
    assert (answer["id"], answer["link"]) == (SPRING.id, SPRING.short)
    assert int(answer["cnt"]) == Scene().provider.figures(SPRING.id).cnt


def test_counts_can_be_damaged() -> None:
    count = Scene().provider.figures(SPRING.id).cnt
    assert json.loads(spoiled("negative").body)["cnt"] == str(-count - 1)
    assert json.loads(spoiled("float").body)["cnt"] == f"{count}.5"
    assert json.loads(spoiled("numbers").body)["cnt"] == count
    assert json.loads(spoiled("null").body)["cnt"] is None
    assert spoiled("null", fmt="1").body == b"145142,,,,,,smsc.tips/a"
    assert spoiled("numbers", fmt="1").body == whole(fmt="1")


def test_the_short_link_can_be_difficult() -> None:
    assert b'"link": "smsc.tips/a"b\\c"' in spoiled("quote").body
    assert spoiled("comma", fmt="1").body.endswith(b",smsc.tips/a,b,c")
    assert spoiled("cyrillic").body.decode("cp1251").endswith('"link": "смск.рф/аб"\n}')
    assert spoiled("cyrillic", charset="utf-8").body.decode("utf-8").endswith('"link": "смск.рф/аб"\n}')


def test_the_encoding_can_be_another_than_announced() -> None:
    utf8 = spoiled("utf8")
    assert utf8.content_type.endswith("charset=windows-1251")
    assert "смск.рф/аб" in utf8.body.decode("utf-8")
    cp1251 = spoiled("cp1251", charset="utf-8")
    assert cp1251.content_type.endswith("charset=utf-8")
    assert "смск.рф/аб" in cp1251.body.decode("cp1251")


@pytest.mark.parametrize("manner", ["cut", "drip", "freeze", "hang", "huge", "redirect", "reset"])
def test_what_happens_on_the_way_is_left_to_the_delivery(manner: str) -> None:
    reply = spoiled(manner)
    assert (reply.manner, reply.label, reply.body) == (manner, manner, whole())


def test_every_fault_that_is_named_can_be_answered_with() -> None:
    names = [name.replace("_N", "_500") for name in FAULT_NAMES]
    assert {spoiled(name).label for name in names} == set(names) - {"error_500"} | {"500"}

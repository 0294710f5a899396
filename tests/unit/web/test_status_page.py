"""The status page and its JSON: the figures of the metrics and no others, found, sorted and escaped."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp.test_utils import TestClient
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.config import LinkFile
from exporter.errors import Fault, Outcome
from exporter.exposition.slot import SHOWN, View
from exporter.limits import Answered, Ledger, Reason, Request, Sent
from exporter.model import Failure, Snapshot, State
from exporter.web.connections import RETRY_AFTER
from exporter.web.help import pages
from exporter.web.listing import PER_PAGE, LinkState, Query, select
from exporter.web.report import MOST_COLUMNS
from exporter.web.site import MAX_REQUESTS
from exporter.web.status import MOST_FILES
from exporter.web.wording import ACCOUNT_WORDS, account_words, address, duration, link_words
from tests import needs
from tests.browser import Page, browser
from tests.factories import make_link, make_links, make_reading, show
from tests.unit.web.test_connections import come_about
from tests.unit.web.test_web import Desk
from tests.virtual import START

HOUR, DAY = 3600.0, 86_400.0
ANCIENT = 100 * DAY


def read(desk: Desk, *paths: str) -> list[str]:
    """What is answered under each path."""
    texts = []

    async def talk(client: TestClient[Any, Any]) -> None:
        for path in paths:
            async with client.get(path) as response:
                assert response.status == 200
                texts.append(await response.text())

    desk.run(talk)
    return texts


def ask(desk: Desk, path: str = "/api/v1/links") -> Any:
    return json.loads(read(desk, path)[0])


def page_of(desk: Desk) -> str:
    return read(desk, "/")[0]


def names(answer: Any) -> list[str]:
    return [link["link"] for link in answer["links"]]


# --- the figures ------------------------------------------------------------------------------------------


def _scraped(desk: Desk) -> dict[str, dict[str, float]]:
    """Each link's figures in the metrics, by link and by name."""
    found: dict[str, dict[str, float]] = {}
    for family in parse_text(b"".join(desk.exposition.render(openmetrics=False)).decode()):
        for sample in family.samples:
            if sample.name.startswith("smsc_link_clicks_"):
                name = sample.name.removeprefix("smsc_link_clicks_")
                found.setdefault(sample.labels["link"], {})[name] = sample.value
    return found


@pytest.mark.parametrize("later", [0.0, 10 * 60.0, 20 * 60.0, 9 * HOUR, 16 * DAY, 40 * DAY])
@pytest.mark.parametrize("set_by", [0.0, -HOUR, -DAY])
def test_the_page_never_shows_what_the_metrics_withhold(later: float, set_by: float) -> None:
    """Links read now, a while ago, days ago, never; of long and of short patience; as time passes."""
    patience = (900.0, ANCIENT)
    links = tuple(
        make_link(f"{age}-{stale}", id=f"{index}", stale_after=stale)
        for index, (age, stale) in enumerate((age, stale) for age in (0, 600, 86_400) for stale in patience)
    )
    desk = Desk(*links, make_link("never", id="99"))
    for link in links:
        desk.read(link, age=float(link.name.split("-")[0]), all_time=5)
    desk.clock.advance(later)
    desk.clock.step(set_by)
    told = {link["link"]: link for link in ask(desk)["links"]}
    scraped = _scraped(desk)
    for name, link in told.items():
        shown = {figure: clicks for figure, clicks in link["clicks"].items() if clicks is not None}
        assert shown == scraped.get(name, {}), name  # of an hour ago nothing is known here
        assert shown.keys() | link["withheld"].keys() == set(SHOWN)
        assert not shown.keys() & link["withheld"].keys()


def test_what_is_withheld_says_why() -> None:
    link, never = make_link(stale_after=ANCIENT), make_link("never", id="2")
    desk = Desk(link, never)
    desk.read(link)
    clicks, withheld = _of(desk)
    assert (clicks["today"], clicks["all_time"], withheld) == (1, 7, NO_HOUR)
    desk.clock.advance(9 * HOUR)  # midnight in Moscow
    clicks, withheld = _of(desk)
    assert clicks["month"] == 3
    assert withheld.keys() == {"today", "yesterday", "last_hour"}
    assert withheld["today"] == withheld["yesterday"] == "since midnight"
    assert page_of(desk).count(">since midnight<") == 2
    desk.clock.advance(16 * DAY)
    clicks, withheld = _of(desk)
    assert (clicks["all_time"], withheld["month"]) == (7, "since the month's end")
    desk.clock.advance(ANCIENT)
    clicks, withheld = _of(desk)
    assert set(clicks.values()) == {None}
    assert set(withheld.values()) == {"stale"}
    assert _of(desk, 1)[1] == dict.fromkeys(SHOWN, "not read yet")
    assert page_of(desk).count(">too old<") == 6


def test_clicks_of_the_last_hour_are_shown_once_a_reading_is_an_hour_old() -> None:
    busy, idle = (make_link(f"link-{n}", id=f"{n}", stale_after=ANCIENT) for n in range(2))
    desk = Desk(busy, idle)
    for place in (*range(1, 61), 66):
        desk.clock.advance(60)
        desk.read(busy, id=busy.id, all_time=100 * place)
        desk.read(idle, id=idle.id, all_time=5)
    clicks, withheld = _of(desk)
    assert (clicks["last_hour"], withheld) == (6500, {})
    assert _of(desk, 1)[0]["last_hour"] == 0
    assert ask(desk, "/api/v1/links?q=link-0")["totals"]["last_hour"] == {"clicks": 6500, "links": 1}
    assert names(ask(desk, "/api/v1/links?sort=last_hour")) == ["link-1", "link-0"]
    assert [line["last_hour"] for line in _csv(desk)] == ["6500", "0"]
    assert '<td class="number" data-head="Last hour">6,500</td>' in page_of(desk)
    desk.clock.advance(14 * 60)
    assert _of(desk)[0]["last_hour"] == 6500
    desk.clock.advance(60)
    clicks, withheld = _of(desk)
    assert (clicks["last_hour"], withheld, clicks["all_time"]) == (None, {"last_hour": "stale"}, 6600)


def test_before_a_reading_is_an_hour_old_there_is_a_dash() -> None:
    desk = Desk()
    assert '<td class="number withheld" data-head="Last hour">–</td>' in page_of(desk)
    assert "last_hour" not in [name for name, clicks in _of(desk)[0].items() if clicks is not None]


def _of(desk: Desk, place: int = 0) -> tuple[dict[str, Any], dict[str, str]]:
    link = ask(desk)["links"][place]
    return link["clicks"], link["withheld"]


def test_a_reading_of_unknown_age_has_no_age() -> None:
    desk = Desk(make_link())
    desk.read(desk.account.links[0], age=START)
    link = ask(desk)["links"][0]
    assert (link["read_at"], link["age_seconds"]) == (None, None)
    assert set(link["withheld"].values()) == {"stale"}


CLICKS = {"all_time": 7, "today": 1, "yesterday": 2, "month": 3, "previous_month": 4, "total": 7}
NO_HOUR = {"last_hour": "no reading an hour ago"}


# --- the rest of what is told -----------------------------------------------------------------------------


def test_the_api_tells_every_key_with_moments_in_utc() -> None:
    desk = Desk(make_link(labels=(("team", "рост"),)))
    link = desk.account.links[0]
    desk.read(link, age=61.0)
    desk.fail(link, Outcome.TIMEOUT)
    answer = ask(desk)
    assert answer == {
        "time": "2025-06-15T15:06:40Z",
        "version": answer["version"],
        "ready": True,
        "not_ready": None,
        "config": {"last_reload_successful": True, "last_reload_success": "2025-06-15T15:06:40Z"},
        "link_files": [],
        "storage": {"up": True},
        "accounts": [],
        "page": 1,
        "pages": 1,
        "per_page": 100,
        "matching": 1,
        "configured": 1,
        "states": {"ok": 0, "failing": 1, "stale": 0, "waiting": 0},
        "totals": {name: {"clicks": clicks, "links": 1} for name, clicks in CLICKS.items()}
        | {"last_hour": {"clicks": 0, "links": 0}},
        "links": [
            {
                "account": "main",
                "link": "spring-sale",
                "labels": {"team": "рост"},
                "id": "145142",
                "url": None,
                "short_link": "smsc.tips/a",
                "state": "failing",
                "outcome": "timeout",
                "clicks": {**CLICKS, "last_hour": None},
                "withheld": NO_HOUR,
                "read_at": "2025-06-15T15:05:39Z",
                "age_seconds": 61.0,
                "next_poll": None,
            }
        ],
        "failures": [],
    }


def _refused(ledger: Ledger, request: Request) -> None:
    """The account's login was refused a minute ago, at the clock's start."""
    ledger.begin(sent := Sent(request), 940.0)
    ledger.end(Answered(request, sent.number, Outcome.UNAUTHORIZED), 940.0)


def test_an_account_is_told_with_its_pause_its_budget_and_its_links_next_polls() -> None:
    desk = Desk(*make_links(2, interval=30.0))
    desk.begin_polling = _refused
    desk.telemetry.request_ended("main", Outcome.OK, 10.0)
    desk.telemetry.request_ended("main", Outcome.OK, 20.0)
    told, text = read(desk, "/api/v1/links", "/")
    answer = json.loads(told)
    assert answer["accounts"] == [
        {
            "name": "main",
            "state": "unauthorized",
            "reason": "the provider refuses the login",
            "up": None,
            "paused_until": "2025-06-15T15:35:40Z",
            "timezone": "Europe/Moscow",
            "links": 2,
            "polling_lag_seconds": 0.0,
            "concurrency_limit": 1,
            "in_flight": 0,
            "requests_per_minute": {"wanted": 4.0, "possible": 5.5},
            "failed_logins": 1,
        }
    ]
    assert {link["next_poll"] for link in answer["links"]} == {"2025-06-15T15:35:40Z"}
    told = "check login, password and allowed IP addresses; next try in 29 min"
    assert f'Login refused</span> <small>{told} <a href="./runbooks/SmscAccountUnauthorized">' in text
    assert text.count("next poll in 29 min") == 2
    assert "73 % <small>4.0 of 5.5 a minute" in text
    assert "1 of 4" in text
    assert "Europe/Moscow, 18:06" in text


@pytest.mark.parametrize(
    ("seconds", "used", "possible"),
    [(None, "?", "?"), (0.0, "33 %", "6.0"), (15.0, "50 %", "4.0"), (60.0, "200 %</span>", "1.0")],
)
def test_what_is_possible_is_what_fits_and_what_the_provider_allows(
    seconds: float | None, used: str, possible: str
) -> None:
    desk = Desk(*make_links(2))
    desk.begin_polling = lambda ledger, request: None
    if seconds is not None:
        desk.telemetry.request_ended("main", Outcome.OK, seconds)
    text = page_of(desk)
    assert f"{used} <small>2.0 of {possible} a minute" in text
    assert ("SmscPollingLagging" in text) == (used == "200 %</span>")


def test_failures_are_told_the_latest_first() -> None:
    desk = Desk()
    for n, outcome in enumerate((Outcome.TIMEOUT, Outcome.NOT_FOUND)):
        desk.poller.failures.append(Failure(START + n, "main", f"link-{n}", outcome, "<b>said</b>"))
    first, second = ask(desk)["failures"]
    assert first == {
        "time": "2025-06-15T15:06:41Z",
        "account": "main",
        "link": "link-1",
        "outcome": "not_found",
        "message": "<b>said</b>",
    }
    assert second["outcome"] == "timeout"
    text = page_of(desk)
    assert text.index("link-1") < text.index("link-0")
    assert "&lt;b&gt;said&lt;/b&gt;" in text


def test_a_reload_that_failed_and_what_else_is_wrong_is_told() -> None:
    desk = Desk()
    assert "None since the start." in page_of(desk)
    desk.telemetry.reloaded(None)
    desk.not_ready, desk.storage_up = "stopping", False
    answer = ask(desk)
    assert answer["config"] == {
        "last_reload_successful": False,
        "last_reload_success": "2025-06-15T15:06:40Z",
    }
    assert (answer["ready"], answer["storage"]) == (False, {"up": False})
    text = page_of(desk)
    for words in ("the latest reload failed", "</span> stopping</dd>", ">down<"):
        assert words in text


def _file(name: str, *, in_force: bool) -> LinkFile:
    return LinkFile("main", name, faults=() if in_force else (Fault(name, 1, 1, "links", "wrong"),))


def test_files_that_were_refused_are_told() -> None:
    desk = Desk()
    assert ask(desk)["link_files"] == []
    assert "Link files" not in page_of(desk)
    desk.telemetry.link_files = [_file(f"{n}.csv", in_force=False) for n in range(12)]
    answer = ask(desk)
    assert answer["link_files"][0] == {"account": "main", "file": "0.csv", "last_load_successful": False}
    text = page_of(desk)
    assert text.count(">refused<") == MOST_FILES
    assert "<bdi>9.csv</bdi>, and 2 more</dd>" in text
    desk.telemetry.link_files = [_file("<b>.csv", in_force=each) for each in (True, False)]
    text = page_of(desk)
    assert '<dd>1 in force, <span class="badge bad">refused</span> <bdi>main</bdi>: <bdi>&lt;b&gt;' in text


# --- searching, sorting, paging ---------------------------------------------------------------------------


def test_pages_hold_a_hundred_links_in_the_order_of_the_configuration() -> None:
    desk = Desk(*make_links(250))
    pages = [ask(desk, f"/api/v1/links?page={page}") for page in (1, 2, 3, 4)]
    assert [name for page in pages for name in names(page)] == [f"link-{n}" for n in range(250)]
    assert [len(page["links"]) for page in pages] == [100, 100, 50, 0]
    assert {(page["pages"], page["matching"], page["configured"]) for page in pages} == {(3, 250, 250)}


def _views() -> list[View]:
    """Three links: one read, one that fails with an older reading, one never asked."""
    a = make_link("Alpha", id="1", labels=(("team", "Рост"),))
    b = make_link("beta", "other", url="https://example.com/landing")
    c = make_link("gamma", id="33")
    read = Snapshot(a).succeeded(make_reading(id="1", today=5), START)
    failing = Snapshot(b).succeeded(make_reading(id="777", today=9, short_link="smsc.tips/zz"), START - 60)
    return [
        View(read, START, START + 900, START + 900, START + 900, None),
        View(failing.ended(Outcome.TIMEOUT), START - 60, START + 840, START + 840, START + 840, 3),
        View(Snapshot(c), 0.0, 0.0, 0.0, 0.0, None),
    ]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, "Alpha beta gamma"),
        ({"q": "ALPHA"}, "Alpha"),
        ({"q": "рост"}, "Alpha"),
        ({"q": "landing"}, "beta"),
        ({"q": "tips/z"}, "beta"),
        ({"q": "777"}, "beta"),
        ({"q": "33"}, "gamma"),
        ({"q": " main  a "}, "Alpha gamma"),
        ({"q": "nothing"}, ""),
        ({"account": "other"}, "beta"),
        ({"account": "nobody"}, ""),
        ({"state": "ok"}, "Alpha"),
        ({"state": "failing"}, "beta"),
        ({"state": "waiting"}, "gamma"),
        ({"state": "stale"}, ""),
        ({"state": "ok", "account": "other"}, ""),
        ({"sort": "today"}, "Alpha beta gamma"),
        ({"sort": "-today"}, "beta Alpha gamma"),
        ({"sort": "last_hour"}, "beta Alpha gamma"),
        ({"sort": "read"}, "beta Alpha gamma"),
        ({"sort": "-read"}, "Alpha beta gamma"),
        ({"sort": "link"}, "Alpha beta gamma"),
        ({"sort": "-link"}, "gamma beta Alpha"),
        ({"sort": "account"}, "Alpha gamma beta"),
        ({"sort": "state"}, "beta gamma Alpha"),
        ({"sort": "-state"}, "Alpha gamma beta"),
        ({"sort": "configured", "refresh": "30"}, "Alpha beta gamma"),
        ({"sort": "-all_time", "q": "a", "page": "1", "unknown": "x"}, "Alpha beta gamma"),
        ({"page": "2"}, ""),
    ],
)
def test_links_are_found_and_sorted(given: dict[str, str], found: str) -> None:
    query = Query.parse(given)
    listing = select(_views(), query, query.sort, START)
    assert [view.snapshot.link.name for view in listing.views] == found.split()
    assert listing.configured == 3
    assert listing.states == {"ok": 1, "failing": 1, "waiting": 1, "stale": 0}


def test_a_link_that_is_too_old_without_having_failed_is_stale() -> None:
    listing = select(_views(), Query(state=LinkState.STALE), "", START + 900)
    assert [view.snapshot.link.name for view in listing.views] == ["Alpha"]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"page": "0"}, "page: write a whole number from 1 on"),
        ({"page": "x"}, "page: write a whole number from 1 on"),
        ({"page": "9" * 5000}, "page: write a whole number from 1 on"),
        ({"state": "gone"}, "state: write one of ok, failing, stale, waiting"),
        ({"q": "x" * 201}, "q: write 200 characters or less"),
        ({"sort": "--link"}, "sort: write one of configured, account, link, all_time, today, yesterday,"),
        ({"sort": "-"}, "sort: write one of configured, account, link, all_time, today, yesterday, month,"),
        ({"refresh": "4"}, "refresh: write seconds, from 5 to 3600"),
        ({"refresh": "-30"}, "refresh: write seconds, from 5 to 3600"),
        ({"refresh": "9" * 5000}, "refresh: write seconds, from 5 to 3600"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(given: dict[str, str], complaint: str) -> None:
    desk = Desk()

    async def talk(client: TestClient[Any, Any]) -> None:
        async with client.get("/", params=given) as response:
            assert response.status == 400
            assert response.content_type == "text/plain"
            assert (await response.text()).startswith(complaint)
        async with client.get("/api/v1/links", params=given) as response:
            assert response.status == 400
            assert (await response.json())["error"].startswith(complaint)

    desk.run(talk)


class Held(ThreadPoolExecutor):
    """Keeps whatever is asked of it until it is let go, and counts it."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked = 0
        self.go = threading.Event()

    def submit(self, do: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.asked += 1
        return super().submit(lambda: self.go.wait() and do(*args, **kwargs))


@pytest.mark.parametrize("path", ["/", "/api/v1/links?q=x"])
def test_readers_wait_for_their_turn_and_nothing_is_done_for_those_who_leave(path: str) -> None:
    desk = Desk()
    held = desk.page_thread = Held()

    async def talk(client: TestClient[Any, Any]) -> None:
        server = cast("Any", client.server).runner.server
        try:
            waiting = [asyncio.create_task(client.get(path)) for _ in range(MAX_REQUESTS)]
            await come_about(lambda: server.requests_count == MAX_REQUESTS)
            async with client.get(path) as refused:
                assert (refused.status, refused.headers["Retry-After"]) == (503, str(RETRY_AFTER))
                assert "being answered already" in await refused.text()
            for leaving in waiting[1:-1]:
                leaving.cancel()
            # those who stay, and who was refused
            await come_about(lambda: sum(each.transport is not None for each in server.connections) <= 3)
        finally:
            held.go.set()
        for staying in (waiting[0], waiting[-1]):
            response = await staying
            assert (response.status, len(await response.text()) > 100) == (200, True)
        assert held.asked == 5  # to start, and to find links and to tell them, for two
        async with client.get(path) as response:
            assert response.status == 200

    desk.run(talk)


def test_addresses_of_pages_keep_what_was_asked_for() -> None:
    query = Query(q="a&b", account="main", sort="-today", page=3)
    assert query.url(page=4) == "?q=a%26b&account=main&sort=-today&page=4"
    assert query.url(account="") == "?q=a%26b&sort=-today"
    assert query.turned("today", "-") == "today"
    assert query.turned("month", "-") == "-month"
    assert query.turned("link", "") == "link"
    assert replace(query, sort="link").turned("link", "") == "-link"
    assert replace(query, sort="today").turned("today", "-") == "-today"


@pytest.mark.parametrize(
    ("short_link", "leads_to"),
    [
        ("https://smsc.tips/a", "https://smsc.tips/a"),
        ("HTTP://smsc.tips/a", "HTTP://smsc.tips/a"),
        ("smsc.tips/a", "https://smsc.tips/a"),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("//evil.example/a", None),
        ("smsc.tips:80/a", None),
        ("user@smsc.tips/a", None),
        ("localhost", None),
        ("", None),
    ],
)
def test_only_web_addresses_become_links(short_link: str, leads_to: str | None) -> None:
    assert address(short_link) == leads_to


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59.9, "59 s"), (60, "1 min"), (3600, "1 h"), (86_400 * 3, "3 d"), (-61, "1 min")],
)
def test_durations_are_rough(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# --- what needs attention ---------------------------------------------------------------------------------


def _headline(text: str) -> str:
    """What the title says, and the verdict too."""
    title = re.search("<title>(.*) – smsc-exporter</title>", text)
    assert title
    assert f"<p>{title[1]}</p>" in text
    return title[1]


def test_the_verdict_says_how_all_is() -> None:
    desk = Desk(*make_links(3))
    _, two, _ = desk.account.links
    desk.begin_polling = lambda ledger, request: None
    assert _headline(page_of(desk)) == "0 of 3 links read so far"
    for link in desk.account.links:
        desk.read(link)
    assert _headline(page_of(desk)) == "All 3 links are fresh"
    desk.fail(two, Outcome.NOT_FOUND)
    assert _headline(page_of(desk)) == "1 of 3 links failing"
    desk.begin_polling = _refused
    desk.clock.advance(1000)
    text = page_of(desk)
    assert _headline(text) == "1 of 3 links failing · 2 of 3 links too old · 1 of 1 account needs attention"
    assert '<a href="?state=failing">1 failing</a>' in text
    assert '<a href="?state=stale">2 too old</a>' in text
    desk.storage_up, desk.not_ready = False, "stopping"
    desk.telemetry.reloaded(None)
    assert _headline(page_of(desk)).endswith(" · not ready · the latest reload failed · the storage is down")


def test_one_link_and_none_have_their_own_words() -> None:
    assert _headline(page_of(Desk())) == "The only link is fresh"
    desk = Desk()
    show(desk.exposition, [], [])
    text = page_of(desk)
    assert _headline(text) == "No links are configured"
    assert '<a href="./docs/configuration">' in text


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.OK])
def test_every_outcome_has_words_and_a_runbook(outcome: Outcome) -> None:
    words = link_words({"state": LinkState.FAILING, "outcome": outcome})
    assert words.state
    assert words.runbook in pages("runbooks")


@pytest.mark.parametrize("state", [*State, Reason.UNKNOWN_PAST, Reason.FAILED_LOGINS])
def test_every_state_of_an_account_has_words_and_a_runbook(state: State | Reason) -> None:
    words = ACCOUNT_WORDS[state]
    assert words.state
    assert words.runbook in {"" if state is State.POLLING else None, *pages("runbooks")}
    assert account_words({"state": State.WAITING, "reason": state}) == words


def test_of_two_thousand_links_those_that_fail_are_on_the_first_page() -> None:
    desk = Desk(*make_links(2000))
    for link in desk.account.links:
        desk.read(link, id=link.id)
    for place in (1999, 700):
        desk.fail(desk.account.links[place], Outcome.TIMEOUT)
    text = page_of(desk)
    places = [text.index(f"<bdi>{name}</bdi>") for name in ("link-700", "link-1999", "link-0")]
    assert places == sorted(places)
    assert names(ask(desk))[:2] == ["link-0", "link-1"]  # a program gets the order of the configuration


def test_totals_are_of_all_links_that_were_found_and_say_of_how_many() -> None:
    desk = Desk(*make_links(150))
    for n, link in enumerate(desk.account.links[:120]):
        desk.read(link, id=link.id, today=n)
    assert ask(desk)["totals"]["today"] == {"clicks": sum(range(120)), "links": 120}
    assert ask(desk, "/api/v1/links?q=link-149")["totals"]["today"] == {"clicks": 0, "links": 0}
    text = page_of(desk)
    assert "Total of 150 links" in text
    assert '<td class="number" data-head="Today">7,140 <small>of 120 links</small></td>' in text


def test_failures_that_say_the_same_are_one_row() -> None:
    desk = Desk()
    for n in range(12):
        failure = Failure(START - n, "main", f"link-{n % 3}", Outcome.TIMEOUT, "no answer within 10 s")
        desk.poller.failures.appendleft(failure)
    desk.poller.failures.append(Failure(START, "main", "link-0", Outcome.NOT_FOUND, "error 3"))
    text = page_of(desk)
    assert text.count("no answer within 10 s") == 1
    assert "12 times since" in text
    assert "<bdi>link-0</bdi> <small>and 2 more</small>" in text
    assert text.index("error 3") < text.index("no answer within 10 s")
    assert len(ask(desk)["failures"]) == 13


def test_columns_that_say_nothing_with_one_account_are_not_there() -> None:
    desk = Desk(*make_links(2))
    desk.begin_polling = lambda ledger, request: None
    assert '"Account"' not in page_of(desk)
    assert '<select name="account">' not in page_of(desk)


def test_the_page_refreshes_itself_when_asked_to() -> None:
    desk = Desk(*make_links(2))
    text, refreshing = read(desk, "/?q=link", "/?q=link&refresh=30")
    assert 'http-equiv="refresh"' not in text
    assert 'href="?q=link&amp;refresh=30"' in text
    assert '<meta http-equiv="refresh" content="30">' in refreshing
    assert 'href="?q=link&amp;state=waiting&amp;refresh=30"' in refreshing  # and goes on after a click
    assert '<a href="?q=link">stop</a>' in refreshing


# --- as CSV -----------------------------------------------------------------------------------------------


def _csv(desk: Desk, path: str = "") -> list[dict[str, str]]:
    (text,) = read(desk, f"/api/v1/links?format=csv{path}")
    assert text[0] == "\ufeff"
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


def test_all_links_are_in_the_csv_with_their_labels() -> None:
    desk = Desk(*make_links(149), make_link("рост", url="https://example.com/", labels=(("team", "a,b"),)))
    desk.read(desk.account.links[0], id="0")
    lines = _csv(desk)
    assert [line["link"] for line in lines] == [*(f"link-{n}" for n in range(149)), "рост"]
    assert lines[0] | CLICKS_TEXT == lines[0]
    assert (lines[0]["read_at"], lines[0]["label_team"]) == ("2025-06-15T15:06:40Z", "")
    assert (lines[-1]["url"], lines[-1]["today"], lines[-1]["label_team"]) == (
        "https://example.com/",
        "",
        "a,b",
    )
    assert [line["link"] for line in _csv(desk, "&q=link-14&sort=-link")][:2] == ["link-148", "link-147"]


def test_labels_of_too_many_names_share_a_column() -> None:
    links = [make_link(f"l{n}", id=f"{n}", labels=((f"n{n}", "ё"),)) for n in range(MOST_COLUMNS + 1)]
    lines = _csv(Desk(*links))
    assert [line["labels"] for line in lines] == [f'{{"n{n}": "ё"}}' for n in range(MOST_COLUMNS + 1)]
    assert not any(name.startswith("label_") for name in lines[0])
    assert f"label_n{MOST_COLUMNS - 1}" in _csv(Desk(*links[:-1]))[0]


CLICKS_TEXT = {name: str(clicks) for name, clicks in CLICKS.items()}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1+1"])
def test_no_cell_of_the_csv_is_a_formula(text: str) -> None:
    desk = Desk(make_link(f"x{text}", id="1"), make_link(text, id="2", labels=(("team", text),)))
    desk.read(desk.account.links[1], id="2", short_link=text)
    first, second = _csv(desk)
    assert first["link"].split() == f"x{text}".split()
    for cell in ("link", "short_link", "label_team"):
        assert second[cell].startswith("'")


def test_the_csv_is_a_file_and_other_formats_do_not_exist() -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        async with client.get("/api/v1/links?format=csv") as response:
            assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
            assert response.headers["Content-Disposition"] == 'attachment; filename="links.csv"'
        async with client.get("/api/v1/links?format=xml") as response:
            assert response.status == 400
            assert (await response.json())["error"] == "format: write one of json, csv"

    Desk().run(talk)


# --- in a browser -----------------------------------------------------------------------------------------

NASTY = "<script>document.title = 'taken'</script>"
COUNT = "document.querySelectorAll('#links tbody tr').length"
FIRST = "document.querySelector('#links tbody th bdi').textContent"
FOUND = "document.querySelector('#found').textContent"


def visit(desk: Desk, home: Path, look: Callable[[Page, str], Awaitable[None]]) -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        async with browser(home) as page:
            await look(page, str(client.make_url("/")))
            assert page.complaints == []

    desk.run(talk)


def _shop() -> Desk:
    """Two hundred and fifty links, of which one has a name that wants to be a script."""
    nasty = make_link(NASTY, id="x", labels=(("team", '"><img src=x onerror=alert(1)>'),))
    desk = Desk(*make_links(249), nasty)
    for n, link in enumerate(desk.account.links):
        desk.read(link, age=n, id=link.id, today=n, short_link="javascript:alert(1)")
    desk.fail(desk.account.links[7], Outcome.NOT_FOUND)
    desk.poller.failures.append(Failure(START, "main", NASTY, Outcome.MALFORMED, NASTY))
    return desk


@pytest.mark.slow
@needs.chromium
def test_in_a_browser_links_are_paged_searched_sorted_and_filtered(tmp_path: Path) -> None:
    async def look(page: Page, url: str) -> None:
        await page.go(url)
        assert (await page.look(COUNT), await page.look(FIRST)) == (PER_PAGE, "link-7")  # which fails
        await page.act("document.querySelector('a[rel=next]').click()")
        assert await page.look(FIRST) == "link-100"
        await page.act("document.querySelectorAll('a[rel=next]')[1].click()")
        assert (await page.look(COUNT), await page.look("!document.querySelector('a[rel=next]')")) == (
            50,
            True,
        )
        await page.act(
            "[...document.querySelectorAll('#links thead a')].find(a => a.text == 'Today').click()"
        )
        assert await page.look(FIRST) == NASTY
        assert await page.look("document.querySelector('[aria-sort]').ariaSort") == "descending"
        await page.act("document.querySelector('[aria-sort] a').click()")
        assert await page.look(FIRST) == "link-0"
        await page.look("document.querySelector('[name=q]').value = 'link-24'")
        await page.act("document.querySelector('form button').click()")
        assert await page.look(FOUND) == "10 of 250 links"
        assert await page.look("document.querySelector('[aria-sort]').ariaSort") == "ascending"
        await page.look("document.querySelector('[name=q]').value = ''")
        await page.look("document.querySelector('[name=state]').value = 'failing'")
        await page.act("document.querySelector('form button').click()")
        assert (await page.look(COUNT), await page.look(FIRST)) == (1, "link-7")
        await page.act("document.querySelector('form a').click()")
        await page.act(
            "[...document.querySelectorAll('#verdict a')].find(a => a.text == '1 failing').click()"
        )
        assert (await page.look(COUNT), await page.look(FIRST)) == (1, "link-7")
        await page.act("document.querySelector('#links .state a').click()")
        assert await page.look("document.querySelector('h1').textContent") == "SmscLinkNotFound"
        await page.act("document.querySelector('.home a').click()")
        assert await page.look(FIRST) == "link-7"

    visit(_shop(), tmp_path, look)


@pytest.mark.slow
@needs.chromium
def test_on_a_phone_links_are_sorted_by_a_list_to_choose_from(tmp_path: Path) -> None:
    order = "document.querySelector('[name=sort]')"

    async def look(page: Page, url: str) -> None:
        await page.show(1400, 900)
        await page.go(url)
        assert await page.look(f"{order}.checkVisibility()") is False  # there the columns have heads
        await page.show(390, 844)
        for words, first in (("Today, most first", NASTY), ("Link, Z to A", "link-99")):
            assert await page.look(f"{order}.checkVisibility()") is True
            await page.look(
                f"{order}.value = [...{order}.options].find(each => each.text == '{words}').value"
            )
            await page.act("document.querySelector('form button').click()")
            assert await page.look(FIRST) == first
            assert await page.look(f"{order}.selectedOptions[0].text") == words

    visit(_shop(), tmp_path, look)


STICKING_OUT = """
[...document.querySelectorAll('body :not(thead, thead *)')].filter(each => {
  const right = each.getBoundingClientRect().right - 0.5
  const card = each.closest('.cards tbody tr')
  return right > document.documentElement.clientWidth || card && right > card.getBoundingClientRect().right
}).map(each => each.outerHTML)
"""


@pytest.mark.slow
@needs.chromium
@pytest.mark.parametrize("width", [360, 390, 833, 1000, 1150])
def test_nothing_sticks_out_at_any_width(width: int, tmp_path: Path) -> None:
    """With an account that is paused, and names that cannot be broken anywhere."""
    long = make_link("n" * 120, id="y", labels=(("team", "t" * 120),))
    desk = Desk(*make_links(3), long)
    desk.read(long, id="y", today=10**7, all_time=10**8, short_link="smsc.tips/" + "s" * 80)
    desk.begin_polling = _refused
    desk.telemetry.link_files = [_file("f" * 120, in_force=False)]
    desk.poller.failures.append(Failure(START, "main", long.name, Outcome.MALFORMED, "m" * 200))

    async def look(page: Page, url: str) -> None:
        await page.show(width, 900)
        await page.go(url)
        assert "next try in" in await page.look("document.querySelector('.state').textContent")
        assert await page.look(STICKING_OUT) == []
        assert await page.look("document.documentElement.scrollWidth <= innerWidth") is True

    visit(desk, tmp_path, look)


@pytest.mark.slow
@needs.chromium
def test_in_a_browser_names_stay_text_and_the_style_applies_in_light_and_dark(tmp_path: Path) -> None:
    async def look(page: Page, url: str) -> None:
        for dark, back in ((False, "rgb(255, 255, 255)"), (True, "rgb(22, 25, 28)")):
            await page.show(390, 844, dark=dark)
            await page.go(f"{url}?q=%3Cscript%3E")
            assert await page.look(FIRST) == NASTY
            assert await page.look("getComputedStyle(document.body).backgroundColor") == back
            assert await page.look("document.documentElement.scrollWidth") == 390
        assert await page.look("document.title") == "1 of 250 links failing – smsc-exporter"
        assert await page.look("document.querySelectorAll('img, script').length") == 0
        assert await page.look("document.querySelectorAll('#links tbody a').length") == 0

    visit(_shop(), tmp_path, look)

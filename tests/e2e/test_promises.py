"""What the exporter promises when the provider, a restart or a clock misbehaves, with real processes.

The judge is the simulated provider's auditor. It counts a request that its client gave up for as long as the
provider works on it. Some clocks run several times as fast: see ``hurried``.
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from exporter.simulator import Provider, Settings, numbered_links
from tests import needs
from tests.e2e.faults.machine import Page, hurried, stepped, without_jemalloc
from tests.processes import Program, exporter, get, until
from tests.providers import provider
from tests.redis_servers import redis_server

pytestmark = [pytest.mark.slow(1), needs.faketime]

SPEED = 4.0
MINUTE = 60 / SPEED
TIMEOUT = 20 / SPEED
"""Seconds after which an exporter gives a request up; in its own time, it is twenty."""
ANY_PORT = "--web.listen-address=127.0.0.1:0"
LISTENING = r"event=listening url=(\S+)"
CROWD = numbered_links(120)


def account(url: str, login: str = "demo", links: int = 1, **others: Any) -> dict[str, Any]:
    """An account that reads the first of the simulator's links."""
    ids = [{"id": link.id} for link in numbered_links(links)]
    secret = {"login": login, "password": "demo"}
    return {"name": login, **secret, "base_url": url, "timeout": "20s", "links": ids, **others}


def write_config(folder: Path, *accounts: dict[str, Any], storage: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    document: dict[str, Any] = {"refresh_interval": "21s", "accounts": accounts}
    if storage is not None:
        document["storage"] = {"url": storage}
    (folder / "config.yaml").write_text(json.dumps(document))
    return folder


@contextmanager
def serving(folder: Path, env: dict[str, str] | None = None) -> Iterator[tuple[Program, str]]:
    """An exporter and its URL."""
    with exporter(ANY_PORT, cwd=folder, env=env) as running:
        yield running, running.expect(LISTENING)[1]


def ask_once(folder: Path, env: dict[str, str] | None = None) -> int:
    """``smsc-exporter get`` for the first link; waits until its request may leave."""
    with exporter("get", numbered_links(1)[0].id, cwd=folder, env=env) as running:
        running.process.wait(150)
        return running.stop()


def audited(simulated: Provider, finding: str) -> Any:
    return simulated.audit()[finding]


def greedy(url: str) -> dict[str, Any]:
    """An account that may fill the login's fourteen places."""
    return account(url, links=len(CROWD), max_concurrent_requests=14)


def climbed(simulated: Provider, times: int = 1) -> None:
    """Waits for so many good answers that an exporter has found out how much it may ask at once."""
    until(lambda: simulated.auditor.answers["ok"] >= 200 * times, "concurrency", patience=120)


def test_a_restart_while_fourteen_are_given_up_adds_none_to_them(tmp_path: Path) -> None:
    since = time.time()
    with provider(Settings(links=CROWD, hang_seconds=MINUTE), SPEED) as (simulated, url):
        write_config(tmp_path, greedy(url))
        with serving(tmp_path, hurried(SPEED, since)) as (running, _):
            climbed(simulated)
            simulated.faults = "hang"
            until(lambda: audited(simulated, "in_flight") == {"demo": 14}, "fourteen in flight")
            time.sleep(TIMEOUT + 2)  # all are given up, and the provider is at work on them
            running.stop(signal.SIGKILL)
        sent = audited(simulated, "requests")
        with serving(tmp_path, hurried(SPEED, since)):
            until(lambda: audited(simulated, "requests") > sent, "polls after the restart", patience=90)
            time.sleep(TIMEOUT / 2)
    assert audited(simulated, "most_in_flight") == 14


@needs.redis
def test_two_replicas_have_fourteen_requests_together_while_all_are_given_up(tmp_path: Path) -> None:
    env = hurried(SPEED)
    with (
        provider(Settings(links=CROWD, hang_seconds=MINUTE), SPEED) as (simulated, url),
        redis_server(tmp_path, env=without_jemalloc(env)) as server,
        ExitStack() as stack,
    ):
        for name in ("a", "b"):
            folder = write_config(tmp_path / name, greedy(url), storage=server.url.get_secret_value())
            stack.enter_context(serving(folder, env))
        climbed(simulated, times=2)
        simulated.faults = "hang"
        until(lambda: sum(audited(simulated, "in_flight").values()) >= 14, "fourteen in flight")
        sent = audited(simulated, "requests")
        until(lambda: audited(simulated, "requests") > sent, "polls after those were given up", patience=90)
        time.sleep(TIMEOUT)
    assert audited(simulated, "most_in_flight") == 14


def test_a_restart_adds_no_fourth_request_to_three_that_a_frozen_provider_still_has(tmp_path: Path) -> None:
    since = time.time()
    with provider(Settings(freeze_seconds=MINUTE, links=numbered_links(1)), SPEED) as (simulated, url):
        write_config(tmp_path, account(url, timeout="5s"))
        with serving(tmp_path, hurried(SPEED, since)) as (running, _):
            until(lambda: simulated.auditor.answers["ok"], "a first answer")
            simulated.faults = "freeze"
            until(lambda: simulated.auditor.answers["freeze"] == 3, "three requests that freeze")
            time.sleep(8 / SPEED)  # more than the timeout
            running.stop(signal.SIGKILL)
        with serving(tmp_path, hurried(SPEED, since)):
            ask_once(tmp_path, hurried(SPEED, since))  # sent as soon as the ledger allows it
            until(lambda: simulated.auditor.answers["freeze"] > 3, "polls after the restart", patience=90)
    assert audited(simulated, "worst_window") == 3


def test_accepted_accounts_that_are_all_refused_at_once_cost_four_failed_logins(tmp_path: Path) -> None:
    """The provider answers at once, so that hardly more than one request is under way when it begins."""
    logins, speed = [f"login-{number}" for number in range(12)], 5.0
    settings = Settings(links=numbered_links(1), accounts=dict.fromkeys(logins, "demo"))
    with provider(settings, speed) as (simulated, url):
        write_config(tmp_path, *(account(url, login) for login in logins))
        with serving(tmp_path, hurried(speed)) as (_, address):
            keys = [(login, numbered_links(1)[0].id) for login in logins]
            until(lambda: Page(address).read(keys) == len(keys), "all figures", patience=120)
            simulated.allowed_ips = frozenset()
            until(lambda: audited(simulated, "worst_failed_logins"), "a refused login")
            time.sleep(120 / speed)
    assert audited(simulated, "worst_failed_logins") <= 4


def test_accounts_that_are_not_answered_at_first_have_figures_within_three_minutes(tmp_path: Path) -> None:
    logins = [f"login-{number}" for number in range(6)]
    settings = Settings(
        links=numbered_links(1), accounts=dict.fromkeys(logins, "demo"), hang_seconds=MINUTE, faults="hang"
    )
    keys = [(login, numbered_links(1)[0].id) for login in logins]
    with provider(settings, SPEED) as (simulated, url):
        write_config(tmp_path, *(account(url, login, timeout="10s") for login in logins))
        with serving(tmp_path, hurried(SPEED)) as (_, address):
            began = Page(address).date
            time.sleep(15 / SPEED)
            simulated.faults = ""
            until(lambda: Page(address).read(keys) == len(keys), "all figures", patience=300 / SPEED)
            page = Page(address)
    read_at = [page.figure("smsc_link_last_success_timestamp_seconds", key) for key in keys]
    assert max(moment or 0 for moment in read_at) - began < 180


@needs.redis
@pytest.mark.slow(2)
def test_a_redis_clock_that_steps_forward_ends_no_minute_early(tmp_path: Path) -> None:
    offset = tmp_path / "offset"
    offset.write_text("+0")
    with (
        provider(Settings(links=numbered_links(1))) as (simulated, url),
        redis_server(tmp_path, env=without_jemalloc(stepped(offset))) as server,
    ):
        server.age()
        folder = write_config(tmp_path, account(url), storage=server.url.get_secret_value())
        assert [ask_once(folder) for _ in range(3)] == [0, 0, 0]
        offset.write_text("+12")
        ask_once(folder)
    assert audited(simulated, "requests") == 4
    assert audited(simulated, "worst_window") == 3


def figures(address: str) -> dict[str, float]:
    """When each link was read whose figures are shown, by the reader's clock."""
    text = get(f"{address}/metrics")[1]
    shown = set(re.findall(r'^smsc_link_clicks_all_time\S+link="(\w+)"', text, re.MULTILINE))
    moments = re.findall(r'^smsc_link_last_success\S+link="(\w+)"\S* (\S+)$', text, re.MULTILINE)
    return {link: float(moment) for link, moment in moments if link in shown}


@needs.redis
@pytest.mark.slow(3)
def test_a_replica_whose_clock_was_an_hour_ahead_loses_no_figures(tmp_path: Path) -> None:
    offset, links = tmp_path / "offset", 20
    offset.write_text("+3600")
    with (
        provider(Settings(links=numbered_links(links))) as (_, url),
        redis_server(tmp_path) as server,
        ExitStack() as stack,
    ):
        server.age()
        urls = []
        for name, env in {"ahead": stepped(offset), "right": None}.items():
            one = account(url, links=links, max_concurrent_requests=14, stale_after="63s")
            folder = write_config(tmp_path / name, one, storage=server.url.get_secret_value())
            urls.append(stack.enter_context(serving(folder, env))[1])
        for address in urls:
            until(lambda: len(figures(address)) == links, "all figures", patience=120)  # noqa: B023 - called at once
        offset.write_text("+0")
        corrected, fewest = time.time(), links
        while time.time() < corrected + 100:
            fewest = min(fewest, *(len(figures(address)) for address in urls))
            time.sleep(1)
        read_at = [moment for address in urls for moment in figures(address).values()]
        now = time.time()
    assert fewest == links
    assert corrected < min(read_at)
    assert max(read_at) < now + 1, "a figure was not replaced by a newer one"


@pytest.mark.slow(2)
@pytest.mark.parametrize("outage", ["hang", "http_502"])
def test_an_outage_of_ten_minutes_is_over_after_ninety_seconds(tmp_path: Path, outage: str) -> None:
    speed, links = 8.0, 14
    settings = Settings(links=numbered_links(links), hang_seconds=60 / speed)
    keys = [("demo", link.id) for link in numbered_links(links)]
    with provider(settings, speed) as (simulated, url):
        write_config(tmp_path, account(url, links=links))
        with serving(tmp_path, hurried(speed)) as (_, address):
            until(lambda: Page(address).read(keys) == links, "all figures", patience=120)
            simulated.faults = outage
            time.sleep(600 / speed)
            assert ("timeout" if outage == "hang" else "http_error") in Page(address).outcomes(keys)
            ended, simulated.faults = Page(address).date, ""
            until(lambda: oldest(address) > ended, "all links read again", patience=300 / speed)
            page = Page(address)
    read_at = [page.figure("smsc_link_last_success_timestamp_seconds", key) or 0 for key in keys]
    assert max(read_at) - ended < 90
    assert audited(simulated, "worst_window") <= 3


def oldest(address: str) -> float:
    """When the link was read whose figures are the oldest, by the exporter's clock."""
    return min(figures(address).values(), default=0.0)

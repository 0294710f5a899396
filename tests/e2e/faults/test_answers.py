"""Every wrong answer the simulator knows, at a real exporter: no wrong figure, no limit broken, recovery.

An hour of pauses passes in a minute: the exporter's clocks are hurried by Debian's libfaketime, the
simulator's by the clock handed to it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.simulator import FAULT_NAMES, Settings, SimulatedLink, parse_faults
from tests import needs
from tests.e2e.faults.machine import Page, hurried
from tests.e2e.faults.watch import Source, Watch, watched
from tests.processes import exporter, until
from tests.providers import provider

pytestmark = [pytest.mark.slow(1), needs.faketime]

SPEED = 60.0
STALE_AFTER = 6 * 3600
HARMLESS = ("other_format", "bom", "crlf", "cyrillic", "cp1251", "utf8", "quote", "comma", "numbers")
EXPECTED = {
    "error_1": "parameters",
    "error_3": "not_found",
    "error_9": "throttled",
    "error_17": "unknown_error",
    "http_404": "http_error",
    "http_429": "http_error",
    "http_500": "http_error",
    "http_503": "http_error",
    "redirect": "http_error",
    "html": "malformed",
    "garbage": "malformed",
    "truncated": "malformed",
    "cut": "malformed",
    "empty": "malformed",
    "huge": "malformed",
    "wrong_link": "malformed",
    "negative": "malformed",
    "null": "malformed",
    "float": "malformed",
    "drip": "timeout",
    "hang": "timeout",
    "freeze": "timeout",
    "reset": "unreachable",
    **dict.fromkeys(HARMLESS, "ok"),
}
"""What the outcome label says of each fault: the README's promise, fault by fault."""
# A login refused and an address blocked stop more than the link they are said of: a provider of their own.
STOPS = {"error_2": "unauthorized", "error_4": "blocked"}


def links_for(faults: list[str]) -> dict[str, SimulatedLink]:
    """A link for each fault, and one beside it that nothing is wrong with. No clicks but those put in."""
    names = [name for fault in faults for name in (fault, f"beside-{fault}")]
    return {
        name: SimulatedLink(
            str(1001 + number), f"https://shop.example/{number}", f"smsc.tips/{number}", rate=0
        )
        for number, name in enumerate(names)
    }


def account(fault: str, url: str, links: dict[str, SimulatedLink]) -> dict[str, Any]:
    """Each fault gets a login of its own, so that what it does to the account touches no other."""
    both = [{"id": links[name].id, "name": name} for name in (fault, f"beside-{fault}")]
    return {"name": fault, "login": fault, "password": "demo", "base_url": url, "links": both}


def settings(faults: list[str], links: dict[str, SimulatedLink]) -> Settings:
    accounts = dict.fromkeys(faults, "demo")
    return Settings(
        links=tuple(links.values()), accounts=accounts, hang_seconds=5.0, freeze_seconds=1.5, drip_seconds=0.2
    )


def test_every_wrong_answer(tmp_path: Path) -> None:
    faults = [*EXPECTED, *STOPS]
    links = links_for(faults)
    simulators = [settings(list(EXPECTED), links), *(settings([fault], links) for fault in STOPS)]
    with (
        provider(simulators[0], SPEED) as common,
        provider(simulators[1], SPEED) as refusing,
        provider(simulators[2], SPEED) as blocking,
    ):
        at = {**dict.fromkeys(EXPECTED, common), "error_2": refusing, "error_4": blocking}
        write_config(tmp_path, [account(fault, at[fault][1], links) for fault in faults])
        for fault in faults:
            at[fault][0].add_clicks(links[fault].id, 100)
        sources = {
            (fault, name): Source(at[fault][0], links[name].id, STALE_AFTER)
            for fault in faults
            for name in (fault, f"beside-{fault}")
        }
        with exporter("--web.listen-address=127.0.0.1:0", cwd=tmp_path, env=hurried(SPEED)) as running:
            url = running.expect(r"event=listening url=(\S+)")[1]
            until(lambda: Page(url).read(sources) == len(sources), "all figures")
            with watched(running, url, sources, SPEED) as watch:
                strike(faults, links, at, watch)
                assert until_told(watch, faults) == EXPECTED | STOPS
                for simulated, _ in (common, refusing, blocking):
                    simulated.faults = ""
                watch.recovers()
            assert running.stop() == 0


def test_more_links_than_may_be_asked_at_once(tmp_path: Path) -> None:
    """More are due than may be in flight; a third is given up, and the provider is at work on it still."""
    links = links_for([str(number) for number in range(20)])
    ids = [{"id": link.id, "name": name} for name, link in links.items()]
    everything = {"name": "all", "login": "all", "password": "demo", "links": ids}
    at_once = {"max_concurrent_requests": 14, "timeout": "40s", "refresh_interval": "1m"}
    # Given up after 40 s, it is at work for 35 s more, of the minute for which that is reckoned with.
    slow = replace(settings(["all"], links), latency=str(30 / SPEED), hang_seconds=45 / SPEED)
    with provider(slow, SPEED) as (simulated, base_url):
        write_config(tmp_path, [{**everything, **at_once, "base_url": base_url}])
        sources = {("all", name): Source(simulated, link.id, STALE_AFTER) for name, link in links.items()}
        with exporter("--web.listen-address=127.0.0.1:0", cwd=tmp_path, env=hurried(SPEED)) as running:
            url = running.expect(r"event=listening url=(\S+)")[1]
            with watched(running, url, sources, SPEED) as watch:
                simulated.faults = "hang:0.3"
                watch.add_clicks(5)
                until(lambda: watch.page() and simulated.auditor.answers["hang"] >= 14, "requests that hang")
                simulated.faults = ""
                watch.recovers()
            assert running.stop() == 0
        assert simulated.auditor.most_in_flight == 14  # no more, and it came to that
        assert not simulated.auditor.answers["9"]


def test_no_fault_of_the_simulator_is_left_out() -> None:
    shown = {fault.kind for fault in parse_faults(",".join([*EXPECTED, *STOPS]))}
    assert shown == {name.removesuffix("_N") for name in FAULT_NAMES}


def write_config(folder: Path, accounts: list[dict[str, Any]]) -> None:
    # Ten minutes of the exporter's are ten seconds here; a timeout of a minute is one.
    document = {"refresh_interval": "5m", "stale_after": f"{STALE_AFTER}s", "accounts": accounts}
    for one in accounts:
        one.setdefault("timeout", "60s")
    (folder / "config.yaml").write_text(json.dumps(document))


def strike(faults: list[str], links: dict[str, SimulatedLink], at: dict[str, Any], watch: Watch) -> None:
    """From now on every link's answer is wrong in its own way, and would tell five clicks more."""
    for simulated in {id(one): one for one, _ in at.values()}.values():
        simulated.faults = ",".join(
            f"{fault}@{links[fault].id}" for fault in faults if at[fault][0] is simulated
        )
    watch.add_clicks(5, *((fault, fault) for fault in faults))


def until_told(watch: Watch, faults: list[str]) -> dict[str, str]:
    """Waits until every fault shows, none of them with the new figure, and returns what was told of each."""
    told: dict[str, str] = {}

    def all_told() -> bool:
        page = watch.page()
        for fault in faults:
            figure = page.all_time(fault, fault)
            harmless = EXPECTED.get(fault) == "ok"
            assert figure in ({100.0, 105.0} if harmless else {100.0}), fault
            assert page.all_time(fault, f"beside-{fault}") == 0.0, fault
        shown = {fault: page.outcome(fault, fault) for fault in faults}
        told.update({fault: outcome for fault, outcome in shown.items() if outcome != "ok"})
        told.update({fault: "ok" for fault in HARMLESS if page.all_time(fault, fault) == 105.0})
        return len(told) == len(faults)

    until(all_told, "every fault's outcome", pause=0.2)
    return told

"""The rules' tests notice: what guards against a false alert is taken out, and a named test fails."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from tests import needs
from tests.alerting.shipped import ALERTS, PROMETHEUS, RULE_FILES, label, read, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs.prometheus


class Mutant(NamedTuple):
    """``guard``, a pattern in the rules, is replaced; ``test`` in ``file`` has to fail."""

    guard: str
    replacement: str
    file: str
    test: str


QUIET = "four clicks within an hour on a link that has none"
LIVELY = "thirty-eight clicks in an hour where ten come"
BURSTY = "a link that bursts every 29 hours is told once, and then known"
STOPS = "a link of 60 clicks an hour gets no more"
SMALL = "a link of three clicks in two hours gets no more"
FADES = "a campaign fades and ends"
ANEW = "a counter that began anew is no flatline"
FROZEN = "a cache that stands still for five hours, and the jump after it"
SHIFT = "two and a half times the clicks for a week, too few clicks to tell, and a campaign that fades"
MANY = "five of six links stop in one account, four of four and five of twenty-five in others"

MUTANTS = {
    "freshness gate": Mutant(r"and abs\(smsc:clicks:age_seconds - .*<= 900", "", "gates.yml", FROZEN),
    "no delta over a fall": Mutant(r"unless present_over_time\(smsc:clicks:fell.*", "", "gates.yml", ANEW),
    "count floor of a spike": Mutant(r"\+ 4 +# constant", "+ 0 # constant", "spike.yml", QUIET),
    "deviations of a spike": Mutant(r"\+ 3 +# constant", "+ 0 # constant", "spike.yml", LIVELY),
    "factor of a spike": Mutant(r"\b3( +# constant: .* the expected)", r"1\1", "spike.yml", LIVELY),
    "usual burst": Mutant(r"\b2\.25( +# constant: how many times its usual)", r"0\1", "spike.yml", BURSTY),
    "a spike does not teach": Mutant(r"(burst\[14d\]) offset 3h", r"\1", "spike.yml", BURSTY),
    "keep_firing_for": Mutant(r"keep_firing_for: 30m", "", "spike.yml", BURSTY),
    "count floor of a flatline": Mutant(r">= (12|8) +# constant", ">= 0 # constant", "flatline.yml", SMALL),
    "what is compared agrees": Mutant(
        r"\b4( +# constant: how many times the least)", r"400\1", "flatline.yml", FADES
    ),
    "a flatline lasts": Mutant(
        r"or smsc:clicks:expected_median > 0 and last_over.*", "", "flatline.yml", STOPS
    ),
    "one label set for each link": Mutant(
        r"topk by \(job, account, link\) \(1, (.*)\)", r"\1", "flatline.yml", STOPS
    ),
    "count floor of a shift": Mutant(r"> 3( +# constant: not chance)", r"> 0\1", "shift.yml", SHIFT),
    "steady before a shift": Mutant(r"and smsc:clicks:delta.* offset 1w > 0\.5 .*", "", "shift.yml", SHIFT),
    "many links": Mutant(r">= 5 +# constant", ">= 1 # constant", "many.yml", MANY),
    "share of the links": Mutant(r"> 0\.2 +# constant", "> 0 # constant", "many.yml", MANY),
    "not found is not stale": Mutant(
        r"unless on \(job, account, link\) smsc_link_failing.*",
        "",
        "exporter.yml",
        "a link the provider does not know",
    ),
}

WAITS = {
    "SmscLinkClickSpike-warning": ("spike.yml", BURSTY),
    "SmscLinkClicksFlatline-warning": ("flatline.yml", STOPS),
    "SmscLinkTrafficShift-info": ("shift.yml", SHIFT),
    "SmscExporterDown-critical": ("exporter.yml", "an exporter that is down"),
    "SmscExporterDown-warning": ("exporter.yml", "one of two replicas is down"),
    "SmscStorageDown-warning": ("exporter.yml", "storage fails on one of two replicas"),
    "SmscConfigReloadFailed-warning": ("exporter.yml", "a configuration is refused, and then mended"),
    "SmscAccountUnauthorized-critical": ("exporter.yml", "a login is refused"),
    "SmscAccountBlocked-critical": ("exporter.yml", "the address is blocked"),
    "SmscAccountUnreachable-warning": ("exporter.yml", "the provider is out of reach, twice"),
    "SmscAccountThrottled-warning": ("exporter.yml", "throttled for long, and now and then"),
    "SmscPollingLagging-warning": ("exporter.yml", "links are read late"),
    "SmscLinkNotFound-warning": ("exporter.yml", "a link the provider does not know"),
    "SmscLinkDataStale-warning": ("exporter.yml", "a link is read no more, and one never was"),
}
"""For each alert that waits (``for``): which test fails once it does not."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Rules and tests, to be spoilt."""
    shutil.copytree(PROMETHEUS, tmp_path / "copy")
    return tmp_path / "copy"


def _fails(copy: Path, file: str, name: str) -> None:
    """That one test of the file fails, by what it expects and not by a rule that can't be read."""
    checked = run("promtool", "check", "rules", *(f"rules/{rules}" for rules in RULE_FILES), cwd=copy)
    assert checked.returncode == 0, checked.stderr
    path = copy / "tests" / file
    document = read(path)
    document["tests"] = [test for test in document["tests"] if test["name"] == name]
    assert document["tests"], f"{file} has no such test"
    _write(path, document)
    _keep_what_it_needs(copy, json.dumps(document))
    done = run("promtool", "test", "rules", f"tests/{file}", cwd=copy)
    said = done.stdout + done.stderr
    assert done.returncode != 0, f"{name}: did not notice"
    assert "FAILED" in said
    assert re.search(r"exp:|duplicate series", said), said


def _keep_what_it_needs(copy: Path, test: str) -> None:
    """Takes out the rules of which the test sees nothing: evaluating them takes most of its time."""
    documents = {path: read(path) for path in (copy / "rules").glob("*.yml")}
    rules = [rule for document in documents.values() for rule in _rules(document)]
    needed: set[str] = set()
    named = _names(test)
    while named - needed:
        needed |= named
        named = {name for rule in rules if _name(rule) in needed for name in _names(rule["expr"])}
    for path, document in documents.items():
        for group in document["groups"]:
            group["rules"] = [rule for rule in group["rules"] if _name(rule) in needed]
        _write(path, document)


def _names(text: str) -> set[str]:
    """Whatever may be the name of a series or an alert."""
    return set(re.findall(r"[a-zA-Z_:]+", text))


def _name(rule: dict[str, Any]) -> str:
    return str(rule.get("alert") or rule["record"])


def _write(path: Path, document: Any) -> None:
    path.write_text(yaml.safe_dump(document, allow_unicode=True, width=1000))


@pytest.mark.parametrize("guard", MUTANTS)
def test_a_test_fails_without(guard: str, copy: Path) -> None:
    mutant = MUTANTS[guard]
    found = 0
    for path in (copy / "rules").glob("*.yml"):
        text, count = re.subn(mutant.guard, mutant.replacement, path.read_text())
        path.write_text(text)
        found += count
    assert found, "the guard is not where it was"
    _fails(copy, mutant.file, mutant.test)


@pytest.mark.parametrize("alert", WAITS)
def test_a_test_fails_without_the_wait_of(alert: str, copy: Path) -> None:
    found = 0
    for path in (copy / "rules").glob("*.yml"):
        document = read(path)
        for rule in _rules(document):
            if "alert" in rule and label(rule) == alert:
                del rule["for"]
                found += 1
        _write(path, document)
    assert found == 1
    _fails(copy, *WAITS[alert])


def _rules(document: Any) -> list[dict[str, Any]]:
    return [rule for group in document["groups"] for rule in group["rules"]]


def test_no_wait_is_left_out() -> None:
    assert {label(alert) for alert in ALERTS if "for" in alert} == set(WAITS)

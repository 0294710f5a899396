"""The rules are sound: promtool says so, they name what exists, each alert is tested and has a runbook."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.errors import Outcome
from exporter.exposition.slot import FAMILIES
from exporter.model import State
from exporter.telemetry import Telemetry
from tests import needs
from tests.rules.mutation import WRITTEN
from tests.rules.shipped import (
    ALERTS,
    NAMES,
    PROMETHEUS,
    ROOT,
    RULE_FILES,
    RUNBOOKS,
    label,
    read,
    rules,
    run,
)
from tests.rules.test_mutants import YOUNG

RUNBOOK_BASE = (
    'http://{{ with query "smsc_exporter_build_info" }}'
    '{{ . | sortByLabel "instance" | first | label "instance" }}'
    "{{ else }}localhost:10145{{ end }}/runbooks/"
)
"""On an exporter that is up, which serves the runbooks itself."""

EXPECTATIONS: list[dict[str, Any]] = [
    expectation
    for written in WRITTEN.values()
    for test in written["tests"]
    for expectation in test.get("alert_rule_test", [])
]


def _exported() -> set[str]:
    """The names of our series, and what the account's registry makes of them."""
    telemetry = Telemetry(list, lambda: True)
    families = list(telemetry.registry.collect())
    counters = {family.name + "_total" for family in families if family.type == "counter"}
    return {family.name for family in families} | counters | {family.name for family in FAMILIES}


def _texts() -> list[str]:
    """Everything in the rules that PromQL may stand in."""
    return list(
        chain.from_iterable((rule["expr"], *rule.get("annotations", {}).values()) for rule in rules())
    )


@needs.prometheus
def test_promtool_accepts_the_rules_and_the_configuration() -> None:
    for command in (["rules", *(f"rules/{name}" for name in RULE_FILES)], ["config", "prometheus.yml"]):
        done = run("promtool", "check", *command)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_fires_in_one_test_and_is_silent_in_another(name: str) -> None:
    fires = {bool(each["exp_alerts"]) for each in EXPECTATIONS if each["alertname"] == name}
    assert fires == {True, False}


def test_the_tests_expect_no_alert_that_does_not_exist() -> None:
    assert {each["alertname"] for each in EXPECTATIONS} == set(NAMES)


@pytest.mark.parametrize("alert", ALERTS, ids=label)
def test_every_alert_says_what_a_person_needs(alert: dict[str, Any]) -> None:
    assert set(alert["labels"]) == {"severity"}
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"{RUNBOOK_BASE}{alert['alert']}"
    if alert["alert"].startswith("SmscLink"):
        assert "$labels.link }}" in alert["annotations"]["summary"]
        assert "$labels.account }}" in alert["annotations"]["summary"]


def test_alerts_and_runbooks_are_one_to_one() -> None:
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_runbook_has_its_four_parts(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Meaning", "Impact", "Diagnosis", "Mitigation"]
    assert not re.search(r"^## .*\n+(##|\Z)", text, re.MULTILINE), "a part with nothing in it"


def test_links_in_the_runbooks_lead_somewhere() -> None:
    for path in [*RUNBOOKS.glob("*.md"), ROOT / "docs" / "alerting.md"]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
            assert target.startswith("https://") or (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_guide_names_every_alert() -> None:
    text = (ROOT / "docs" / "alerting.md").read_text()
    assert [name for name in NAMES if f"[{name}](runbooks/{name}.md)" not in text] == []


@pytest.mark.parametrize("name", ["clicks.yml", "young.yml"])
def test_the_guide_has_the_headings_of_the_rules_on_clicks_in_their_order(name: str) -> None:
    headings = re.findall(r"# -+ (.*?) -+\n", (PROMETHEUS / "rules" / name).read_text())
    parts = (ROOT / "docs" / "alerting.md").read_text().split("\n## ")
    (part,) = (part for part in parts if f"rules/{name}) " in part and part.startswith("How "))
    assert re.findall(r"\n### (.*)", part) == headings
    assert headings


def test_clicks_are_counted_alike_in_all_windows() -> None:
    counted = [rule for rule in rules() if rule.get("record") == "smsc:clicks:delta"]
    windows = [rule["labels"]["window"] for rule in counted]
    assert windows == ["1h", "3h", "6h", "24h", "72h", "7d"]
    alike = {re.sub(rf"\b{rule['labels']['window']}\b", "W", rule["expr"]) for rule in counted}
    assert len(alike) == 1


def test_the_rules_name_only_series_that_exist() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    named = set(re.findall(r"\bsmsc[_:][a-z0-9_:]+", "\n".join(_texts()))) - {"smsc"}
    assert named - recorded - _exported() == set()
    assert recorded <= named, "recorded for nobody"


def test_runbooks_and_guide_name_only_series_that_exist() -> None:
    known = _exported() | {rule["record"] for rule in rules() if "record" in rule}
    for path in [*RUNBOOKS.glob("*.md"), ROOT / "docs" / "alerting.md"]:
        named = set(re.findall(r"\bsmsc(?:_(?:link|account|api|exporter)_|:)[a-z0-9_:]+", path.read_text()))
        families = {re.sub(r"_seconds_(bucket|sum|count)$", "_seconds", name) for name in named}
        assert families - known == set(), path.name


@needs.prometheus
@pytest.mark.parametrize("name", NAMES)
def test_queries_to_be_pasted_can_be_read(name: str, tmp_path: Path) -> None:
    blocks = re.findall(r"```promql\n(.*?)```", (RUNBOOKS / f"{name}.md").read_text(), re.DOTALL)
    queries = "".join(blocks).splitlines()
    assert queries
    pasted = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    document = {"groups": [{"name": name, "rules": pasted}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(document, width=1000))
    done = run("promtool", "check", "rules", "rules.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "known"), [("outcome", Outcome), ("state", State)])
def test_the_rules_name_only_outcomes_and_states_that_exist(name: str, known: type[Outcome | State]) -> None:
    values = re.findall(rf'\b{name}=~?\\?"([a-z_|]+)\\?"', "\n".join(_texts()))
    assert values
    assert set("|".join(values).split("|")) <= set(known)


def test_the_rules_know_the_job_of_the_scrape_configuration() -> None:
    config = read(PROMETHEUS / "prometheus.yml")
    assert {job["job_name"] for job in config["scrape_configs"]} == {"smsc"}
    assert set(re.findall(r'\bup\{job="(\w+)"', "\n".join(_texts()))) == {"smsc"}


def test_the_retention_the_rules_need_is_told_where_it_is_set() -> None:
    flag = "--storage.tsdb.retention.time=40d"
    assert flag in (PROMETHEUS / "prometheus.yml").read_text()
    assert flag in (ROOT / "docs" / "alerting.md").read_text()


def test_every_constant_of_young_links_has_a_mutant() -> None:
    text = (PROMETHEUS / "rules" / "young.yml").read_text()
    left = {number for number, line in enumerate(text.splitlines()) if re.search(r"\S +# constant", line)}
    for guard, _, _ in YOUNG.values():
        for found in re.finditer(guard, text):
            first = text[: found.start()].count("\n")
            left -= set(range(first, first + len(found[0].splitlines())))
    assert [text.splitlines()[number] for number in sorted(left)] == []

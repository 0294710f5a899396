"""The committed boards are what the code builds, whole to Grafana's model, and name what exists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from exporter.errors import Outcome
from exporter.exposition.slot import FAMILIES
from exporter.model import State
from exporter.telemetry import Telemetry
from grafana.boards.exporter import OUTCOMES, RUNBOOKS, STATES
from grafana.boards.parts import UNKNOWN
from grafana.build import boards
from tests.grafana.committed import BOARDS, PANELS, QUERIES, Query, selectors
from tests.rules.shipped import NAMES, ROOT, read, rules

PROMETHEUS = {"ALERTS", "ALERTS_FOR_STATE", "up", "scrape_duration_seconds", "scrape_samples_scraped"}
"""Series that Prometheus makes itself."""


def _own() -> Iterator[str]:
    """Samples of a registry that has an account, so that its families have samples."""
    telemetry = Telemetry(list, lambda: True)
    for family in telemetry.registry.collect():
        yield family.name
        yield from (sample.name for sample in family.samples)
        yield from (family.name + suffix for suffix in SUFFIXES.get(family.type, ()))


AGGREGATIONS = {"avg", "count", "max", "min", "quantile", "sum", "topk"}
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
METRICS = {family.name for family in FAMILIES} | set(_own())
RECORDED = {rule["record"] for rule in rules() if "record" in rule}


def test_the_committed_boards_are_what_the_code_builds() -> None:
    built = {name: json.loads(text) for name, text in boards().items()}
    assert built == BOARDS, "write them anew: python -m grafana.build"


@pytest.mark.parametrize("name", BOARDS)
def test_grafanas_model_reads_it_and_loses_nothing(name: str) -> None:
    register_default_plugins()
    read_and_written = json.loads(JSONEncoder().encode(Dashboard.from_json(BOARDS[name])))
    for link in read_and_written["links"]:
        assert link.pop("placement") == "inControlsMenu"  # the model knows no other place
    assert read_and_written == BOARDS[name]


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_queries_name_what_exists(query: Query) -> None:
    names = {selector.name for selector in selectors(query.written)}
    assert names
    assert names <= METRICS | RECORDED | PROMETHEUS


def test_every_series_of_the_exporter_is_on_a_board() -> None:
    """But how long requests took in all and in flight, which the buckets tell, and what says the same."""
    shown = {selector.name for query in QUERIES for selector in selectors(query.written)}
    ours = {name for name in METRICS if name.startswith("smsc_")}
    left_out = {"smsc_account_up", "smsc_api_requests", "smsc_api_request_duration_seconds"}
    left_out |= {
        "smsc_exporter_http_requests",
        "smsc_exporter_http_requests_total",
    }  # for alerts
    left_out |= {f"smsc_api_request_duration_seconds_{suffix}" for suffix in ("count", "sum", "created")}
    assert ours - shown <= left_out


def test_alerts_named_by_boards_exist() -> None:
    named = {
        name
        for query in QUERIES
        for found in re.findall(r'alertname=~"([^"]+)"', query.written)
        for name in found.split("|")
    }
    every = "Smsc.+"
    assert [name for name in NAMES if not re.fullmatch(every, name)] == []
    assert every in named
    assert named - {every}
    assert named - {every} <= set(NAMES)


def test_the_labels_filter_holds_for_all_that_is_said_of_links() -> None:
    """On the boards of many links: what leaves it out counts links that are not shown beside it."""
    for query in QUERIES:
        for selector in selectors(query.written.replace("$label", "team")):
            if query.board != "smsc-link.json" and selector.name.startswith("smsc_link_"):
                assert ("team", ".*") in selector.matchers, query


def test_every_outcome_and_state_has_its_colour() -> None:
    assert OUTCOMES.keys() == set(Outcome)
    assert {name for name, _ in STATES.values()} == set(State)


def test_boards_lead_to_boards_that_exist() -> None:
    uids = {board["uid"] for board in BOARDS.values()}
    led = set(re.findall(r"/d/([\w-]+)", json.dumps(list(BOARDS.values()))))
    assert led
    assert led <= uids
    for board in BOARDS.values():
        others = {re.split(r"[/?]", link["url"])[2] for link in board["links"]}
        assert others == uids - {board["uid"]}


def test_boards_keep_the_account_but_for_the_board_of_one_link() -> None:
    """There `All` is not a choice."""
    for board in BOARDS.values():
        for link in board["links"]:
            assert ("${account:queryparam}" in link["url"]) == ("/d/smsc-link" not in link["url"])


def test_alerts_and_states_lead_to_their_runbooks() -> None:
    """Each exporter serves them; see exporter/web/help.py."""
    led = set(re.findall(r"http://\$\{exporter\}/runbooks/(\w+)", json.dumps(list(BOARDS.values()))))
    assert led == set(RUNBOOKS.values())
    assert led <= set(NAMES)
    assert RUNBOOKS.keys() == set(State) - {State.POLLING}
    (alerts,) = (panel for _, panel in PANELS if panel["title"] == "Alerts that fire")
    assert "/runbooks/${__data.fields[" in json.dumps(alerts)


@pytest.mark.parametrize("title", ["Links", "Alerts that fire"])
def test_a_row_leads_to_its_own_link(title: str) -> None:
    """Two jobs, or two accounts, may have links of one name."""
    (panel,) = (panel for _, panel in PANELS if panel["title"] == title)
    shown = panel["transformations"][-1]["options"]["renameByName"]
    assert {shown[name] for name in ("job", "account", "link")} == {"Job", "Account", "Link"}
    (led,) = re.findall(r"/d/smsc-link\S*", json.dumps(panel).replace('\\"', "'"))
    for name in ("job", "account", "link"):
        assert f"var-{name}=${{__data.fields['{shown[name]}']:percentencode}}" in led


@pytest.mark.parametrize("panel", [panel for _, panel in PANELS], ids=lambda panel: panel["title"])
def test_columns_dressed_are_columns_shown(panel: dict[str, Any]) -> None:
    """An override of a name that no series or column has would be silently without effect."""
    named = {target["legendFormat"] for target in panel.get("targets", [])} | set(OUTCOMES) | {"Day"}
    for transformation in panel.get("transformations") or []:
        named |= set(transformation["options"].get("renameByName", {}).values())
    dressed = [
        override["matcher"]["options"]
        for override in panel["fieldConfig"]["overrides"]
        if override["matcher"]["id"] == "byName"
    ]
    assert set(dressed) <= named


def test_panels_fill_their_rows() -> None:
    for board in BOARDS.values():
        rows: dict[int, int] = {}
        for panel in board["panels"]:
            place = panel["gridPos"]
            rows[place["y"]] = rows.get(place["y"], 0) + place["w"]
        assert set(rows.values()) == {24}


@pytest.mark.parametrize("panel", [panel for _, panel in PANELS], ids=lambda panel: panel["title"])
def test_titles_fit_a_screen_of_1280_pixels(panel: dict[str, Any]) -> None:
    """A letter takes about seven and a half; Grafana cuts the rest off."""
    assert len(panel["title"]) * 7.5 <= panel["gridPos"]["w"] * 1280 / 24 - 40


def test_an_empty_cell_is_not_called_an_empty_table() -> None:
    """Alerts on accounts have no link, those on exporters no account either."""
    (panel,) = (panel for _, panel in PANELS if panel["title"] == "Alerts that fire")
    assert panel["fieldConfig"]["defaults"]["noValue"] == "No alert fires"
    cells = {
        name: found["value"]
        for override in panel["fieldConfig"]["overrides"]
        for found in override["properties"]
        for name in override["matcher"]["options"].split("|")
        if found["id"] == "noValue"
    }
    assert cells == {"Account": UNKNOWN, "Link": UNKNOWN}


def test_the_time_step_of_recorded_series_is_not_a_boards_concern() -> None:
    """Boards rely on these recorded series alone; the others may change with the rules."""
    used = {selector.name for query in QUERIES for selector in selectors(query.written)} & RECORDED
    assert used == {
        "smsc:clicks:delta",
        "smsc:clicks:expected_lower",
        "smsc:clicks:expected",
        "smsc:clicks:spike_bound",
        "smsc:link:labels",
        "smsc:young:floor",
        "smsc:young:surge_bound",
    }


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_replicas_are_not_added_up(query: Query) -> None:
    """Each exporter exports every link and account: what is said of one is taken from one of them."""
    for selector in selectors(query.written):
        if selector.name.startswith(("smsc_link_", "smsc_account_")) and query.panel != "Requests at once":
            aggregations = [name for name in selector.around if name in AGGREGATIONS]
            assert aggregations[-1] == "max", selector


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_jobs_are_told_apart(query: Query) -> None:
    """What is said of each link, account or exporter is said of each job's; so is what requests take."""
    for labels in re.findall(r"by \(([^)]*)\)", query.written):
        if {"account", "link", "instance", "le"} & set(labels.split(", ")):
            assert "job" in labels.split(", "), query.written


def test_provisioning_says_what_grafana_reads() -> None:
    """https://grafana.com/docs/grafana/latest/administration/provisioning/"""
    folder = ROOT / "grafana" / "provisioning"
    sources = read(folder / "datasources" / "smsc.yml")
    assert sources["apiVersion"] == 1
    (source,) = sources["datasources"]
    assert (source["type"], source["access"], source["uid"]) == ("prometheus", "proxy", "smsc-prometheus")
    scraped = read(ROOT / "deploy" / "prometheus" / "prometheus.yml")["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped
    providers = read(folder / "dashboards" / "smsc.yml")
    assert providers["apiVersion"] == 1
    (provider,) = providers["providers"]
    assert provider["type"] == "file"
    path = provider["options"]["path"].replace("$GF_PATHS_PROVISIONING", str(folder))
    assert (ROOT / path).resolve() == (ROOT / "grafana" / "dashboards").resolve()

"""What boards make of a few series: two jobs, two exporters of the same links, a label, and a stranger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import needs
from tests.grafana.committed import QUERIES, put_in
from tests.rules.shipped import run

A1, A2, B = ('job="a", instance="1"', 'job="a", instance="2"', 'job="b", instance="1"')
NODE = 'job="node", instance="1"'
"""Something else that Prometheus scrapes."""

SALE = 'account="main", link="sale", team="growth"'
PLAIN = 'account="main", link="plain"'

SERIES = {
    **{f"up{{{who}}}": int(who in {A1, B}) for who in (A1, A2, B, NODE)},
    **{f"scrape_duration_seconds{{{who}}}": 1 for who in (A1, A2, B, NODE)},
    **{f'smsc_exporter_build_info{{{who}, version="1"}}': 1 for who in (A1, A2, B)},
    **{f'smsc_account_links{{{who}, account="main"}}': 2 for who in (A1, A2, B)},
    f'smsc_account_state{{{A1}, account="main", state="throttled"}}': 0,
    f'smsc_account_state{{{A2}, account="main", state="throttled"}}': 1,
    f'smsc_account_state{{{B}, account="main", state="throttled"}}': 0,
    **{f"smsc_link_info{{{who}, {link}}}": 1 for who in (A1, A2, B) for link in (SALE, PLAIN)},
    **{f"smsc_link_up{{{who}, {SALE}}}": int(who == B) for who in (A1, A2, B)},
    f'smsc_link_failing{{{A1}, {SALE}, outcome="timeout"}}': 1,
    f'smsc_link_failing{{{A2}, {SALE}, outcome="malformed"}}': 1,
    f'ALERTS{{{A2}, alertname="SmscExporterDown", alertstate="firing"}}': 1,
    f'ALERTS{{job="a", {SALE}, alertname="MyOwn", alertstate="firing"}}': 1,
    f'ALERTS{{{NODE}, alertname="NodeDown", alertstate="firing"}}': 1,
}
"""Of each job two links; those of `plain` have no label and have not been polled."""


def _asked(board: str, panel: str, ref: str = "A", **choices: str) -> str:
    (query,) = (q for q in QUERIES if (q.board, q.panel, q.ref) == (f"smsc-{board}.json", panel, ref))
    return put_in(query.written, **choices)


def _count(of: str, *found: tuple[str, int]) -> dict[str, Any]:
    return {"expr": of, "eval_time": "0m", "exp_samples": [{"labels": who, "value": n} for who, n in found]}


GROWTH = {"label": "team", "value": "growth"}
STATES = f"count by (job, link) ({_asked('overview', 'Links', 'H')})"
STATES_OF_GROWTH = f"count by (job, link) ({_asked('overview', 'Links', 'H', **GROWTH)})"
FIRING = _asked("overview", "Alerts that fire").replace("ALERTS_FOR_STATE", "ALERTS")

FIGURES = [
    _count(_asked("exporter", "Exporters down"), ("{}", 1)),
    _count(_asked("exporter", "Exporters down", "B"), ("{}", 3)),
    _count(f"count by (job) ({_asked('exporter', 'Scrape time')})", ('{job="a"}', 2), ('{job="b"}', 1)),
    # Of several exporters the worst counts, as where states are shown over time.
    _count(_asked("exporter", "Accounts hindered"), ("{}", 1)),
    _count(_asked("exporter", "Accounts hindered", "B"), ("{}", 2)),
    # Chosen by their label both are counted alike.
    _count(_asked("exporter", "Links failing"), ("{}", 1)),
    _count(_asked("exporter", "Links failing", "B"), ("{}", 4)),
    _count(_asked("exporter", "Links failing", "B", **GROWTH), ("{}", 2)),
    # One row of each job's link, though two exporters fail in two ways.
    _count(STATES, *((f'{{job="{job}", link="{link}"}}', 1) for job in "ab" for link in ("plain", "sale"))),
    _count(STATES_OF_GROWTH, *((f'{{job="{job}", link="sale"}}', 1) for job in "ab")),
    _count(
        f"count by (alertname) ({FIRING})",
        *((f'{{alertname="{name}"}}', 1) for name in ("MyOwn", "SmscExporterDown")),
    ),
]


HOURS = [
    ("overview", "Clicks in the last hour, the ten busiest links", ["plain"]),
    ("link", "The last day, and the same day in earlier weeks", []),
]
ANEW = {"anew": "5000+1x89 4997+1x90", "plain": "5000+1x180"}
"""One counter begins anew after an hour and a half, without three clicks that were taken back."""


@needs.prometheus
@pytest.mark.parametrize(("board", "panel", "others"), HOURS)
def test_a_counter_that_begins_anew_has_no_huge_hour(
    board: str, panel: str, others: list[str], tmp_path: Path
) -> None:
    """Its hour is not known; the other's, and the hours before and after, are."""
    asked = _asked(board, panel, account="main", link="anew" if board == "link" else ".*", job="smsc")
    known = [{"labels": f'{{link="{link}"}}', "value": 60} for link in others]
    all_known = [{"labels": '{link="anew"}', "value": 60}, *known]
    asked_at = {"60m": all_known, "120m": known, "160m": all_known}
    tests = [
        {"expr": f"max by (link) ({asked})", "eval_time": at, "exp_samples": samples}
        for at, samples in asked_at.items()
    ]
    series = [
        {"series": f'smsc_link_clicks_total{{job="smsc", account="main", link="{link}"}}', "values": values}
        for link, values in ANEW.items()
    ]
    _holds(tmp_path, series, tests)


def _holds(folder: Path, series: list[dict[str, str]], tests: list[dict[str, Any]]) -> None:
    test = {"interval": "1m", "input_series": series, "promql_expr_test": tests}
    (folder / "test.yml").write_text(yaml.safe_dump({"tests": [test]}, width=1000))
    done = run("promtool", "test", "rules", "test.yml", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


CAMPAIGNS = {
    ("1", 'link="sale", team="growth"'): 5,
    ("2", 'link="sale", team="growth"'): 4,  # another exporter of the same link, which read it earlier
    ("1", 'link="more", team="growth"'): 7,
    ("1", 'link="plain"'): 2,
}


@needs.prometheus
def test_clicks_are_added_up_by_the_label_that_is_chosen(tmp_path: Path) -> None:
    series = [
        {
            "series": f'smsc_link_clicks_today{{job="a", instance="{instance}", account="main", {link}}}',
            "values": str(clicks),
        }
        for (instance, link), clicks in CAMPAIGNS.items()
    ]
    by_team = _asked("overview", "Clicks by $label", label="team")
    by_link = _asked("overview", "Clicks by $label")
    tests = [
        _count(by_team, ('{group="growth"}', 12), ('{group="none"}', 2)),
        _count(by_link, ('{group="sale"}', 5), ('{group="more"}', 7), ('{group="plain"}', 2)),
    ]
    _holds(tmp_path, series, tests)


@needs.prometheus
def test_restarts_and_reloads_are_marked_when_they_happen(tmp_path: Path) -> None:
    names = ("process_start_time_seconds", "smsc_exporter_config_last_reload_success_timestamp_seconds")
    series = [{"series": f"{name}{{{A1}}}", "values": "1x9 600x9"} for name in names]
    series.append({"series": f'smsc_exporter_build_info{{{A1}, version="1"}}', "values": "1x19"})
    # What else Prometheus scrapes is not an exporter.
    series.append({"series": f"process_start_time_seconds{{{NODE}}}", "values": "1x9 600x9"})
    marks = (_asked("exporter", panel, "annotation") for panel in ("Restarts", "Reloads"))
    tests = [
        {"expr": mark, "eval_time": at, "exp_samples": found}
        for mark in marks
        for at, found in (("8m", []), ("10m", [{"labels": f"{{{A1}}}", "value": 1}]), ("14m", []))
    ]
    _holds(tmp_path, series, tests)


@needs.prometheus
def test_figures_are_of_what_is_chosen_and_of_nothing_else(tmp_path: Path) -> None:
    series = [{"series": name, "values": str(value)} for name, value in SERIES.items()]
    _holds(tmp_path, series, FIGURES)

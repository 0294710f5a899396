"""The rules of Grafana's dashboard-linter, as far as they apply.

It is a Go program, of which there is no package for Python: each of its rules that applies is written anew.
https://github.com/grafana/dashboard-linter/blob/main/docs/index.md

| rule                             | here                                                                  |
|----------------------------------|-----------------------------------------------------------------------|
| template-datasource-rule         | applies                                                               |
| template-job-rule                | applies, but that a link's board is of one job, as of one link        |
| template-instance-rule           | to the exporter's board; links are the same whichever exporter        |
| template-label-promql-rule       | applies; with metrics that exist                                      |
| template-on-time-change-reload-rule | applies                                                            |
| template-uneditable-rule         | does not apply: whoever imports a board may change it                 |
| panel-datasource-rule            | applies, to queries and annotations too                               |
| panel-title-description-rule     | applies, to panels of all kinds                                       |
| panel-units-rule                 | applies, to panels of all kinds                                       |
| panel-no-targets-rule            | applies                                                               |
| target-promql-rule               | applies                                                               |
| target-rate-interval-rule        | applies                                                               |
| target-job-rule                  | applies, with `=` where one job is chosen                             |
| target-instance-rule             | to the exporter's board, as above                                     |
| target-counter-agg-rule          | applies, but for TAKEN_BACK, and where `resets` guards an `increase`  |
| target-logql-rule, target-logql-auto-rule | no Loki                                                      |
"""

from __future__ import annotations

import re
from typing import Any

import promql_parser
import pytest

from tests.grafana.committed import BOARDS, CHOICES, PANELS, QUERIES, Query, put_in, selectors
from tests.grafana.test_boards import METRICS

EXPORTER = "smsc-exporter.json"
UNITS = {"none", "locale", "percentunit", "s", "bytes", "reqps", "dateTimeFromNow"}
"""Of Grafana's units those that fit these boards: a misspelt one would be printed behind each number."""

TAKEN_BACK = "All-time clicks, and what was taken back"
"""What the counter has more than the provider's count is no rate: it is all that was ever taken back."""

panels = pytest.mark.parametrize(
    ("board", "panel"), PANELS, ids=[f"{b[:-5]}: {p['title']}" for b, p in PANELS]
)
queries = pytest.mark.parametrize("query", QUERIES, ids=str)
boards = pytest.mark.parametrize("board", BOARDS)


def _variables(board: str) -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in BOARDS[board]["templating"]["list"]}


@boards
def test_template_datasource(board: str) -> None:
    (source,) = (v for v in BOARDS[board]["templating"]["list"] if v["type"] == "datasource")
    assert (source["name"], source["label"], source["query"]) == ("datasource", "Data source", "prometheus")
    assert "current" not in source, "a hard-wired data source"


@pytest.mark.parametrize(
    ("board", "name"), [("smsc-overview.json", "job"), (EXPORTER, "job"), (EXPORTER, "instance")]
)
def test_template_job_and_instance(board: str, name: str) -> None:
    variable = _variables(board)[name]
    assert (variable["label"], variable["allValue"]) == (name.title(), ".+")
    assert variable["multi"]
    assert variable["includeAll"]


@pytest.mark.parametrize("name", ["job", "account", "link"])
def test_a_links_board_is_of_one_link(name: str) -> None:
    """Two of a name, of two jobs or accounts, would be drawn as one."""
    variable = _variables("smsc-link.json")[name]
    assert (variable["label"], variable["multi"], variable["includeAll"]) == (name.title(), False, False)


@boards
def test_values_are_compared_as_grafana_writes_them(board: str) -> None:
    """It escapes a value for regular expressions only where several may be chosen.

    https://example.com/?q=a+b, as a link without a name is called, does not match itself.
    """
    texts = [query.written for query in QUERIES if query.board == board]
    texts += [v["query"]["query"] for v in _variables(board).values() if v["type"] == "query"]
    for text in texts:
        for operator, name in re.findall(r'(=~?)"\$(\w+)', text):
            assert operator == ("=~" if _variables(board)[name]["multi"] else "="), text


@boards
def test_template_queries(board: str) -> None:
    for name, variable in _variables(board).items():
        if variable["type"] == "query":
            assert variable["datasource"]["uid"] == "${datasource}"
            assert variable["refresh"] == 2, f"{name} is not asked anew when the time changes"
            asked = re.fullmatch(
                r"label_(?:values|names)\(([^,]+(?:\{.*\})?)(?:, \$?\w+)?\)", variable["query"]["query"]
            )
            assert asked, name
            assert {found.name for found in selectors(asked[1])} <= METRICS


@boards
def test_template_variables_are_used_and_queries_use_no_others(board: str) -> None:
    texts = [query.written for query in QUERIES if query.board == board]
    texts += [v["query"]["query"] for v in _variables(board).values() if v["type"] == "query"]
    used = {name for text in texts for name in re.findall(r"\$(\w+)", text)}
    builtin = {name for name in CHOICES if name.startswith("__")}
    assert used - builtin == _variables(board).keys() - {"datasource", "exporter"}


@boards
def test_editable(board: str) -> None:
    assert BOARDS[board]["editable"] is True


@panels
def test_panel_datasource(board: str, panel: dict[str, Any]) -> None:
    sources = [panel["datasource"], *(target["datasource"] for target in panel.get("targets", []))]
    sources += [found["datasource"] for found in BOARDS[board]["annotations"].get("list", [])]
    assert {(source["type"], source["uid"]) for source in sources} == {("prometheus", "${datasource}")}


@panels
def test_panel_title_description_unit_and_targets(board: str, panel: dict[str, Any]) -> None:
    assert panel["title"].strip()
    assert panel["description"].strip().endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    for override in panel["fieldConfig"]["overrides"]:
        assert {p["value"] for p in override["properties"] if p["id"] == "unit"} <= UNITS
    assert panel.get("targets") or panel["type"] == "text"
    refs = [target["refId"] for target in panel.get("targets", [])]
    assert len(refs) == len(set(refs))


def test_titles_and_ids_tell_panels_apart() -> None:
    for key in ("title", "id"):
        for board in BOARDS.values():
            values = [panel[key] for panel in board["panels"]]
            assert len(set(values)) == len(values)


@queries
def test_target_promql(query: Query) -> None:
    assert promql_parser.parse(put_in(query.written))


@queries
def test_target_rate_interval(query: Query) -> None:
    for rate in re.findall(r"\bi?rate\(([^()]*)\)", query.written):
        assert rate.endswith("[$__rate_interval]"), rate


@queries
def test_target_job_and_instance(query: Query) -> None:
    wanted = ["job", "instance"] if query.board == EXPORTER else ["job"]
    for selector in selectors(query.written):
        assert {(name, CHOICES[name]) for name in wanted} <= selector.matchers, selector.name


@queries
def test_target_counter_agg(query: Query) -> None:
    if query.panel == TAKEN_BACK:
        return
    for selector in selectors(query.written):
        if selector.name.endswith("_total"):
            assert selector.around[-1] in {"rate", "irate", "increase", "resets"}

"""Every query of every board, asked of a real Prometheus that has a month of history and scrapes the demo."""

from __future__ import annotations

import re
import shutil
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.simulator import Settings
from grafana import history
from tests import needs
from tests.grafana.committed import BOARDS, PANELS, QUERIES, Query, put_in
from tests.processes import Program, exporter, free_port, get, get_json, post, program, until
from tests.rules.shipped import PROMETHEUS, RULE_FILES, read

pytestmark = [
    needs.prometheus,
    pytest.mark.slow(1),  # a quarter of one: a month is written, read back and worked on by the rules
]

DAY = 86_400
LINKS = ("spring-sale", "misspelt-id")
"""One of the demo's links that has a history, and the one that the provider does not know."""

PAST = ("spring-sale", "launch", "survey")
"""The demo's links whose month is written: a steady one, one of the evening, and one made three days ago."""

NEEDED = ((7 * 24 + 6, 6 * 24 + 18), (2, 0))
"""Hours before now: of what the rules record they look back to the same hour a week ago, and the last one."""

JOBS = {"smsc", "smsc-too"}
"""Two jobs that share instance, account and links: what they say must not be taken for one."""

ONE = {"job": "smsc", "account": "demo", "label": "link"}
"""What a board is opened with, of variables that have one value; a link is chosen by each test."""

SEEN = (
    'smsc:clicks:spike_bound{link="spring-sale"}',
    'count(ALERTS{alertname="SmscLinkNotFound", alertstate="firing"}) == 2',
    'count(smsc_link_clicks_today{link="spring-sale"}) == 2',
)
FAILURES = 'count(rate(smsc_api_requests_total{outcome="http_error"}[2m]) > 0) == 2'


def _prometheus(folder: Path, port: int) -> AbstractContextManager[Program]:
    return program(
        "prometheus",
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        "--storage.tsdb.retention.time=40d",
        "--storage.tsdb.min-block-duration=2h",  # the two together: no time spent on compaction
        "--storage.tsdb.max-block-duration=2h",
        f"--web.listen-address=127.0.0.1:{port}",
        cwd=folder,
    )


def _wait(port: int) -> None:
    until(lambda: get(f"http://127.0.0.1:{port}/-/ready")[0] == 200, "Prometheus")


def _install(folder: Path, target: str) -> None:
    """The shipped rules and configuration, for those who can't wait: every two seconds instead of minutes."""
    shutil.copytree(PROMETHEUS / "rules", folder / "rules")
    for name in RULE_FILES:
        document = read(folder / "rules" / name)
        for group in document["groups"]:
            group["interval"] = "2s"
            for rule in group["rules"]:
                rule |= {"for": "2s"} if "for" in rule else {}
        (folder / "rules" / name).write_text(yaml.safe_dump(document, width=1000))
    document = read(PROMETHEUS / "prometheus.yml")
    document["global"] = {"scrape_interval": "1s", "evaluation_interval": "2s"}
    document["scrape_configs"] = [
        {"job_name": job, "static_configs": [{"targets": [target]}]} for job in sorted(JOBS)
    ]
    del document["alerting"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(document))


def _ask(url: str, written: str, *, instant: bool, **choices: str) -> list[Any]:
    """What is found at the end of the last two days, or at each five minutes of them."""
    question = {"query": put_in(written, **choices)}
    if not instant:
        now = time.time()
        question |= {"start": f"{now - 2 * DAY}", "end": f"{now}", "step": "300"}
    path = "query" if instant else "query_range"
    answer = get_json(f"{url}/api/v1/{path}?{urllib.parse.urlencode(question)}")
    found: list[Any] = answer["data"]["result"]
    return found


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus in which the exporter, the rules, both links, and failures have been seen."""
    folder = tmp_path_factory.mktemp("prometheus")
    with exporter("demo", "--web.listen-address=127.0.0.1:0", cwd=folder) as running:
        target = running.expect(r"http://(\S+)/metrics")[1]
        simulator = running.expect(r"(http://\S+)/audit")[1]
        now = int(time.time())
        spans = [(now - begin * 3600, now - end * 3600) for begin, end in NEEDED]
        links = [link for link in Settings().links if link.name in PAST]
        history.write(folder / "data", now, ["smsc:clicks:smooth"], spans, Settings(links=links))
        _install(folder, target)
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        with _prometheus(folder, port):
            _wait(port)
            for seen in SEEN:
                until(partial(_ask, address, seen, instant=True), seen, patience=240)
            assert post(f"{simulator}/control/faults", "http_502:0.5") == 200
            until(partial(_ask, address, FAILURES, instant=True), FAILURES)
            yield address


def test_what_boards_ask_is_answered(url: str) -> None:
    """One test, for another would have another worker make another month."""
    answers = {query: _answers(url, query) for query in QUERIES}
    # The rules of young links are silent, for these links are older than a week. Nothing was restarted.
    old = {
        query: found
        for query, found in answers.items()
        if "smsc:young:" not in query.written and query.panel not in {"Restarts", "Reloads"}
    }
    assert [str(query) for query, found in old.items() if not any(found)] == []
    _check_variables(url)
    _check_jobs_are_told_apart(answers)
    _check_a_label_filters(url)


def _check_variables(url: str) -> None:
    for name, board in BOARDS.items():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                values = _values(url, put_in(variable["query"]["query"], **_opened(name)))
                kept = {value for value in values if re.search(variable.get("regex", "").strip("/"), value)}
                assert kept, variable["name"]
                assert variable["name"] != "label" or kept == {"link", "shape"}


def _check_jobs_are_told_apart(answers: dict[Query, list[list[Any]]]) -> None:
    """Each line and number has a name of its own, and a table has rows of both jobs."""
    for board, panel in PANELS:
        asked = [query for query in QUERIES if (query.board, query.panel) == (board, panel["title"])]
        for found in zip(*(answers[query] for query in asked), strict=True):  # of each link asked about
            if panel["title"] in {"Clicks by $label", "Top movers"}:  # sums; and one job alone has two days
                continue
            if panel["type"] == "table" and asked[0].instant:
                assert {series["metric"].get("job") for series in found[0]} == JOBS, panel["title"]
            else:
                legends = [target["legendFormat"] for target in panel["targets"]]
                names = [
                    _name(legend, series["metric"])
                    for legend, some in zip(legends, found, strict=True)
                    for series in some
                ]
                assert len(names) == len(set(names)), (board, panel["title"], names)


def _name(legend: str, labels: dict[str, str]) -> str:
    """What Grafana would call a series."""
    return re.sub(r"{{(\w+)}}", lambda label: labels.get(label[1], ""), legend)


def _check_a_label_filters(url: str) -> None:
    """Links without the label are shown with all of its values, and not with one that is chosen."""
    (state,) = (query for query in QUERIES if (query.panel, query.ref) == ("Links", "H"))

    def links(value: str) -> set[str]:
        found = _ask(url, state.written, instant=True, label="shape", value=value)
        return {series["metric"]["link"] for series in found}

    assert {"misspelt-id", "launch", "spring-sale"} <= links(_opened(state.board)["value"])
    assert "spring-sale" in links("steady")
    assert links("steady").isdisjoint({"misspelt-id", "launch"})  # has no shape, has another


def _opened(board: str) -> dict[str, str]:
    """The values with which a board is opened."""
    variables = [v for v in BOARDS[board]["templating"]["list"] if v["type"] == "query"]
    return {v["name"]: v["allValue"] if v["multi"] else ONE.get(v["name"], "") for v in variables}


def _answers(url: str, query: Query) -> list[list[Any]]:
    """What is found, of each of the links if it is asked about one."""
    choices = _opened(query.board)
    links = LINKS if choices.get("link") == "" else (choices.get("link", ""),)
    return [_ask(url, query.written, instant=query.instant, **choices | {"link": link}) for link in links]


def _values(url: str, query: str) -> set[str]:
    """What Grafana would offer to choose from."""
    asked = re.fullmatch(r"label_(?:names\((\w+)|values\((.+), (\w+))\)", query)
    assert asked, query
    series, label = asked[1] or asked[2], asked[3]
    path = f"label/{label}/values" if label else "labels"
    found = get_json(f"{url}/api/v1/{path}?{urllib.parse.urlencode({'match[]': series})}")
    return set(found["data"])

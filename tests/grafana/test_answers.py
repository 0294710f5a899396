"""Every query of every board, asked of a real Prometheus that has a month of history and scrapes the demo."""

from __future__ import annotations

import re
import shutil
import time
import urllib.parse
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from grafana import history
from tests.alerting.shipped import PROMETHEUS, RULE_FILES, read
from tests.grafana.committed import BOARDS, QUERIES, Query, put_in
from tests.processes import exporter, free_port, get, get_json, post, program, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.processes import Program

pytestmark = [
    pytest.mark.minutes,  # a quarter of one: a month is written, read back and worked on by the rules
]

DAY = 86_400
LINKS = ("spring-sale", "misspelt-id")
"""One of the demo's links that has a history, and the one that the provider does not know."""

NEEDED = ((7 * 24 + 6, 6 * 24 + 18), (2, 0))
"""Hours before now: of what the rules record they look back to the same hour a week ago, and the last one."""


SEEN = (
    'smsc:clicks:spike_bound{link="spring-sale"}',
    'ALERTS{alertname="SmscLinkNotFound", alertstate="firing"}',
    'smsc_link_clicks_today{link="spring-sale"}',
)
FAILURES = 'rate(smsc_api_requests_total{outcome="http_error"}[2m]) > 0'


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
    document["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
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
        history.write(folder / "data", now, ["smsc:clicks:smooth"], spans)
        _install(folder, target)
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        with _prometheus(folder, port):
            _wait(port)
            for seen in SEEN:
                until(partial(_ask, address, seen, instant=True), seen)
            assert post(f"{simulator}/control/faults", "http_502:0.5") == 200
            until(partial(_ask, address, FAILURES, instant=True), FAILURES)
            yield address


def test_every_query_and_variable_finds_something(url: str) -> None:
    """One test, for another would have another worker make another month."""
    assert [str(query) for query in QUERIES if not _answers(url, query)] == []
    for board in BOARDS.values():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                values = _values(url, variable["query"]["query"])
                kept = {value for value in values if re.search(variable.get("regex", "").strip("/"), value)}
                assert kept, variable["name"]
                assert variable["name"] != "label" or kept == {"link", "shape"}


def _answers(url: str, query: Query) -> bool:
    links = LINKS if query.board == "smsc-link.json" else (".*",)
    return any(_ask(url, query.written, instant=query.instant, link=link) for link in links)


def _values(url: str, written: str) -> set[str]:
    """What Grafana would offer to choose from."""
    asked = re.fullmatch(r"label_(?:names\((\w+)|values\((.+), (\w+))\)", put_in(written))
    assert asked, written
    series, label = asked[1] or asked[2], asked[3]
    path = f"label/{label}/values" if label else "labels"
    found = get_json(f"{url}/api/v1/{path}?{urllib.parse.urlencode({'match[]': series})}")
    return set(found["data"])

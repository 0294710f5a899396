"""The real readers: Debian's promtool checks what we say, and its Prometheus scrapes and answers."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.simulator import Settings, SimulatedLink
from tests import needs
from tests.processes import exporter, free_port, get, get_json, program, until
from tests.providers import provider

pytestmark = needs.prometheus

LINKS = [
    SimulatedLink(id=str(n), url=f"https://example.com/{n}", short=f"smsc.tips/{n}", rate=0)
    for n in (1, 2, 3)
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    """A provider with three still links, and the URL of an exporter that has read all of them."""
    tmp_path = tmp_path_factory.mktemp("exporter")
    with provider(Settings(links=LINKS)) as (simulated, provider_url):
        for n, link in enumerate(LINKS, start=1):
            simulated.add_clicks(link.id, 1000 * n)
        links = [{"id": link.id, "name": f'link "{link.id}"', "labels": {"team": "рост"}} for link in LINKS]
        account = {"name": "main", "login": "demo", "password": "demo", "base_url": provider_url}
        document = {
            "refresh_interval": "21s",
            "storage": {"url": "memory:"},
            "accounts": [{**account, "links": [*links, {"id": "404", "name": "missing"}]}],
        }
        (tmp_path / "config.yaml").write_text(json.dumps(document))
        with exporter("--web.listen-address=127.0.0.1:0", cwd=tmp_path) as running:
            address = running.expect(r"event=listening url=(\S+)")[1]
            until(lambda: get(f"{address}/metrics")[1].count("\nsmsc_link_up{") == 4, "four polls")
            yield simulated, address
            assert running.stop() == 0


def test_promtool_has_nothing_to_say(url: tuple[Any, str]) -> None:
    """It reads the text format alone."""
    _, text = get(f"{url[1]}/metrics")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_prometheus_scrapes_and_answers_with_the_providers_figures(
    url: tuple[Any, str], tmp_path: Path
) -> None:
    simulated, address = url
    target = address.removeprefix("http://")
    scrape = {"job_name": "smsc", "static_configs": [{"targets": [target]}]}
    (tmp_path / "prometheus.yml").write_text(
        json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]})
    )
    port = free_port()
    command = [
        "prometheus",
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with program(*command, cwd=tmp_path):

        def ask(query: str) -> dict[str, float]:
            question = urllib.parse.urlencode({"query": query})
            answer = get_json(f"http://127.0.0.1:{port}/api/v1/query?{question}")
            return {r["metric"].get("link", ""): float(r["value"][1]) for r in answer["data"]["result"]}

        until(lambda: get(f"http://127.0.0.1:{port}/-/ready")[0] == 200, "Prometheus")
        until(lambda: ask("smsc_link_clicks_all_time"), "a first answer")
        fields = {"all_time": "cnt", "today": "cnt_day", "yesterday": "cnt_yes", "month": "cnt_mon"}
        for series, field in {**fields, "previous_month": "cnt_pmon", "total": "cnt"}.items():
            truth = {f'link "{link.id}"': getattr(simulated.figures(link.id), field) for link in LINKS}
            assert ask(f"smsc_link_clicks_{series}") == truth
        assert ask('up{job="smsc"}') == {"": 1}
        assert ask("smsc_link_up") == {'link "1"': 1, 'link "2"': 1, 'link "3"': 1, "missing": 0}
        assert ask('smsc_link_failing{outcome="not_found"}') == {"missing": 1}
        assert ask('sum(smsc_link_clicks_all_time{team="рост"})') == {
            "": sum(simulated.figures(link.id).cnt for link in LINKS)
        }
        simulated.add_clicks("1", 50)
        until(lambda: ask('increase(smsc_link_clicks_total{link=~".*1.*"}[1m])'), "a rate")
        before = simulated.figures("1").cnt
        until(lambda: ask("smsc_link_clicks_all_time").get('link "1"') == before, "the new figure")
        assert ask("ALERTS") == {}

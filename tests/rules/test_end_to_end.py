"""From the provider to a person: a spike in the simulator ends as a message at a webhook.

The rules and configurations are those that are shipped, with a week of history made beforehand and backfilled
as docs/alerting.md tells it. Copies differ in addresses, and in waiting less: the click rules run every two
seconds and their alerts fire the second time, a scrape comes each second, a group of alerts waits for one.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from exporter.simulator import Settings, SimulatedLink
from grafana import history
from tests import needs
from tests.processes import exporter, free_port, get, get_json, program, until
from tests.providers import provider
from tests.rules.shipped import (
    ALERTMANAGER,
    PROMETHEUS,
    alertmanager,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [needs.prometheus, needs.alertmanager]

STEP = 300
STEPS = 8 * 288 + 60
"""Eight days and five hours, in steps of five minutes: the rules ask for a week."""

LINKS = {
    name: SimulatedLink(id=str(n), url=f"https://example.com/{n}", short=f"smsc.tips/{n}", rate=0)
    for n, name in enumerate(("promo", "steady", "new"), start=1)
}
OLD_LINKS = ("promo", "steady")
PER_STEP = 5
"""Clicks on each old link in five minutes."""


class Prometheus(NamedTuple):
    """A Prometheus that runs."""

    url: str

    def ask(self, query: str) -> list[dict[str, str]]:
        """The labels of what is found."""
        answer = get_json(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}")
        return [found["metric"] for found in answer["data"]["result"]]


@contextlib.contextmanager
def _prometheus(folder: Path) -> Iterator[Prometheus]:
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        "prometheus",
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        "--storage.tsdb.retention.time=40d",
        "--storage.tsdb.min-block-duration=2h",  # the two together: no time spent on compaction
        "--storage.tsdb.max-block-duration=2h",
        f"--web.listen-address={url.removeprefix('http://')}",
    ]
    with program(*command, cwd=folder) as running:
        until(lambda: get(f"{url}/-/ready")[0] == 200, "Prometheus")
        yield Prometheus(url)
        assert running.stop() == 0


def _history(until_then: int) -> str:
    """A week and more of two links' series, as an exporter on another host served them."""
    lines = []
    for name in ("smsc_link_clicks_total", "smsc_link_last_success_timestamp_seconds"):
        counts = name.endswith("_total")
        lines.append(f"# TYPE {name.removesuffix('_total')} {'counter' if counts else 'gauge'}")
        for link in OLD_LINKS:
            labels = f'{{job="smsc",instance="old:10145",account="main",link="{link}"}}'
            for step in range(STEPS):
                at = until_then - (STEPS - 1 - step) * STEP
                lines.append(f"{name}{labels} {step * PER_STEP if counts else at} {at}")
    return "\n".join([*lines, "# EOF\n"])


def _backfill(folder: Path) -> None:
    """Puts the history into Prometheus' storage, and what the recording rules would have made of it."""
    now = int(time.time())
    (folder / "history.txt").write_text(_history(now))
    history.promtool(folder, "openmetrics", "history.txt", "data")
    rules = read(PROMETHEUS / "rules" / "clicks.yml")["groups"][0]["rules"]
    for each in history.passes(rules, ["smsc:clicks:smooth"]):
        history.record(folder, each, [(now - STEPS * STEP, now)])


def _edit(path: Path, **changes: tuple[str, str]) -> None:
    """Replaces texts that have to be there."""
    text = path.read_text()
    for what, (before, after) in changes.items():
        assert before in text, what
        text = text.replace(before, after)
    path.write_text(text)


def _install(folder: Path, target: str, alertmanager_port: int) -> None:
    shutil.copytree(PROMETHEUS / "rules", folder / "rules")
    _edit(
        folder / "rules" / "clicks.yml",
        interval=("interval: 5m", "interval: 2s"),
        wait=("for: 5m", "for: 2s"),
    )
    shutil.copy(PROMETHEUS / "prometheus.yml", folder)
    _edit(
        folder / "prometheus.yml",
        exporter=("localhost:10145", target.removeprefix("http://")),
        alertmanager=("localhost:9093", f"127.0.0.1:{alertmanager_port}"),
        scrapes=("scrape_interval: 30s", "scrape_interval: 1s"),
    )


@contextlib.contextmanager
def _webhook() -> Iterator[tuple[int, list[tuple[str, dict[str, Any]]]]]:
    """A port, and what arrives there: paths and messages."""
    arrived: list[tuple[str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrived.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, arrived
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def _alertmanager(folder: Path, webhook: int) -> Iterator[int]:
    port = free_port()
    shutil.copy(ALERTMANAGER, folder)
    _edit(
        folder / ALERTMANAGER.name,
        receivers=("http://127.0.0.1:5001/", f"http://127.0.0.1:{webhook}/"),
        group=("group_wait: 30s", "group_wait: 1s"),
    )
    command = [
        alertmanager(),
        f"--config.file={ALERTMANAGER.name}",
        "--storage.path=alertmanager",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with program(*command, cwd=folder):
        until(lambda: get(f"http://127.0.0.1:{port}/-/ready")[0] == 200, "Alertmanager")
        yield port


def _document(provider_url: str) -> dict[str, Any]:
    links = [{"id": link.id, "name": name, "labels": {"team": "growth"}} for name, link in LINKS.items()]
    account = {"name": "main", "login": "demo", "password": "demo", "base_url": provider_url, "links": links}
    return {"refresh_interval": "21s", "storage": {"url": "memory:"}, "accounts": [account]}


@pytest.mark.slow(2)
def test_a_spike_in_the_simulator_reaches_the_webhook(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        simulated, provider_url = stack.enter_context(provider(Settings(links=list(LINKS.values()))))
        for name in OLD_LINKS:
            simulated.add_clicks(LINKS[name].id, (STEPS - 1) * PER_STEP)
        (tmp_path / "config.yaml").write_text(json.dumps(_document(provider_url)))
        running = stack.enter_context(exporter("--web.listen-address=127.0.0.1:0", cwd=tmp_path))
        target = running.expect(r"event=listening url=(\S+)")[1]
        _backfill(tmp_path)  # while the exporter reads its links for the first time
        webhook, arrived = stack.enter_context(_webhook())
        _install(tmp_path, target, stack.enter_context(_alertmanager(tmp_path, webhook)))
        prometheus = stack.enter_context(_prometheus(tmp_path))

        # All is quiet, and known to be: the rules have figures and a line for both old links.
        until(
            lambda: (
                len(prometheus.ask("smsc:clicks:delta <= on (link, window) smsc:clicks:spike_bound")) == 2
            ),
            "a delta and an alarm line of both old links",
        )
        until(lambda: len(prometheus.ask("smsc_link_up == 1")) == len(LINKS), "a poll of every link")
        assert prometheus.ask("ALERTS") == []

        # The new link has no history to compare with, so it is silent by design.
        for name in ("promo", "new"):
            simulated.add_clicks(LINKS[name].id, 600)
        until(lambda: arrived, "a message")
        (path, message) = arrived[0]
        assert path == "/chat"
        assert message["status"] == "firing"
        assert message["groupLabels"] == {"job": "smsc", "account": "main"}
        (alert,) = message["alerts"]
        assert alert["labels"] == {
            "alertname": "SmscLinkClickSpike",
            "severity": "warning",
            "job": "smsc",
            "account": "main",
            "link": "promo",
            "team": "growth",
        }
        said = alert["annotations"]
        assert said["summary"] == "Unusually many clicks on promo (account main)"
        figures = re.fullmatch(
            r"(\d+) clicks in an hour, above the alarm line of (\d+); 60 are usual at this hour\.",
            said["description"],
        )
        assert figures, said["description"]
        assert 600 < int(figures[1]) <= 600 + 60 + PER_STEP
        assert int(figures[2]) == 207
        assert "<title>SmscLinkClickSpike " in get(said["runbook_url"])[1]
        until(_seen(prometheus, "new"), "the spike of the new link")
        assert {labels["link"] for labels in prometheus.ask("ALERTS")} == {"promo"}
        assert running.stop() == 0


def _seen(prometheus: Prometheus, link: str) -> Callable[[], bool]:
    return lambda: bool(prometheus.ask(f'smsc:clicks:total{{link="{link}"}} >= 600'))

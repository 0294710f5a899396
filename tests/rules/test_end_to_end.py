"""From the provider to a person: what happens in the simulator ends as a message at a webhook.

The rules and configurations are those that are shipped. History is made beforehand and backfilled as
docs/alerting.md tells it: a week for old links, a day for young ones. Copies differ in addresses, and wait
less: the click rules run every two seconds and their alerts fire the second time, a scrape comes each second,
a group of alerts waits for one.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from exporter.simulator import Provider, Settings, SimulatedLink
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

pytestmark = [needs.prometheus, needs.alertmanager]

Hours = tuple[tuple[int, int], ...]

STEP = 300
STEPS = 8 * 288 + 60
"""Eight days and five hours, in steps of five minutes: the rules ask for a week."""

YOUNG_STEPS = 30 * 12
"""Thirty hours: the rules of young links look back over one day, at what others recorded."""

LOOKS_BACK = ((7 * 24 + 6, 6 * 24 + 18), (26, 21), (3, 0))
"""Hours before now that are worked off: of old links a spike is held against last week, yesterday and now."""

YOUNG_LOOKS_BACK = ((9, 0),)
"""And of young ones a death against the hours before."""

PER_STEP = 10
"""Clicks on each old link in five minutes."""

YOUNG_PER_STEP = 60
"""And on each young one: enough to notice a death even where Prometheus starts minutes late."""

SILENT_STEPS = 5
"""How long the campaign that stops is silent in its history: a window of 20 minutes lies within."""


def _links(*names: str) -> dict[str, SimulatedLink]:
    return {
        name: SimulatedLink(id=str(n), url=f"https://example.com/{n}", short=f"smsc.tips/{n}", rate=0)
        for n, name in enumerate(names, start=1)
    }


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


def _history(until_then: int, counts: dict[str, list[int]]) -> str:
    """The links' series up to a moment, as an exporter on another host served them."""
    lines = []
    for name in ("clicks_total", "clicks_all_time", "last_success_timestamp_seconds"):
        family, kind = name.removesuffix("_total"), "counter" if name.endswith("_total") else "gauge"
        lines.append(f"# TYPE smsc_link_{family} {kind}")
        for link, clicks in counts.items():
            series = f'smsc_link_{name}{{job="smsc",instance="old:10145",account="main",link="{link}"}}'
            for step, count in enumerate(clicks):
                at = until_then - (len(clicks) - 1 - step) * STEP
                lines.append(f"{series} {count if name.startswith('clicks') else at} {at}")
    return "\n".join([*lines, "# EOF\n"])


def _backfill(folder: Path, counts: dict[str, list[int]], hours: Hours, *wanted: str) -> None:
    """Puts the history into Prometheus' storage, and what the recording rules would have made of it.

    Of the latter only some hours: working off all of them costs a minute.
    """
    now = int(time.time())
    (folder / "history.txt").write_text(_history(now, counts))
    history.promtool(folder, "openmetrics", "history.txt", "data")
    groups = [read(PROMETHEUS / "rules" / name)["groups"][0] for name in ("clicks.yml", "young.yml")]
    spans = [(now - begin * 3600, now - end * 3600) for begin, end in hours]
    for each in history.passes([rule for group in groups for rule in group["rules"]], wanted):
        history.record(folder, each, spans)


def _edit(path: Path, **changes: tuple[str, str]) -> None:
    """Replaces texts that have to be there."""
    text = path.read_text()
    for what, (before, after) in changes.items():
        assert before in text, what
        text = text.replace(before, after)
    path.write_text(text)


def _install(folder: Path, target: str, alertmanager_port: int) -> None:
    shutil.copytree(PROMETHEUS / "rules", folder / "rules")
    for rules in ("clicks.yml", "young.yml"):
        _edit(
            folder / "rules" / rules,
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
        digest=("group_wait: 15m", "group_wait: 1s"),
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


def _document(provider_url: str, names: dict[str, SimulatedLink]) -> dict[str, Any]:
    links = [{"id": link.id, "name": name, "labels": {"team": "growth"}} for name, link in names.items()]
    account = {"name": "main", "login": "demo", "password": "demo", "base_url": provider_url, "links": links}
    return {"refresh_interval": "21s", "storage": {"url": "memory:"}, "accounts": [account]}


class Everything(NamedTuple):
    """What runs between the provider and a person."""

    simulated: Provider
    prometheus: Prometheus
    arrived: list[tuple[str, dict[str, Any]]]


@contextlib.contextmanager
def _everything(
    folder: Path,
    links: dict[str, SimulatedLink],
    counts: dict[str, list[int]],
    hours: Hours,
    *wanted: str,
) -> Iterator[Everything]:
    """All of it, with a past: counts of clicks, and what rules recorded in some hours for ``wanted``."""
    with contextlib.ExitStack() as stack:
        simulated, provider_url = stack.enter_context(provider(Settings(links=list(links.values()))))
        for name, clicks in counts.items():
            simulated.add_clicks(links[name].id, clicks[-1])
        (folder / "config.yaml").write_text(json.dumps(_document(provider_url, links)))
        running = stack.enter_context(exporter("--web.listen-address=127.0.0.1:0", cwd=folder))
        target = running.expect(r"event=listening url=(\S+)")[1]
        _backfill(folder, counts, hours, *wanted)  # while the exporter reads its links for the first time
        webhook, arrived = stack.enter_context(_webhook())
        _install(folder, target, stack.enter_context(_alertmanager(folder, webhook)))
        prometheus = stack.enter_context(_prometheus(folder))
        until(lambda: len(prometheus.ask("smsc_link_up == 1")) == len(links), "a poll of every link")
        yield Everything(simulated, prometheus, arrived)
        assert running.stop() == 0


@pytest.mark.slow(2)
def test_a_spike_in_the_simulator_reaches_the_webhook(tmp_path: Path) -> None:
    links = _links("promo", "steady", "new")
    counts = {name: [step * PER_STEP for step in range(STEPS)] for name in ("promo", "steady")}
    past = (counts, LOOKS_BACK, "smsc:clicks:smooth")
    with _everything(tmp_path, links, *past) as (simulated, prometheus, arrived):
        # All is quiet, and known to be: the rules have figures and a line for both old links.
        until(
            lambda: (
                len(prometheus.ask("smsc:clicks:delta <= on (link, window) smsc:clicks:spike_bound")) == 2
            ),
            "a delta and an alarm line of both old links",
        )
        assert prometheus.ask("ALERTS") == []

        # The new link has no history to compare with, so it is silent by design.
        for name in ("promo", "new"):
            simulated.add_clicks(links[name].id, 600)
        until(lambda: arrived, "a message")
        said = _said(arrived[0], "/chat", alertname="SmscLinkClickSpike", severity="warning", link="promo")
        assert said["summary"] == "Unusually many clicks on promo (account main)"
        figures = re.fullmatch(
            r"(\d+) clicks in an hour, above the alarm line of (\d+); 120 are usual at this hour\.",
            said["description"],
        )
        assert figures, said["description"]
        assert 600 < int(figures[1]) <= 600 + 120 + PER_STEP
        assert int(figures[2]) == 397
        assert "<title>SmscLinkClickSpike " in get(said["runbook_url"])[1]
        until(_seen(prometheus, "new"), "the spike of the new link")
        assert {labels["link"] for labels in prometheus.ask("ALERTS")} == {"promo"}


@pytest.mark.slow(1)
def test_a_campaign_that_stops_and_one_that_surges_reach_the_webhook(tmp_path: Path) -> None:
    """Both within half an hour: 25 minutes are in the history, the rest is two runs of the rules."""
    links = _links("stops", "surges", "goes-on")
    going = [step * YOUNG_PER_STEP for step in range(YOUNG_STEPS)]
    stopped = [min(count, going[-1 - SILENT_STEPS]) for count in going]
    counts = {name: stopped if name == "stops" else going for name in links}
    past = (counts, YOUNG_LOOKS_BACK, "smsc:young:delta", "smsc:young:all_time")
    with _everything(tmp_path, links, *past) as (simulated, prometheus, arrived):
        until(lambda: arrived, "a message about the campaign that stops")
        said = _said(arrived[0], "/chat", alertname="SmscYoungLinkDead", severity="warning", link="stops")
        assert said["summary"] == "Clicks on the new link stops (account main) have stopped"
        until(
            lambda: prometheus.ask('smsc:young:new{link="surges"} <= smsc:young:surge_bound'),
            "its alarm line",
        )
        simulated.add_clicks(links["surges"].id, 4000)
        until(lambda: arrived[1:], "a message about the campaign that surges")
        said = _said(arrived[1], "/digest", alertname="SmscYoungLinkSurge", severity="info", link="surges")
        assert said["summary"].startswith("A surge of clicks on the new link surges (account main)")
        assert {labels["link"] for labels in prometheus.ask("ALERTS")} == {"stops", "surges"}


def _said(arrived: tuple[str, dict[str, Any]], path: str, **labels: str) -> dict[str, str]:
    """The annotations of the only alert in a message that goes where it should, with these labels."""
    to, message = arrived
    assert to == path
    assert message["status"] == "firing"
    assert message["groupLabels"] == {"job": "smsc", "account": "main"}
    (alert,) = message["alerts"]
    assert alert["labels"] == {"job": "smsc", "account": "main", "team": "growth", **labels}
    said: dict[str, str] = alert["annotations"]
    assert said["runbook_url"].endswith(f"/runbooks/{labels['alertname']}")
    return said


def _seen(prometheus: Prometheus, link: str) -> Callable[[], bool]:
    return lambda: bool(prometheus.ask(f'smsc:clicks:total{{link="{link}"}} >= 600'))

"""Who is told of what: routes by amtool, and what mutes what by a real Alertmanager."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import needs
from tests.processes import PATIENCE, free_port, get, get_json, program, until
from tests.rules.shipped import ALERTMANAGER, ALERTS, alertmanager, label, read, run

pytestmark = needs.alertmanager

RECEIVERS = {"critical": "pager", "warning": "chat", "info": "digest"}

DOWN = {"alertname": "SmscExporterDown", "severity": "critical"}
REPLICA_DOWN = {"alertname": "SmscExporterDown", "severity": "warning", "instance": "b:10145"}
MANY_UP = {"alertname": "SmscManyLinksAnomalous", "account": "main", "direction": "up"}
MANY_DOWN = {**MANY_UP, "direction": "down"}
MAIN, OTHER = {"account": "main", "link": "promo"}, {"account": "other", "link": "promo"}
LINK_ALERTS = sorted(
    {alert["alert"] for alert in ALERTS if alert["alert"].startswith(("SmscLink", "SmscYoungLink"))}
)


def _alert(name: str, labels: dict[str, str]) -> dict[str, str]:
    return {**labels, "alertname": name}


def _account(state: str) -> dict[str, str]:
    return {"alertname": f"SmscAccount{state}", "account": "main"}


def _follows(state: str) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """What an account's state mutes, and what it does not, the account's own alert among it.

    Where the provider cannot be reached, links may be read now and then, and many be anomalous at once.
    """
    follows = [*LINK_ALERTS, "SmscPollingLagging"]
    elsewhere = [
        _alert(name, OTHER) for name in ("SmscLinkClickSpike", "SmscLinkDataStale", "SmscPollingLagging")
    ]
    heard = [_account(state), *elsewhere, {"alertname": "SmscStorageDown"}]
    muted, many = [_alert(name, MAIN) for name in follows], _alert("SmscManyLinksAnomalous", MAIN)
    return (muted, [*heard, many]) if state == "Unreachable" else ([*muted, many], heard)


SCENES: dict[str, tuple[int, list[dict[str, str]], list[dict[str, str]]]] = {
    "exporter down": (
        0,
        [
            *(_alert(name, MAIN) for name in [*LINK_ALERTS, "SmscPollingLagging", "SmscManyLinksAnomalous"]),
            *(
                _account(state)
                for state in ("Unauthorized", "Blocked", "Unreachable", "Throttled", "NotExported")
            ),
        ],
        [DOWN],
    ),
    "one of several down": (0, [], [REPLICA_DOWN, _alert("SmscLinkDataStale", MAIN)]),
    "unauthorized": (1, *_follows("Unauthorized")),
    "blocked": (1, *_follows("Blocked")),
    "unreachable": (2, *_follows("Unreachable")),
    "throttled": (1, [], [_account("Throttled"), _alert("SmscPollingLagging", MAIN)]),
    "many links spike": (
        3,
        [_alert("SmscLinkClickSpike", MAIN)],
        [MANY_UP, _alert("SmscLinkClickSpike", OTHER), _alert("SmscLinkClicksFlatline", MAIN)],
    ),
    "many links stop": (
        4,
        [_alert("SmscLinkClicksFlatline", MAIN)],
        [
            MANY_DOWN,
            _alert("SmscLinkClicksFlatline", OTHER),
            _alert("SmscLinkClickSpike", MAIN),
            _alert("SmscLinkNotFound", MAIN),
            _alert("SmscLinkDataStale", MAIN),
        ],
    ),
    "spike and shift": (
        5,
        [_alert("SmscLinkTrafficShift", MAIN)],
        [_alert("SmscLinkClickSpike", MAIN), _alert("SmscLinkTrafficShift", {**MAIN, "link": "2"})],
    ),
    "spike and surge": (
        6,
        [_alert("SmscYoungLinkSurge", MAIN)],
        [_alert("SmscLinkClickSpike", MAIN), _alert("SmscYoungLinkSurge", {**MAIN, "link": "2"})],
    ),
    "flatline and death": (
        7,
        [_alert("SmscYoungLinkDead", MAIN)],
        [_alert("SmscLinkClicksFlatline", MAIN), _alert("SmscYoungLinkDead", {**MAIN, "link": "2"})],
    ),
}
"""The inhibition in question (its place in the file), what is muted, and what is not."""


SETTLED = 2.0
"""Seconds after which Alertmanager has long drawn what alerts mute."""


def _send(port: int, scene: str) -> None:
    """Sends a scene's alerts under a job of its own."""
    _, muted, heard = SCENES[scene]
    job = {"job": scene}
    body = json.dumps([{"labels": {**labels, **job}} for labels in [*muted, *heard]]).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v2/alerts", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:  # noqa: S310 - local
        assert response.status == 200


def _muted_in(port: int, scene: str) -> list[dict[str, str]]:
    """Asks which of a scene's alerts are muted, once all are there."""
    _, muted, heard = SCENES[scene]
    url = f"http://127.0.0.1:{port}/api/v2/alerts?filter=job%3D%22{scene.replace(' ', '%20')}%22"
    answer: list[dict[str, Any]] = until(
        lambda: found if len(found := get_json(url)) == len(muted) + len(heard) else None, "all alerts"
    )
    assert all(each["status"]["state"] in {"active", "suppressed", "unprocessed"} for each in answer)
    return [
        {name: value for name, value in each["labels"].items() if name != "job"}
        for each in answer
        if each["status"]["inhibitedBy"]
    ]


def _sorted(alerts: list[dict[str, str]]) -> list[list[tuple[str, str]]]:
    return sorted(sorted(alert.items()) for alert in alerts)


@contextlib.contextmanager
def _running(config: Path, folder: Path) -> Iterator[int]:
    """An Alertmanager's port."""
    port = free_port()
    command = [
        alertmanager(),
        f"--config.file={config}",
        "--storage.path=data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with program(*command, cwd=folder):
        until(lambda: get(f"http://127.0.0.1:{port}/-/ready")[0] == 200, "Alertmanager")
        yield port


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """An Alertmanager with the shipped configuration. Nobody listens at its receivers' addresses."""
    with _running(ALERTMANAGER, tmp_path_factory.mktemp("alertmanager")) as port:
        yield port


def test_amtool_accepts_it() -> None:
    done = run("amtool", "check-config", ALERTMANAGER)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS, ids=label)
def test_severity_decides_who_is_told(alert: dict[str, Any]) -> None:
    labels = {"alertname": alert["alert"], **alert["labels"], "job": "smsc", "account": "main"}
    wanted = f"--verify.receivers={RECEIVERS[labels['severity']]}"
    pairs = [f"{name}={value}" for name, value in labels.items()]
    done = run("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", wanted, *pairs)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_account_is_a_message_and_so_is_a_blocked_address() -> None:
    (route,) = read(ALERTMANAGER)["route"]["routes"]
    assert route["group_by"] == ["job", "account"]
    (child,) = (child for child in route["routes"] if "group_by" in child)
    assert child["matchers"] == ['alertname="SmscAccountBlocked"']
    assert child["group_by"] == ["job"]


def test_receivers_are_placeholders_on_this_machine() -> None:
    urls = [
        hook["url"] for receiver in read(ALERTMANAGER)["receivers"] for hook in receiver["webhook_configs"]
    ]
    assert len(urls) == len(RECEIVERS)
    assert all(url.startswith("http://127.0.0.1:") for url in urls)


@pytest.mark.parametrize("scene", SCENES)
def test_what_mutes_what(shipped: int, scene: str) -> None:
    """Alertmanager takes alerts in a little before it draws what they mute."""
    wanted = _sorted(SCENES[scene][1])
    _send(shipped, scene)
    until(lambda: _sorted(_muted_in(shipped, scene)) == wanted, f"{wanted} muted")


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(read(ALERTMANAGER)["inhibit_rules"])))
def test_what_mutes_what_fails_without_inhibition(number: int, tmp_path: Path) -> None:
    """Each one counts: without it, a scene above comes out otherwise."""
    document = read(ALERTMANAGER)
    del document["inhibit_rules"][number]
    (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(document))
    scenes = [scene for scene, (inhibition, muted, _) in SCENES.items() if inhibition == number and muted]
    assert scenes
    with _running(tmp_path / "alertmanager.yml", tmp_path) as port:
        for scene in scenes:
            _send(port, scene)
        time.sleep(SETTLED)
        for scene in scenes:
            assert _sorted(_muted_in(port, scene)) != _sorted(SCENES[scene][1]), scene

"""The compose file: Docker Compose can read it, and every name in it is one that exists."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from exporter import __version__
from tests import needs
from tests.deploy.shipped import (
    DEPLOY,
    DOCKER,
    PORT,
    ROOT,
    load,
    output,
    parse,
    read,
    run,
)

EXPORTERS = {"demo": "demo", "real": "exporter"}
"""The exporter's service in each profile."""

PROVISIONING = ROOT / "grafana" / "provisioning"
PROVISIONED = "/etc/grafana/provisioning"
"""GF_PATHS_PROVISIONING of Grafana's image."""

pytestmark = needs.compose


@cache
def _services(profile: str) -> dict[str, Any]:
    """The services of a profile, as Docker Compose understands them."""
    command = ["docker-compose", "--profile", profile, "config", "--format=json"]
    services: dict[str, Any] = json.loads(output(*command, cwd=DOCKER))["services"]
    return services


def _names(profile: str) -> set[str]:
    """The names by which services find each other."""
    services = _services(profile)
    networks = [network for each in services.values() for network in each["networks"].values()]
    return set(services) | {alias for network in networks for alias in (network or {}).get("aliases", [])}


@pytest.mark.parametrize("profile", EXPORTERS)
def test_one_exporter_in_each_profile(profile: str) -> None:
    services = _services(profile)
    assert set(services) == {EXPORTERS[profile], "prometheus", "alertmanager", "grafana"}
    exporter = services[EXPORTERS[profile]]
    assert parse(exporter["command"])
    assert exporter["image"] == f"smsc-exporter:{__version__}"
    assert (Path(exporter["build"]["context"]) / exporter["build"]["dockerfile"]).samefile(
        DOCKER / "Dockerfile"
    )
    assert [port["target"] for port in exporter["ports"]] == [PORT]


@pytest.mark.parametrize("profile", EXPORTERS)
def test_every_service_is_hardened_and_kept_inside(profile: str) -> None:
    for name, service in _services(profile).items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert all(port["host_ip"] == "127.0.0.1" for port in service["ports"]), name
        assert "privileged" not in service, name
        assert 0 < service["pids_limit"] <= 200, name
        assert 0 < int(service["mem_limit"]) <= 2**30, name
        assert "stop_grace_period" in service, name
        assert "healthcheck" in service or name in EXPORTERS.values(), name  # theirs is the image's


@pytest.mark.parametrize("profile", EXPORTERS)
def test_everything_mounted_is_there(profile: str) -> None:
    for name, service in _services(profile).items():
        for mount in service.get("volumes", []):
            if mount["type"] == "bind":
                source = Path(mount["source"])
                assert mount["read_only"], name
                assert source.exists() or source.is_relative_to(ROOT / "grafana"), source


@needs.prometheus
def test_prometheus_knows_its_flags() -> None:
    known = set(re.findall(r"--[\w.-]+", output("prometheus", "--help")))
    given = {flag.split("=")[0] for flag in _services("demo")["prometheus"]["command"]}
    assert given <= known
    assert "--storage.tsdb.retention.time=40d" in _services("demo")["prometheus"]["command"]


@pytest.mark.parametrize("profile", EXPORTERS)
def test_prometheus_finds_the_others(profile: str) -> None:
    ours = read(DOCKER / "prometheus.yml")
    for jobs in (ours["scrape_configs"], ours["alerting"]["alertmanagers"]):
        for target in jobs[0]["static_configs"][0]["targets"]:
            assert target.split(":")[0] in _names(profile)


def test_prometheus_is_configured_as_shipped_but_for_the_addresses() -> None:
    shipped = (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    moved = shipped.replace("localhost:10145", "exporter:10145").replace(
        "localhost:9093", "alertmanager:9093"
    )
    assert read(DOCKER / "prometheus.yml") == yaml.safe_load(moved)


@needs.prometheus
def test_promtool_accepts_what_prometheus_will_see(tmp_path: Path) -> None:
    """The files, laid out as they are mounted."""
    for mount in _services("demo")["prometheus"]["volumes"]:
        if mount["type"] == "bind":
            (tmp_path / Path(mount["target"]).name).symlink_to(mount["source"])
    done = run("promtool", "check", "config", "prometheus.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 rule files found" in done.stdout


def test_the_exporter_listens_where_its_health_is_asked() -> None:
    ((host, port),) = parse(_services("real")["exporter"]["command"]).health_addresses
    assert f'"{host}:{port} ' in (DOCKER / "healthcheck.py").read_text()


def test_the_configuration_for_an_account_is_accepted(tmp_path: Path) -> None:
    service = _services("real")["exporter"]
    secrets = {secret["target"]: "demo" for secret in service["secrets"]}
    loaded = load(DOCKER / "config" / "config.yaml", tmp_path, secrets)
    assert not loaded.warnings
    folder = Path(loaded.storage_url.get_secret_value().removeprefix("sqlite:")).parent
    assert str(folder) in {mount["target"] for mount in service["volumes"] if mount["type"] == "volume"}


def test_secrets_are_kept_out_of_the_repository() -> None:
    assert "deploy/docker/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_grafana_finds_its_dashboards() -> None:
    mounted = {mount["target"]: mount["source"] for mount in _services("demo")["grafana"]["volumes"]}
    assert mounted[f"{PROVISIONED}/dashboards"] == str(PROVISIONING / "dashboards")
    for path in PROVISIONING.glob("dashboards/*.yml"):
        for provider in read(path)["providers"]:
            folder = provider["options"]["path"].replace("$GF_PATHS_PROVISIONING", PROVISIONED)
            assert mounted[os.path.normpath(folder)] == str(ROOT / "grafana" / "dashboards")


def test_grafana_finds_prometheus() -> None:
    ours = (DOCKER / "grafana-datasource.yml").read_text(encoding="utf-8")
    for path in PROVISIONING.glob("datasources/*.yml"):
        assert yaml.safe_load(ours.replace("//prometheus:", "//localhost:")) == read(path)
    (source,) = yaml.safe_load(ours)["datasources"]
    assert urlsplit(source["url"]).hostname in _names("demo")

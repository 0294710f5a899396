"""The examples of docs/examples, each judged by the program it is for."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from exporter import __version__
from exporter.config import load as load_config
from tests import needs
from tests.deploy.shipped import (
    DEPLOY,
    PORT,
    ROOT,
    SYSTEMD,
    check_schemas,
    documents,
    output,
    parse,
    read,
    run,
)

EXAMPLES = ROOT / "docs" / "examples"
INDEX = (EXAMPLES / "README.md").read_text(encoding="utf-8")


def test_every_example_is_in_the_index() -> None:
    there = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert set(re.findall(r"\]\((\w+)/", INDEX)) == there
    for path in re.findall(r"\]\(([^)]+)\)", INDEX):
        assert (EXAMPLES / path).exists(), path


@needs.alertmanager
@pytest.mark.parametrize("name", ["telegram", "email"])
def test_amtool_accepts(name: str) -> None:
    output("amtool", "check-config", EXAMPLES / "alertmanager" / f"{name}.yml")


@needs.prometheus
def test_promtool_accepts_vmagents_configuration() -> None:
    output("promtool", "check", "config", EXAMPLES / "vmagent" / "scrape.yml")


@needs.vmagent
def test_vmagent_accepts_its_configuration() -> None:
    flags = [f"-promscrape.config={EXAMPLES}/vmagent/scrape.yml", "-promscrape.config.strictParse"]
    output("vmagent", "-dryRun", *flags)


@pytest.mark.parametrize("path", ["vmagent/scrape.yml", "alloy/config.alloy"])
def test_the_job_has_the_name_the_rules_know(path: str) -> None:
    (job,) = read(DEPLOY / "prometheus" / "prometheus.yml")["scrape_configs"]
    names = re.findall(r"job_name[ :=]+\"?(\w+)", (EXAMPLES / path).read_text(encoding="utf-8"))
    assert names == [job["job_name"]]


@pytest.mark.parametrize("path", ["vmagent/scrape.yml", "alloy/config.alloy"])
def test_the_instance_is_an_address(path: str) -> None:
    """Alerts lead to the runbooks there."""
    text = (EXAMPLES / path).read_text(encoding="utf-8")
    assert re.findall(r"instance\"?(?: =|:) \"?([\w:-]+)", text) == [f"smsc-exporter:{PORT}"]


@needs.compose
def test_docker_compose_accepts() -> None:
    services = yaml.safe_load(output("docker-compose", "config", cwd=EXAMPLES / "compose"))["services"]
    exporter = services["smsc-exporter"]
    assert exporter["image"] == f"smsc-exporter:{__version__}"
    assert parse(exporter["command"])


@needs.kubernetes_schemas
def test_kubernetes_accepts(tmp_path: Path) -> None:
    objects = documents(output("kubectl", "kustomize", EXAMPLES / "kubernetes"))
    assert [each for each in objects if each["kind"] == "Secret"] == []
    check_schemas(tmp_path, example=objects)
    (config_map,) = [each for each in objects if each["kind"] == "ConfigMap"]
    (tmp_path / "config.yaml").write_text(config_map["data"]["config.yaml"])
    for name in ("login", "password"):
        (tmp_path / name).write_text("demo")
    assert [account.name for account in load_config(tmp_path / "config.yaml", {}).accounts] == ["shop"]


@needs.systemd
def test_systemd_accepts(tmp_path: Path) -> None:
    """With the unit it belongs to, as on a systemd of any version."""
    unit = tmp_path / "smsc-exporter.service"
    text = (SYSTEMD / unit.name).read_text(encoding="utf-8").replace("Type=notify-reload\n", "")
    unit.write_text(text.replace("/opt/smsc-exporter/bin/smsc-exporter", "/bin/true"))
    (tmp_path / f"{unit.name}.d").mkdir()
    shutil.copy(EXAMPLES / "systemd" / "proxy.conf", tmp_path / f"{unit.name}.d")
    done = run("systemd-analyze", "verify", "--man=no", unit)
    assert unit.name not in done.stdout + done.stderr
    assert done.returncode == 0, done.stderr

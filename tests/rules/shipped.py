"""The shipped rules, their tests and Alertmanager's configuration, and the tools for them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
PROMETHEUS = ROOT / "deploy" / "prometheus"
ALERTMANAGER = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
RUNBOOKS = ROOT / "docs" / "runbooks"

RULE_FILES = sorted(path.name for path in (PROMETHEUS / "rules").glob("*.yml"))
TEST_FILES = sorted(path.name for path in (PROMETHEUS / "tests").glob("*.yml"))

DAEMONS = ("prometheus-alertmanager", "alertmanager")
"""What Debian calls Alertmanager, and what its makers do."""


def alertmanager() -> str:
    """The daemon's name here."""
    return next((name for name in DAEMONS if shutil.which(name)), DAEMONS[0])


def parse(text: str) -> Any:
    """Reads YAML ten times as fast as ``safe_load`` does, and as safely."""
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both loaders are safe ones


def read(path: Path) -> Any:
    return parse(path.read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    """All rules, recording and alerting, in order."""
    files = [read(PROMETHEUS / "rules" / name) for name in RULE_FILES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]
NAMES = sorted({alert["alert"] for alert in ALERTS})


def label(alert: dict[str, Any]) -> str:
    """An alert's name and severity: two of one name differ in the latter."""
    return f"{alert['alert']}-{alert['labels'].get('severity')}"


def run(
    *command: str | Path, cwd: Path = PROMETHEUS, patience: float = 500
) -> subprocess.CompletedProcess[str]:
    """A tool's answer, whatever it is. A quarter of promtool's work would be to save memory."""
    env = {**os.environ, "GOGC": "800"}
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=patience, env=env
    )

"""Writes the rules of ``deploy/prometheus`` as the Prometheus Operator wants them, comments and all.

python -m tests.deploy.prometheusrule
"""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

from tests.deploy.shipped import DEPLOY

RULES = DEPLOY / "prometheus" / "rules"
MANIFEST = DEPLOY / "kubernetes" / "prometheus-operator" / "prometheusrule.yaml"

_NOTE = """\
# Made of ../../prometheus/rules, which are the ones to change; then, at the top of the repository:
#   python -m tests.deploy.prometheusrule
"""

_HEAD = """\
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: smsc-{name}
spec:
"""


def manifest() -> str:
    """What the file should hold: one PrometheusRule for each file of rules."""
    return _NOTE + "".join(_document(path) for path in sorted(RULES.glob("*.yml")))


def _document(path: Path) -> str:
    return _HEAD.format(name=path.stem) + indent(path.read_text(encoding="utf-8"), "  ")


if __name__ == "__main__":
    MANIFEST.write_text(manifest(), encoding="utf-8")

"""The shipped ways to deploy, and the tools that judge them."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from exporter import config
from exporter.cli.flags import parser
from tests import needs

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
DOCKER = DEPLOY / "docker"
KUBERNETES = DEPLOY / "kubernetes"
SYSTEMD = DEPLOY / "systemd"

README = (DEPLOY / "README.md").read_text(encoding="utf-8")
README_COMMANDS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)

PORT = 10145

SCHEMAS = ("1.28.0", "1.37.0")
"""The oldest and the newest Kubernetes the manifests are held against."""


def run(*command: str | Path, cwd: Path = ROOT, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """A tool's answer, whatever it is. Without the tool the test is skipped, unless a change is judged."""
    needs.program(str(command[0]))
    return subprocess.run(
        command,
        cwd=cwd,
        input=stdin,
        env=os.environ | {"PATH": needs.PATH},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


def output(*command: str | Path, cwd: Path = ROOT, stdin: str = "") -> str:
    """What a tool prints that is content with what it was given."""
    done = run(*command, cwd=cwd, stdin=stdin)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def documents(text: str) -> list[Any]:
    """All that is in a YAML text, ten times as fast as ``safe_load_all`` reads it, and as safely."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [each for each in yaml.load_all(text, Loader=loader) if each]


def check_schemas(folder: Path, **sets: list[Any]) -> None:
    """The kinds of Kubernetes itself; those of the Prometheus Operator have no schema here.

    One run for all sets of objects: each would read the schemas for itself.
    """
    for name, objects in sets.items():
        own = [json.dumps(each, ensure_ascii=False) for each in objects if "coreos" not in each["apiVersion"]]
        (folder / f"{name}.yaml").write_text("\n---\n".join(own), encoding="utf-8")
    versions = [flag for version in SCHEMAS for flag in ("-k", version)]
    output("kubernetes-validate", "--strict", *versions, *(f"{name}.yaml" for name in sets), cwd=folder)


def parse(arguments: list[str]) -> argparse.Namespace:
    """A command line, as the exporter understands it."""
    return parser().parse_args(arguments)


def load(path: Path, folder: Path, secrets: dict[str, str]) -> config.Config:
    """A configuration, loaded as where it is deployed: ``secrets`` are the files that it finds there."""
    text = path.read_text(encoding="utf-8")
    for name, secret in secrets.items():
        here = folder / Path(name).name
        here.write_text(secret, encoding="utf-8")
        assert name in text, f"{path}: nothing reads {name}"
        text = text.replace(name, str(here))
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    return config.load(folder / "config.yaml", {})

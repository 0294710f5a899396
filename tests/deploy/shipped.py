"""The shipped ways to deploy, and the tools that judge them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from exporter import config
from exporter.cli.flags import parser
from tests import needs

if TYPE_CHECKING:
    import argparse

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
DOCKER = DEPLOY / "docker"
KUBERNETES = DEPLOY / "kubernetes"
SYSTEMD = DEPLOY / "systemd"

README = (DEPLOY / "README.md").read_text(encoding="utf-8")
README_COMMANDS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)

PORT = 10145


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

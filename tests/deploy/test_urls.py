"""The project's address and version are set in pyproject.toml; every place that repeats them is known."""

from __future__ import annotations

import re
import subprocess
import tomllib
from fnmatch import fnmatch

from exporter import __version__
from tests.deploy.shipped import DEPLOY, ROOT, read

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HOMEPAGE = PROJECT["urls"]["Homepage"]

REPEATED = [
    "CONTRIBUTING.md",
    "deploy/docker/Dockerfile",
    "deploy/helm/smsc-exporter/Chart.yaml",
    "pyproject.toml",
]
"""Where the address may be repeated. CONTRIBUTING.md says how to change all of them at once."""


def _files_with(text: str) -> set[str]:
    command = ["git", "-c", f"safe.directory={ROOT}", "grep", "-lF", "--untracked", text, "--", "."]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(found.stdout.split())


def test_all_links_of_the_project_begin_with_its_address() -> None:
    assert all(url.startswith(HOMEPAGE) for url in PROJECT["urls"].values())


def test_the_address_is_repeated_only_where_it_is_expected() -> None:
    unexpected = [path for path in _files_with(HOMEPAGE) if not any(fnmatch(path, each) for each in REPEATED)]
    assert unexpected == [], "add them to REPEATED, and make sure that CONTRIBUTING.md's command changes them"


def test_the_image_and_the_chart_name_the_address() -> None:
    assert f'org.opencontainers.image.url="{HOMEPAGE}"' in (DEPLOY / "docker" / "Dockerfile").read_text()
    assert read(DEPLOY / "helm" / "smsc-exporter" / "Chart.yaml")["home"] == HOMEPAGE


def test_contributing_tells_how_to_change_it() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert f"git grep -lF {HOMEPAGE} | xargs sed -i 's#{HOMEPAGE}#" in text


def test_the_version_is_the_changelogs_newest() -> None:
    versions = re.findall(
        r"^## (?:Unreleased \()?([\d.]+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert versions[0] == PROJECT["version"] == __version__

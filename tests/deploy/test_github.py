"""Workflows, issue forms and the checks before a commit: their schemas, zizmor, and what .ci/run does."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import pytest

from tests import needs
from tests.deploy.shipped import ROOT, output, read

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml"))


@needs.check_jsonschema
@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ("github-workflows", WORKFLOWS),
        ("github-issue-forms", [path for path in FORMS if path.stem != "config"]),
        ("github-issue-config", [path for path in FORMS if path.stem == "config"]),
    ],
)
def test_the_schema_accepts(schema: str, paths: list[str]) -> None:
    assert paths
    output("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *paths)


@needs.zizmor
def test_zizmor_finds_nothing() -> None:
    output("zizmor", "--offline", "--no-progress", GITHUB)


def test_every_python_that_is_promised_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    promised = {found[1] for line in project["classifiers"] if (found := re.search(r":: (3\.\d+)$", line))}
    matrix = read(GITHUB / "workflows" / "tests.yml")["jobs"]["all"]["strategy"]["matrix"]["python"]
    assert promised == set(matrix)
    assert project["requires-python"] == f">={min(matrix, key=lambda each: int(each[2:]))}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_taken_by_a_version(path: str) -> None:
    used = [
        step["uses"]
        for job in read(ROOT / path)["jobs"].values()
        for step in job.get("steps", ())
        if "uses" in step
    ]
    assert used
    assert [each for each in used if not re.search(r"@v\d+(\.\d+){0,2}$", each)] == []


def test_a_release_is_built_on_the_images_own_base() -> None:
    base = re.search(r"^ARG BASE=(\S+)$", (ROOT / "deploy/docker/Dockerfile").read_text(), re.MULTILINE)
    assert base
    assert f"base={base[1]}\n" in (GITHUB / "workflows" / "release.yml").read_text(encoding="utf-8")


def test_a_released_chart_takes_the_released_image(tmp_path: Path) -> None:
    jobs = read(GITHUB / "workflows" / "release.yml")["jobs"]
    step = next(each for each in jobs["chart"]["steps"] if "helm package" in each.get("run", ""))
    assert step["env"]["IMAGE"] == "${{ needs.image.outputs.image }}"
    assert jobs["image"]["outputs"] == {"image": "${{ steps.names.outputs.image }}"}
    chart = "deploy/helm/smsc-exporter"
    shutil.copytree(ROOT / chart, tmp_path / chart)
    before, _, _ = step["run"].partition("helm package")
    image = "ghcr.io/example/smsc-exporter"
    output("bash", "-ec", f"IMAGE={image} GITHUB_REF_NAME=v0.0.0\n{before}", cwd=tmp_path)
    expected = read(ROOT / chart / "values.yaml")
    expected["image"]["repository"] = image
    assert read(tmp_path / chart / "values.yaml") == expected


def test_nothing_is_published_before_the_tests_pass() -> None:
    jobs = read(GITHUB / "workflows" / "release.yml")["jobs"]
    assert jobs["tests"]["uses"] == "./.github/workflows/tests.yml"
    assert "workflow_call" in read(GITHUB / "workflows" / "tests.yml")[True]  # YAML's "on"
    publishing = [name for name, job in jobs.items() if "write" in job["permissions"].values()]
    assert publishing
    assert [name for name in publishing if "tests" not in jobs[name]["needs"]] == []


def test_before_a_commit_the_quick_checks_of_ci_run() -> None:
    hooks = [
        hook["entry"] for repo in read(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]
    ]
    commands = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert hooks == [line.strip() for line in commands if re.match(r" +\.venv/bin/(ruff|mypy)\b", line)]


@needs.pre_commit
def test_pre_commit_accepts_its_configuration() -> None:
    output("pre-commit", "validate-config", ROOT / ".pre-commit-config.yaml")

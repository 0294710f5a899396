"""The documents against the code: every flag, key, metric and path is told; the commands are those of CI."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from exporter.cli import flags
from exporter.config import load
from exporter.config.schema import SECTIONS
from exporter.errors import Outcome
from exporter.exposition import FAMILIES
from exporter.model import State
from tests.factories import make_telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCS = README + "".join(path.read_text() for path in PAGES)


def _flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from (option for option in action.option_strings if option.startswith("--"))
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _flags(child)


def _metrics() -> set[str]:
    telemetry = make_telemetry()
    registry = telemetry.registry
    own = {sample.name for family in registry.collect() for sample in family.samples}
    named = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}
    ours = {name for name in own | named if name.startswith("smsc_")}
    return ours | {family.name for family in FAMILIES}


@pytest.mark.parametrize("flag", sorted(set(_flags(flags.parser()))))
def test_every_flag_is_told(flag: str) -> None:
    assert f"`{flag}" in DOCS


@pytest.mark.parametrize("command", flags.COMMANDS)
def test_every_command_is_told(command: str) -> None:
    assert f"smsc-exporter {command}" in DOCS


@pytest.mark.parametrize(
    "key", sorted({key for section in SECTIONS.values() for key in section.model_fields})
)
def test_every_key_is_told_and_stands_in_the_example(key: str) -> None:
    assert f"`{key}`" in DOCS
    assert re.search(rf"\b{key}\b", (ROOT / "config.yaml").read_text())


@pytest.mark.parametrize("metric", sorted(_metrics()))
def test_every_metric_is_told(metric: str) -> None:
    assert f"`{metric}" in DOCS


@pytest.mark.parametrize("value", [*Outcome, *State])
def test_every_outcome_and_state_is_told(value: str) -> None:
    assert f"`{value}`" in DOCS


PATHS = ("/metrics", "/", "/api/v1/links", "/-/healthy", "/-/ready", "POST /-/reload", "POST /-/quit")


@pytest.mark.parametrize("path", PATHS)
def test_every_path_is_told(path: str) -> None:
    assert f"`{path}`" in DOCS


def test_links_between_documents_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *PAGES]
    for path in [*pages, *(ROOT / "grafana").glob("*.md"), *(ROOT / "deploy").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
            assert target.startswith("https://") or (path.parent / target).exists(), f"{path.name}: {target}"


def test_ci_runs_the_readmes_test_command() -> None:
    command = re.search(r"^(python3 -m venv .*pytest.*)$", README, re.MULTILINE)
    assert command
    assert command[1] in (ROOT / ".ci" / "run").read_text()


def test_yaml_in_the_documents_is_accepted(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(accounts:.*?|refresh.*?|storage:.*?)```", DOCS, re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block)
        load(
            path,
            {
                "SMSC_LOGIN": "alex",
                "SMSC_PASSWORD": "123",
                "SMSC_API_KEY": "456",
                "SMSC_STORAGE": "redis://:x@localhost",
            },
        )


def test_link_files_in_the_documents_say_the_same(tmp_path: Path) -> None:
    links = []
    for suffix, text in re.findall(r"```(yaml|json|csv)\n((?:- \{id|\[\n|id;).*?)```", DOCS, re.DOTALL):
        (tmp_path / f"links.{suffix}").write_text(text)
        account = f"{{name: main, login: a, password: b, link_files: [links.{suffix}]}}"
        (tmp_path / "config.yaml").write_text(f"accounts: [{account}]")
        links.append(load(tmp_path / "config.yaml", {}).accounts[0].links)
    assert len(links) == 3
    assert links[0] == links[1] == links[2]
    assert [link.name for link in links[0]] == ["spring-sale", "landing"]

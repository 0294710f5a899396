"""The documents against the code: all that it has is documented, links lead somewhere, and examples work."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import pytest

from exporter import cli
from exporter.cli import flags
from exporter.config import load
from exporter.config.schema import File
from exporter.errors import Outcome
from exporter.exposition.slot import FAMILIES
from exporter.model import State
from exporter.telemetry import Telemetry
from tests import words

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = words.documents()
DOCS = "".join(path.read_text() for path in PAGES)
SHELL = re.findall(r"^ *```(?:sh|console)\n(.*?)```", DOCS, re.DOTALL | re.MULTILINE)


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


def _flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from (option for option in action.option_strings if option.startswith("--"))
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _flags(child)


def _metrics() -> set[str]:
    telemetry = Telemetry(list, lambda: True)
    registry = telemetry.registry
    own = {sample.name for family in registry.collect() for sample in family.samples}
    named = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}
    ours = {name for name in own | named if name.startswith("smsc_")}
    return ours | {family.name for family in FAMILIES}


@pytest.mark.parametrize("flag", sorted(set(_flags(flags.parser()))))
def test_every_flag_is_documented(flag: str) -> None:
    assert f"`{flag}" in page("cli")


@pytest.mark.parametrize("command", flags.COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    assert f"`smsc-exporter {command}" in page("cli")


@pytest.mark.parametrize("key", sorted(File.keys_of_file))
def test_every_key_is_documented_and_in_the_example(key: str) -> None:
    assert f"`{key}`" in page("configuration")
    assert re.search(rf"\b{key}\b", (ROOT / "config.yaml").read_text())


@pytest.mark.parametrize("metric", sorted(_metrics()))
def test_every_metric_is_documented(metric: str) -> None:
    assert f"`{metric}" in page("metrics")


@pytest.mark.parametrize("value", [*Outcome, *State])
def test_every_outcome_and_state_is_in_the_glossary(value: str) -> None:
    assert f"| `{value}` |" in page("glossary")


PATHS = [
    *("/metrics", "/", "/api/v1/links", "/runbooks/NAME", "/docs/NAME", "/-/healthy", "/-/ready"),
    *("POST /-/reload", "POST /-/quit"),
]


@pytest.mark.parametrize("path", PATHS)
def test_every_path_is_documented(path: str) -> None:
    assert f"`{path}`" in page("cli")


def test_events_in_the_documents_are_logged() -> None:
    named = {*re.findall(r"event=(\w+)", DOCS), *re.findall(r"`(\w+)`", page("cli").partition("## Log")[2])}
    code = "".join(path.read_text() for path in (ROOT / "exporter").rglob("*.py"))
    assert sorted(event for event in named if f'"{event}"' not in code and f"{event}=" not in code) == []


def _anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_documents_lead_somewhere(path: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#?([^)]*)\)", path.read_text()):
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), target
        assert not anchor or anchor in _anchors(there), f"{target}#{anchor}"


def test_the_index_names_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / target).resolve() for target in re.findall(r"\]\(([^)#]+)", index.read_text())}
    pages = {*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "internals").glob("*.md")} - {index}
    assert sorted(path.name for path in pages - linked) == []


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 130


def _commands() -> list[str]:
    """The lines of shell blocks, without prompts, comments and what an example prints."""
    text = "\n".join(SHELL).replace("\\\n", " ")
    lines = [re.sub(r"^ *\$ |(^|\s)#.*|\s&$", "", line) for line in text.splitlines()]
    return [part.strip() for line in lines for part in re.split(r"&&|;", line)]


def test_the_exporters_commands_can_be_parsed() -> None:
    own = [re.fullmatch(r"(?:\S*/)?smsc-exporter(?: (.*))?", command) for command in _commands()]
    lines = [found[1] or "serve" for found in own if found]
    assert len(lines) >= 15
    for line in lines:
        arguments = shlex.split(line.replace("...", "x"))
        command = [] if arguments[0] in flags.COMMANDS else ["serve"]
        if not {"--help", "--version"} & set(arguments):
            flags.parser().parse_args([*command, *arguments])


def test_modules_and_files_of_commands_exist() -> None:
    text = "\n".join(_commands())
    modules = set(re.findall(r"python3? -m ([\w.]+)", text)) - {"venv", "pip", "pytest", "zipfile"}
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []
    files = set(re.findall(r"(?<![\w/.-])(?:deploy|grafana/(?!grafana)|docs|tests)/[\w./-]*\w", text))
    assert sorted(name for name in files if not (ROOT / name).exists()) == []


def test_queries_in_the_documents_are_promql() -> None:
    blocks = re.findall(r"```promql\n(.*?)```", page("metrics"), re.DOTALL)
    inline = re.findall(r"`([^`]*smsc_\w+[^`]*[\[(][^`]*)`", README + page("getting-started") + page("faq"))
    queries = [
        *"".join(blocks).splitlines(),
        *(each for each in inline if not each.startswith(("unless", "smsc-"))),
    ]
    assert len(queries) > 5
    for query in queries:
        promql_parser.parse(query)


def test_ci_runs_the_readmes_test_command() -> None:
    command = re.search(r"^(python3 -m venv .*pytest.*)$", README, re.MULTILINE)
    assert command
    assert command[1] in (ROOT / ".ci" / "run").read_text()


EXAMPLES = [
    (ROOT / "config.yaml").read_text(),
    *(block for block in re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL) if "accounts:" in block),
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_check_says_nothing_of_an_example(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(example)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "spring.yaml").write_text("- id: 1")
    (tmp_path / "links" / "summer.csv").write_text("id\n2")
    for name in re.findall(r"_env: (\w+)", example):
        monkeypatch.setenv(name, "redis://:x@localhost" if name == "SMSC_STORAGE" else "alex")
    monkeypatch.chdir(tmp_path)
    code, said = cli.main(["check"]), capsys.readouterr()
    assert (code, said.err) == (0, "")
    assert "config.yaml is valid: 1 account" in said.out


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

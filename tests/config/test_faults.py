"""Every file in ``bad`` is named after its fault; beside it stands the whole message that ``load`` gives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from exporter.config import load, syntax
from exporter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

BAD = Path(__file__).parent / "bad"
NAMES = sorted(path.stem for path in BAD.glob("*.yaml"))
ENVIRON = {"EMPTY": "", "LINES": "hunter2\nhunter2", "SECRET": "hunter2"}


def faults_of(path: Path, load: Callable[[Path], object] = lambda path: load(path, {})) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_message(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    expected = (BAD / f"{name}.txt").read_text("utf-8")
    assert faults_of(Path(f"{name}.yaml"), lambda path: load(path, ENVIRON)) + "\n" == expected


def test_secrets_are_never_repeated() -> None:
    # every secret in the bad files, well placed or misplaced, is made of this word
    assert sum("hunter" in (BAD / f"{name}.yaml").read_text("utf-8", "replace") for name in NAMES) > 20
    assert not [name for name in NAMES if "hunter" in (BAD / f"{name}.txt").read_text("utf-8")]


def syntax_fault(path: Path, base: type) -> str:
    try:
        syntax.compose(path, path.read_bytes().decode("utf-8", "replace"), base)
    except ConfigError as error:
        return "\n".join(f"{fault.line} {fault.message}" for fault in error.faults)
    return "no fault of syntax"


@pytest.mark.parametrize("name", NAMES)
def test_both_parsers_say_the_same(name: str) -> None:
    path = BAD / f"{name}.yaml"
    fast = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    assert syntax_fault(path, yaml.BaseLoader) == syntax_fault(path, fast)


def test_every_expectation_has_its_file() -> None:
    assert sorted(path.stem for path in BAD.glob("*.txt")) == NAMES
    assert len(NAMES) >= 35


def test_no_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    message = "there is no such file: create it, or name another with --config.file"
    assert faults_of(path) == f"{path}: {message}"


def test_directory(tmp_path: Path) -> None:
    message = "is a directory: name the file in it with --config.file"
    assert faults_of(tmp_path) == f"{tmp_path}: {message}"


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    # A loop of symbolic links cannot be read by anyone, root included
    path = tmp_path / "config.yaml"
    os.symlink(path, path)
    message = "name another with --config.file, or change its permissions"
    assert faults_of(path) == f"{path}: cannot be read (Too many levels of symbolic links): {message}"


def test_name_that_is_none() -> None:
    message = "cannot be read (its name is not a file name)"
    assert message in faults_of(Path("config\0.yaml"))


def test_chain_of_merges(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    chain = "".join(f"a{number}: &a{number} {{<<: *a{number - 1}}}\n" for number in range(1, 2000))
    path.write_text(f"a0: &a0 {{}}\n{chain}<<: *a1999\n")
    assert faults_of(path).startswith(f"{path}:1:1: is nested more than 50 levels deep")


def test_yaml_that_no_explanation_fits(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("%YAML 2.0\n---\naccounts: []\n")
    assert faults_of(path) == f"{path}:1:1: is not YAML: check quotes, brackets and indentation here"

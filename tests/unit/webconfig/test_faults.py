"""Every file in ``bad`` is named after its fault; beside it stands the whole message that ``load`` gives."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from exporter.webconfig import load
from tests.unit.config.test_faults import faults_of, refused
from tests.unit.webconfig import pems

BAD = Path(__file__).parent / "bad"
NAMES = sorted(path.stem for path in BAD.glob("*.yaml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files, and the certificates and keys that they name."""
    folder = tmp_path_factory.mktemp("bad")
    shutil.copytree(BAD, folder, dirs_exist_ok=True)
    pems.write_all(folder)
    (folder / "config.yaml").write_text("accounts: [{name: main, login: x, password: x, links: [{id: 1}]}]\n")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_message(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    expected = (BAD / f"{name}.txt").read_text("utf-8")
    assert refused(capsys, "--config.file=config.yaml", f"--web.config.file={name}.yaml") == expected


def test_secrets_are_never_repeated() -> None:
    # every secret in the bad files, well placed or misplaced, is made of this word
    assert sum("hunter" in (BAD / f"{name}.yaml").read_text("utf-8") for name in NAMES) > 5
    assert not [name for name in NAMES if "hunter" in (BAD / f"{name}.txt").read_text("utf-8")]


def test_every_expectation_has_its_file() -> None:
    assert sorted(path.stem for path in BAD.glob("*.txt")) == NAMES
    assert len(NAMES) >= 40


def test_no_file(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    message = "there is no such file: create it, or name another with --web.config.file"
    assert faults_of(path, load=load) == f"{path}: {message}"

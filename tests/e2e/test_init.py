"""``smsc-exporter init``, as a process, with and without a terminal."""

from __future__ import annotations

import os
import pty
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from exporter.config import load
from tests.processes import run

VALUES = {"SMSC_LOGIN": "alex", "SMSC_PASSWORD": "123", "MY_LOGIN": "alex", "MY_PASSWORD": "123"}


def init(folder: Path, *arguments: str, typed: str | None = None) -> CompletedProcess[str]:
    """Runs it; ``typed`` is what a user types at a terminal."""
    if typed is None:
        return run("init", *arguments, cwd=folder)
    keyboard, terminal = pty.openpty()
    try:
        os.write(keyboard, typed.encode())
        return run("init", *arguments, cwd=folder, stdin=terminal)
    finally:
        os.close(keyboard)
        os.close(terminal)


def ids(path: Path) -> list[str | None]:
    (account,) = load(path, VALUES).accounts
    return [link.id for link in account.links]


def test_flags_alone_write_a_valid_file_and_say_what_comes_next(tmp_path: Path) -> None:
    done = init(tmp_path, "--id=145142,0145143", "--id=145142")
    assert (done.returncode, done.stderr) == (0, "")
    assert ids(tmp_path / "config.yaml") == ["145142", "0145143"]
    for line in ("export SMSC_LOGIN=... SMSC_PASSWORD=...\n", "smsc-exporter check ", "smsc-exporter serve "):
        assert f"  {line}" in done.stdout


def test_variables_and_file_are_those_of_the_flags(tmp_path: Path) -> None:
    flags = ["--login-env=MY_LOGIN", "--password-env=MY_PASSWORD", "--config.file=my.yaml", "--id=1"]
    done = init(tmp_path, *flags)
    assert "export MY_LOGIN=... MY_PASSWORD=...\n" in done.stdout
    assert "smsc-exporter serve --config.file=my.yaml " in done.stdout
    assert "login_env: MY_LOGIN " in (tmp_path / "my.yaml").read_text()
    assert ids(tmp_path / "my.yaml") == ["1"]


def test_a_user_is_asked_again_after_a_wrong_answer(tmp_path: Path) -> None:
    done = init(tmp_path, typed="\nmy password\nMY_PASSWORD\nabc\n145142, 145143\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "not the name of a variable: write it in capitals, such as SMSC_LOGIN" in done.stdout
    assert "my password" not in done.stdout
    assert '"abc" is not an id: write its number, such as 145142' in done.stdout
    assert "export SMSC_LOGIN=... MY_PASSWORD=...\n" in done.stdout
    assert ids(tmp_path / "config.yaml") == ["145142", "145143"]


@pytest.mark.parametrize("typed", [None, "\n\n\n", "\x04\x04\x04"])
def test_without_a_link_nothing_is_written(typed: str | None, tmp_path: Path) -> None:
    done = init(tmp_path, typed=typed)
    assert done.returncode == 2
    assert done.stderr.endswith("error: no link: write --id=145142, once for each link\n")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_exists_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("mine")
    done = init(tmp_path, "--id=1")
    assert (done.returncode, done.stdout) == (1, "")
    advice = "run init in another folder, or name another file with --config.file"
    assert done.stderr == f"config.yaml exists already: {advice}\n"
    assert (tmp_path / "config.yaml").read_text() == "mine"


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    done = init(tmp_path, "--id=1", "--config.file=no/config.yaml")
    assert (done.returncode, done.stderr) == (
        1,
        "no/config.yaml cannot be written: No such file or directory\n",
    )

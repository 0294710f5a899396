"""Every file in ``bad`` is named after its fault; beside it stands the whole message that ``load`` gives."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter import cli, webconfig
from exporter.config import load
from exporter.errors import ConfigError

BAD = Path(__file__).parent / "bad"
NAMES = sorted(path.stem for path in BAD.glob("*.yaml"))
ENVIRON = {"EMPTY": "", "LINES": "hunter2\nhunter2", "SECRET": "hunter2"}


def faults_of(path: Path, load: Callable[[Path], object] = lambda path: load(path, {})) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value)


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """What the command ``check`` says of faults: on the error stream, with exit code 1."""
    code = cli.main(["check", *flags])
    said = capsys.readouterr()
    assert (code, said.out) == (1, "")
    return said.err


@pytest.mark.parametrize("name", NAMES)
def test_message(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(BAD)
    for variable, value in ENVIRON.items():
        monkeypatch.setenv(variable, value)
    expected = (BAD / f"{name}.txt").read_text("utf-8")
    assert refused(capsys, f"--config.file={name}.yaml") == expected


def test_secrets_are_never_repeated() -> None:
    # every secret in the bad files, well placed or misplaced, is made of this word
    assert sum("hunter" in (BAD / f"{name}.yaml").read_text("utf-8", "replace") for name in NAMES) > 20
    assert not [name for name in NAMES if "hunter" in (BAD / f"{name}.txt").read_text("utf-8")]


def test_every_expectation_has_its_file() -> None:
    assert sorted(path.stem for path in BAD.glob("*.txt")) == NAMES
    assert len(NAMES) >= 35


def test_no_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    message = (
        "there is no such file: run smsc-exporter init to create it, or smsc-exporter demo to try without"
    )
    message += ", or name another with --config.file"
    assert faults_of(path) == f"{path}: {message}"


def test_directory(tmp_path: Path) -> None:
    message = "is a directory: name the file in it with --config.file"
    assert faults_of(tmp_path) == f"{tmp_path}: {message}"


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    # A loop of symbolic links cannot be read by anyone, root included
    path = tmp_path / "config.yaml"
    os.symlink(path, path)
    message = "name another with --config.file"
    assert faults_of(path) == f"{path}: cannot be read (Too many levels of symbolic links): {message}"


@pytest.fixture(params=["pipe", "device", "link to a pipe"])
def endless(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What can be opened, or not even that, and never comes to an end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "link to a pipe").symlink_to("pipe")
    found: Path = tmp_path / request.param
    return found


def test_what_never_ends_is_not_waited_for(endless: Path) -> None:
    message = "cannot be read (it is a device or a pipe): name another with --"
    assert faults_of(endless) == f"{endless}: {message}config.file"
    assert faults_of(endless, load=webconfig.load) == f"{endless}: {message}web.config.file"


def test_secret_that_never_ends_is_not_waited_for(endless: Path, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        'storage: {url: "memory:"}\naccounts:\n  - name: main\n    login: alex\n'
        f'    password_file: "{endless.name}"\n    links: [{{id: 1}}]\n'
    )
    assert faults_of(path) == (
        f"{path}:5:20: accounts[0].password_file: the file cannot be read (it is a device or a pipe): "
        "write its path, absolute or from the folder of this file"
    )


def test_certificate_that_never_ends_is_not_waited_for(endless: Path, tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(f'tls_server_config:\n  cert_file: "{endless.name}"\n  key_file: "{endless.name}"\n')
    assert faults_of(path, load=webconfig.load).count("it is a device or a pipe") == 2


def test_link_to_a_file_is_the_file(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("accounts: {}\n")
    (tmp_path / "link").symlink_to("there")
    assert "link:1:11: accounts: " in faults_of(tmp_path / "link")


def test_name_that_is_none() -> None:
    message = "cannot be read (its name is not a file name)"
    assert message in faults_of(Path("config\0.yaml"))


def test_chain_of_merges(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    chain = "".join(f"a{number}: &a{number} {{<<: *a{number - 1}}}\n" for number in range(1, 2000))
    path.write_text(f"a0: &a0 {{}}\n{chain}<<: *a1999\n")
    assert "config.yaml:549:18: aliases make this document larger than" in faults_of(path)


def test_yaml_that_no_explanation_fits(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("%YAML 2.0\n---\naccounts: []\n")
    assert faults_of(path) == f"{path}:1:1: is not YAML: check quotes, brackets and indentation here"

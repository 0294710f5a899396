"""How a command ends, in the test's own process: its exit code, and what it says of errors."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.cli.run import run


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """A command that is no service gives the signals their usual meaning: here they keep the test's."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_a_command_that_is_no_service_gives_the_signals_their_usual_meaning(tmp_path: Path) -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)
    assert run(["check", f"--config.file={tmp_path}/none.yaml"]) == 1
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("command", [[], ["serve"], ["check"]])
def test_a_configuration_with_errors_is_one_line_each(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("acounts: []\n")
    assert run([*command, f"--config.file={tmp_path}/config.yaml"]) == 1
    printed = capsys.readouterr()
    assert "config.yaml:1:1: acounts: unknown key" in printed.err
    assert "Traceback" not in printed.err


def test_a_storage_that_cannot_be_used_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "not-ours").write_text("somebody's")
    (tmp_path / "config.yaml").write_text(
        "storage: {url: 'sqlite:not-ours'}\n"
        "accounts: [{name: main, login: demo, password: demo, links: [{id: 1}]}]\n"
    )
    assert run(["get", f"--config.file={tmp_path}/config.yaml", "1"]) == 1
    assert "is not smsc-exporter's database" in capsys.readouterr().err
    assert (tmp_path / "not-ours").read_text() == "somebody's"


def test_an_interruption_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C is pressed while a provider that says nothing is asked."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (tmp_path / "config.yaml").write_text(
            "storage: {url: 'memory:'}\n"
            "accounts: [{name: main, login: demo, password: demo, links: [{id: 1}], "
            f"base_url: 'http://127.0.0.1:{silent.getsockname()[1]}'}}]\n"
        )

        def interrupt() -> None:
            connection, _ = silent.accept()
            with connection:
                os.kill(os.getpid(), signal.SIGINT)

        asked = threading.Thread(target=interrupt)
        asked.start()
        assert run(["get", f"--config.file={tmp_path}/config.yaml", "1"]) == 1
        asked.join()
    assert capsys.readouterr().err.splitlines()[-1] == "smsc-exporter: interrupted"


@pytest.mark.parametrize(("flag", "said"), [("--version", "smsc-exporter "), ("--help", "usage: ")])
def test_what_is_asked_of_the_command_itself(
    flag: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run([flag])
    assert ended.value.code == 0
    assert said in capsys.readouterr().out


def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[Any]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["--no-such-flag"])
    assert ended.value.code == 2
    assert "--no-such-flag" in capsys.readouterr().err

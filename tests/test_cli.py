"""The command line, as processes of its own: what a user types, what comes back, how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from exporter import __version__, cli
from tests.processes import exporter, get, get_json, post, until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
ANY_PORT = "--web.listen-address=127.0.0.1:0"
LISTENING = r"event=listening url=(\S+)"


def run(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exporter", *arguments],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[str]:
    with exporter("simulate", "--listen-address=127.0.0.1:0", "--links=5", cwd=tmp_path) as running:
        yield running.expect(r"on (http://\S+)")[1]
        assert running.stop() == 0


def config(url: str, *names: str, login: str = "demo") -> str:
    links = "".join(f"      - {{id: '{100001 + n}', name: {name}}}\n" for n, name in enumerate(names))
    return (
        "refresh_interval: 21s\n"
        "storage: {url: 'memory:'}\n"
        "accounts:\n"
        f"  - {{name: main, login: {login}, password: demo, base_url: '{url}', links: [\n"
        + links.replace("      - ", "      ").replace("}\n", "},\n")
        + "    ]}\n"
    )


def test_serve_reads_the_config_and_serves_the_providers_figures(tmp_path: Path, simulator: str) -> None:
    (tmp_path / "config.yaml").write_text(config(simulator, "first", "second"))
    with exporter("serve", ANY_PORT, cwd=tmp_path) as running:
        url = running.expect(LISTENING)[1]
        assert get(f"{url}/-/ready") == (200, "ready\n")
        assert get(f"{url}/-/healthy") == (200, "healthy\n")
        assert 'href="./metrics"' in get(f"{url}/")[1]
        pattern = r'smsc_link_clicks_all_time\{account="main",link="first"\} (\S+)'
        value = until(lambda: re.search(pattern, get(f"{url}/metrics")[1]), "a first figure")[1]
        assert 0 < float(value) <= get_json(f"{simulator}/truth?id=100001")["cnt"]
        assert running.stop() == 0
    assert get_json(f"{simulator}/audit")["worst_window"] <= 3


def test_serve_is_the_default_and_flags_take_both_spellings(tmp_path: Path, simulator: str) -> None:
    (tmp_path / "other.yaml").write_text(config(simulator, "first"))
    flags = ["--config.file", "other.yaml", ANY_PORT, "--web.listen-address", "localhost:0"]
    with exporter(*flags, "--web.telemetry-path=/other", "--log.format=json", cwd=tmp_path) as running:
        urls = [json.loads(running.expect("listening")[0] and running.lines[-1])["url"] for _ in range(2)]
        for url in urls:
            assert "smsc_exporter_build_info" in get(f"{url}/other")[1]
            assert get(f"{url}/metrics")[0] == 404
        started = json.loads(running.expect('"event": "started"')[0] and running.lines[-1])
        assert (started["accounts"], started["links"], started["version"]) == (1, 1, __version__)
        assert running.stop(signal.SIGINT) == 0


def test_sighup_reloads_and_a_faulty_config_leaves_the_old_one(tmp_path: Path, simulator: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(config(simulator, "first"))
    with exporter(ANY_PORT, cwd=tmp_path) as running:
        url = running.expect(LISTENING)[1]
        path.write_text("accounts: 7\n")
        running.send(signal.SIGHUP)
        assert "config.yaml:1:11" in running.expect("reload_failed.*")[0]
        text = get(f"{url}/metrics")[1]
        assert "smsc_exporter_config_last_reload_successful 0.0" in text
        assert 'link="first"' in text
        path.write_text(config(simulator.replace("127.0.0.1", "localhost"), "first", "second", login="demo2"))
        running.send(signal.SIGHUP)
        running.expect("event=reloaded accounts=1 links=2")
        text = get(f"{url}/metrics")[1]
        assert "smsc_exporter_config_last_reload_successful 1.0" in text
        assert 'link="second"' in text
        assert running.stop() == 0


def test_another_storage_takes_effect_at_the_next_start(tmp_path: Path, simulator: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(config(simulator, "first"))
    with exporter(ANY_PORT, cwd=tmp_path) as running:
        running.expect(LISTENING)
        path.write_text(config(simulator, "first").replace("memory:", "sqlite:x.db"))
        running.send(signal.SIGHUP)
        running.expect("storage_unchanged")
        running.expect("event=reloaded")
        assert running.stop() == 0
    with exporter(ANY_PORT, cwd=tmp_path) as running:
        running.expect(LISTENING)
        assert (tmp_path / "x.db").exists()
        assert running.stop() == 0


def test_a_storage_that_cannot_be_had_is_said_plainly(tmp_path: Path) -> None:
    text = config("http://127.0.0.1:9", "first").replace("memory:", "sqlite:config.yaml/x.db")
    (tmp_path / "config.yaml").write_text(text)
    done = run("serve", ANY_PORT, cwd=tmp_path)
    assert done.returncode == 1
    assert "config.yaml/x.db cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_warnings_are_logged_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(config("http://smscentre.invalid", "first"))
    with exporter(ANY_PORT, cwd=tmp_path) as running:
        assert "plain http" in running.expect("config_warning.*")[0]
        running.expect(LISTENING)
        assert running.stop() == 0


def test_demo_serves_figures_and_says_where(tmp_path: Path) -> None:
    with exporter("demo", ANY_PORT, cwd=tmp_path) as running:
        metrics = running.expect(r"(http://\S+/metrics)")[1]
        audit = running.expect(r"(http://\S+/audit)")[1]
        series = 'smsc_link_clicks_total{account="demo"'
        until(lambda: get(metrics)[1].count(series) >= 3, "figures of three links")
        assert get_json(audit)["worst_window"] <= 3
        running.send(signal.SIGHUP)
        running.expect("event=reloaded")
        assert running.stop() == 0
    assert list(tmp_path.iterdir()) == []


def test_simulate_misbehaves_as_told(tmp_path: Path) -> None:
    arguments = ["simulate", "--listen-address=127.0.0.1:0", "--fault=error_9", "--latency=1ms", "--seed=7"]
    with exporter(*arguments, cwd=tmp_path) as running:
        url = running.expect(r"on (http://\S+)")[1]
        running.send(signal.SIGHUP)
        asked = f"{url}/sys/tinyurls.php?get=1&login=demo&psw=demo&id=145142&fmt=1"
        assert get(asked) == (200, "0,-9")
        assert post(f"{url}/control/faults") == 200
        assert get(asked)[1].startswith("145142,")
        assert running.stop() == 0


def test_a_reload_that_waits_for_a_slow_file_does_not_delay_the_end(tmp_path: Path, simulator: str) -> None:
    """A secret's file may lie on a network disk that hangs; here it is a pipe that nobody writes to."""
    path = tmp_path / "config.yaml"
    path.write_text(config(simulator, "first"))
    with exporter(ANY_PORT, cwd=tmp_path) as running:
        running.expect(LISTENING)
        os.mkfifo(tmp_path / "password")
        path.write_text(config(simulator, "first").replace("password: demo", "password_file: password"))
        running.send(signal.SIGHUP)
        writer = until(lambda: _opened_for_writing(tmp_path / "password"), "the exporter reads the pipe")
        running.send(signal.SIGHUP)
        assert running.stop() == 0
        os.close(writer)


def _opened_for_writing(pipe: Path) -> int | None:
    """A descriptor, once somebody reads the pipe."""
    with contextlib.suppress(OSError):
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    return None


def test_check_accepts_the_example_once_its_variables_are_set(tmp_path: Path) -> None:
    example = str(ROOT / "config.yaml")
    done = run("check", f"--config.file={example}", cwd=tmp_path, SMSC_LOGIN="alex", SMSC_PASSWORD="123")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{example}: no faults; accounts: 1, links: 2\n"
    done = run("check", f"--config.file={example}", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("SMSC_") == 4
    assert "Traceback" not in done.stderr


def test_check_prints_warnings_and_succeeds(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(config("http://smscentre.invalid", "first"))
    done = run("check", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.startswith("warning: config.yaml:4:")


@pytest.mark.parametrize("command", ["check", "serve"])
def test_faults_go_to_standard_error_with_exit_code_1(command: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("acounts: []\n")
    done = run(command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert 'config.yaml:1:1: acounts: unknown key "acounts": did you mean "accounts"?\n' in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said_plainly(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("demo", f"--web.listen-address=127.0.0.1:{taken.getsockname()[1]}", cwd=tmp_path)
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


WRONG = {
    "unknown command": (["frobnicate"], "invalid choice: 'frobnicate'"),
    "unknown flag": (["serve", "--nope"], "unrecognized arguments: --nope"),
    "abbreviated flag": (["serve", "--config.f=x"], "unrecognized arguments: --config.f=x"),
    "address without port": (
        ["serve", "--web.listen-address=localhost"],
        '"localhost" is not an address: write host:port, such as :10145, 127.0.0.1:10145 or [::1]:10145',
    ),
    "port too high": (["serve", "--web.listen-address=:65536"], '":65536" is not an address'),
    "IPv6 without brackets": (["serve", "--web.listen-address=::1:80"], '"::1:80" is not an address'),
    "path": (
        ["demo", "--web.telemetry-path=metrics"],
        '"metrics" is not a path: write one that begins with /',
    ),
    "path with a pattern": (["serve", "--web.telemetry-path=/{x}"], '"/{x}" is not a path'),
    "path with a query": (["serve", "--web.telemetry-path=/a?b"], '"/a?b" is not a path'),
    "path of ours": (["serve", "--web.telemetry-path=/-/ready"], "begins as the exporter's own paths do"),
    "path of the API": (
        ["serve", "--web.telemetry-path=/api/v1/links"],
        "begins as the exporter's own paths",
    ),
    "slots": (["serve", "--web.max-requests=-1"], '"-1" is not a number'),
    "level": (["demo", "--log.level=loud"], "invalid choice: 'loud'"),
    "format": (["demo", "--log.format=xml"], "invalid choice: 'xml'"),
    "fault": (["simulate", "--fault=frob"], "frob"),
    "links": (["simulate", "--links=many"], "write a whole number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_is_exit_code_2(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, message = WRONG[name]
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["-h"], ["serve", "--help"]])
def test_version_and_help_are_exit_code_0(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert said == f"smsc-exporter {__version__}\n" if arguments == ["--version"] else "usage" in said


def test_every_interface_is_listened_on_by_default(tmp_path: Path) -> None:
    with exporter("demo", "--web.listen-address=:0", cwd=tmp_path) as running:
        url = running.expect(LISTENING)[1]
        assert url.startswith("http://localhost:")
        assert get(f"{url}/-/ready")[0] == 200
        assert get(f"{url.replace('localhost', '127.0.0.1')}/-/ready")[0] == 200
        assert running.stop() == 0

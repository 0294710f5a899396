"""The command line, as processes of its own: what a user types, what comes back, how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter import __version__, cli
from tests.processes import exporter, get, get_json, hanging, post, run, until

ROOT = Path(__file__).parents[2]
ANY_PORT = "--web.listen-address=127.0.0.1:0"
LISTENING = r"event=listening url=(\S+)"


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
    flags += ["--web.max-requests", "1"]
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
        running.expect("event=reloaded")
        running.expect("storage_unchanged")
        assert running.stop() == 0
    with exporter(ANY_PORT, cwd=tmp_path) as running:
        running.expect(LISTENING)
        assert (tmp_path / "x.db").exists()
        assert running.stop() == 0


def test_a_storage_that_cannot_be_had_is_said_plainly(tmp_path: Path) -> None:
    text = config("http://127.0.0.1:9", "first").replace("memory:", "sqlite:/proc/x.db")
    (tmp_path / "config.yaml").write_text(text)
    done = run("serve", ANY_PORT, cwd=tmp_path)
    assert done.returncode == 1
    assert "/proc/x.db cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_warnings_are_logged_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(config("http://smscentre.invalid", "first"))
    with exporter(ANY_PORT, cwd=tmp_path) as running:
        assert "unencrypted over http" in running.expect("config_warning.*")[0]
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
    """A secret's file may lie on a network disk that hangs."""
    path = tmp_path / "config.yaml"
    path.write_text(config(simulator, "first"))
    with exporter(ANY_PORT, cwd=tmp_path) as running:
        running.expect(LISTENING)
        (tmp_path / "password").write_text("demo")
        path.write_text(config(simulator, "first").replace("password: demo", "password_file: password"))
        with hanging(tmp_path / "password") as asked:
            running.send(signal.SIGHUP)
            until(asked, "the exporter reads the file")
            running.send(signal.SIGHUP)
            assert running.stop() == 0


def test_check_accepts_the_example_once_its_variables_are_set(tmp_path: Path) -> None:
    example = str(ROOT / "config.yaml")
    env = {**os.environ, "SMSC_LOGIN": "alex", "SMSC_PASSWORD": "123"}
    done = run("check", f"--config.file={example}", cwd=tmp_path, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{example} is valid: 1 account, 2 links\n"
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


@pytest.mark.parametrize(
    ("command", "flag"), [("demo", "--web.listen-address"), ("simulate", "--listen-address")]
)
def test_a_port_that_is_taken_is_said_plainly(command: str, flag: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        flag = f"{flag}=127.0.0.1:{taken.getsockname()[1]}"
        done = run(command, flag, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        f"smsc-exporter: {flag}: the address is in use: stop the program that listens there, "
        "or write another port\n"
    )


ADDRESS = "is not an address: write host:port, such as :10145, 127.0.0.1:10145 or [::1]:10145"
PATH = "is not a path: write one that begins with /, such as /metrics"
PREFIX = "is not a path: write one such as /smsc, of letters, digits and . _ ~ -"
EXTERNAL = "write the exporter's own URL, such as https://example.com/smsc/, without user, query or fragment"
OURS = "begins as the exporter's own paths do: write another"
FIRST = "write one command, before all flags"
WRONG = {
    "unknown command": (
        ["frobnicate"],
        'there is no command "frobnicate": write one of serve, init, demo, check, get, simulate',
    ),
    "misspelt command": (["Chek"], 'there is no command "Chek": did you mean "check"?'),
    "command behind its flags": (["--config.file=x", "serve"], f"unrecognized arguments: serve: {FIRST}"),
    "two commands": (["serve", "check"], f"unrecognized arguments: check: {FIRST}"),
    "file without its flag": (
        ["check", "config.yaml"],
        "unrecognized arguments: config.yaml: did you mean --config.file?",
    ),
    "misspelt flag": (["get", "--josn", "x"], "unrecognized arguments: --josn: did you mean --json?"),
    "unknown flag": (["serve", "--nope"], "unrecognized arguments: --nope"),
    "unknown flag of the default command": (["--nope"], "unrecognized arguments: --nope"),
    "flag of another command": (["check", "--log.level=info"], "unrecognized arguments: --log.level=info"),
    "flag with one dash": (
        ["serve", "-config.file=x"],
        "unrecognized arguments: -config.file=x: did you mean --config.file?",
    ),
    "flag in capitals": (
        ["serve", "--Config.File=x"],
        "unrecognized arguments: --Config.File=x: did you mean --config.file?",
    ),
    "abbreviated flag": (
        ["serve", "--config.f=x"],
        "unrecognized arguments: --config.f=x: did you mean --config.file?",
    ),
    "file without a value": (["--config.file"], "argument --config.file: expected one argument"),
    "level without a value": (
        ["demo", "--log.level", "--log.format=json"],
        "argument --log.level: expected one argument",
    ),
    "address without a value": (
        ["serve", "--web.listen-address"],
        "argument --web.listen-address: expected one argument",
    ),
    "address without port": (
        ["serve", "--web.listen-address=localhost"],
        f'argument --web.listen-address: "localhost" {ADDRESS}',
    ),
    "address with a scheme": (
        ["serve", "--web.listen-address=http://localhost:80"],
        f'argument --web.listen-address: "http://localhost:80" {ADDRESS}',
    ),
    "second of two addresses": (
        ["demo", "--web.listen-address=:0", "--web.listen-address=:"],
        f'argument --web.listen-address: ":" {ADDRESS}',
    ),
    "port too high": (
        ["serve", "--web.listen-address=:65536"],
        f'argument --web.listen-address: ":65536" {ADDRESS}',
    ),
    "port below zero": (
        ["serve", "--web.listen-address=:-1"],
        f'argument --web.listen-address: ":-1" {ADDRESS}',
    ),
    "port by name": (
        ["serve", "--web.listen-address=:http"],
        f'argument --web.listen-address: ":http" {ADDRESS}',
    ),
    "port in other digits": (
        ["serve", "--web.listen-address=:١٠"],
        f'argument --web.listen-address: ":١٠" {ADDRESS}',
    ),
    "IPv6 without brackets": (
        ["serve", "--web.listen-address=::1:80"],
        f'argument --web.listen-address: "::1:80" {ADDRESS}',
    ),
    "path without a slash": (
        ["demo", "--web.telemetry-path=metrics"],
        f'argument --web.telemetry-path: "metrics" {PATH}',
    ),
    "path that is empty": (
        ["demo", "--web.telemetry-path="],
        f'argument --web.telemetry-path: "" {PATH}',
    ),
    "path with a pattern": (
        ["serve", "--web.telemetry-path=/{x}"],
        f'argument --web.telemetry-path: "/{{x}}" {PATH}',
    ),
    "path with a query": (
        ["serve", "--web.telemetry-path=/a?b"],
        f'argument --web.telemetry-path: "/a?b" {PATH}',
    ),
    "path up": (
        ["serve", "--web.telemetry-path=/.."],
        'argument --web.telemetry-path: "/.." holds . or .., which clients resolve: write it without',
    ),
    "path with a dot": (
        ["demo", "--web.telemetry-path=/a/./b"],
        'argument --web.telemetry-path: "/a/./b" holds . or .., which clients resolve: write it without',
    ),
    "path of ours": (
        ["serve", "--web.telemetry-path=/-/ready"],
        f'argument --web.telemetry-path: "/-/ready" {OURS}',
    ),
    "path of the API": (
        ["serve", "--web.telemetry-path=/api/v1/links"],
        f'argument --web.telemetry-path: "/api/v1/links" {OURS}',
    ),
    "prefix with a query": (
        ["serve", "--web.route-prefix=/a?b"],
        f'argument --web.route-prefix: "/a?b" {PREFIX}',
    ),
    "prefix up": (["demo", "--web.route-prefix=/a/../b"], f'argument --web.route-prefix: "/a/../b" {PREFIX}'),
    "prefix with an empty part": (
        ["serve", "--web.route-prefix=a//b"],
        f'argument --web.route-prefix: "a//b" {PREFIX}',
    ),
    **{
        f"URL {url}": (["serve", f"--web.external-url={url}"], f"argument --web.external-url: {EXTERNAL}")
        for url in (
            "example.com/smsc",
            "ftp://example.com/",
            "https:///smsc",
            "//example.com/smsc",
            "https://user:secret@example.com/",
            "https://example.com/?a",
            "https://example.com/#a",
            "https://[::1/",
            "http:",
        )
    },
    "URL with a path that is none": (
        ["serve", "--web.external-url=https://example.com/ü/"],
        f'argument --web.external-url: "/ü/" {PREFIX}',
    ),
    "slots": (
        ["serve", "--web.max-requests=-1"],
        'argument --web.max-requests: "-1" is not a number: write a whole one, or 0 for no limit',
    ),
    "level": (
        ["demo", "--log.level=loud"],
        "argument --log.level: invalid choice: loud (choose from debug, info, warning, error)",
    ),
    "format": (
        ["demo", "--log.format=xml"],
        "argument --log.format: invalid choice: xml (choose from logfmt, json)",
    ),
    "simulator's address": (
        ["simulate", "--listen-address=10146"],
        f'argument --listen-address: "10146" {ADDRESS}',
    ),
    "fault's share": (
        ["simulate", "--fault=http_500:2"],
        "fault http_500:2: write a probability from 0 to 1, such as http_500:0.05",
    ),
    "links": (["simulate", "--links=many"], "links many: write a whole number"),
    "no links": (["simulate", "--links=0"], "0 links: write 1 or more"),
    "latency": (
        ["simulate", "--latency=fast"],
        "latency fast: write seconds as 0.1 or 100ms, or a range as 0.05-0.2",
    ),
    "latency backwards": (
        ["simulate", "--latency=0.2-0.1"],
        "latency 0.2-0.1: write the smaller number first",
    ),
    "seed": (["simulate", "--seed=x"], "seed x: write a whole number"),
}


def last_line(text: str) -> str:
    """The complaint behind the usage. Which values argparse puts in quotes differs between Pythons."""
    return text.splitlines()[-1].replace("'", "")


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_is_exit_code_2(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, message = WRONG[name]
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    said = capsys.readouterr()
    assert said.err.startswith("usage: smsc-exporter ")
    assert last_line(said.err).partition(": error: ")[2] == message.replace("'", "")
    assert said.out == ""


def test_an_unknown_fault_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["simulate", "--fault=frob"])
    assert stopped.value.code == 2
    assert "fault 'frob': write one of error_N, http_N, html, " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["unknown command", "port too high", "level", "fault's share"])
def test_wrong_usage_of_the_real_command(name: str, tmp_path: Path) -> None:
    arguments, message = WRONG[name]
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert last_line(done.stderr).endswith(f": error: {message}")
    assert "Traceback" not in done.stderr


BAD = [
    ("unit/config/bad/duplicate-keys.yaml", "unit/config/bad/duplicate-keys.txt"),
    ("unit/config/bad/not-utf-8.yaml", "unit/config/bad/not-utf-8.txt"),
    ("unit/config/bad/alias-bomb.yaml", "unit/config/bad/alias-bomb.txt"),
    ("unit/config/bad_links/csv-ragged-rows.csv", "unit/config/bad_links/csv-ragged-rows.csv.txt"),
    ("unit/config/bad_links/json-two-values.json", "unit/config/bad_links/json-two-values.json.txt"),
    ("unit/config/bad_links/yaml-unknown-keys.yaml", "unit/config/bad_links/yaml-unknown-keys.yaml.txt"),
]
"""A few of the files that are bad, and what is said of them; the others are tried without a process each."""


@pytest.mark.parametrize(("bad", "said"), BAD)
def test_bad_files_and_the_real_command(bad: str, said: str, tmp_path: Path) -> None:
    name = Path(shutil.copy(ROOT / "tests" / bad, tmp_path)).name
    if "bad_links" in bad:
        text = config("http://127.0.0.1:9", "first").replace("links:", f"link_files: [{name}], links:")
        (tmp_path / "config.yaml").write_text(text)
        name = "config.yaml"
    done = run("check", f"--config.file={name}", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (ROOT / "tests" / said).read_text("utf-8")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("", ".: is a directory: name the file in it with --config.file"),
        (
            "no/such.yaml",
            "no/such.yaml: there is no such file: run smsc-exporter init to create it,"
            " or smsc-exporter demo to try without, or name another with --config.file",
        ),
    ],
)
def test_files_that_are_none(file: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("serve", "check"):
        assert cli.main([command, "--config.file", file]) == 1
        assert capsys.readouterr() == ("", message + "\n")


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

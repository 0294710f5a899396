"""The image, judged without building it: its words agree with the code and with each other."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from exporter import __version__
from exporter.app import Options
from tests import needs
from tests.deploy.shipped import DOCKER, PORT, ROOT, output, parse, run
from tests.processes import exporter, free_port, program
from tests.unit.webconfig.door import ALICE

DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = [
    (line.split()[0], line.split(None, 1)[1])
    for line in re.sub(r"\\\n|^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).splitlines()
    if line
]
HEALTHCHECK = DOCKER / "healthcheck.py"


def _last(name: str) -> str:
    return [rest for instruction, rest in INSTRUCTIONS if instruction == name][-1]


@needs.hadolint
def test_hadolint_has_nothing_to_say() -> None:
    assert output("hadolint", DOCKER / "Dockerfile") == ""


def test_it_starts_with_a_command_the_exporter_has() -> None:
    assert json.loads(_last("ENTRYPOINT")) == ["smsc-exporter"]
    options = parse(json.loads(_last("CMD")))
    assert options.config_file == "config.yaml"
    assert _last("WORKDIR") == "/etc/smsc-exporter"


def test_it_names_the_port_the_version_and_a_user_that_is_not_root() -> None:
    assert Options().listen_addresses[0][1] == PORT
    assert _last("EXPOSE") == str(PORT)
    assert ("ARG", f"VERSION={__version__}") in INSTRUCTIONS
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", _last("USER"))
    assert f"--chown={_last('USER')} /data {_last('VOLUME')}" in DOCKERFILE


def test_the_base_is_the_python_the_tests_run_on() -> None:
    oldest = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert oldest
    assert INSTRUCTIONS[0][1].startswith(f"BASE=docker.io/library/python:{oldest[1]}-slim-")


def test_what_is_copied_is_there_and_let_through() -> None:
    ignored, *let_through = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")
    ]
    assert ignored == "*"
    sources = [
        source
        for name, rest in INSTRUCTIONS
        if name == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    ]
    assert {f"!{source}" for source in sources} == {line for line in let_through if line.startswith("!")}
    assert all((ROOT / source).exists() for source in sources)
    assert any(fnmatch("exporter/__pycache__", line) for line in let_through)


def test_dependencies_are_a_layer_before_the_code() -> None:
    steps = [rest for name, rest in INSTRUCTIONS if name in {"COPY", "RUN"}]
    locked = next(index for index, step in enumerate(steps) if "--only-binary :all: -r" in step)
    code = steps.index("exporter exporter")
    assert locked < code
    assert all("--require-hashes" in steps[locked] or "pip" not in step for step in steps[: locked + 1])


# --- the lock files ---------------------------------------------------------------------------------------


def _locked(name: str) -> dict[str, Version]:
    """The packages of a lock file, each of which has hashes."""
    text = (DOCKER / name).read_text(encoding="utf-8")
    entries = re.findall(
        r"^(\S+)==(\S+)[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}[ \\]*\n)+)", text, re.MULTILINE
    )
    assert len(entries) == len(re.findall(r"^\w", text, re.MULTILINE)), "a package without hashes"
    return {package: Version(version) for package, version, _ in entries}


def test_the_lock_holds_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    locked = _locked("requirements.txt")
    asked = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["redis"]]
    for requirement in map(Requirement, asked):
        name = requirement.name.lower()
        assert name in locked, f"{name}: run deploy/docker/lock"
        assert locked[name] in requirement.specifier, f"{name}: run deploy/docker/lock"
    for requirement in map(Requirement, project["build-system"]["requires"]):
        assert _locked("build-requirements.txt")[requirement.name] in requirement.specifier


# --- the health check -------------------------------------------------------------------------------------


def _check(*ports: int) -> tuple[int, str]:
    """What Docker would see, by the image's own command."""
    addresses = " ".join(f"127.0.0.1:{port}" for port in ports)
    command = json.loads(_last("HEALTHCHECK").split("CMD")[1])
    script = command.pop()
    assert f"COPY {HEALTHCHECK.relative_to(ROOT)} {script}\n" in DOCKERFILE
    env = ["env", f"HEALTH_ADDRESS={addresses}", "http_proxy=http://127.0.0.1:9"]
    done = run(*env, *command, HEALTHCHECK)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_health_is_what_the_exporter_says() -> None:
    with exporter("demo", "--web.listen-address=127.0.0.1:0", cwd=ROOT) as demo:
        port = int(demo.expect(r"url=http://127.0.0.1:(\d+)")[1])
        assert _check(port) == (0, "200 healthy\n")
    code, words = _check(port)
    assert code == 1
    assert "refused" in words


@pytest.fixture
def unhealthy() -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/-/healthy"
            self.send_error(503, explain="polling has broken down")

        def log_message(self, *_: object) -> None:
            """Nothing to the tests' output."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_503_is_not_health(unhealthy: int) -> None:
    code, words = _check(unhealthy)
    assert code == 1
    assert words.startswith("503 ")


def test_health_is_asked_where_it_is_told_to_all_whatever_else_is_asked_for(tmp_path: Path) -> None:
    """With a password the exporter's own port answers 401, which is no health."""
    (tmp_path / "web.yaml").write_text(f"basic_auth_users: {{alice: {ALICE}}}\n")
    flags = ["--web.listen-address=127.0.0.1:0", "--web.health-address=127.0.0.1:0"]
    with exporter("demo", *flags, "--web.config.file=web.yaml", cwd=tmp_path) as demo:
        port = int(demo.expect(r"event=listening url=http://127.0.0.1:(\d+)")[1])
        health = int(demo.expect(r"event=listening_for_health url=http://127.0.0.1:(\d+)")[1])
        assert _check(health, port) == (0, "200 healthy\n")
        assert _check(port) == (1, "401 unauthorized\n")
        code, words = _check(free_port(), health)
        assert (code, words.splitlines()[-1]) == (0, "200 healthy")


def test_the_health_check_asks_where_the_image_listens() -> None:
    ((host, port),) = parse(json.loads(_last("CMD"))).health_addresses
    assert f'"{host}:{port} 127.0.0.1:{PORT}"' in HEALTHCHECK.read_text()


# --- what runs in it --------------------------------------------------------------------------------------

CONFINED = """
mount --bind "$1" "$1"
mount -o remount,bind,ro /
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$2" -m exporter \
    serve --config.file="$1/config.yaml" --web.listen-address=127.0.0.1:0
"""
"""A shell's part, in a mount namespace of its own: everything is read-only but the folder $1."""


@needs.root
def test_the_wheel_runs_where_nothing_but_its_state_can_be_written(tmp_path: Path) -> None:
    """The image's life without an image: what pip builds, no capabilities, a read-only file system."""
    wheel, state = tmp_path / "wheel", tmp_path / "state"
    pip = ("env", "--unset=SSL_CERT_FILE", sys.executable, "-m", "pip")  # it may have to ask a registry
    output(*pip, "install", "-q", "--no-deps", f"--target={wheel}", ROOT)
    state.mkdir()
    account = {"name": "main", "login": "a", "password": "b", "base_url": f"http://127.0.0.1:{free_port()}"}
    storage = {"url": f"sqlite:{state}/exporter.db"}
    document = {"storage": storage, "accounts": [account | {"links": [{"id": "1"}]}]}
    (state / "config.yaml").write_text(yaml.safe_dump(document))
    command = ["unshare", "--mount", "sh", "-ec", CONFINED, "sh", str(state), sys.executable]
    with program(*command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(wheel)}) as running:
        port = int(running.expect(r"url=http://127.0.0.1:(\d+)")[1])
        assert _check(port) == (0, "200 healthy\n")
        assert running.stop() == 0
    assert (state / "exporter.db").exists()

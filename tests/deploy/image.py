"""The image, built from its Dockerfile and run as it is deployed: confined, and read-only.

By Podman, which reads the same files and needs no daemon. The base is not the one the Dockerfile names, which
would have to come from a registry: it is put together from Debian's packages and bears that name, with Python
of the same version. All this takes a minute of two cores, so it is asked for by name, as root:

    apt-get install podman runc mmdebstrap
    python -m pytest --no-cov -n 0 tests/deploy/image.py
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter import __version__
from tests.deploy.shipped import DOCKER, ROOT, output, run
from tests.processes import until

IMAGE = f"smsc-exporter:{__version__}"
PYTHON = "python3,python3-pip,python3-venv,ca-certificates"
MACHINES_OWN = ("/etc/pip.conf", "/etc/ssl/certs")
"""What tells pip on this machine where packages are and whom to trust: the build sees it too."""

CONFINED = ["--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
# As many as any machine allows; Podman would ask for more than some do.
LIMITS = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]


class Podman:
    """Podman with a store of its own, and one container at a time."""

    def __init__(self, folder: Path) -> None:
        places = [f"--root={folder}/root", f"--runroot={folder}/run"]
        self._podman = ["podman", "--runtime=runc", "--storage-driver=overlay", *places]

    def __call__(self, *arguments: str | Path) -> str:
        return output(*self._podman, *arguments)

    def logs(self) -> str:
        done = run(*self._podman, "logs", "exporter")
        return done.stdout + done.stderr

    def code(self, *arguments: str) -> int:
        return run(*self._podman, *arguments).returncode

    def inside(self, *command: str) -> str:
        """What a command says inside the running container."""
        return self("exec", "exporter", *command)

    @contextlib.contextmanager
    def running(self, *options: str, command: tuple[str, ...] = ()) -> Iterator[None]:
        """The image's container, with no network but its own loopback."""
        self("run", "-d", "--name=exporter", "--network=none", *CONFINED, *LIMITS, *options, IMAGE, *command)
        try:
            yield
        finally:
            self("rm", "-f", "-t=0", "exporter")

    def until_healthy(self) -> None:
        until(lambda: self.code("healthcheck", "run", "exporter") == 0, "a healthy container")


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    folder = tmp_path_factory.mktemp("podman")
    podman = Podman(folder)
    base = re.search(r"^ARG BASE=(\S+)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    assert base
    output("mmdebstrap", "--variant=minbase", f"--include={PYTHON}", "bookworm", folder / "base.tar")
    podman("import", folder / "base.tar", base[1])
    mounts = [f"-v={path}:{path}:ro" for path in MACHINES_OWN if os.path.exists(path)]
    how = ["--isolation=chroot", "--format=docker", "--pull=never", "--network=host"]
    podman("build", *how, *mounts, "-f", DOCKER / "Dockerfile", "-t", IMAGE, ROOT)
    yield podman
    podman("system", "reset", "--force")


def test_it_serves_an_account_and_keeps_its_state(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    for name in ("smsc_login", "smsc_password"):
        secret = tmp_path / "secrets" / name
        secret.write_text("demo\n")
        secret.chmod(0o400)
        os.chown(secret, 65532, 65532)
    mounts = [f"-v={DOCKER}/config:/etc/smsc-exporter:ro", f"-v={tmp_path}/secrets:/run/secrets:ro"]
    with podman.running(*mounts, "-v=state:/data"):
        podman.until_healthy()
        assert podman.inside("id", "-u") == "65532\n"
        assert "Read-only file system" in podman.inside("sh", "-c", "touch /x /opt/x 2>&1; true")
        assert "exporter.db" in podman.inside("ls", "/data")
        podman("kill", "-s", "HUP", "exporter")
        until(lambda: "event=reloaded" in podman.logs(), "a reload")
        podman("stop", "-t=10", "exporter")
        assert _state(podman)["ExitCode"] == 0


def _state(podman: Podman) -> Any:
    return json.loads(podman("inspect", "exporter"))[0]["State"]


def test_its_own_command_checks_a_configuration(podman: Podman) -> None:
    """And finds fault with one whose secrets are not there."""
    mount = f"-v={DOCKER}/config:/etc/smsc-exporter:ro"
    with podman.running(mount, command=("check",)):
        assert podman("wait", "exporter") == "1\n"


def test_the_demo_needs_no_more_than_a_folder_for_temporary_files(podman: Podman) -> None:
    with podman.running("--tmpfs=/tmp:mode=1777,size=16m", command=("demo",)):
        podman.until_healthy()
        assert "Open" in podman.logs()


def test_a_container_without_an_exporter_is_not_healthy(podman: Podman) -> None:
    with podman.running("--entrypoint=sleep", command=("1000",)):
        assert podman.code("healthcheck", "run", "exporter") == 1

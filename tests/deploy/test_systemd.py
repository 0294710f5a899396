"""The unit: systemd accepts it, its sandbox stays as tight, its paths agree with its configuration."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from tests import needs
from tests.deploy.shipped import SYSTEMD, load, output, parse, run

UNIT = SYSTEMD / "smsc-exporter.service"
OLDER = SYSTEMD / "before-253.conf"
TEXT = UNIT.read_text(encoding="utf-8")
LEAST_EXPOSED = 1.1
"""It is a network service that runs in the machine's file system; all else that is counted is closed."""


def _all(key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", TEXT, re.MULTILINE)


def _version() -> int:
    found = re.search(r"systemd (\d+)", output("systemd-analyze", "--version"))
    assert found
    return int(found[1])


@needs.systemd
def test_systemd_can_read_it(tmp_path: Path) -> None:
    """With a command that exists. Before version 253 as the drop-in for those changes it."""
    unit = tmp_path / UNIT.name
    text = TEXT.replace("/opt/smsc-exporter/bin/smsc-exporter", "/bin/true")
    if _version() < 253:
        text = text.replace("Type=notify-reload\n", "")
        (tmp_path / f"{UNIT.name}.d").mkdir()
        shutil.copy(OLDER, tmp_path / f"{UNIT.name}.d")
    unit.write_text(text)
    done = run("systemd-analyze", "verify", "--man=no", unit)
    assert UNIT.name not in done.stdout + done.stderr
    assert done.returncode == 0, done.stderr


@needs.systemd
def test_the_sandbox_is_as_tight_as_it_was() -> None:
    told = output("systemd-analyze", "security", "--offline=true", "--no-pager", UNIT)
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert exposure, told
    assert float(exposure[1]) <= LEAST_EXPOSED, told


def test_it_starts_and_reloads_only_when_the_exporter_says_so() -> None:
    """Both types of service wait for READY=1, which needs a socket that the sandbox lets through."""
    assert _all("Type") == ["notify-reload"]
    assert re.findall("^Type=(.*)$", OLDER.read_text(), re.MULTILINE) == ["notify"]
    assert "AF_UNIX" in _all("RestrictAddressFamilies")[0].split()
    assert _all("WatchdogSec")


def test_it_starts_what_the_exporter_has() -> None:
    (start,) = _all("ExecStart")
    program, *arguments = shlex.split(start)
    options = parse(arguments)
    assert program.endswith("/bin/smsc-exporter")
    assert options.config_file == "/etc/smsc-exporter/config.yaml"


def test_the_configuration_reads_the_units_credentials_and_writes_to_its_state(tmp_path: Path) -> None:
    credentials = [value.split(":")[0] for value in _all("LoadCredential")]
    paths = {f"/run/credentials/{UNIT.name}/{name}": "demo" for name in credentials}
    loaded = load(SYSTEMD / "config.yaml", tmp_path, paths)
    assert not loaded.warnings
    (state,) = _all("StateDirectory")
    assert loaded.storage_url.get_secret_value() == f"sqlite:/var/lib/{state}/exporter.db"

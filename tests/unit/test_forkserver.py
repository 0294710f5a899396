"""An exporter that is forked is to the tests what one is that is executed."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from tests import forkserver
from tests.processes import Program, exporter, run

SIMULATE = ("simulate", "--listen-address=127.0.0.1:0")


def facts(running: Program) -> dict[str, object]:
    """What the kernel knows about a simulator at work."""
    running.expect("on http")
    proc = Path(f"/proc/{running.process.pid}")
    known = dict(re.findall(r"^(PPid|Umask|Sig\w+):\s+(\w+)$", (proc / "status").read_text(), re.MULTILINE))
    opened = sorted(os.readlink(file).partition(":")[0] for file in (proc / "fd").iterdir())
    return known | {"cwd": os.readlink(proc / "cwd"), "opened": opened, "group": os.getpgid(int(proc.name))}


def test_the_kernel_knows_the_same_of_both(tmp_path: Path) -> None:
    with (
        exporter(*SIMULATE, cwd=tmp_path, fresh=True) as executed,
        exporter(*SIMULATE, cwd=tmp_path) as forked,
    ):
        assert facts(forked) == facts(executed)
        assert "tests.forkserver" in Path(f"/proc/{forked.process.pid}/cmdline").read_text()
        assert [each.stop(signal.SIGKILL) for each in (forked, executed)] == [-signal.SIGKILL] * 2


def test_a_fork_has_its_own_environment_streams_and_exit_code(tmp_path: Path) -> None:
    account = "{name: main, login_env: PATH, password: x, links: [{id: 1}]}"
    (tmp_path / "config.yaml").write_text(f"accounts: [{account}]")
    done = run("check", cwd=tmp_path, env={**os.environ, "PATH": "alex"})
    assert (done.returncode, done.stdout) == (0, "config.yaml is valid: 1 account, 1 link\n")
    done = run(
        "check", cwd=tmp_path, env={name: value for name, value in os.environ.items() if name != "PATH"}
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "accounts[0].login_env: the environment variable" in done.stderr
    assert run("check", "--nope", cwd=tmp_path).returncode == 2


def test_what_the_imports_would_read_differently_is_executed() -> None:
    assert forkserver.serves({**os.environ, "SMSC_LOGIN": "alex"})
    for name in ("LD_PRELOAD", "FAKETIME", "SSL_CERT_FILE", "PYTHONIOENCODING"):
        assert not forkserver.serves({**os.environ, name: "another"})
    assert not forkserver.serves({})  # no SSL_CERT_FILE, which conftest.py sets

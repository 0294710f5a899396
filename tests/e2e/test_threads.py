"""Where the system allows no more threads, as with ``pids.max``: what needs one is said or done without."""

from __future__ import annotations

import gzip
import json
import re
import resource
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.processes import get, program

STACK = 1 << 30
"""Bytes of a thread's stack. The tests limit the address space so that there is no room for another."""

COMMAND = f'ulimit -s {STACK // 1024}; {{}} exec "$0" -m exporter "$@" --web.listen-address=127.0.0.1:0'


@pytest.mark.parametrize("command", ["demo", "serve"])
def test_without_any_thread_the_start_fails_with_a_message(command: str, tmp_path: Path) -> None:
    account = {"name": "main", "login": "demo", "password": "demo", "links": [{"id": "1"}]}
    (tmp_path / "config.yaml").write_text(json.dumps({"accounts": [account]}))
    limit = f"ulimit -v {STACK // 1024};"
    done = subprocess.run(
        ["sh", "-c", COMMAND.format(limit), sys.executable, command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("smsc-exporter cannot start a thread: raise the limit")
    assert "Traceback" not in done.stderr


def test_without_a_thread_for_gzip_scrapes_are_plain_and_the_log_says_so_once(tmp_path: Path) -> None:
    with program("sh", "-c", COMMAND.format(""), sys.executable, "demo", cwd=tmp_path) as running:
        url = running.expect(r"event=listening url=(\S+)")[1]
        running.expect("event=started")
        pid = running.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_AS)
        used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (used + STACK // 2, limits[1]))
        for _ in range(3):
            status, text = get(f"{url}/metrics", Accept_Encoding="gzip")
            assert status == 200
            assert text.startswith("# HELP")
        resource.prlimit(pid, resource.RLIMIT_AS, limits)
        request = urllib.request.Request(f"{url}/metrics", headers={"Accept-Encoding": "gzip"})  # noqa: S310 - the test's own server
        with urllib.request.urlopen(request) as response:  # noqa: S310 - local
            assert gzip.decompress(response.read()).startswith(b"# HELP")
        assert running.stop() == 0
    said = re.findall(r"event=gzip_unavailable.*", running.output)
    assert len(said) == 1
    assert "raise the limit on threads" in said[0]
    assert "Traceback" not in running.output

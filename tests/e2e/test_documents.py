"""The commands of the documents, run as they are printed; only ports differ, for others may use those."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import exporter, free_port, get, get_json, program, until

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sys.executable).parent


def blocks(page: str, section: str) -> list[str]:
    """The shell blocks of a section."""
    text = (ROOT / page).read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)


def shell(script: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euc", script],
        cwd=cwd,
        env={**os.environ, "PATH": f"{SCRIPTS}:{os.environ['PATH']}", **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_your_own_configuration_on_the_simulator(tmp_path: Path) -> None:
    """The way of a newcomer: a wrong id is found in the log, corrected, and has figures."""
    port, listen = free_port(), f"--web.listen-address=127.0.0.1:{free_port()}"
    simulate, write, point, check = blocks("docs/simulator.md", "Try your own configuration")
    check, _, serve = check.rpartition("smsc-exporter serve ")
    started = [*simulate.split()[1:], f"--listen-address=127.0.0.1:{port}"]
    with exporter(*started, cwd=tmp_path) as simulator:
        simulator.expect("Simulating the provider")
        assert shell(write, tmp_path).returncode == 0
        assert shell(point.replace("10146", str(port)), tmp_path).returncode == 0
        done = shell(check, tmp_path)
        assert done.stdout.startswith(
            "try.yaml is valid: 1 account, 3 links\naccount main: ok, link link-100001 has "
        )
        env = {**os.environ, "SMSC_LOGIN": "demo", "SMSC_PASSWORD": "demo"}
        with exporter("serve", listen, *serve.split(), cwd=tmp_path, env=env) as running:
            url = running.expect(r"event=listening url=(\S+)")[1]
            running.expect("event=link_failing account=main link=link-100099 outcome=not_found")
            failing = get_json(f"{url}/api/v1/links?state=failing")["links"]
            assert [link["link"] for link in failing] == ["link-100099"]
            path = tmp_path / "try.yaml"
            path.write_text(path.read_text().replace('id: "100099"', 'id: "100003"'))
            running.expect("event=reloaded")
            series = 'smsc_link_clicks_today{account="main",link="link-100099"}'
            until(lambda: series in get(f"{url}/metrics")[1], "figures of the corrected link")
            assert running.stop() == 0
        assert simulator.stop() == 0


@pytest.mark.parametrize(
    ("page", "section"), [("README.md", "Your account"), ("docs/getting-started.md", "Your own links")]
)
def test_init_and_check_in_a_clone(page: str, section: str, tmp_path: Path) -> None:
    init, check, *_ = blocks(page, section)
    check = check.partition("smsc-exporter check --online\n")[0].replace("=...", "=123")
    assert "smsc-exporter init" in init
    done = shell(init + check, ROOT, HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("config.yaml is valid: 1 account, 2 links\n")
    assert (tmp_path / "smsc" / "config.yaml").exists()


def test_the_readmes_demo(tmp_path: Path) -> None:
    (demo,) = blocks("README.md", "Try the demo")
    command, *arguments = demo.split()
    with program(str(SCRIPTS / command), *arguments, "--web.listen-address=:0", cwd=tmp_path) as running:
        url = running.expect(r"Status page: +(\S+/)$")[1]
        running.expect("link=misspelt-id outcome=not_found")
        read = 'smsc_link_up{account="demo"'
        until(lambda: get(f"{url}metrics")[1].count(read) == 16, "all links")
        assert running.stop() == 0

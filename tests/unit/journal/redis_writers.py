"""Several processes that record requests at the same time, and what they say of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.redis_servers import Server

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("redis_writer.py")


def write(
    server: Server, writers: int, claims: int, width: int = 1, package: Path = ROOT
) -> list[dict[str, Any]]:
    """Runs the writers, with the exporter in the folder ``package``; returns what each of them prints."""
    command = [sys.executable, str(SCRIPT), server.url.get_secret_value(), str(claims), str(width)]
    env = {**os.environ, "PYTHONPATH": str(package)}
    if package != ROOT:  # coverage is about the package as it is
        env = {name: value for name, value in env.items() if not name.startswith("COVERAGE_")}
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        for _ in range(writers)
    ]
    try:
        for word in ("ready", "done"):
            for process in running:
                _expect(process, word)
            for process in running:
                _go_on(process)
        return [json.loads(process.communicate()[0]) for process in running]
    finally:
        for process in running:
            process.kill()
            process.communicate()


def _expect(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout
    assert process.stdout.readline().strip() == word


def _go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()

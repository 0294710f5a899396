"""Real Redis servers, that tests start, stop and look into."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from exporter.journal.redis_script import EPOCH, EVENTS
from exporter.secret import SecretStr
from tests.processes import PATIENCE, free_port, until


class Server:
    """A server that keeps nothing on disk; ``look`` is a client to look into it with."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        tls: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self.folder = folder
        self._env = env
        self._arguments = ["--tls-port" if tls else "--port", str(self.port), *arguments]
        password = arguments[arguments.index("--requirepass") + 1] if "--requirepass" in arguments else None
        self.look: Any = redis.Redis("127.0.0.1", self.port, password=password, **tls or {})
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--save", "", "--dir", str(self.folder), *self._arguments]
        with (self.folder / "redis.log").open("a") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=self._env)
        until(self._answers, "a Redis server")

    def _answers(self) -> bool:
        try:
            return bool(self.look.ping())
        except redis.exceptions.ConnectionError:
            return False

    def age(self) -> None:
        """As if exporters had shared it for hours: nobody has to wait for what it may have forgotten."""
        self.look.set(EPOCH, f"old {self.look.info('server')['run_id']}")
        self.look.xadd(EVENTS, {"e": "", "b": "0", "a": "0"})

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def freeze(self) -> None:
        """It stays connected, and answers no more."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.look.close()
        self.kill()

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"redis://127.0.0.1:{self.port}/0")


@contextmanager
def redis_server(
    folder: Path,
    *arguments: str,
    tls: dict[str, Any] | None = None,
    env: dict[str, str] | None = None,
) -> Iterator[Server]:
    server = Server(folder, *arguments, tls=tls, env=env)
    try:
        yield server
    finally:
        server.stop()

"""Who shares the ledger. One that falls silent may have lost Redis, and go on by itself.

Those that have Redis leave room for it: what each allows itself alone (``redis_local``) is subtracted from
what the script grants, for up to ``REPLICAS`` - 1 of them. That begins ``GRACE`` after its last word, and so
before it sends anything, and ends once it is back, has said goodbye, or is known to be dead: a process
of this machine can be looked for.
"""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from exporter.rules import LINGER, SPAN
from exporter.store.redis_lua import ALONE, GRACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.store.redis_script import Call, Script

log = structlog.stdlib.get_logger(__name__)

BEAT = 5.0
"""Seconds between two words."""

OVER = SPAN + LINGER
"""Seconds for which what a process sent by itself may count after its death."""


class Members:
    """Speaks for one exporter, and knows of the others. ``guest``: it sends nothing without Redis.

    Nobody reckons with one that was never heard of, so that such a one may not go on by itself; nor may any
    after ``alone_until`` (monotonic seconds).
    """

    def __init__(self, writer: str, *, guest: bool = False, home: str | None = None) -> None:
        self._home = _home() if home is None else home
        self._name = f"{writer} {self._home} {os.getpid()}"
        self._silent = guest
        self._heard_at = self._spoke_at = -inf
        self._seen: dict[str, float] = {}
        self._dead: dict[str, float] = {}
        self._missing = 0

    @property
    def alone_until(self) -> float:
        """When others stop to leave room for us; in the past if they never did."""
        return self._heard_at + ALONE

    def due(self, script: Script, now: float) -> list[Call]:
        """What there is to say: nothing, if it was said just now."""
        if self._silent or now < self._spoke_at + BEAT:
            return []
        return [*(script.bye(name) for name in self._over(now)), script.beat(self._name)]

    def heard(self, told: list[str], now: float) -> None:
        """Takes the answer to the last thing said, at ``now``: who is known, and silent for how long."""
        self._heard_at = self._spoke_at = now
        ages = zip(told[::2], told[1::2], strict=True)
        self._seen = {name: now - int(age) / 1000 for name, age in ages if name != self._name}
        self._dead = {name: at for name, at in self._dead.items() if name in self._seen}
        missing = sum(now - at >= GRACE for at in self._seen.values())
        if missing != self._missing:
            self._missing = missing
            say = log.warning if missing else log.info
            say("replicas_missing", missing=missing)

    def replay(self, script: Script, now: float) -> Iterator[Call]:
        """Tells Redis, which has forgotten, of the others: one of them may be going on by itself."""
        self._spoke_at = -inf
        for name, at in self._seen.items():
            yield script.beat(name, now - at)

    def leave(self, script: Script) -> list[Call]:
        """Says goodbye: nothing is sent any more."""
        self._silent, silent = True, self._silent
        return [] if silent else [script.bye(self._name)]

    def _over(self, now: float) -> Iterator[str]:
        """Those that are dead; one that may have been alone for a while, once what it sent is over."""
        for name, at in self._seen.items():
            if self._is_dead(name):
                died = self._dead.setdefault(name, now)
                if died < at + GRACE + SPAN or now >= died + OVER:
                    yield name

    def _is_dead(self, name: str) -> bool:
        _, home, pid = name.split(" ")
        if home != self._home:
            return False
        return not _runs(int(pid))


def _runs(pid: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True


def _home(proc: Path = Path("/proc")) -> str:
    """Where process ids mean the same: this boot, this container. Nowhere, if that can't be told."""
    with suppress(OSError):
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        namespace = (proc / "self/ns/pid").stat().st_ino
        return f"{socket.gethostname()}/{boot}/{namespace}".replace(" ", "-")
    return secrets.token_hex(8)

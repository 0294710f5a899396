"""Builds the calls of the script that runs inside Redis (``redis_lua``), and reads its answers."""

from __future__ import annotations

import hashlib
import json
from math import ceil
from typing import TYPE_CHECKING, Any

from exporter.model import Reading, State
from exporter.store.backend import Attempt, Denied, Kept, Pause, Scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.model import Snapshot

    Argument = str | int
    Call = tuple[list[str], list[Argument]]


PREFIX = "smsc-exporter:1:"
"""Of all keys. The number is that of their layout: exporters of another layout don't meet."""

PERMISSIONS = f"~{PREFIX}* &{PREFIX}* +@read +@write +@scripting +@pubsub +@connection +info +time"
"""What the user needs where Redis has an access control list."""


class LostError(Exception):
    """Redis did not do what it was asked; ``refused``: nor will it, asked as the configuration says."""

    def __init__(self, why: str, *, refused: bool = False) -> None:
        self.refused = refused
        super().__init__(why)

    @property
    def hint(self) -> str:
        """What to do about it, where it is a permission that is missing."""
        return f"; the user needs {PERMISSIONS}" if "permission" in str(self) else ""


class Script:
    """Builds the calls for one exporter, which signs as ``writer``. Claims hold in ``epoch`` alone.

    ``ahead`` is how far, in seconds, the ledger's time runs ahead of the server's clock. Only tests let it:
    they can't set that clock.
    """

    def __init__(self, prefix: str, writer: str, ahead: Callable[[], float]) -> None:
        self.writer = writer
        self.channel = f"{prefix}announcements"
        self.readings = f"{prefix}readings"
        self.epoch = ""
        self._members = [f"{prefix}members", f"{prefix}epoch"]
        self._prefix = prefix
        self._ahead = ahead

    @property
    def ahead(self) -> int:
        """In milliseconds."""
        return int(self._ahead() * 1000)

    def _call(self, keys: list[str], op: str, *arguments: Argument) -> Call:
        return keys, [op, self.ahead, self.writer, self.channel, *arguments]

    def _keys(self, attempt: Attempt) -> list[str]:
        # A digest: a full link may be long, and is nobody's business who lists the keys.
        target = hashlib.blake2s("\n".join(attempt.target).encode(), digest_size=12).hexdigest()
        names = (f"link:{attempt.login}:{target}", f"login:{attempt.login}", f"failed:{attempt.host}")
        return [self._prefix + name for name in (*names, f"pause:{attempt.host}", f"pause:{attempt.secret}")]

    def claim(self, number: int, attempt: Attempt) -> Call:
        """Asks for leave; see ``answer``."""
        return self._claim(number, attempt, self.epoch)

    def _claim(self, number: int, attempt: Attempt, epoch: str) -> Call:
        times = ceil(attempt.apart * 1000), ceil(attempt.lasts * 1000)
        keys = [*self._keys(attempt), *self._members]
        return self._call(keys, "claim", number, *times, int(attempt.proven), epoch)

    def trial(self, number: int) -> list[Call]:
        """A claim for nothing, and its end: whoever has to know whether Redis takes what we write, writes."""
        name = f"trial/{number}"
        attempt = Attempt("trial", name, name, ("trial", ""), apart=0, lasts=1, proven=True)
        return [
            self._claim(number, attempt, ""),
            self.record(number, attempt, 0, 0, login_failed=False),
        ]

    def hello(self, run: str) -> Call:
        """Asks the server's run of that name for its epoch, and the epoch's age in milliseconds."""
        return self._call(self._members[1:], "hello", run)

    def beat(self, name: str, ago: float = 0.0) -> Call:
        """Says that an exporter was here so many seconds ago; see ``members``."""
        return self._call(self._members, "beat", name, int(ago * 1000))

    def bye(self, name: str) -> Call:
        """Says that an exporter sends nothing any more."""
        return self._call(self._members[:1], "bye", name)

    def record(
        self, number: int, attempt: Attempt, sent: float, ended: float | None, *, login_failed: bool
    ) -> Call:
        """Says how an attempt stands that was sent, and ended, so many seconds ago."""
        ages = int(sent * 1000), -1 if ended is None else int(ended * 1000), ceil(attempt.lasts * 1000)
        flags = int(attempt.proven), int(login_failed)
        return self._call(self._keys(attempt), "record", number, *ages, *flags, attempt.host)

    def failure(self, number: int, host: str, ago: float) -> Call:
        """Says that a login failed so many seconds ago."""
        return self._call([f"{self._prefix}failed:{host}"], "failure", number, int(ago * 1000), host)

    def hold(self, name: str, pause: Pause | None, ago: float) -> Call:
        """Says what was said of a host or secret so many seconds ago."""
        told = (pause.state.value, ceil(pause.seconds * 1000), pause.count) if pause else ("", 0, 0)
        return self._call([f"{self._prefix}pause:{name}"], "hold", name, int(ago * 1000), *told)

    def keep(self, known: Snapshot | Kept, age: float | None) -> Call:
        """Keeps a reading, taken so many seconds ago."""
        figures = [getattr(known.reading, name) for name in Reading.__slots__]
        texts = _json(known.target), _json(figures)
        ms = -1 if age is None else int(age * 1000)
        keys = [self.readings, f"{self._prefix}read"]
        return self._call(keys, "keep", _json(key_of(known)), ms, str(known.total), *texts)

    def kept(self, field: str, value: str, now: float, wall: float) -> Kept | None:
        """What was kept, the server's time being ``now`` and ours ``wall``; None if we kept it ourselves.

        Only the age goes from clock to clock. Raises ``ValueError`` if no exporter wrote this.
        """
        at, total, writer, target, reading = value.split("\n")
        if writer == self.writer:
            return None
        age = (now - int(at)) / 1000
        # A reading from the server's future: its clock was set back since, by nobody knows how much.
        read_at = wall - age if int(at) and age >= 0 else 0.0
        (account, name), (kind, which), figures = json.loads(f"[{field},{target},{reading}]")
        return Kept(account, name, (kind, which), Reading(*figures), read_at, int(total))


def key_of(known: Snapshot | Kept) -> tuple[str, str]:
    """The link's identity to Prometheus."""
    return known.key if isinstance(known, Kept) else known.link.key


def answer(told: list[Any]) -> Denied | bool:
    """What the script said to a claim; where it is granted, whether as a pause's probe.

    Raises ``LostError`` if Redis has forgotten what was sent before, so that it can't tell.
    """
    if told[0] < 0:
        raise LostError("it has forgotten what was sent")
    if told[0]:
        return bool(told[0] == 2)
    scope, seconds = Scope(told[1]), int(told[2]) / 1000
    pause = Pause(State(told[3]), seconds, int(told[4])) if told[3:] else None
    return Denied(scope, seconds, pause)


def _json(value: object) -> str:
    """On one line, whatever is in it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

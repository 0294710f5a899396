"""``<database>.lock`` beside the file: who uses the database, and what its last event is.

``serve`` locks it for as long as it runs. It holds a mark of 128 bytes, which is overwritten in place. That
needs no room on the disk, so the mark stays true while the database cannot be written.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from pathlib import Path

MARK = "smsc-exporter"
"""The first word of the mark."""

_SIZE = 128
_NONE = -1


class State(StrEnum):
    """Whether the database is in use, was closed in order, or lacks what was sent last."""

    OPEN = "open"
    CLOSED = "closed"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Mark:
    """What a database should know: events up to the id ``last``, or more if it is ``LOST``.

    ``boot`` names the machine's boot to whose clock the times belong (seconds). A failed login or a block on
    record counts until ``failures_until``. After something went missing, nothing may leave until
    ``unknown_until``, and failed logins are assumed until ``assumed_until``.
    """

    last: int = 0
    state: State = State.OPEN
    boot: str = "-"
    failures_until: float = -inf
    unknown_until: float = -inf
    assumed_until: float = -inf

    def missing(self, last: int, *, rebooted: bool) -> str:
        """Why a database whose latest event is ``last`` may lack something; empty if it cannot."""
        if self.state is State.LOST:
            return "it lacks what was sent last"
        if last < self.last:
            return "it knows less than was last written to it"
        if rebooted and self.state is not State.CLOSED:
            return "the machine stopped before the file was closed"
        if rebooted and max(self.unknown_until, self.assumed_until) > 0:
            return "the wait before the machine was restarted had not ended"
        return ""

    def __str__(self) -> str:
        times = self.failures_until, self.unknown_until, self.assumed_until
        return " ".join([MARK, str(self.last), self.state, self.boot, *(f"{time:.1f}" for time in times)])


UNREADABLE = Mark(state=State.LOST, failures_until=inf)
"""What is assumed of a mark that cannot be read."""


def parsed(text: bytes) -> Mark:
    """The mark that is written as ``text``."""
    try:
        name, last, state, boot, failures, unknown, assumed = text.decode("ascii").split()
        mark = Mark(int(last), State(state), boot, float(failures), float(unknown), float(assumed))
    except ValueError:
        return UNREADABLE
    return mark if name == MARK else UNREADABLE


class Lock:
    """The lock of the database at ``database``. ``found`` is the mark in it: None if there was none."""

    def __init__(self, database: Path) -> None:
        self.path = Path(f"{database}.lock")
        self._database = database
        self.found: Mark | None = None
        self._file = _NONE
        self._made = False

    @property
    def held(self) -> bool:
        """Whether this process holds the lock."""
        return self._file != _NONE

    def take(self) -> bool:
        """Whether the lock is ours now. Raises ``OSError`` if the file cannot be opened."""
        made = not self.path.exists()
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            owned(os.fstat(file), self.path)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fchmod(file, 0o600)
            text = os.pread(file, _SIZE, 0)
        except OSError as error:
            os.close(file)
            if isinstance(error, BlockingIOError):
                return False
            raise
        self._file, self._made = file, made
        new = not text and (made or not os.path.lexists(self._database))
        self.found = None if new else parsed(text)
        return True

    def in_place(self) -> bool:
        """Whether the lock that we hold is still the file of that name."""
        with suppress(OSError):
            return self.held and os.path.samestat(os.fstat(self._file), os.lstat(self.path))
        return False

    def look(self) -> Mark:
        """The mark of whoever holds the lock. Raises ``OSError``."""
        file = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return parsed(os.pread(file, _SIZE, 0))
        finally:
            os.close(file)

    def write(self, mark: Mark, *, durable: bool = False) -> None:
        """Writes the mark if we hold the lock. If that fails, an empty file counts as unreadable.

        A ``durable`` mark outlives the loss of power as well.
        """
        if not self.held:
            return
        self.found = mark
        try:
            os.pwrite(self._file, f"{mark!s:<{_SIZE - 1}}\n".encode(), 0)
            if durable:
                os.fsync(self._file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, 0)

    def release(self, *, unused: bool = False) -> None:
        """Gives the lock up. ``unused``: the database is not ours, so a lock file that we made is removed."""
        if self.held:
            if unused and self._made:
                self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = _NONE


def owned(status: os.stat_result, path: Path) -> None:
    """Raises ``PermissionError`` if the file belongs to another user."""
    if status.st_uid != os.geteuid():
        raise PermissionError(1, "it belongs to another user", str(path))

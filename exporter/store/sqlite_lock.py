"""Whose file it is, and how far the last one to have it came: ``<database>.lock`` beside the file.

The lock is held as long as the process lives. In the same file stands a mark: how many transactions the
database should know of. It is written over in place, which needs no room, so that it is true even when the
database could not be written. A database that knows of less than its mark has lost something, be it that the
disk was full, or that somebody emptied it, cut off its write-ahead log, or brought back an older copy.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from exporter.rules import FAILED_LOGIN_SPAN, LINGER, SPAN

_SIZE = 64
_NONE = -1


@dataclass(frozen=True, slots=True)
class Mark:
    """What a database should know: ``batch`` transactions, or (``lost``) more than it does.

    ``grave``: a login was refused or a host blocked in the last half hour. ``clean``: it was closed.
    """

    batch: int
    grave: bool
    lost: bool = False
    clean: bool = False

    @property
    def seconds(self) -> float:
        """How long nothing may leave where a database does not know what this mark says it should.

        The provider's half hour, if what is unknown may be a block or a failed login; otherwise until the
        last request that may have been sent counts no more.
        """
        return FAILED_LOGIN_SPAN if self.grave else SPAN + LINGER

    def lacks(self, batch: int, *, rebooted: bool) -> str:
        """Why a database with ``batch`` transactions can't be relied on; empty if it can."""
        if self.lost:
            return "it lacks what was sent last"
        if batch < self.batch:
            return "it knows less than was last written to it"
        if rebooted and not self.clean:
            return "the machine stopped before the file was closed"
        return ""

    def __str__(self) -> str:
        state = "lost" if self.lost else "closed" if self.clean else "open"
        return f"{self.batch} {'grave' if self.grave else 'light'} {state}"


_UNREADABLE = Mark(0, grave=True, lost=True)


def _parsed(text: bytes) -> Mark:
    try:
        batch, weight, state = text.decode("ascii").split()
        mark = Mark(int(batch), weight == "grave", state == "lost", state == "closed")
    except ValueError:
        return _UNREADABLE
    return mark if str(mark).encode() == text.rstrip() else _UNREADABLE


class Lock:
    """The lock of the database at ``database``. ``found`` is the mark that stood in it: None if none did."""

    def __init__(self, database: Path) -> None:
        self.found: Mark | None = None
        self._database = database
        self._path = Path(f"{database}.lock")
        self._file = _NONE

    def take(self) -> bool:
        """Whether the file is ours now. Raises ``OSError`` if it can't be locked, or nothing be noted."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        was_there, database = self._path.exists(), self._database.exists()
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read(file, begun=database, was_there=was_there)
        except OSError as error:
            os.close(file)
            if isinstance(error, BlockingIOError):
                return False
            raise
        self._file = file
        return True

    def _read(self, file: int, *, begun: bool, was_there: bool) -> None:
        """Reads the mark. Where there is none, one is made before anything else is: it may end here."""
        text = os.pread(file, _SIZE, 0)
        if text or (begun and was_there):
            self.found = _parsed(text)
            return
        self.found = Mark(0, grave=False, lost=True) if begun else None
        os.pwrite(file, _padded(self.found or Mark(0, grave=False)), 0)
        os.fsync(file)

    def write(self, mark: Mark) -> None:
        """Notes the mark, if the lock is ours; an empty file, which needs no room either, says enough."""
        if self._file == _NONE:
            return
        try:
            os.pwrite(self._file, _padded(mark), 0)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, 0)

    def release(self) -> None:
        """Lets others have it."""
        if self._file != _NONE:
            os.close(self._file)
            self._file = _NONE


def _padded(mark: Mark) -> bytes:
    return f"{mark!s:<{_SIZE - 1}}\n".encode()

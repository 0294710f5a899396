"""Reads files that others write: only regular files, of at most 8 MiB each."""

from __future__ import annotations

import errno
import os
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 8 * 2**20
"""Of one file. Fifty thousand links in JSON fit; a larger file is probably something else."""


class SpecialFileError(OSError):
    """The file is a device, a pipe, a socket or made by the kernel: a read of it may never end."""

    def __init__(self) -> None:
        super().__init__(errno.EINVAL, "it is a device or a pipe")


class TooLargeError(OSError):
    """The file is larger than ``MOST_BYTES``."""

    def __init__(self) -> None:
        super().__init__(errno.EFBIG, f"it is larger than {MOST_BYTES >> 20} MiB")


def read_bytes(path: Path) -> bytes:
    """Returns what the file at ``path`` holds. It follows symbolic links and never waits for a writer.

    Raises OSError, and ValueError when ``path`` is no file name.
    A reload reads each file again, so a pipe such as a shell's ``<(...)`` is refused too.
    """
    descriptor = _open(path)
    try:
        _check(os.fstat(descriptor))  # once more, because the name may lead elsewhere by now
        return _read(descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    _check(path.stat())  # before the open, because opening a device may already act on it
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except BlockingIOError:
        # Another process has a lease on the file, and gives it up within 45 seconds (fcntl(2)).
        _check(path.stat())
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _check(found: os.stat_result) -> None:
    if S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not S_ISREG(found.st_mode) or found.st_dev == _proc_device():
        raise SpecialFileError
    if found.st_size > MOST_BYTES:
        raise TooLargeError


def _proc_device() -> int | None:
    """Returns the device number of procfs. Its files look regular, but some of them block (/proc/kmsg)."""
    try:
        return os.stat("/proc/self").st_dev
    except OSError:
        return None


def _read(descriptor: int) -> bytes:
    data = bytearray()
    while len(data) <= MOST_BYTES:
        piece = os.read(descriptor, MOST_BYTES + 1 - len(data))
        if not piece:
            return bytes(data)
        data += piece
    raise TooLargeError

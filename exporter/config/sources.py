"""The files that a configuration is made from: reads them, and follows them. A change is a reload.

It looks every few seconds. The system's own notices do not cover network disks, nor what is behind symbolic
links, where Kubernetes keeps ConfigMaps and Secrets.
"""

from __future__ import annotations

import asyncio
import errno
import glob
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TypeAlias

import structlog

log = structlog.stdlib.get_logger(__name__)

Signature: TypeAlias = tuple[int, ...]
"""Equal for a file that has not changed."""

PERIOD = 3.0
"""Seconds between two looks. A change takes effect when two looks in a row find the same."""

MOST_BYTES = 8 * 2**20
"""Of one file. Fifty thousand links in JSON fit; a larger file is probably something else."""

MOST_FILES = 10_000
"""That one pattern may find. They are looked at again every few seconds."""


class Sources:
    """Reads files for one load, and remembers how each looked just before.

    A load that fails has its sources too: a change of one of them may correct the error.
    """

    def __init__(self) -> None:
        self.seen: dict[str, Signature | None] = {}
        self._patterns: set[tuple[Path, str]] = set()

    def read(self, path: Path) -> bytes:
        """What the file at ``path`` holds; see ``read_bytes``."""
        self.seen[str(path)] = signature(path)
        return read_bytes(path)

    def find(self, folder: Path, pattern: str) -> list[str]:
        """The files that ``pattern`` names, relative to ``folder``. Raises ValueError for too many."""
        self._patterns.add((folder, pattern))
        names = list(islice(glob.iglob(pattern, root_dir=folder), MOST_FILES + 1))
        if len(names) > MOST_FILES:
            raise ValueError(f"finds more than {MOST_FILES} files: name a folder with fewer")
        found = {name: signature(folder / name) for name in sorted(set(map(os.path.normpath, names)))}
        self.seen |= {str(folder / name): sign for name, sign in found.items()}
        return [name for name, sign in found.items() if sign is not None]

    def look(self) -> dict[str, Signature | None]:
        """How the files look now; equal to ``seen`` if none has changed. Blocks."""
        now = Sources()
        now.seen = {path: signature(Path(path)) for path in self.seen}
        for folder, pattern in self._patterns:
            with suppress(ValueError):
                now.find(folder, pattern)
        return now.seen


def signature(path: Path) -> Signature | None:
    """The signature of the file at ``path``, symbolic links followed; None when there is none.

    A file that cannot be looked at, as on a network disk that is away, does not count as gone.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        return (getattr(error, "errno", 0) or 0,)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read_bytes(path: Path) -> bytes:
    """Returns what the file at ``path`` holds. It follows symbolic links.

    Raises OSError, also for what is no regular file or larger than ``MOST_BYTES``, and ValueError when
    ``path`` is no file name. A reload reads each file again, so a shell's ``<(...)`` will not do.
    """
    found = path.stat()  # before the open, which may wait for a writer or act on a device
    is_file = S_ISREG(found.st_mode)
    if is_file and not found.st_size:
        return b""  # the kernel's own files look like this too, and some of them never end (/proc/kmsg)
    if not is_file and not S_ISDIR(found.st_mode):
        raise OSError(errno.EINVAL, "it is a device or a pipe")
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {MOST_BYTES >> 20} MiB")
    return data


class Watcher:
    """Looks at the files of the latest load, which ``sources`` gives.

    A load that failed is followed too: a change of a file that only it names may correct the error.
    """

    def __init__(
        self,
        sources: Callable[[], Sources],
        reload: Callable[[], Awaitable[object]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._sources = sources
        self._reload = reload
        self._sleep = sleep

    async def watch(self) -> None:
        """Watches until it is cancelled. A file that is being written is left alone until it is whole."""
        before = self._sources().seen
        while True:
            await self._sleep(PERIOD)
            try:
                sources = self._sources()
                now = await asyncio.to_thread(sources.look)
                if now == before and now != sources.seen:
                    await self._reload()
                before = now
            except Exception:
                log.exception("watching_crashed")

"""The files that a web configuration is made of, and whether one of them has changed since."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from exporter.config.secrets import read_file

if TYPE_CHECKING:
    from pathlib import Path

Stamp: TypeAlias = tuple[int, int, int, int] | None


class Files:
    """Reads files and remembers how they looked just before. Relative names start at ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stamps: dict[Path, Stamp] = {}

    def note(self, path: Path) -> None:
        """Remembers ``path`` as it looks now."""
        self._stamps[path] = _stamp(path)

    def read(self, name: str) -> str:
        """What the file ``name`` holds. Raises ValueError that says what to write."""
        self.note(self.folder / name)
        return read_file(self.folder, name)

    def changed(self) -> bool:
        """Whether one of the files looks different now."""
        return any(_stamp(path) != stamp for path, stamp in self._stamps.items())


def _stamp(path: Path) -> Stamp:
    """What tells one version of a file from another: a swapped symbolic link leads to another inode."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

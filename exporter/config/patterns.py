"""Finds the files that a pattern of ``link_files`` names, and never looks at more than it may."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MOST_ENTRIES = 10_000
"""Files and folders that one pattern may look at. They are looked at again every few seconds."""

_MAGIC = re.compile(r"[*?\[]")


class TooManyEntriesError(Exception):
    """A pattern makes us look at more than ``MOST_ENTRIES`` files and folders."""

    def __init__(self) -> None:
        super().__init__(f"looks at more than {MOST_ENTRIES} files and folders: name a folder with fewer")


def matches(pattern: str, folder: Path) -> list[str]:
    """Returns the files that ``pattern`` names, each once; those of a relative pattern from ``folder`` on.

    The signs are those of a shell: ``*``, ``?``, ``[...]``, and ``**`` for any folders below. Names that
    begin with a dot match only a pattern that does. ``**`` does not follow links to folders, which may lead
    back up. Raises TooManyEntriesError.
    """
    walk = _Walk(folder)
    steps = [step for step in pattern.split("/") if step]
    any_file = steps[-1:] == ["**"]
    found = {"/" if pattern.startswith("/") else ""}
    for step in [*steps, "*"] if any_file else steps:
        found = {name for at in found for name in walk.step(at, step)}
    if any_file:
        found = {name for name in found if not os.path.isdir(folder / name)}
    return sorted({os.path.normpath(name) for name in found if name.strip("/")})


class _Walk:
    """Looks at each folder once, and counts what it has looked at."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[str, list[os.DirEntry[str]]] = {}
        self._left = MOST_ENTRIES

    def step(self, at: str, step: str) -> list[str]:
        """The names in the folder ``at`` that ``step`` fits."""
        if step == "**":
            return self._folders(at)
        name = os.path.join(at, step)
        if not _MAGIC.search(step):
            return [name] if os.path.lexists(os.path.join(self._folder, name)) else []
        names = [entry.name for entry in self._entries(at) if fnmatchcase(entry.name, step)]
        return [os.path.join(at, name) for name in names if step.startswith(".") or not name.startswith(".")]

    def _folders(self, at: str) -> list[str]:
        """The folder ``at``, and all below it that are not hidden."""
        found = [at]
        for folder in found:  # grows meanwhile
            shown = (entry for entry in self._entries(folder) if not entry.name.startswith("."))
            below = [entry.name for entry in shown if entry.is_dir(follow_symlinks=False)]
            found += [os.path.join(folder, name) for name in below]
        return found

    def _entries(self, at: str) -> list[os.DirEntry[str]]:
        """What is in the folder ``at``; nothing where it cannot be read, or is no folder."""
        if at in self._found:
            return self._found[at]
        found = self._found[at] = []
        with suppress(OSError), os.scandir(self._folder / at) as entries:
            for entry in entries:
                self._left -= 1
                if self._left < 0:
                    raise TooManyEntriesError
                found.append(entry)
        return found

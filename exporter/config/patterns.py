"""Finds the files that a pattern of ``link_files`` names, and never looks at more than it may."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from fnmatch import translate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_ENTRIES = 10_000
"""Files and folders that one pattern may look at. They are looked at again every few seconds."""

DEEPEST = 50
"""Folders below each other that are looked into."""

_MAGIC = re.compile(r"[*?\[]")


class TooManyEntriesError(Exception):
    """A pattern makes us look at more than ``MOST_ENTRIES`` files and folders, or deeper than ``DEEPEST``."""

    def __init__(self) -> None:
        super().__init__(
            f"looks at more than {MOST_ENTRIES} files and folders, or more than {DEEPEST} levels deep: "
            "name a folder with fewer"
        )


def matches(pattern: str, folder: Path) -> list[str]:
    """Returns the files that ``pattern`` names, each once; those of a relative pattern from ``folder`` on.

    The signs are those of a shell: ``*``, ``?``, ``[...]``, and ``**`` for any folders below. Names that
    begin with a dot match only a pattern that does. ``**`` does not follow links to folders, which may lead
    back up. Raises TooManyEntriesError.
    """
    root, parts = ("/", pattern.lstrip("/")) if pattern.startswith("/") else ("", pattern)
    steps = [step for step in parts.split("/") if step]
    return sorted({os.path.normpath(name) for name in _Walk(folder).below(root, _without_repeats(steps))})


def _without_repeats(steps: list[str]) -> list[str]:
    """``a/**/**/b`` means what ``a/**/b`` does."""
    return [step for at, step in enumerate(steps) if step != "**" or steps[at - 1 : at] != ["**"]]


class _Walk:
    """Looks at folders, and counts what it has looked at."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._left = MOST_ENTRIES

    def below(self, at: str, steps: list[str]) -> Iterator[str]:
        """The names below the folder ``at`` that ``steps`` lead to."""
        if at.count("/") > DEEPEST:
            raise TooManyEntriesError
        if not steps:
            if at:
                yield at
        elif steps[0] == "**":
            yield from self._any_depth(at, steps)
        elif _MAGIC.search(steps[0]):
            fits = re.compile(translate(steps[0])).match
            for entry in self._entries(at):
                if fits(entry.name) and _shown(entry.name, steps[0]):
                    yield from self._into(entry, at, steps[1:])
        elif os.path.lexists(self._folder / at / steps[0]):
            yield from self.below(os.path.join(at, steps[0]), steps[1:])

    def _any_depth(self, at: str, steps: list[str]) -> Iterator[str]:
        """What ``steps``, which begin with ``**``, lead to in the folder ``at`` and in all below it."""
        if steps[1:]:
            yield from self.below(at, steps[1:])
        for entry in self._entries(at):
            if _shown(entry.name, "**"):
                if entry.is_dir(follow_symlinks=False):
                    yield from self.below(os.path.join(at, entry.name), steps)
                elif not steps[1:]:
                    yield os.path.join(at, entry.name)

    def _into(self, entry: os.DirEntry[str], at: str, steps: list[str]) -> Iterator[str]:
        path = os.path.join(at, entry.name)
        if not steps or os.path.isdir(self._folder / path):
            yield from self.below(path, steps)

    def _entries(self, at: str) -> list[os.DirEntry[str]]:
        """What is in the folder ``at``; nothing where it cannot be read, or is no folder."""
        found: list[os.DirEntry[str]] = []
        with suppress(OSError), os.scandir(self._folder / at) as entries:
            for entry in entries:
                self._left -= 1
                if self._left < 0:
                    raise TooManyEntriesError
                found.append(entry)
        return found


def _shown(name: str, step: str) -> bool:
    return not name.startswith(".") or step.startswith(".")

"""Secrets: written in the file, in a file of their own, or in an environment variable. Never in a message."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from exporter.config import doubts, values
from exporter.config.document import Document, Loc
from exporter.config.sections import Section
from exporter.config.sources import Sources


@dataclass(frozen=True, slots=True)
class Secrets:
    """Finds secrets. Relative paths start at ``folder``; variables are those of ``environ``."""

    folder: Path
    environ: Mapping[str, str] = field(repr=False)
    document: Document = field(repr=False)
    sources: Sources = field(repr=False)

    def find(
        self, section: Section, name: str, doubt: Callable[[str], str | None] = doubts.of_secret
    ) -> tuple[Loc, str] | None:
        """The place and the value of the secret ``name``; None if it is not given, or not as it should be."""
        keys = given_as(section, name)
        if len(keys) > 1:
            message = f"{keys[0]} is given as well: keep one of the two"
            self.document.add((*section.loc, keys[1]), message, key=True)
        written = getattr(section, keys[0]) if len(keys) == 1 else None
        if written is None:
            return None
        at = (*section.loc, keys[0])
        try:
            value = values.secret(self._read(keys[0], written.get_secret_value()))
        except ValueError as error:
            self.document.add(at, str(error))
            return None
        self._warn(at, value, name, doubt(value))
        return at, value

    def _warn(self, at: Loc, value: str, name: str, message: str | None) -> None:
        if message:
            self.document.warn(at, message if at[-1] == name else f"its value {message}")
        elif at[-1] == name and self.document.is_cut(at, value):
            self.document.warn(at, doubts.CUT)

    def _read(self, key: str, written: str) -> str:
        if key.endswith("_file"):
            return read_text_file(self.folder, written, self.sources)
        return self._from_env(written) if key.endswith("_env") else written

    def _from_env(self, name: str) -> str:
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(
                "is not a variable's name: write the name, such as SMSC_PASSWORD, not the secret"
            )
        if self.environ.get(name):
            return self.environ[name]
        wrong = "is empty" if name in self.environ else "is not set"
        # Only what no secret looks like is repeated: it may be one, misplaced.
        if re.fullmatch("[A-Z]+(_[A-Z0-9]+)+", name):
            raise ValueError(f"environment variable {name} {wrong}: run export {name}=...")
        raise ValueError(f"the environment variable with this name {wrong}: set it, and write its name here")


def given_as(section: Section, name: str) -> list[str]:
    """The keys of ``section`` that give the secret ``name``: itself, ``_file`` or, if it exists, ``_env``."""
    keys = (name, f"{name}_file", f"{name}_env")
    return [key for key in keys if key in section.given and key in section.readers]


def read_text_file(folder: Path, name: str, sources: Sources) -> str:
    """What the file ``name`` holds, without the line's end. Raises ValueError; see ``read_file``."""
    data = read_file(folder, name, sources, "write its path, absolute or from the folder of this file")
    try:
        return data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text: save it as UTF-8") from None


def read_file(folder: Path, name: str, sources: Sources, advice: str) -> bytes:
    """What the file ``name`` holds; a relative name starts at ``folder``.

    Raises ValueError. The name is not repeated: it may be a misplaced secret.
    """
    try:
        return sources.read(folder / name)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        raise ValueError(f"the file cannot be read ({reason}): {advice}") from None

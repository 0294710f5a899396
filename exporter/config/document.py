"""A file as plain dicts, lists and text, with the place of everything in it, its errors and its warnings."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TypeAlias, Union

from exporter.errors import ConfigError, Fault

Plain: TypeAlias = Union[str, list["Plain"], dict[str, "Plain"], None]  # noqa: UP007 - it names itself
Loc: TypeAlias = tuple[str | int, ...]
Place: TypeAlias = tuple[int, int]
"""Line and column, from 1."""

EMPTY = "is empty: give it a value, or remove it"

MOST_FAULTS = 100
"""Errors of a file that are told: more than a person corrects at once."""

MOST_LINKS = 100_000
"""Links in a file, and in all link files of an account."""


_SECRET_KEYS = frozenset({"login", "password", "api_key", "key", "proxy"})
_CUT = re.compile(r"[ \t]++#[^\s#]")


class Map(dict[str, Plain]):
    """A mapping in a file. ``places`` are where each key begins, and its value."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[str, tuple[Place, Place]] = {}

    def inherit(self, other: Map) -> None:
        """Adds the keys of ``other`` that are not here yet."""
        for key, value in other.items():
            self.setdefault(key, value)
            self.places.setdefault(key, other.places[key])


class Seq(list[Plain]):
    """A list in a file. ``places`` are where each entry begins."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[Place] = []


def quote(text: str) -> str:
    """Returns ``text`` in double quotes, on one line and cut if long, for a message."""
    short = text if len(text) <= 60 else text[:57] + "..."
    return json.dumps(short, ensure_ascii=False)


def path_of(loc: Loc) -> str:
    """``loc`` as users read it, ``accounts[0].links[3].id``, without anything that may be a secret."""
    path = ""
    for index, step in enumerate(loc):
        if isinstance(step, int):
            path += f"[{step}]"
            continue
        # `{password:abc}` without a space is the key "password:abc": what follows a colon may be a secret,
        # and so may what is no word.
        name = step.partition(":")[0]
        is_user = index > 0 and loc[0] == "basic_auth_users"  # any word may be one, half a password too
        path += f".{name}" if re.fullmatch(r"[\w-]+", name) and not is_user else '["?"]'
        if step in _SECRET_KEYS or loc[: index + 1] == ("storage", "url"):
            break
    return path.removeprefix(".")


@dataclass(slots=True)
class Document:
    """A file of any format. ``file`` is its name as it was given, ``start`` where its data begins.

    A ``table`` has a column for each key. ``reported`` are the places with an error: the first one counts.
    """

    file: str
    data: Plain = None
    start: Place = (1, 1)
    text: str = ""
    table: bool = False
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    reported: set[Loc] = field(default_factory=set)

    def add(self, loc: Loc, message: str, *, key: bool = False, hidden: bool = False) -> None:
        """Adds an error at ``loc``, unless there is one; see ``fault``."""
        if loc not in self.reported:
            self.reported.add(loc)
            self._take(self.fault(loc, message, key=key, hidden=hidden))

    def note(self, place: Place, path: str, message: str) -> None:
        """Adds an error of the format itself, while the data is not there yet."""
        self._take(Fault(self.file, *place, path, message))

    def _take(self, fault: Fault) -> None:
        """Raises ConfigError when there are too many: a hostile file has hundreds of thousands."""
        if len(self.faults) == MOST_FAULTS:
            message = f"more than {MOST_FAULTS} errors: correct the others first"
            self.faults.append(replace(fault, path="", message=message))
            raise ConfigError(self.faults, self.warnings)
        self.faults.append(fault)

    def warn(self, loc: Loc, message: str, *, key: bool = False) -> None:
        """Adds a warning at ``loc``: of what is allowed, but probably not meant. Too many are left out."""
        if len(self.warnings) < MOST_FAULTS:
            self.warnings.append(self.fault(loc, message, key=key))

    def fault(self, loc: Loc, message: str, *, key: bool = False, hidden: bool = False) -> Fault:
        """The fault ``message`` at ``loc``: at its value, or at its key when ``key`` is set.

        If ``hidden``, the key itself stays unsaid.
        """
        shown = (*loc[:-1], "?") if hidden else loc
        if self.table:  # the line says which row
            shown = shown[1:][-1:]
        return Fault(self.file, *self.place(loc, key=key), path_of(shown), message)

    def place(self, loc: Loc, *, key: bool = False) -> Place:
        """Where the value at ``loc`` begins, or its key. For a missing value, that of its mapping."""
        value, key_at, at = self.data, self.start, self.start
        for step in loc:
            if isinstance(value, Seq) and isinstance(step, int):
                key_at = at = value.places[step]
                value = value[step]
            elif isinstance(value, Map) and step in value.places:
                key_at, at = value.places[str(step)]
                value = value.get(str(step))
            else:
                return at
        return key_at if key else at

    def is_cut(self, loc: Loc, value: str) -> bool:
        """Whether ``#`` and a letter follow the unquoted text at ``loc``: comments mostly have a space."""
        line, column = self.place(loc)
        rest = self.text.splitlines()[line - 1][column - 1 :]
        return rest.startswith(value) and bool(_CUT.match(rest, len(value)))

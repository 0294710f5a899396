"""A CSV file as the list of links it stands for, written by Excel or by hand.

The first line names the columns; each other line is a link. Commas, semicolons or tabs stand between cells.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from exporter.config import values
from exporter.config.document import Source, path_of, quote
from exporter.config.syntax import refuse, refuse_control_characters
from exporter.errors import ConfigError, Fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from exporter.config.document import Loc, Plain

KEYS = ("id", "link", "name", "refresh_interval", "stale_after")
"""Columns with a meaning of their own; each other one is a label."""

_PLAINLY = {
    "unexpected end": "a quote is never closed: close it, and double quotes that belong to the text",
    "expected after": "text after a closing quote: double quotes that belong to the text",
    "field limit": f"a cell of more than {csv.field_size_limit()} characters: is a quote never closed?",
}
"""A part of the csv module's complaint, and what we say instead."""

_MOST_COLUMNS = 200

Span = tuple[int, int]
"""Of a row: the index of its first line, and of the line after it."""


class Table(Source):
    """A CSV file. Raises ConfigError when it is none, or when its columns make no links."""

    data: list[Plain]

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(str(path))
        refuse_control_characters(path, text)
        self._path = path
        self._refuse_mark_inside(text)
        self._lines = list(io.StringIO(text, newline=""))
        self._first, self._delimiter = _delimiter(self._lines)
        self._columns: list[str] = []
        self._indices: dict[str, int] = {}
        self._targets: list[int] = []
        self._spans: list[Span] = []
        self._cells: dict[Span, list[tuple[int, int]]] = {}
        self.data = []
        self._read()

    def place(self, loc: Loc, *, key: bool = False) -> tuple[int, int]:
        """Where a cell begins, or its row, if that has no such cell."""
        span = self._spans[int(loc[0])]
        if loc[-1] in self._indices:
            return self._spot(span, self._indices[str(loc[-1])])
        return span[0] + 1, 1

    def path(self, loc: Loc) -> str:
        """The column's name: the line is told by the place."""
        return path_of(loc[-1:]) if len(loc) > 1 else ""

    def _read(self) -> None:
        rows = self._rows()
        span, names = next(rows, ((0, 0), []))
        if not names:
            refuse(self._path, 0, 0, "is empty: name the columns in its first line, such as id,name")
        self._check_names(span, names)
        self._columns = names
        self._indices = {name: index for index, name in enumerate(names)}
        self._targets = [self._indices[key] for key in ("id", "link") if key in self._indices]
        for span, cells in rows:
            if self._is_header(cells):
                message = "the names of the columns again: remove this line, or keep one file of the two"
                self.faults.append(Fault(self.file, span[0] + 1, 1, "", message))
            else:
                self._take(span, cells)

    def _is_header(self, cells: list[str]) -> bool:
        """Whether a row names columns: another file's first line, where two were joined."""
        return any(cells[at].casefold() in KEYS for at in self._targets if at < len(cells))

    def _refuse_mark_inside(self, text: str) -> None:
        """Raises ConfigError at a byte order mark, which a second file begins with."""
        before, mark, _ = text.partition("\ufeff")
        if mark:
            message = (
                "a byte order mark (U+FEFF), as if a second file began here: remove it, or keep one file"
            )
            refuse(self._path, *_after(before), message)

    def _rows(self) -> Iterator[tuple[Span, list[str]]]:
        """The cells of each row that is not blank."""
        lines = self._lines[self._first :]
        reader = csv.reader(lines, delimiter=self._delimiter, skipinitialspace=True, strict=True)
        start = self._first
        try:
            for row in reader:
                end = self._first + reader.line_num
                cells = [cell.strip() for cell in row]
                if any(cells):
                    yield (start, end), cells
                start = end
        except csv.Error as error:
            message = next(ours for theirs, ours in _PLAINLY.items() if theirs in str(error))
            refuse(self._path, start + 1, 1, message)

    def _check_names(self, span: Span, names: list[str]) -> None:
        """Raises ConfigError where the first line does not name columns that make links."""
        if len(names) > _MOST_COLUMNS:
            refuse(self._path, span[0] + 1, 1, f"more than {_MOST_COLUMNS} columns: remove some")
        seen: set[str] = set()
        for index, name in enumerate(names):
            if message := _wrong(name, seen):
                shown = name if re.fullmatch(r"[\w-]{1,60}", name) else quote(name)
                self.faults.append(Fault(self.file, *self._spot(span, index), shown, message))
            seen.add(name)
        if not {"id", "link"} & {name.casefold() for name in names}:
            message = "no column is named id or link: name the one so that says which link it is"
            self.faults.append(Fault(self.file, span[0] + 1, 1, "", message))
        if self.faults:
            raise ConfigError(self.faults)

    def _take(self, span: Span, cells: list[str]) -> None:
        if len(cells) != len(self._columns):
            message = (
                f"{len(cells)} cells, but {len(self._columns)} columns: add what is missing, "
                f"put a cell with {_NAMES[self._delimiter]} in it in quotes"
            )
            self.faults.append(Fault(self.file, span[0] + 1, 1, "", message))
            return
        entry: dict[str, Plain] = {}
        labels: dict[str, Plain] = {}
        for index, (name, cell) in enumerate(zip(self._columns, cells, strict=True)):
            if cell and not name:
                message = "stands in a column without a name: name it in the first line"
                self.faults.append(Fault(self.file, *self._spot(span, index), "", message))
            elif cell:
                (entry if name in KEYS else labels)[name] = cell
        self._spans.append(span)
        self.data.append({**entry, "labels": labels} if labels else {**entry})

    def _spot(self, span: Span, index: int) -> tuple[int, int]:
        """Line and column of a row's cell."""
        if span not in self._cells:
            text = "".join(self._lines[slice(*span)])
            self._cells[span] = [(span[0] + line, column) for line, column in _spots(text, self._delimiter)]
        return self._cells[span][index]


_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
_BREAK = re.compile("\r\n|\r|\n")


def _delimiter(lines: list[str]) -> tuple[int, str]:
    """The index of the first line of the table, and what stands between its cells.

    Excel reads a first line such as ``sep=;`` as the name of the delimiter.
    """
    if lines and (named := re.fullmatch("sep=([,;\t])", lines[0].rstrip("\r\n"), re.IGNORECASE)):
        return 1, named[1]
    found = re.search("[,;\t]", next((line for line in lines if line.strip()), ""))
    return 0, found[0] if found else ","


def _spots(text: str, delimiter: str) -> Iterator[tuple[int, int]]:
    """Line and column, from 1, of each cell in the row ``text``.

    The csv module does not tell them. ``text`` is a row that it has read without an error.
    """
    start = line = 0
    line_start = 0
    while True:
        for end in _breaks(text, line_start, start):
            line, line_start = line + 1, end
        yield line + 1, start - line_start + 1
        start = text.find(delimiter, _behind_quotes(text, start)) + 1
        if not start:
            return


def _breaks(text: str, begin: int, end: int) -> Iterator[int]:
    """The indices behind each line break from ``begin`` to ``end``."""
    return (found.end() for found in _BREAK.finditer(text, begin, end))


def _behind_quotes(text: str, start: int) -> int:
    """The index behind the quoted part of the cell at ``start``, or ``start`` if it has none."""
    opening = start
    while text.startswith(" ", opening):
        opening += 1
    if not text.startswith('"', opening):
        return start
    end = text.find('"', opening + 1)
    while text.startswith('"', end + 1):  # a doubled quote belongs to the text
        end = text.find('"', end + 2)
    return end + 1


def _after(text: str) -> tuple[int, int]:
    """Line and column, from 1, of what follows ``text``."""
    line_start = max(text.rfind("\n"), text.rfind("\r")) + 1
    return len(_BREAK.findall(text)) + 1, len(text) - line_start + 1


def _wrong(name: str, before: set[str]) -> str | None:
    """What is wrong with a column's name; nothing with none, as long as nothing stands in the column."""
    if not name or (name in KEYS and name not in before):
        return None
    if name in before:
        return "there are two columns of this name: keep one"
    if name.casefold() in KEYS:
        return f"columns are named in small letters: write {name.casefold()}"
    if name == "labels":
        return "each label has a column of its own: name it after the label, such as campaign"
    try:
        values.label_name(name)
    except ValueError as error:
        return str(error)
    return None

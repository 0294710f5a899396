"""A CSV file as the list of links it stands for, written by Excel or by hand.

The first line names the columns; each other line is a link. Commas, semicolons or tabs stand between cells.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from exporter.config import values
from exporter.config.document import Source, path_of
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

Span = tuple[int, int]
"""Of a row: the index of its first line, and of the line after it."""


class Table(Source):
    """A CSV file. Raises ConfigError when it is none, or when its columns make no links."""

    data: list[Plain]

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(str(path))
        refuse_control_characters(path, text)
        self._path = path
        self._lines = list(io.StringIO(text, newline=""))
        found = re.search("[,;\t]", next((line for line in self._lines if line.strip()), ""))
        self._delimiter = found[0] if found else ","
        self._columns: list[str] = []
        self._spans: list[Span] = []
        self.data = []
        self._read()

    def place(self, loc: Loc, *, key: bool = False) -> tuple[int, int]:
        """Where a cell begins, or its row, if that has no such cell."""
        span = self._spans[int(loc[0])]
        if loc[-1] in self._columns:
            return self._spot(span, self._columns.index(str(loc[-1])))
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
        for span, cells in rows:
            self._take(span, cells)

    def _rows(self) -> Iterator[tuple[Span, list[str]]]:
        """The cells of each row that is not blank."""
        reader = csv.reader(self._lines, delimiter=self._delimiter, skipinitialspace=True, strict=True)
        start = 0
        try:
            for row in reader:
                cells = [cell.strip() for cell in row]
                if any(cells):
                    yield (start, reader.line_num), cells
                start = reader.line_num
        except csv.Error as error:
            message = next(ours for theirs, ours in _PLAINLY.items() if theirs in str(error))
            refuse(self._path, start + 1, 1, message)

    def _check_names(self, span: Span, names: list[str]) -> None:
        """Raises ConfigError where the first line does not name columns that make links."""
        for index, name in enumerate(names):
            if message := _wrong(name, names[:index]):
                self.faults.append(Fault(self.file, *self._spot(span, index), path_of((name,)), message))
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
        """Line and column of a row's cell. The csv module doesn't tell, so the row is read once more."""
        text = "".join(self._lines[slice(*span)])
        cell = rf'(?: *"[^"]*(?:""[^"]*)*"[^{self._delimiter}]*|[^{self._delimiter}]*){self._delimiter}'
        starts = [0, *(match.end() for match in re.finditer(cell, text))]
        before = re.split("\r\n|\r|\n", text[: starts[index]])
        return span[0] + len(before), len(before[-1]) + 1


_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab"}


def _wrong(name: str, before: list[str]) -> str | None:
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

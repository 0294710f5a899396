"""A CSV file as a list of links, written by Excel or by hand.

The first line names the columns; each other line is a link. Commas, semicolons or tabs separate cells. The
csv module reads such files too, but does not say where a cell is.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, TypeAlias

from exporter.config import values
from exporter.config.document import Document, Map, Seq, quote
from exporter.config.syntax import refuse, refuse_control_characters
from exporter.errors import ConfigError, Fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from exporter.config.document import Place

KEYS = ("id", "link", "name", "refresh_interval", "stale_after")
"""Columns with a meaning of their own. Any other column is a label."""

Row: TypeAlias = list[tuple[str, "Place"]]
"""The text and the place of each cell."""

_MOST_COLUMNS = 200
_SEPARATOR_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
_BREAK = re.compile("\r\n|\r|\n")
# Excel reads a first line such as ``sep=;`` as the name of the separator.
_NAMED = re.compile("sep=([,;\t])(?:\r\n|\r|\n|$)", re.IGNORECASE)
# Possessive, so that no input makes the engine try again.
_QUOTED = re.compile(r' *+"(?:[^"]++|"")*+"')


def read_table(path: Path, text: str) -> Document:
    """The links in ``text``. Raises ConfigError if it is no table, or if it lacks the columns of links."""
    refuse_control_characters(path, text)
    named = _NAMED.match(text)
    first = next((line for line in text.splitlines() if line.strip()), "")
    found = re.search("[,;\t]", first)
    separator = named[1] if named else found[0] if found else ","
    rows = _Rows(path, text, separator).read(named.end() if named else 0)
    header = next(rows, [])
    if not header:
        refuse(path, 0, 0, "is empty: name the columns in its first line, such as id,name")
    document = Document(str(path), table=True)
    _check_names(document, header)
    document.data = _links(document, [name for name, _ in header], rows, separator)
    return document


class _Rows:
    """The rows of a table that are not blank."""

    def __init__(self, path: Path, text: str, separator: str) -> None:
        self._path = path
        self._text = text
        self._separator = separator
        self._starts = [0, *(found.end() for found in _BREAK.finditer(text))]
        self._cell = re.compile(
            rf' *+(?:"((?:[^"]++|"")*+)" *+|((?!")[^{separator}\r\n]*+))({separator}|\r\n|\r|\n|\Z)'
        )
        mark = text.find("\ufeff")
        if mark >= 0:  # a second file begins with it
            message = (
                "a byte order mark (U+FEFF), as if a second file began here: remove it, or keep one file"
            )
            refuse(path, *self._place(mark), message)

    def read(self, at: int) -> Iterator[Row]:
        """The rows from the index ``at`` on. Raises ConfigError if quotes make no sense."""
        row: Row = []
        ended = True
        while at < len(self._text) or not ended:
            found = self._cell.match(self._text, at)
            if found is None:
                closed = _QUOTED.match(self._text, at)
                message = "text after a closing quote" if closed else "a quote is never closed: close it, and"
                advice = f"{message}: " if closed else f"{message} "
                refuse(self._path, *self._place(at), f"{advice}double quotes that belong to the text")
            text = found[2] if found[1] is None else found[1].replace('""', '"')
            row.append((text.strip(), self._place(at)))
            at, ended = found.end(), found[3] != self._separator
            if ended:
                if any(text for text, _ in row):
                    yield row
                row = []

    def _place(self, index: int) -> Place:
        line = bisect_right(self._starts, index)
        return line, index - self._starts[line - 1] + 1


def _links(document: Document, names: list[str], rows: Iterator[Row], separator: str) -> Seq:
    targets = [index for index, name in enumerate(names) if name in ("id", "link")]
    links = Seq()
    for row in rows:
        line, _ = start = row[0][1]
        if any(row[index][0].casefold() in KEYS for index in targets if index < len(row)):
            message = "a second header line: remove it, or split the file in two"
            document.faults.append(Fault(document.file, line, 1, "", message))
        elif len(row) != len(names):
            message = (
                f"{len(row)} cells, but {len(names)} columns: add what is missing, "
                f"put a cell with {_SEPARATOR_NAMES[separator]} in it in quotes"
            )
            document.faults.append(Fault(document.file, line, 1, "", message))
        else:
            links.append(_link(document, names, row))
            links.places.append(start)
    return links


def _link(document: Document, names: list[str], row: Row) -> Map:
    link, labels = Map(), Map()
    for name, (text, place) in zip(names, row, strict=True):
        section = link if name in KEYS else labels
        section.places[name] = place, place
        if text and not name:
            message = "is in a column without a name: name it in the first line"
            document.faults.append(Fault(document.file, *place, "", message))
        elif text:
            section[name] = text
    if labels:
        link["labels"] = labels
        link.places["labels"] = row[0][1], row[0][1]
    return link


def _check_names(document: Document, header: Row) -> None:
    """Raises ConfigError if the first line does not name the columns of links."""
    line = header[0][1][0]
    if len(header) > _MOST_COLUMNS:
        message = f"more than {_MOST_COLUMNS} columns: remove some"
        raise ConfigError([Fault(document.file, line, 1, "", message)])
    faults = []
    seen: set[str] = set()
    for name, place in header:
        if message := _wrong(name, seen):
            shown = name if re.fullmatch(r"[\w-]{1,60}", name) else quote(name)
            faults.append(Fault(document.file, *place, shown, message))
        seen.add(name)
    if not {"id", "link"} & {name.casefold() for name in seen}:
        message = "no column is named id or link: name a column id or link"
        faults.append(Fault(document.file, line, 1, "", message))
    if faults:
        raise ConfigError(faults)


def _wrong(name: str, before: set[str]) -> str:
    """What is wrong with a column's name. A column without cells needs none."""
    if not name or (name in KEYS and name not in before):
        return ""
    if name in before:
        return "two columns have this name: keep one"
    if name.casefold() in KEYS:
        return f"column names are in lower case: write {name.casefold()}"
    if name == "labels":
        return "each label needs its own column: name it after the label, such as campaign"
    try:
        values.label_name(name)
    except ValueError as error:
        return str(error)
    return ""

"""A CSV file as a list of links, written by Excel or by hand.

The first line names the columns; each other line is a link. Commas, semicolons or tabs separate cells. The
csv module reads such files too, but does not say where a cell is.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, TypeAlias

from exporter.config import values
from exporter.config.document import MOST_LINKS, Document, Map, Seq, quote
from exporter.config.syntax import refuse, refuse_after, refuse_control_characters
from exporter.errors import ConfigError

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
    mark = text.find("\ufeff")
    if mark >= 0:  # a second file begins with it
        message = "a byte order mark (U+FEFF), as if a second file began here: remove it, or keep one file"
        refuse_after(path, text[:mark], message)
    named = _NAMED.match(text)
    first = next((line for line in text.splitlines() if line.strip()), "")
    found = re.search("[,;\t]", first)
    separator = named[1] if named else found[0] if found else ","
    rows = _rows(path, text, separator, named.end() if named else 0)
    header = next(rows, [])
    if not header:
        refuse(path, 0, 0, "is empty: name the columns in its first line, such as id,name")
    document = Document(str(path), table=True)
    _check_names(document, header)
    document.data = _links(document, [name for name, _ in header], rows, separator)
    return document


def _rows(path: Path, text: str, separator: str, at: int) -> Iterator[Row]:
    """The rows that are not blank, from the index ``at`` on. Raises ConfigError if quotes make no sense."""
    starts = [0, *(found.end() for found in _BREAK.finditer(text))]
    cell = re.compile(
        rf' *+(?:"((?:[^"]++|"")*+)" *+|((?!")[^{separator}\r\n]*+))({separator}|\r\n|\r|\n|\Z)'
    )
    row: Row = []
    ended = True
    while at < len(text) or not ended:
        found = cell.match(text, at)
        if found is None:
            closed = _QUOTED.match(text, at)
            wrong = "text after a closing quote:" if closed else "a quote is never closed: close it, and"
            refuse_after(path, text[:at], f"{wrong} double quotes that belong to the text")
        line = bisect_right(starts, at)
        value = found[2] if found[1] is None else found[1].replace('""', '"')
        row.append((value.strip(), (line, at - starts[line - 1] + 1)))
        at, ended = found.end(), found[3] != separator
        if ended:
            if any(value for value, _ in row):
                yield row
            row = []


def _links(document: Document, names: list[str], rows: Iterator[Row], separator: str) -> Seq:
    targets = [index for index, name in enumerate(names) if name in ("id", "link")]
    links = Seq()
    for row in rows:
        line, _ = start = row[0][1]
        if any(row[index][0].casefold() in KEYS for index in targets if index < len(row)):
            message = "a second header line: remove it, or split the file in two"
            document.note((line, 1), "", message)
        elif len(row) != len(names):
            message = (
                f"{len(row)} cells, but {len(names)} columns: add what is missing, "
                f"put a cell with {_SEPARATOR_NAMES[separator]} in it in quotes"
            )
            document.note((line, 1), "", message)
        else:
            links.append(_link(document, names, row))
            links.places.append(start)
        if len(links) > MOST_LINKS:
            document.note((line, 1), "", f"more than {MOST_LINKS} links: remove some")
            raise ConfigError(document.faults[-1:])
    return links


def _link(document: Document, names: list[str], row: Row) -> Map:
    link, labels = Map(), Map()
    for name, (text, place) in zip(names, row, strict=True):
        section = link if name in KEYS else labels
        section.places[name] = place, place
        if text and not name:
            message = "is in a column without a name: name it in the first line"
            document.note(place, "", message)
        elif text:
            section[name] = text
    if labels:
        link["labels"] = labels
        link.places["labels"] = row[0][1], row[0][1]
    return link


def _check_names(document: Document, header: Row) -> None:
    """Raises ConfigError if the first line does not name the columns of links."""
    start = header[0][1][0], 1
    if len(header) > _MOST_COLUMNS:
        document.note(start, "", f"more than {_MOST_COLUMNS} columns: remove some")
        raise ConfigError(document.faults)
    seen: set[str] = set()
    for name, place in header:
        if message := _wrong(name, seen):
            shown = name if re.fullmatch(r"[\w-]{1,60}", name) else quote(name)
            document.note(place, shown, message)
        seen.add(name)
    if not {"id", "link"} & {name.casefold() for name in seen}:
        document.note(start, "", "no column is named id or link: name a column id or link")
    if document.faults:
        raise ConfigError(document.faults)


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

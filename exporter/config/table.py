"""A CSV file as a list of links, written by Excel or by hand.

The first line names the columns; each other line is a link. Commas, semicolons or tabs separate cells.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from exporter.config import values
from exporter.config.document import MOST_LINKS, Document, Map, Seq, quote
from exporter.config.syntax import refuse, refuse_control_characters
from exporter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from exporter.config.document import Place

KEYS = ("id", "link", "name", "refresh_interval", "stale_after")
"""Columns with a meaning of their own. Any other column is a label."""

_MOST_COLUMNS = 200
_SEPARATOR_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
# Excel reads a first line such as ``sep=;`` as the name of the separator.
_NAMED = re.compile("sep=([,;\t])(?:\r\n|\r|\n|$)", re.IGNORECASE)


def read_table(path: Path, text: str) -> Document:
    """The links in ``text``. Raises ConfigError if it is no table, or if it lacks the columns of links."""
    refuse_control_characters(path, text)
    named = _NAMED.match(text)
    first = next((line for line in text.splitlines() if line.strip()), "")
    found = re.search("[,;\t]", first)
    separator = named[1] if named else found[0] if found else ","
    rows = _rows(path, text, separator, 1 if named else 0)
    at, names = next(rows, ((1, 1), []))
    if not names:
        refuse(path, 0, 0, "is empty: name the columns in its first line, such as id,name")
    document = Document(str(path), table=True)
    _check_names(document, at, names)
    document.data = _links(document, names, rows, separator)
    return document


def _rows(path: Path, text: str, separator: str, skipped: int) -> Iterator[tuple[Place, list[str]]]:
    """The rows that are not blank, each with where it begins. Raises ConfigError if quotes make no sense."""
    lines = io.StringIO(text, newline="")
    for _ in range(skipped):
        next(lines)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    line = skipped + 1
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield (line, 1), cells
            line = skipped + reader.line_num + 1
    except csv.Error as error:
        after = "expected after" in str(error)
        wrong = "text after a closing quote:" if after else "a quote is never closed: close it, and"
        refuse(path, line, 1, f"{wrong} double quotes that belong to the text")


def _links(
    document: Document, names: list[str], rows: Iterator[tuple[Place, list[str]]], separator: str
) -> Seq:
    targets = [index for index, name in enumerate(names) if name in ("id", "link")]
    links = Seq()
    for at, row in rows:
        if any(row[index].casefold() in KEYS for index in targets if index < len(row)):
            document.note(at, "", "a second header line: remove it, or split the file in two")
        elif len(row) != len(names):
            message = (
                f"{len(row)} cells, but {len(names)} columns: add what is missing, "
                f"put a cell with {_SEPARATOR_NAMES[separator]} in it in quotes"
            )
            document.note(at, "", message)
        else:
            links.append(_link(document, names, at, row))
            links.places.append(at)
        if len(links) > MOST_LINKS:
            document.note(at, "", f"more than {MOST_LINKS} links: remove some")
            raise ConfigError(document.faults[-1:])
    return links


def _link(document: Document, names: list[str], at: Place, row: list[str]) -> Map:
    link, labels = Map(), Map()
    for number, (name, text) in enumerate(zip(names, row, strict=True), 1):
        section = link if name in KEYS else labels
        section.places[name] = at, at
        if text and not name:
            document.note(at, "", f"cell {number} is in a column without a name: name it in the first line")
        elif text:
            section[name] = text
    if labels:
        link["labels"] = labels
        link.places["labels"] = at, at
    return link


def _check_names(document: Document, at: Place, names: list[str]) -> None:
    """Raises ConfigError if the first line does not name the columns of links."""
    if len(names) > _MOST_COLUMNS:
        document.note(at, "", f"more than {_MOST_COLUMNS} columns: remove some")
        raise ConfigError(document.faults)
    seen: set[str] = set()
    for name in names:
        if message := _wrong(name, seen):
            shown = name if re.fullmatch(r"[\w-]{1,60}", name) else quote(name)
            document.note(at, shown, message)
        seen.add(name)
    if not {"id", "link"} & {name.casefold() for name in seen}:
        document.note(at, "", "no column is named id or link: name a column id or link")
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

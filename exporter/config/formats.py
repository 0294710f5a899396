"""Reads link files in each of their formats to a document that is a list of links.

CSV comes from Excel, or is written by hand. Its first line names the columns, and each other line is a link.
Commas, semicolons or tabs separate cells.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from exporter.config import values
from exporter.config.document import MOST_LINKS, Document, Map, Place, Seq, quote
from exporter.config.sources import Sources
from exporter.config.syntax import Naming, read_text, refuse, refuse_control_characters
from exporter.config.tree import TOO_DEEP, parse
from exporter.errors import ConfigError

NAMING = Naming("under link_files", "list at least one link, or write [] for none")

# A part of json's complaint, and what we say instead. Its wording grows from version to version of Python.
_PLAINLY = (
    ("Extra data", "the list ended before this: remove it, or check the brackets"),
    ("trailing comma", "a comma too many: remove it"),
    ("property name", "a key in double quotes is missing here, or a comma is too many"),
    ("',' delimiter", "a comma or a closing bracket is missing here"),
    ("':' delimiter", "a colon is missing here, after the key"),
    ("Expecting value", "a value is missing here, or text is not in double quotes, or a comma is too many"),
    ("Unterminated string", "the quote that begins here is never closed: close it"),
    ("control character", "a line break or tab inside quotes: close the quotes, or remove it"),
    ("escape", "a backslash means something else here: double it"),
)

# Possessive, so that the engine keeps nothing for a retry: a string of megabytes costs no more than its text.
_STRING_OR_TAB = re.compile(r'"(?:[^"\\]++|\\.)*+"|\t')
# Any other text is one match: text that is nothing but escapes would be millions.
_ESCAPE = re.compile(
    r"\\u(?P<high>d[89ab]..)\\u(?P<low>d[c-f]..)|\\ud[89a-f]|(?:[^\\]|\\(?!ud[89a-f])[^\r\n])++",
    re.IGNORECASE,
)


_COLUMNS = ("id", "link", "name", "refresh_interval", "stale_after")
"""Columns with a meaning of their own. Any other column is a label."""

_MOST_COLUMNS = 200
_SEPARATOR_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
# Excel reads a first line such as ``sep=;`` as the name of the separator.
_NAMED = re.compile("sep=([,;\t])(?:\r\n|\r|\n|$)", re.IGNORECASE)


def open_links(path: Path, sources: Sources) -> Document:
    """Reads the link file at ``path``. Raises ConfigError if it cannot be read or understood."""
    read = _READERS.get(path.suffix.lower())
    if read is None:
        refuse(
            path,
            0,
            0,
            "its name must end in .yaml, .yml, .json or .csv: rename it, or narrow the pattern",
        )
    return read(path, read_text(path, sources, NAMING))


def _yaml(path: Path, text: str) -> Document:
    return parse(path, text, NAMING)


def _json(path: Path, text: str) -> Document:
    """Reads JSON with YAML's parser, which gives the places. JSON is YAML, except for a few details."""
    if not text.strip():
        refuse(path, 0, 0, f"is empty: {NAMING.contents}")
    _refuse_what_is_not_json(path, text)
    return parse(path, _STRING_OR_TAB.sub(_in_yaml, text), NAMING)


def _refuse_what_is_not_json(path: Path, text: str) -> None:
    try:
        json.loads(text, parse_int=str, parse_float=str, object_pairs_hook=len)  # which keeps nothing
    except json.JSONDecodeError as error:
        message = next((ours for theirs, ours in _PLAINLY if theirs in error.msg), "is not JSON here")
        refuse(path, error.lineno, error.colno, message)
    except RecursionError:
        refuse(path, 1, 1, TOO_DEEP)


def _in_yaml(found: re.Match[str]) -> str:
    """A string with pairs of escapes joined, or a space for a tab: as long as before, so that places stay."""
    return " " if found[0] == "\t" else _ESCAPE.sub(_joined, found[0]).ljust(len(found[0]))


def _joined(escape: re.Match[str]) -> str:
    if not escape["high"]:
        return escape[0]
    return bytes.fromhex(escape["high"] + escape["low"]).decode("utf-16-be")


def _csv(path: Path, text: str) -> Document:
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
    if skipped:
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
        if any(row[index].casefold() in _COLUMNS for index in targets if index < len(row)):
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
        section = link if name in _COLUMNS else labels
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
    if not name or (name in _COLUMNS and name not in before):
        return ""
    if name in before:
        return "two columns have this name: keep one"
    if name.casefold() in _COLUMNS:
        return f"column names are in lower case: write {name.casefold()}"
    if name == "labels":
        return "each label needs its own column: name it after the label, such as campaign"
    try:
        values.label_name(name)
    except ValueError as error:
        return str(error)
    return ""


_READERS: dict[str, Callable[[Path, str], Document]] = {
    ".yaml": _yaml,
    ".yml": _yaml,
    ".json": _json,
    ".csv": _csv,
}

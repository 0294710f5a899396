"""Reads link files in each of their formats to a document that is a list of links."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from exporter.config.syntax import Naming, read_text, refuse
from exporter.config.table import read_table
from exporter.config.tree import TOO_DEEP, parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from exporter.config.document import Document
    from exporter.config.sources import Sources

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


_READERS: dict[str, Callable[[Path, str], Document]] = {
    ".yaml": _yaml,
    ".yml": _yaml,
    ".json": _json,
    ".csv": read_table,
}

"""Reads a file's bytes as text, and puts YAML's own errors into plain words."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from exporter.config.sources import Sources
from exporter.errors import ConfigError, Fault


@dataclass(frozen=True, slots=True)
class Naming:
    """Words for messages about a file: where it is named, what belongs in it, and a key to begin with."""

    where: str
    contents: str
    first_key: str = ""
    create: str = "create it"


CONFIG = Naming(
    "with --config.file",
    "list at least one account under accounts",
    "accounts:",
    "run smsc-exporter init to create it, or smsc-exporter demo to try without",
)

# What YAML allows unescaped, from section 5.1 of its specification, but for U+0085, a control character: YAML
# takes it for a line break, and nobody means one.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# A part of YAML's complaint; whether to point to where the thing began; what we say instead. Nothing of
# the file is repeated: the wrong text may be half a password.
_PLAINLY = (
    ("undefined tag handle", False, "an unknown tag (!): put text that begins with ! in quotes"),
    ("(parsing|scanning) a tag", True, "an unknown tag (!): put text that begins with ! in quotes"),
    ("scanning an a", True, "text cannot begin with * or & here: put it in quotes"),
    (
        "values are not allowed",
        False,
        'unexpected ":": quote values that contain a colon, or fix this line\'s indentation',
    ),
    ("sequence entries are not allowed", False, "a list cannot begin here: begin it on the next line"),
    ("expected ':'", True, "a key without a colon: write key: value, with a space after the colon"),
    (
        "invalid Unicode character",
        False,
        "half a character: write both of its \\u escapes, or the character itself",
    ),
    ("escape", False, "a backslash means something else inside double quotes: use single quotes"),
    ("quoted scalar", True, "the quote that begins here is never closed: close it"),
    (
        "expected ',' or",
        True,
        "the bracket that opens here is not closed, a comma is missing, or a colon needs quotes",
    ),
    (
        "block collection",
        False,
        'not indented like the lines above: indent it as they are, or begin a new entry with "- "',
    ),
    ("block mapping", False, "does not fit the lines above: align keys, and put the whole value in quotes"),
    ("node content", False, "a value is missing here: write it, put text with brackets or commas in quotes"),
    ("document start", False, "the document ended before this: remove it, or check the brackets"),
    ("block scalar", False, "nothing may follow | or > on its line: begin the text on the next one"),
    ("cannot start any token", False, "text cannot begin with this character (@, ` or %): put it in quotes"),
)

_SAVE = {".csv": 'save the file as UTF-8 (in Excel: "CSV UTF-8")'}


def read_text(path: Path, sources: Sources, naming: Naming = CONFIG) -> str:
    """The text of the file at ``path``. Raises ConfigError if there is no such file or it is not UTF-8."""
    try:
        data = sources.read(path)
    except FileNotFoundError:
        refuse(path, 0, 0, f"there is no such file: {naming.create}, or name another {naming.where}")
    except IsADirectoryError:
        refuse(path, 0, 0, f"is a directory: name the file in it {naming.where}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is not a file name"
        more = ", or change its permissions" if isinstance(error, PermissionError) else ""
        refuse(path, 0, 0, f"cannot be read ({reason}): name another {naming.where}{more}")
    return _decode(path, data)


def _decode(path: Path, data: bytes) -> str:
    advice = _SAVE.get(path.suffix.lower(), "save the file as UTF-8")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        refuse(path, 1, 1, f"is UTF-16, not UTF-8 text: {advice}")
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        start = error.start
    guess = ", but probably Windows-1251" if re.match(rb"[\xa8\xb8\xc0-\xff]{2}", data[start:]) else ""
    return refuse_after(path, data[:start].decode(), f"is not UTF-8 text{guess}: {advice}")


def refuse_control_characters(path: Path, text: str) -> None:
    """Raises ConfigError at the first character in ``text`` that no text file should hold."""
    if stray := _FORBIDDEN.search(text):
        refuse_after(path, text[: stray.start()], "a control character: remove it")


def explain(error: yaml.MarkedYAMLError, text: str) -> tuple[int, int, str]:
    """Line, column and plain words for YAML's complaint."""
    message, at_start = _plainly(f"{error.context} {error.problem}")
    mark: Any = (error.context_mark if at_start else None) or error.problem_mark
    if _follows_tab(text, mark.index):
        message = "a tab: YAML is indented with spaces, replace it"
    return mark.line + 1, mark.column + 1, message


def _plainly(said: str) -> tuple[str, bool]:
    for pattern, at_start, message in _PLAINLY:
        if re.search(pattern, said):
            return message, at_start
    return "is not YAML: check quotes, brackets and indentation here", False


def _follows_tab(text: str, index: int) -> bool:
    """Whether a tab is at ``index``, or in the white space at the start of its line."""
    line = text[text.rfind("\n", 0, index) + 1 : index + 1]
    return line.endswith("\t") or "\t" in line[: len(line) - len(line.lstrip())]


def refuse(path: Path, line: int, column: int, message: str) -> NoReturn:
    """Raises ConfigError with this one error, after which nothing more of the file can be read."""
    raise ConfigError([Fault(str(path), line, column, "", message)]) from None


def refuse_after(path: Path, before: str, message: str) -> NoReturn:
    """Raises ConfigError with an error where the text ``before`` ends."""
    lines = re.split("\r\n|\r|\n", before)
    refuse(path, len(lines), len(lines[-1]) + 1, message)

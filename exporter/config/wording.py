"""The schema's complaints, in our words and at their places in the file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from exporter.config.document import EMPTY, quote
from exporter.config.schema import SECTIONS, File, LinkSection
from exporter.config.values import closest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from exporter.config.document import Loc, Report

_MISSING = {
    "accounts": "is missing: list at least one account under it",
    "name": "is missing: write a name of your choice, it becomes the label account",
}

_SHAPES = {
    "model_type": "must be a mapping: write keys and values, such as key: value",
    "dict_type": "must be a mapping: write names and values, such as team: growth",
    "list_type": "must be a list: begin each entry with \"- \", or write [one, two]",
}  # fmt: skip


_LINKS = TypeAdapter(list[LinkSection])


def validate(data: Any, report: Report) -> File | None:
    """``data`` as the schema has it; or None, with every fault of shape in ``report``."""
    try:
        return File.model_validate(data)
    except ValidationError as error:
        _add_all(error, (), report)
    return None


def validate_links(data: Any, report: Report) -> list[LinkSection]:
    """The links of a link file's ``data``; none, with every fault of shape in ``report``."""
    try:
        return _LINKS.validate_python(data)
    except ValidationError as error:
        _add_all(error, ("accounts", "links"), report)
    return []


def _add_all(error: ValidationError, within: tuple[str, ...], report: Report) -> None:
    for details in error.errors(include_url=False):
        # pydantic ends the place of a key (a label's name) with this step
        at_key = details["loc"][-1:] == ("[key]",)
        loc = details["loc"][:-1] if at_key else details["loc"]
        if details["type"] == "extra_forbidden":
            _add_unknown_key(details, within, report)
        else:
            report.add(loc, _message(details, loc), key=at_key)


def _message(details: ErrorDetails, loc: Loc) -> str:
    kind = details["type"]
    if kind == "missing":
        return _MISSING[str(loc[-1])]
    if kind in _SHAPES:
        return EMPTY if details["input"] is None else _SHAPES[kind]
    return str(details["ctx"]["error"])


def _add_unknown_key(details: ErrorDetails, within: tuple[str, ...], report: Report) -> None:
    """Report a key that is not known, by its name only where that is surely no piece of a secret.

    With ``{password: one,two}`` the key ``two`` is half a password; with ``{one:two}``, ``one:two`` may be
    all of it. A key that is known elsewhere is but misplaced, and one with a value that is close to a known
    one mistyped.
    """
    loc = details["loc"]
    steps = (step for step in loc[:-1] if isinstance(step, str))
    known = list(SECTIONS[(*within, *steps)].model_fields)
    name, colon, _ = str(loc[-1]).partition(":")
    near = closest(name, set(known)) if re.fullmatch(r"[\w-]+", name) else None
    if colon and name in known:
        report.add(loc, f"unknown key {quote(name)}: put a space after the colon", key=True)
    elif near and not colon and details["input"] is not None:
        report.add(loc, f"unknown key {quote(name)}: did you mean {quote(near)}?", key=True)
    elif name in _KEYS:
        report.add(loc, f"unknown key {quote(name)}: remove it, or write one of {', '.join(known)}", key=True)
    elif details["input"] is None:
        message = "unknown key without a value: put text with a comma in it in quotes, or remove the key"
        report.add(loc, message, key=True, hidden=True)
    else:
        report.add(loc, f"unknown key: remove it, or write one of {', '.join(known)}", key=True, hidden=True)


_KEYS = {key for section in SECTIONS.values() for key in section.model_fields}

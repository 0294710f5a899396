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
        at_key = at_key or details["type"] == "extra_forbidden"
        report.add(loc, _message(details, loc, within), key=at_key)


def _message(details: ErrorDetails, loc: Loc, within: tuple[str, ...]) -> str:
    kind = details["type"]
    if kind == "extra_forbidden":
        return _unknown_key(loc, within)
    if kind == "missing":
        return _MISSING[str(loc[-1])]
    if kind in _SHAPES:
        return EMPTY if details["input"] is None else _SHAPES[kind]
    return str(details["ctx"]["error"])


def _unknown_key(loc: Loc, within: tuple[str, ...]) -> str:
    name, colon, _ = str(loc[-1]).partition(":")
    if colon:
        return f"unknown key {quote(name)}: put a space after the colon"
    steps = (step for step in loc[:-1] if isinstance(step, str))
    known = SECTIONS[(*within, *steps)].model_fields
    if not re.fullmatch(r"[\w-]+", name):
        return f"unknown key: remove it, or write one of {', '.join(known)}"
    near = closest(name, set(known))
    if near:
        return f"unknown key {quote(name)}: did you mean {quote(near)}?"
    return f"unknown key {quote(name)}: remove it, or write one of {', '.join(known)}"

"""Puts the schema's errors into our words, with their places in the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from exporter.config.document import EMPTY, quote
from exporter.config.values import closest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from exporter.config.document import Loc, Report

File = TypeVar("File")


@dataclass(frozen=True, slots=True)
class Schema(Generic[File]):
    """A kind of file: its shape, the section by the keys that lead there, what to say of a missing key.

    ``example`` is one line of a mapping whose keys are free. ``within`` are the keys that lead to where the
    whole of such a file would stand.
    """

    shape: TypeAdapter[File]
    sections: Mapping[tuple[str, ...], type[BaseModel]]
    missing: Mapping[str, str]
    example: str
    within: tuple[str, ...] = ()

    def keys(self, loc: Loc) -> list[str]:
        """The keys that the section at ``loc`` may have."""
        steps = (step for step in loc if isinstance(step, str))
        return list(self.sections[(*self.within, *steps)].model_fields)

    def knows(self, key: str) -> bool:
        """Whether any section may have ``key``."""
        return any(key in section.model_fields for section in self.sections.values())


_SHAPES = {
    "model_type": "must be a mapping: write keys and values, such as key: value",
    "dict_type": "must be a mapping: write names and values, such as {example}",
    "list_type": "must be a list: begin each entry with \"- \", or write [one, two]",
}  # fmt: skip


def validate(data: Any, schema: Schema[File], report: Report) -> File | None:
    """``data`` as the schema has it; or None, with every error of shape in ``report``."""
    try:
        return schema.shape.validate_python(data)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            _add(details, schema, report)
    return None


def _add(details: ErrorDetails, schema: Schema[Any], report: Report) -> None:
    if details["type"] == "extra_forbidden":
        _add_unknown_key(details, schema, report)
        return
    # pydantic ends the place of a key (a label's name) with this step
    at_key = details["loc"][-1:] == ("[key]",)
    loc = details["loc"][:-1] if at_key else details["loc"]
    report.add(loc, _message(details, loc, schema), key=at_key)


def _message(details: ErrorDetails, loc: Loc, schema: Schema[Any]) -> str:
    kind = details["type"]
    if kind == "missing":
        return schema.missing[str(loc[-1])]
    if kind in _SHAPES:
        return EMPTY if details["input"] is None else _SHAPES[kind].format(example=schema.example)
    return str(details["ctx"]["error"])


def _add_unknown_key(details: ErrorDetails, schema: Schema[Any], report: Report) -> None:
    """Report a key that is not known, by its name only where that is surely no piece of a secret.

    With ``{password: one,two}`` the key ``two`` is half a password; with ``{one:two}``, ``one:two`` may be
    all of it. A key that is known elsewhere is but misplaced, and one with a value that is close to a known
    one mistyped.
    """
    loc = details["loc"]
    known = schema.keys(loc[:-1])
    name, colon, _ = str(loc[-1]).partition(":")
    near = closest(name, set(known)) if re.fullmatch(r"[\w-]+", name) else None
    if colon and name in known:
        report.add(loc, f"unknown key {quote(name)}: put a space after the colon", key=True)
    elif near and not colon and details["input"] is not None:
        report.add(loc, f"unknown key {quote(name)}: did you mean {quote(near)}?", key=True)
    elif schema.knows(name):
        report.add(loc, f"unknown key {quote(name)}: remove it, or write one of {', '.join(known)}", key=True)
    elif details["input"] is None:
        message = "unknown key without a value: put text with a comma in it in quotes, or remove the key"
        report.add(loc, message, key=True, hidden=True)
    else:
        report.add(loc, f"unknown key: remove it, or write one of {', '.join(known)}", key=True, hidden=True)

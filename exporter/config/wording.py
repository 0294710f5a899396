"""The schema's complaints, in our words and at their places in the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from exporter.config.document import EMPTY, quote
from exporter.config.values import closest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from exporter.config.document import Loc, Report

File = TypeVar("File", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Schema(Generic[File]):
    """A kind of file: its model, the section by the keys that lead there, what to say of a missing key.

    ``example`` is one line of a mapping whose keys are free.
    """

    file: type[File]
    sections: Mapping[tuple[str, ...], type[BaseModel]]
    missing: Mapping[str, str]
    example: str


_SHAPES = {
    "model_type": "must be a mapping: write keys and values, such as key: value",
    "dict_type": "must be a mapping: write names and values, such as {example}",
    "list_type": "must be a list: begin each entry with \"- \", or write [one, two]",
}  # fmt: skip


def validate(data: Any, schema: Schema[File], report: Report) -> File | None:
    """``data`` as the schema has it; or None, with every fault of shape in ``report``."""
    try:
        return schema.file.model_validate(data)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            _add(details, schema, report)
    return None


def _add(details: ErrorDetails, schema: Schema[Any], report: Report) -> None:
    # pydantic ends the place of a key (a label's name) with this step
    at_key = details["loc"][-1:] == ("[key]",)
    loc = details["loc"][:-1] if at_key else details["loc"]
    at_key = at_key or details["type"] == "extra_forbidden"
    report.add(loc, _message(details, loc, schema), key=at_key)


def _message(details: ErrorDetails, loc: Loc, schema: Schema[Any]) -> str:
    kind = details["type"]
    if kind == "extra_forbidden":
        return _unknown_key(loc, schema)
    if kind == "missing":
        return schema.missing[str(loc[-1])]
    if kind in _SHAPES:
        return EMPTY if details["input"] is None else _SHAPES[kind].format(example=schema.example)
    return str(details["ctx"]["error"])


def _unknown_key(loc: Loc, schema: Schema[Any]) -> str:
    name, colon, _ = str(loc[-1]).partition(":")
    if colon:
        return f"unknown key {quote(name)}: put a space after the colon"
    known = schema.sections[tuple(step for step in loc[:-1] if isinstance(step, str))].model_fields
    if not re.fullmatch(r"[\w-]+", name):
        return f"unknown key: remove it, or write one of {', '.join(known)}"
    near = closest(name, set(known))
    if near:
        return f"unknown key {quote(name)}: did you mean {quote(near)}?"
    return f"unknown key {quote(name)}: remove it, or write one of {', '.join(known)}"

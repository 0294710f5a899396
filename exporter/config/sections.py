"""Reads the sections of a document: mappings whose keys are known.

All errors of shape are reported in one pass. What is wrong is left out, so that the checks that compare
values can go on with the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, TypeAlias, TypeVar, get_origin, get_type_hints

from exporter.config.document import EMPTY, Document, Loc, Map, Plain, Seq, quote
from exporter.config.values import closest

Reader: TypeAlias = Callable[[Plain, Loc, Document], Any]
"""Gives the meaning of a value, and reports what is wrong with it. Then it gives None, or a fallback."""

T = TypeVar("T")
S = TypeVar("S", bound="Section")


@dataclass(frozen=True, kw_only=True)
class Section:
    """A mapping at ``loc``. ``given`` is what was written: a key there may have a value that is wrong.

    Every other field of a subclass is a key, annotated with its ``Reader``. The sections of one kind of file
    have a base class without keys.
    """

    readers: ClassVar[Mapping[str, Reader]] = {}
    keys_of_file: ClassVar[set[str]] = set()

    loc: Loc = ()
    given: Map = field(default_factory=Map, repr=False)

    def __init_subclass__(cls) -> None:
        hints = get_type_hints(cls, include_extras=True).items()
        cls.readers = {key: hint.__metadata__[0] for key, hint in hints if get_origin(hint) is Annotated}
        if cls.readers:
            cls.keys_of_file.update(cls.readers)
        else:
            cls.keys_of_file = set()


def read_section(kind: type[S], value: Plain, loc: Loc, document: Document) -> S | None:
    """The section at ``loc``; None, and an error, when there is none."""
    found = keys(kind.readers, kind.keys_of_file)(value, loc, document)
    return kind(loc=loc, given=value, **found) if isinstance(value, Map) and found is not None else None


def section(kind: type[Section]) -> Reader:
    """Reads a section."""
    return lambda value, loc, document: read_section(kind, value, loc, document)


def keys(readers: Mapping[str, Reader], elsewhere: Set[str] = frozenset()) -> Reader:
    """Reads a mapping that may have the keys of ``readers``; ``elsewhere`` are keys of other mappings."""

    def read(value: Plain, loc: Loc, document: Document) -> dict[str, Any] | None:
        written = _shaped(Map, value, "mapping: write keys and values, such as key: value", loc, document)
        if written is None:
            return None
        for key in written.keys() - readers.keys():
            _report_unknown_key(key, list(readers), elsewhere, written[key], (*loc, key), document)
        each = {key: readers[key](written[key], (*loc, key), document) for key in written if key in readers}
        return {key: meaning for key, meaning in each.items() if meaning is not None}

    return read


def mapping(
    name: Callable[[str], object],
    entry: Reader,
    example: str,
    check: Callable[[Map], object] = lambda found: None,
) -> Reader:
    """Reads a mapping with keys that ``name`` takes, such as in the line ``example``; ``check`` takes all."""

    def read(value: Plain, loc: Loc, document: Document) -> dict[str, Any] | None:
        written = _shaped(Map, value, f"mapping: write names and values, such as {example}", loc, document)
        if written is None:
            return None
        _report(check, written, loc, document)
        for key in written:
            _report(name, key, (*loc, key), document, key=True)
        each = {key: entry(text, (*loc, key), document) for key, text in written.items()}
        return {key: meaning for key, meaning in each.items() if meaning is not None}

    return read


def items(entry: Reader, check: Callable[[Seq], object] = lambda found: None) -> Reader:
    """Reads a list to a dict of its entries by their places; ``check`` takes all."""

    def read(value: Plain, loc: Loc, document: Document) -> dict[Loc, Any] | None:
        written = _shaped(Seq, value, 'list: begin each entry with "- ", or write [one, two]', loc, document)
        if written is None:
            return None
        _report(check, written, loc, document)
        found = {}
        for index, text in enumerate(written):
            if (meaning := entry(text, (*loc, index), document)) is not None:
                found[(*loc, index)] = meaning
        return found

    return read


def text(
    take: Callable[[object], Any], doubt: Callable[[Any], str | None] = lambda found: None, wrong: Any = None
) -> Reader:
    """Reads what ``take`` takes; ``wrong`` stands for anything else. ``doubt`` may say a warning."""

    def read(value: Plain, loc: Loc, document: Document) -> Any:
        try:
            found = take(value)
        except ValueError as error:
            document.add(loc, str(error))
            return wrong
        if message := doubt(found):
            document.warn(loc, message)
        return found

    return read


def _shaped(kind: type[T], value: Plain, wanted: str, loc: Loc, document: Document) -> T | None:
    if isinstance(value, kind):
        return value
    document.add(loc, EMPTY if value is None else f"must be a {wanted}")
    return None


def _report(
    check: Callable[[Any], object], value: object, loc: Loc, document: Document, *, key: bool = False
) -> None:
    try:
        check(value)
    except ValueError as error:
        document.add(loc, str(error), key=key)


def _report_unknown_key(
    key: str, known: list[str], elsewhere: Set[str], value: Plain, loc: Loc, document: Document
) -> None:
    """Report a key that is not known, by its name only where that is surely no piece of a secret.

    With ``{password: one,two}`` the key ``two`` is half a password; with ``{one:two}``, ``one:two`` may be
    all of it. A key that is known elsewhere is but misplaced, and one with a value that is close to a known
    one mistyped.
    """
    name, colon, _ = key.partition(":")
    near = closest(name, set(known)) if re.fullmatch(r"[\w-]+", name) else None
    hidden = False
    advice = f"remove it, or write one of {', '.join(known)}"
    if colon and name in known:
        advice = "put a space after the colon"
    elif near and not colon and value is not None:
        advice = f"did you mean {quote(near)}?"
    elif name not in elsewhere:
        hidden = True
        if value is None:
            advice = "remove it, or put text with a comma in it in quotes"
    said = "unknown key" if hidden else f"unknown key {quote(name)}"
    document.add(loc, f"{said}: {advice}", key=True, hidden=hidden)

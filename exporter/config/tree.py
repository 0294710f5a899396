"""Builds a document from YAML's events. Resolves anchors, aliases and merges (``<<``), and keeps each place.

PyYAML's own composer and constructor would do, but they keep no places, take a key twice in silence, and let
a few lines of aliases grow without end.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from exporter.config.document import MOST_LINKS, Document, Loc, Map, Place, Plain, Seq, path_of
from exporter.config.sources import Sources
from exporter.config.syntax import CONFIG, Naming, explain, read_text, refuse, refuse_control_characters
from exporter.errors import ConfigError

DEEPEST = 50
"""Levels of nesting allowed; the schema needs six."""

MOST_KEYS = 1000
"""Keys of one mapping."""

TOO_DEEP = f"is nested more than {DEEPEST} levels deep: check the brackets"
MOST_VALUES, FEW_VALUES = 500_000, 100_000

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


def read(path: Path, sources: Sources, naming: Naming = CONFIG) -> Document:
    """The mapping in the file at ``path``. Raises ConfigError if there is none."""
    document = parse(path, read_text(path, sources, naming), naming)
    if not isinstance(document.data, Map):
        message = f"the file must be a mapping: begin with a key such as {naming.first_key}"
        document.add((), message)
        raise ConfigError(document.faults)
    return document


def parse(path: Path, text: str, naming: Naming) -> Document:
    """The one YAML document in ``text``, every scalar as its text. Raises ConfigError when there is none."""
    refuse_control_characters(path, text)
    try:
        document = _Builder(path, text).build()
    except yaml.MarkedYAMLError as error:
        refuse(path, *explain(error, text))
    if document is None:
        refuse(path, 0, 0, f"is empty: {naming.contents}")
    return document


@dataclass(slots=True)
class _Anchored:
    """What an anchor names, where it begins and how many values it holds."""

    value: Plain
    place: Place
    size: int


class _Builder:
    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._events = yaml.parse(text, Loader=yaml.CBaseLoader)  # libyaml, which PyYAML's wheels have
        self._document = Document(str(path), text=text)
        self._anchors: dict[str, _Anchored | None] = {}
        self._size = 0
        # Aliases may make more of a text than it shows, but of a few lines nothing that takes seconds.
        self._most = min(MOST_VALUES, FEW_VALUES + len(text))

    def build(self) -> Document | None:
        """The document; None when there is none."""
        next(self._events)  # the stream begins
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        event = next(self._events)
        self._document.data, self._document.start = self._value(event, ())
        next(self._events)  # the document ends
        if not isinstance(event := next(self._events), yaml.StreamEndEvent):
            self._stop(event, "a second document begins: keep one, remove the --- between them")
        return self._document

    def _value(self, event: Any, loc: Loc) -> tuple[Plain, Place]:
        if len(loc) > DEEPEST:
            self._stop(event, TOO_DEEP)
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event)
        self._grow(1, event)
        anchor, place = event.anchor, _place(event)
        if anchor is None:
            return self._fresh(event, loc), place
        if anchor in self._anchors:
            self._stop(event, "an anchor (&) is set twice: put text that begins with & in quotes")
        self._anchors[anchor] = None  # until it is whole
        size = self._size
        value = self._fresh(event, loc)
        self._anchors[anchor] = _Anchored(value, place, self._size - size + 1)
        return value, place

    def _aliased(self, event: yaml.AliasEvent) -> tuple[Plain, Place]:
        if event.anchor not in self._anchors:
            self._stop(event, "an alias (*) to nothing: put text that begins with * in quotes")
        found = self._anchors[event.anchor]
        if found is None:
            self._stop(event, "an alias (*) inside its own anchor (&): remove it")
        self._grow(found.size, event)
        return found.value, found.place

    def _fresh(self, event: Any, loc: Loc) -> Plain:
        if event.tag not in (None, "!") and not event.tag.startswith("tag:yaml.org,2002:"):
            self._document.reported.add(loc)
            self._note(_place(event), loc, "an unknown tag (!): put text that begins with ! in quotes")
        if isinstance(event, yaml.MappingStartEvent):
            return self._map(loc)
        return self._seq(loc) if isinstance(event, yaml.SequenceStartEvent) else _scalar(event)

    def _seq(self, loc: Loc) -> Seq:
        entries = Seq()
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            value, place = self._value(event, (*loc, len(entries)))
            entries.append(value)
            entries.places.append(place)
            if len(entries) > MOST_LINKS:
                self._stop(event, f"this list has more than {MOST_LINKS} entries: remove some")
        return entries

    def _map(self, loc: Loc) -> Map:
        own, merged = Map(), Map()
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse_key(event, loc)
            elif event.value == "<<" and not event.style:
                self._merge(merged, loc)
            else:
                self._entry(own, event, loc)
            if len(own) > MOST_KEYS:
                self._stop(event, f"this mapping has more than {MOST_KEYS} keys: remove some")
        own.inherit(merged)
        return own

    def _refuse_key(self, event: yaml.Event, loc: Loc) -> None:
        self._document.reported.add(loc)
        self._note(_place(event), loc, "a key must be plain text: put a value with {{ }} in quotes")
        self._value(event, (*loc, "?"))
        self._value(next(self._events), (*loc, "?"))

    def _entry(self, own: Map, event: Any, loc: Loc) -> None:
        key, at = event.value, _place(event)
        value, place = self._value(next(self._events), (*loc, key))
        if key in own:
            # without a value it may be a piece of a secret with commas in it
            message = f"this key is already set on line {own.places[key][0][0]}: keep one of the two"
            self._note(at, (*loc, key if value else "?"), message)
        else:
            own[key], own.places[key] = value, (at, place)

    def _merge(self, merged: Map, loc: Loc) -> None:
        """Adds the keys of the mappings that ``<<`` names: of two that are the same, the first."""
        event = next(self._events)
        value, place = self._value(event, (*loc, "<<"))
        sources = zip(value, value.places, strict=True) if isinstance(value, Seq) else [(value, place)]
        for source, at in sources:
            if not isinstance(source, Map):
                self._note(at, loc, "<< takes mappings only: write an alias (*name) to one")
                continue
            self._grow(len(source), event)
            merged.inherit(source)

    def _grow(self, count: int, event: yaml.Event) -> None:
        self._size += count
        if self._size > self._most:
            self._stop(event, f"aliases make this document larger than {self._most} values: write fewer")

    def _note(self, place: Place, loc: Loc, message: str) -> None:
        self._document.note(place, path_of(loc), message)

    def _stop(self, event: yaml.Event, message: str) -> NoReturn:
        refuse(self._path, *_place(event), message)


def _place(event: Any) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _scalar(event: Any) -> str | None:
    return None if not event.style and event.value in _NULLS else event.value

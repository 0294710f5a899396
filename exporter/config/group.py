"""The link files of one account: which there are, and how they must agree with each other."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.config import values
from exporter.config.checks import claims, entries
from exporter.config.document import mapping, sequence
from exporter.config.intervals import KEYS
from exporter.config.linkfile import Draft
from exporter.config.patterns import TooManyEntriesError
from exporter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from exporter.config.checks import Held
    from exporter.config.document import Loc, Source
    from exporter.config.intervals import Section
    from exporter.config.linkfile import LinkFile
    from exporter.config.sources import Signature, Sources
    from exporter.errors import Fault

    Faults = dict[str, list[Fault]]


@dataclass(frozen=True, slots=True)
class Group:
    """Where an account's link files are, and what the configuration says around their links.

    ``patterns`` are relative to ``folder``. ``levels`` are the times that links inherit, the innermost last;
    ``own`` are the account's links in the configuration itself.
    """

    folder: Path
    patterns: tuple[str, ...]
    levels: tuple[Section, ...]
    own: Held

    def find(self, sources: Sources) -> Iterator[dict[str, Signature] | TooManyEntriesError]:
        """What each pattern finds."""
        for pattern in self.patterns:
            try:
                yield sources.find(self.folder, pattern)
            except TooManyEntriesError as error:
                yield error

    def read(
        self, names: Iterable[str], kept: Mapping[str, LinkFile], sources: Sources
    ) -> tuple[dict[str, Draft], Faults]:
        """The files ``names`` that can be taken as they stand on disk, and the faults of the others.

        What can be taken agrees with all that is then in force. ``kept`` are the files in force now, on which
        those with faults fall back.
        """
        drafts: dict[str, Draft] = {}
        faults: Faults = {}
        for name in names:
            try:
                drafts[name] = Draft(self.folder / name, self.levels, sources)
            except ConfigError as error:
                faults[name] = error.faults
        refused: dict[str, Draft] = {}
        # a file that falls back may be in the way of another
        while clashes := self._clashes(drafts, _without(drafts, kept)):
            faults |= clashes
            refused |= {name: drafts.pop(name) for name in clashes}
        # and then what it clashed with may be taken after all
        while kept and (fits := self._first_that_fits(drafts, refused, faults, kept)) is not None:
            drafts[fits] = refused.pop(fits)
            del faults[fits]
        return drafts, faults

    def _first_that_fits(
        self,
        drafts: Mapping[str, Draft],
        refused: Mapping[str, Draft],
        faults: Faults,
        kept: Mapping[str, LinkFile],
    ) -> str | None:
        """The first of the ``refused`` that clashes with nothing any more. Others get the faults of now."""
        for name, draft in refused.items():
            tried = {**drafts, name: draft}
            clashes = self._clashes(tried, _without(tried, kept))
            if not clashes:
                return name
            faults |= clashes
        return None

    def _clashes(self, drafts: Mapping[str, Draft], others: Iterable[LinkFile]) -> Faults:
        """The faults of those ``drafts`` that clash; of two that do, the later one is at fault."""
        held = dict(self.own)
        for file in others:
            held |= file.held(self.folder)
        faults: Faults = {}
        for name, draft in drafts.items():
            if clashes := draft.clashes(held):
                faults[name] = clashes
            else:
                held |= draft.held()
        return faults


def _without(drafts: Mapping[str, Draft], kept: Mapping[str, LinkFile]) -> list[LinkFile]:
    return [file for name, file in kept.items() if name not in drafts]


def groups_of(document: Source, folder: Path) -> list[Group]:
    """The link files of each account in ``document``, whatever else is wrong there."""
    data = mapping(document.data)
    return [_group(document, folder, loc, [data, account]) for loc, account in entries(data, (), "accounts")]


def _group(document: Source, folder: Path, loc: Loc, levels: list[Section]) -> Group:
    patterns = []
    for pattern in sequence(levels[-1].get("link_files")):
        with suppress(ValueError):  # the schema says what is wrong with it
            patterns.append(values.pattern(pattern))
    links = entries(levels[-1], loc, "links") if patterns else ()
    own = {claim: (document.file, document.place(at)[0]) for claim, at in claims(links)}
    return Group(folder, tuple(patterns), tuple(map(_times, levels)), own)


def _times(section: Section) -> Section:
    return {key: section[key] for key in KEYS if key in section}

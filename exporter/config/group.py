"""The link files of one account: which there are, and how they must agree with each other."""

from __future__ import annotations

import glob
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.config import values
from exporter.config.checks import claims, entries
from exporter.config.document import mapping, sequence
from exporter.config.linkfile import Draft, signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from exporter.config.checks import Held, Section
    from exporter.config.document import Loc, Source
    from exporter.config.linkfile import LinkFile, Signature


@dataclass(frozen=True, slots=True)
class Group:
    """Where an account's link files are, and what the configuration says around their links.

    ``patterns`` are relative to ``folder``. ``levels`` are the durations that links inherit, the innermost
    last; ``own`` are the account's links in the configuration itself.
    """

    folder: Path
    patterns: tuple[str, ...]
    levels: tuple[Section, ...]
    own: Held

    def find(self, known: Iterable[str] = ()) -> dict[str, Signature]:
        """The files there are, sorted; and those ``known`` that still are, should a folder not list them."""
        names = {name for pattern in self.patterns for name in self._matches(pattern)} | set(known)
        signatures = ((name, signature(self.folder / name)) for name in sorted(names))
        return {name: sign for name, sign in signatures if sign is not None}

    def unmatched(self) -> list[int]:
        """The indices of the patterns that no file matches."""
        return [index for index, pattern in enumerate(self.patterns) if not any(self._matches(pattern))]

    def _matches(self, pattern: str) -> Iterator[str]:
        return map(os.path.normpath, glob.iglob(pattern, root_dir=self.folder, recursive=True))

    def read(self, names: Iterable[str], kept: Mapping[str, LinkFile]) -> dict[str, Draft]:
        """The files ``names`` as they stand on disk; those without faults agree with everything in force.

        ``kept`` are the files in force: what a file falls back on when its draft has faults.
        """
        drafts = {name: Draft(self.folder / name, self.levels) for name in names}
        while standing := {name: draft for name, draft in drafts.items() if not draft.faults}:
            self._compare(standing, [kept[name] for name in kept if name not in standing])
            if not any(draft.faults for draft in standing.values()):
                break
            # what these fall back on may be in the way of others
        return drafts

    def _compare(self, drafts: Mapping[str, Draft], others: Iterable[LinkFile]) -> None:
        """Adds to the faults of ``drafts`` where they clash. Of two that do, the later one is at fault."""
        held = dict(self.own)
        for file in others:
            held |= file.held(self.folder)
        for draft in drafts.values():
            draft.check_others(held)
            if not draft.faults:
                held |= draft.held()


def groups_of(document: Source, folder: Path) -> list[Group]:
    """The link files of each account in ``document``, whatever else is wrong there."""
    data = mapping(document.data)
    return [_group(document, folder, loc, [data, account]) for loc, account in entries(data, (), "accounts")]


def _group(document: Source, folder: Path, loc: Loc, levels: list[Section]) -> Group:
    patterns = []
    for pattern in sequence(levels[-1].get("link_files")):
        with suppress(ValueError):  # the schema says what is wrong with it
            patterns.append(values.name(pattern))
    links = entries(levels[-1], loc, "links") if patterns else ()
    own = {claim: (document.file, document.place(at)[0]) for claim, at in claims(links)}
    return Group(folder, tuple(patterns), tuple(map(_durations, levels)), own)


def _durations(section: Section) -> Section:
    return {key: section[key] for key in ("refresh_interval", "stale_after") if key in section}

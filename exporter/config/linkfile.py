"""A file of links: as it stands on disk, and what of it is in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.config.checks import check_links, check_others, claims
from exporter.config.document import Report, sequence
from exporter.config.doubts import link_doubts
from exporter.config.formats import open_links
from exporter.config.schema import LINKS
from exporter.config.wording import validate
from exporter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from exporter.config.checks import Held
    from exporter.config.document import Loc
    from exporter.config.intervals import Section
    from exporter.config.sources import Signature, Sources
    from exporter.errors import Fault
    from exporter.model import Link


@dataclass(frozen=True, slots=True)
class LinkFile:
    """What is in force of a link file.

    ``account`` is the account's name, ``name`` the file's, from the configuration's folder on. ``signature``
    is of what was read last; if that had ``faults``, then ``links`` are those of the last content that had
    none. ``lines`` says where each link stands, ``warnings`` what is probably not meant in them.
    """

    account: str
    name: str
    signature: Signature
    links: tuple[Link, ...] = ()
    lines: tuple[int, ...] = ()
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()

    def held(self, folder: Path) -> Held:
        """What its links take for themselves; ``folder`` is the configuration's."""
        file = str(folder / self.name)
        held: Held = {}
        for link, line in zip(self.links, self.lines, strict=True):
            held[link.target] = held["name", link.name] = file, line
        return held


class Draft:
    """A link file as it stands on disk, to be taken as a whole or not at all.

    Raises ConfigError with its faults. ``levels`` are the sections around it that its links inherit from.
    """

    def __init__(self, path: Path, levels: Sequence[Section], sources: Sources) -> None:
        source = open_links(path, sources)
        self._report = Report(source)
        self.sections = validate(source.data, LINKS, self._report) or []
        entries = enumerate(sequence(source.data))
        self._links: list[tuple[Loc, Section]] = [
            ((index,), entry) for index, entry in entries if isinstance(entry, dict)
        ]
        check_links(self._links, levels, self._report)
        self._report.add_empties()
        if self._report.faults:
            raise ConfigError(self._report.faults)

    @property
    def lines(self) -> tuple[int, ...]:
        """The line on which each link begins."""
        return tuple(self._report.document.place(loc)[0] for loc, _ in self._links)

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """What is probably not meant in it."""
        return tuple(link_doubts(self._report.document, self._links))

    def held(self) -> Held:
        """What its links take for themselves."""
        file, lines = self._report.document.file, self.lines
        return {claim: (file, lines[int(loc[0])]) for claim, loc in claims(self._links)}

    def clashes(self, held: Held) -> list[Fault]:
        """Where a link of it is elsewhere already."""
        report = Report(self._report.document)
        check_others(self._links, held, report)
        return sorted(report.faults)

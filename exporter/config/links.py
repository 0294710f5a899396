"""The link files of an account, with their content and the links that are in force."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from exporter.config import values
from exporter.config.build import make_link
from exporter.config.checks import check_links, check_others, claims, entries
from exporter.config.document import Report, sequence
from exporter.config.doubts import link_doubts
from exporter.config.formats import open_links
from exporter.config.intervals import KEYS
from exporter.config.patterns import TooManyEntriesError
from exporter.config.schema import LINKS
from exporter.config.wording import validate
from exporter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from exporter.config.checks import Held
    from exporter.config.document import Loc
    from exporter.config.intervals import Section
    from exporter.config.schema import AccountSection, File
    from exporter.config.sources import Signature, Sources
    from exporter.errors import Fault
    from exporter.model import Link


@dataclass(frozen=True, slots=True)
class LinkFile:
    """The links of a file that are in force.

    ``account`` is the account's name, ``name`` the file's, from the configuration's folder on. ``signature``
    is that of what was read last. If that had ``faults``, then ``links`` are those of the last content that
    had none. ``lines`` says where each link begins, ``warnings`` what is probably not meant in them.
    ``inherited`` is what the links took over from ``config.yaml``.
    """

    account: str
    name: str
    signature: Signature
    links: tuple[Link, ...] = ()
    lines: tuple[int, ...] = ()
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()
    inherited: Inherited | None = field(default=None, repr=False, compare=False)

    def held(self, folder: Path) -> Held:
        """The claims of its links. ``folder`` is the configuration's."""
        file = str(folder / self.name)
        held: Held = {}
        for link, line in zip(self.links, self.lines, strict=True):
            held[link.target] = held["name", link.name] = file, line
        return held


@dataclass(frozen=True, slots=True)
class Inherited:
    """What ``config.yaml`` says around the links of a file, and the account's links in it (``own``)."""

    file: File
    section: AccountSection
    own: Held


class _Draft:
    """Reads the present content of a link file. Raises ConfigError with its errors."""

    def __init__(self, path: Path, levels: Sequence[Section], sources: Sources) -> None:
        self._document = open_links(path, sources)
        report = Report(self._document)
        self.sections = validate(self._document.data, LINKS, report) or []
        self._links: list[tuple[Loc, Section]] = [
            ((index,), link)
            for index, link in enumerate(sequence(self._document.data))
            if isinstance(link, dict)
        ]
        check_links(self._links, levels, report)
        report.add_empties()
        if report.faults:
            raise ConfigError(report.faults)

    @property
    def lines(self) -> tuple[int, ...]:
        """The line on which each link begins."""
        return tuple(self._document.place(loc)[0] for loc, _ in self._links)

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """The warnings about it."""
        return tuple(link_doubts(self._document, self._links))

    def held(self) -> Held:
        """The claims of its links."""
        file, lines = self._document.file, self.lines
        return {claim: (file, lines[int(loc[0])]) for claim, loc in claims(self._links)}

    def clashes(self, held: Held) -> list[Fault]:
        """The errors for its links that another file already has."""
        report = Report(self._document)
        check_others(self._links, held, report)
        return sorted(report.faults)


class LinkFiles:
    """Loads the link files of the account at ``loc``. Its links inherit from the sections ``levels``.

    A pattern that looks at too much is reported; one that finds nothing is among the ``warnings``.
    """

    def __init__(
        self, loc: Loc, levels: Sequence[Section], folder: Path, sources: Sources, report: Report
    ) -> None:
        self.own: Held = {}
        self.warnings: list[Fault] = []
        self._folder = folder
        self._sources = sources
        self._levels = [{key: level[key] for key in KEYS if key in level} for level in levels]
        self._found: dict[str, Signature] = {}
        for index, pattern in enumerate(sequence(levels[-1].get("link_files"))):
            with suppress(ValueError):  # the schema says what is wrong with it
                self._find(values.pattern(pattern), (*loc, "link_files", index), report)
        document = report.document
        for claim, at in claims(entries(levels[-1], loc, "links")) if self._found else ():
            self.own[claim] = document.file, document.place(at)[0]

    def _find(self, pattern: str, loc: Loc, report: Report) -> None:
        try:
            found = self._sources.find(self._folder, pattern)
        except TooManyEntriesError as error:
            report.add(loc, str(error))
            return
        if not found:
            message = "matches no file: create one, or correct the pattern"
            self.warnings.append(report.document.fault(loc, message))
        self._found = dict(sorted({**self._found, **found}.items()))

    def faults(self) -> list[Fault]:
        """The errors of all files, where the configuration has some as well."""
        drafts, faults = self._read(self._found)
        self._settle(drafts, {}, {}, faults)
        return [fault for those in faults.values() for fault in those]

    def load(self, account: str, inherited: Inherited, in_force: Mapping[str, LinkFile]) -> list[LinkFile]:
        """The files, sorted by name. Those that have not changed are not read again.

        One with errors keeps what it had ``in_force``, and carries its errors.
        """
        known = {name: file for name, file in in_force.items() if name in self._found}
        kept = {name: file for name, file in known.items() if self._is_unchanged(file, inherited)}
        # Of two files that clash, the one that had errors before gives way.
        names = [name for name in self._found if name not in kept]
        names.sort(key=lambda name: name in known and bool(known[name].faults))
        drafts, faults = self._read(names)
        self._settle(drafts, kept, known, faults)
        for name, draft in drafts.items():
            links = tuple(make_link(inherited.file, inherited.section, link) for link in draft.sections)
            signature = self._found[name]
            kept[name] = LinkFile(
                account, name, signature, links, draft.lines, warnings=draft.warnings, inherited=inherited
            )
        for name, those in faults.items():
            before = known.get(name) or LinkFile(account, name, ())
            kept[name] = self._refused(before, those)
        return [kept[name] for name in self._found]

    def _is_unchanged(self, file: LinkFile, inherited: Inherited) -> bool:
        same = file.signature == self._found[file.name] and file.inherited == inherited
        return same and not file.faults

    def _read(self, names: Iterable[str]) -> tuple[dict[str, _Draft], dict[str, list[Fault]]]:
        drafts: dict[str, _Draft] = {}
        faults: dict[str, list[Fault]] = {}
        for name in names:
            try:
                drafts[name] = _Draft(self._folder / name, self._levels, self._sources)
            except ConfigError as error:
                faults[name] = error.faults
        return drafts, faults

    def _settle(
        self,
        drafts: dict[str, _Draft],
        kept: Mapping[str, LinkFile],
        known: Mapping[str, LinkFile],
        faults: dict[str, list[Fault]],
    ) -> None:
        """Moves the ``drafts`` that clash to ``faults``.

        They clash with each other, with files that are ``kept``, or with what a refused file had before.
        """
        while True:
            held = dict(self.own)
            for file in (*kept.values(), *(known[name] for name in faults if name in known)):
                held |= file.held(self._folder)
            clashing = {}
            for name, draft in drafts.items():
                if clashes := draft.clashes(held):
                    clashing[name] = clashes
                else:
                    held |= draft.held()
            if not clashing:
                return
            # Each of them keeps its old links, which may clash with another.
            faults |= clashing
            for name in clashing:
                del drafts[name]

    def _refused(self, before: LinkFile, faults: Iterable[Fault]) -> LinkFile:
        """The former content of the file, without the links that ``config.yaml`` has now."""
        pairs = [
            (link, line)
            for link, line in zip(before.links, before.lines, strict=True)
            if link.target not in self.own and ("name", link.name) not in self.own
        ]
        links, lines = tuple(link for link, _ in pairs), tuple(line for _, line in pairs)
        return replace(before, signature=(), links=links, lines=lines, faults=tuple(faults))

"""The link files of an account: those that have errors keep the links they had."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from exporter.config.document import MOST_LINKS, Document, Loc
from exporter.config.formats import open_links
from exporter.config.links import Claim, Held, Intervals, check_links, make_link
from exporter.config.schema import AccountSection, LinkSection, read_links
from exporter.config.sources import Sources
from exporter.errors import ConfigError, Fault
from exporter.model import Link


@dataclass(frozen=True, slots=True)
class LinkFile:
    """The links of a file that are in force.

    ``account`` is the account's name, ``name`` the file's, from the configuration's folder on. If it has
    ``faults``, then ``links`` are those of the last content that had none.
    """

    account: str
    name: str
    links: tuple[Link, ...] = ()
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class _Draft:
    name: str
    document: Document
    sections: Collection[LinkSection]
    links: tuple[Link, ...]


class LinkFiles:
    """Loads the link files of an account, whose links in ``config.yaml`` hold what is ``held``.

    ``last_good`` are the files in force by name. Warnings go to ``document``, which names the files.
    """

    def __init__(
        self,
        account: AccountSection,
        intervals: Intervals,
        held: Held,
        last_good: Mapping[str, LinkFile],
        document: Document,
    ) -> None:
        self._account = account
        self._intervals = intervals
        self._held = dict(held)
        self._last_good = last_good
        self._document = document
        self._room = MOST_LINKS

    def _had(self, name: str) -> int:
        """How many links the file has in force. It may keep them, so they are not free for others yet."""
        return len(self._last_good[name].links) if name in self._last_good else 0

    def load(self, folder: Path, sources: Sources) -> list[LinkFile]:
        """The files, sorted by name. Of two that clash, the one that is new or had errors gives way."""
        names = {name for loc in self._account.link_files for name in self._find(loc, folder, sources)}
        self._room -= sum(map(self._had, names))
        drafts = [self._read(folder, name, sources) for name in sorted(names)]
        settled = [self._settle(draft) for draft in sorted(drafts, key=self._turn)]
        return sorted(settled, key=lambda file: file.name)

    def _find(self, loc: Loc, folder: Path, sources: Sources) -> list[str]:
        try:
            found = sources.find(folder, self._account.link_files[loc])
        except ValueError as error:
            self._document.add(loc, str(error))
            return []
        if not found:
            self._document.warn(loc, "matches no file: create one, or correct the pattern")
        return found

    def _read(self, folder: Path, name: str, sources: Sources) -> _Draft:
        try:
            document = open_links(folder / name, sources)
            sections = (read_links(document.data, (), document) or {}).values()
        except ConfigError as error:
            document, sections = Document(str(folder / name), faults=error.faults), ()
        more = max(0, len(sections) - self._had(name))
        if more > self._room:
            message = f"with it, this account's files have more than {MOST_LINKS} links: remove some"
            document, sections = Document(document.file), ()
            document.note((0, 0), "", message)
            more = 0
        self._room -= more
        links = tuple(make_link(section, self._account, self._intervals) for section in sections)
        return _Draft(name, document, sections, links)

    def _turn(self, draft: _Draft) -> int:
        before = self._last_good.get(draft.name)
        if before and before.faults:
            return 2
        return 0 if before and before.links == draft.links else 1

    def _settle(self, draft: _Draft) -> LinkFile:
        """The file with its present links; or, if they are wrong, with those that it had."""
        document = draft.document
        own: Held = {}
        with suppress(ConfigError):  # too many errors, which the document has
            own = check_links(document, draft.sections, self._intervals, self._held)
        self._document.warnings += document.warnings
        if document.faults:
            return self._keep(draft.name, document)
        self._held |= own
        return LinkFile(self._account.name, draft.name, draft.links)

    def _keep(self, name: str, document: Document) -> LinkFile:
        """The file with the links that it had, but for those that are elsewhere now."""
        kept = []
        for link in self._last_good[name].links if name in self._last_good else ():
            claims: list[Claim] = [link.target, ("name", link.name)]
            if not any(claim in self._held for claim in claims):
                kept.append(link)
                self._held |= dict.fromkeys(claims, (document.file, 0, ()))
        return LinkFile(self._account.name, name, tuple(kept), tuple(sorted(document.faults)))

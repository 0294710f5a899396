"""The whole configuration: ``config.yaml`` and the link files it names, as they are in force."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from exporter.config.build import make_link, overload
from exporter.config.linkfile import LinkFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import SecretStr

    from exporter.config.group import Group
    from exporter.config.linkfile import Draft
    from exporter.config.schema import AccountSection, File
    from exporter.config.sources import Signature, Sources
    from exporter.errors import Fault
    from exporter.model import Account

    LinkFiles = dict[str, LinkFile]


@dataclass(frozen=True, slots=True)
class AccountTemplate:
    """What ``config.yaml`` says of one account, and of the links that its link files will add.

    ``account`` has the links of ``config.yaml`` alone. ``file`` and ``section`` are what links inherit;
    ``spot`` is the place of warnings.
    """

    account: Account
    file: File = field(repr=False)
    section: AccountSection = field(repr=False)
    group: Group
    spot: Fault = field(compare=False)

    def _gives_the_same_links(self, other: AccountTemplate) -> bool:
        mine, others = (self.file, self.section, self.group), (other.file, other.section, other.group)
        return mine == others

    def link_files(
        self,
        names: Mapping[str, Signature],
        former: AccountTemplate | None,
        in_force: LinkFiles,
        sources: Sources,
    ) -> list[LinkFile]:
        """The account's link files. Those that have not changed since ``former`` are not read again.

        One with errors keeps what it had ``in_force``, and carries its errors.
        """
        unchanged: LinkFiles = {}
        if former is not None and self._gives_the_same_links(former):
            unchanged = {
                name: file
                for name, file in in_force.items()
                if not file.faults and names.get(name) == file.signature
            }
        kept = {name: file for name, file in in_force.items() if name in names}
        drafts, faults = self.group.read([name for name in names if name not in unchanged], kept, sources)
        files = unchanged | {name: self._take(name, names[name], draft) for name, draft in drafts.items()}
        files |= {name: self._refuse(name, those, kept.get(name)) for name, those in faults.items()}
        return [file for _, file in sorted(files.items())]

    def _take(self, name: str, signature: Signature, draft: Draft) -> LinkFile:
        links = tuple(make_link(self.file, self.section, section) for section in draft.sections)
        return LinkFile(self.account.name, name, signature, links, draft.lines, warnings=draft.warnings)

    def _refuse(self, name: str, faults: list[Fault], before: LinkFile | None) -> LinkFile:
        """What the file had, but for links that ``config.yaml`` itself has now."""
        kept = before or LinkFile(self.account.name, name, ())
        own = self.group.own
        pairs = [
            (link, line)
            for link, line in zip(kept.links, kept.lines, strict=True)
            if link.target not in own and ("name", link.name) not in own
        ]
        links, lines = tuple(link for link, _ in pairs), tuple(line for _, line in pairs)
        return replace(kept, signature=(), links=links, lines=lines, faults=tuple(faults))


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration that can be used.

    ``storage_url`` says where the state is kept; ``warnings`` are what works but is probably not meant.
    ``link_files`` are those in force, their links being among those of ``accounts``. ``templates`` are what
    is needed to read link files again.
    """

    accounts: tuple[Account, ...]
    storage_url: SecretStr
    warnings: tuple[Fault, ...]
    link_files: tuple[LinkFile, ...] = ()
    templates: tuple[AccountTemplate, ...] = field(default=(), repr=False, compare=False)

    def template(self, account: str) -> AccountTemplate | None:
        """What the configuration said of an account, by its name."""
        return next((one for one in self.templates if one.account.name == account), None)

    def files_of(self, account: str) -> LinkFiles:
        """The link files in force of an account."""
        return {file.name: file for file in self.link_files if file.account == account}


def assemble(
    templates: tuple[AccountTemplate, ...],
    storage_url: SecretStr,
    warnings: Iterable[Fault],
    link_files: Iterable[LinkFile],
) -> Config:
    """The configuration with the links of ``link_files`` in it."""
    files = tuple(link_files)
    accounts = tuple(_with_links(template.account, files) for template in templates)
    loads = [
        warning
        for template, account in zip(templates, accounts, strict=True)
        for warning in overload(account, template.spot)
    ]
    of_files = [warning for file in files for warning in file.warnings]
    every = tuple(sorted([*warnings, *loads, *of_files]))
    return Config(accounts, storage_url, every, files, templates)


def _with_links(account: Account, files: Iterable[LinkFile]) -> Account:
    more = [link for file in files if file.account == account.name for link in file.links]
    return replace(account, links=(*account.links, *more)) if more else account

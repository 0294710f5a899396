"""The whole configuration: ``config.yaml``, and the link files it names, as they are in force."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from exporter.config.build import overload
from exporter.config.linkfile import LinkFile
from exporter.garbage import uncollected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pydantic import SecretStr

    from exporter.config.group import Group
    from exporter.config.linkfile import Draft, Signature
    from exporter.config.schema import LinkSection
    from exporter.errors import Fault
    from exporter.model import Account, Link

    Files = Mapping[str, Signature]

Listing: TypeAlias = "tuple[Files, ...]"
"""The link files there are, with their signatures, for each account."""


@dataclass(frozen=True, slots=True)
class Member:
    """What ``config.yaml`` says of one account: kept so that link files can be read without it.

    ``account`` has the links of ``config.yaml`` alone; ``make`` turns an entry of a link file into a link of
    it; ``spot`` is the place of warnings.
    """

    account: Account
    make: Callable[[LinkSection], Link] = field(repr=False)
    group: Group
    spot: Fault

    def take(self, name: str, signature: Signature, draft: Draft) -> LinkFile:
        """The file ``name`` with what ``draft`` found in it."""
        links = tuple(map(self.make, draft.sections))
        return LinkFile(self.account.name, name, signature, links, draft.lines)

    def refuse(
        self, name: str, signature: Signature, faults: list[Fault], before: LinkFile | None
    ) -> LinkFile:
        """The file ``name`` with what it had ``before``, for it has ``faults`` now."""
        # One that could not even be read has a fault without a line: only another try tells when it can.
        retry = any(not fault.line for fault in faults)
        kept = before or LinkFile(self.account.name, name, ())
        return replace(kept, signature=() if retry else signature, faults=tuple(faults))

    def refresh(self, known: Mapping[str, LinkFile], seen: Files, before: Files) -> Iterable[LinkFile]:
        """The link files ``known``, after what has changed and settled since ``before`` was read again."""
        signatures = {name: file.signature for name, file in known.items()}
        names = seen.keys() | signatures.keys()
        settled = {name for name in names if seen.get(name) == before.get(name) != signatures.get(name)}
        if not settled:
            return known.values()
        return self._reread(known, seen, settled)

    def _reread(self, known: Mapping[str, LinkFile], seen: Files, settled: set[str]) -> list[LinkFile]:
        kept = {name: file for name, file in known.items() if name in seen or name not in settled}
        # what was refused for a clash may fit now
        refused = {name for name, file in kept.items() if file.faults and seen.get(name) == file.signature}
        drafts, faults = self.group.read([*sorted(settled & seen.keys()), *sorted(refused)], kept)
        files = {name: self.take(name, seen[name], draft) for name, draft in drafts.items()}
        files |= {
            name: self.refuse(name, seen[name], those, kept.get(name)) for name, those in faults.items()
        }
        return [file for _, file in sorted({**kept, **files}.items())]


@dataclass(frozen=True, slots=True)
class Frame:
    """What ``config.yaml`` says of everything but the link files."""

    members: tuple[Member, ...]
    storage_url: SecretStr
    warnings: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration without faults.

    ``storage_url`` says where the state is kept; ``warnings`` are what works but is probably not meant;
    ``link_files`` are those in force, their links being among those of ``accounts``.
    """

    accounts: tuple[Account, ...]
    storage_url: SecretStr
    warnings: tuple[Fault, ...]
    link_files: tuple[LinkFile, ...]
    frame: Frame = field(repr=False, compare=False)

    @property
    def listing(self) -> Listing:
        """The link files as they were read."""
        known = (_files_of(self, member) for member in self.frame.members)
        return tuple({name: file.signature for name, file in files.items()} for files in known)


def assemble(frame: Frame, link_files: Iterable[LinkFile]) -> Config:
    """The configuration with the links of ``link_files`` in it."""
    files = tuple(link_files)
    accounts = tuple(_with_links(member.account, files) for member in frame.members)
    loads = [
        warning
        for member, account in zip(frame.members, accounts, strict=True)
        for warning in overload(account, member.spot)
    ]
    return Config(accounts, frame.storage_url, tuple(sorted([*frame.warnings, *loads])), files, frame)


def _with_links(account: Account, files: Iterable[LinkFile]) -> Account:
    more = [link for file in files if file.account == account.name for link in file.links]
    return replace(account, links=(*account.links, *more)) if more else account


def look(config: Config, before: Listing) -> tuple[Config, Listing]:
    """``config`` after a look at its link files, itself if nothing is to be done; and what was seen.

    What has changed is read once it has stood still for a look: it was so ``before`` already. A file that is
    being written is let alone until it is whole, and one that an editor takes away and puts back never
    leaves. A file with a fault keeps what it had. Blocks.
    """
    known = [_files_of(config, member) for member in config.frame.members]
    members = config.frame.members
    seen = tuple(member.group.find(files) for member, files in zip(members, known, strict=True))
    with uncollected():
        files = tuple(
            file
            for member, former, now, then in zip(members, known, seen, before, strict=True)
            for file in member.refresh(former, now, then)
        )
        return (config if files == config.link_files else assemble(config.frame, files)), seen


def _files_of(config: Config, member: Member) -> dict[str, LinkFile]:
    return {file.name: file for file in config.link_files if file.account == member.account.name}

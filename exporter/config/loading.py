"""``config.yaml`` and the link files that it names, put together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.config.build import build, clear_text, overload, storage_url
from exporter.config.checks import check, entries
from exporter.config.document import Report, mapping
from exporter.config.doubts import doubts
from exporter.config.links import Inherited, LinkFile, LinkFiles
from exporter.config.schema import SCHEMA
from exporter.config.secrets import Finder
from exporter.config.sources import Sources
from exporter.config.tree import read
from exporter.config.wording import validate
from exporter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

    from exporter.config.document import Document
    from exporter.config.schema import File
    from exporter.errors import Fault
    from exporter.model import Account


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration that can be used.

    ``storage_url`` says where the state is kept; ``warnings`` are what works but is probably not meant.
    ``link_files`` are those in force, their links being among those of ``accounts``.
    """

    accounts: tuple[Account, ...]
    storage_url: SecretStr
    warnings: tuple[Fault, ...]
    link_files: tuple[LinkFile, ...] = ()


def load(
    path: str | Path,
    environ: Mapping[str, str],
    last_good: Config | None = None,
    sources: Sources | None = None,
) -> Config:
    """The configuration in the file at ``path``, with the variables of ``environ``.

    Raises ConfigError with every error in the file, and in every link file it names. With ``last_good``, a
    link file with errors keeps what it had there. ``sources`` reads the files; blocks meanwhile.
    """
    sources, folder = sources or Sources(), Path(path).parent
    document = read(Path(path), sources)
    report = Report(document)
    data = mapping(document.data)
    file = validate(data, SCHEMA, report)
    secrets = Finder(folder, environ, report, sources).find(data)
    check(data, secrets, report)
    report.add_empties()
    groups = [
        LinkFiles(loc, [data, account], folder, sources, report)
        for loc, account in entries(data, (), "accounts")
    ]
    if file is None or report.faults:
        raise ConfigError([*report.faults, *(fault for group in groups for fault in group.faults())])
    accounts = build(file, secrets)
    link_files = _link_files(file, accounts, groups, last_good)
    warnings = [
        *clear_text(accounts, document),
        *doubts(document, secrets),
        *(warning for group in groups for warning in group.warnings),
        *(warning for link_file in link_files for warning in link_file.warnings),
    ]
    accounts = tuple(_with_links(account, link_files) for account in accounts)
    warnings += _overloads(accounts, document)
    for account in accounts:
        account.secret_key  # noqa: B018 - derived here, on a thread, rather than at the first poll
    return Config(accounts, storage_url(secrets, document), tuple(sorted(warnings)), link_files)


def _link_files(
    file: File, accounts: tuple[Account, ...], groups: list[LinkFiles], last_good: Config | None
) -> tuple[LinkFile, ...]:
    """The link files of all accounts. Raises ConfigError with their errors when there is no ``last_good``."""
    bare = file.model_copy(update={"accounts": []})
    found: list[LinkFile] = []
    for account, section, group in zip(accounts, file.accounts, groups, strict=True):
        inherited = Inherited(bare, section.model_copy(update={"links": None}), group.own)
        known = last_good.link_files if last_good else ()
        in_force = {one.name: one for one in known if one.account == account.name}
        found += group.load(account.name, inherited, in_force)
    faults = [fault for link_file in found for fault in link_file.faults]
    if faults and last_good is None:
        raise ConfigError(faults)
    return tuple(found)


def _with_links(account: Account, files: tuple[LinkFile, ...]) -> Account:
    more = [link for file in files if file.account == account.name for link in file.links]
    return replace(account, links=(*account.links, *more)) if more else account


def _overloads(accounts: tuple[Account, ...], document: Document) -> list[Fault]:
    places = (document.fault(("accounts", index), "") for index in range(len(accounts)))
    return [
        warning
        for account, place in zip(accounts, places, strict=True)
        for warning in overload(account, place)
    ]

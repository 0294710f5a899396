"""``config.yaml`` and the link files that it names, put together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from exporter import storage_url
from exporter.config import doubts
from exporter.config.accounts import check_accounts, make_account
from exporter.config.document import Document, Loc
from exporter.config.link_files import LinkFile, LinkFiles
from exporter.config.links import Intervals, check_intervals, check_links, make_link
from exporter.config.schema import DEFAULT_STORAGE, AccountSection, File
from exporter.config.secrets import Secrets, given_as
from exporter.config.sections import read_section
from exporter.config.sources import Sources
from exporter.config.tree import read
from exporter.config.values import format_duration
from exporter.errors import ConfigError, Fault
from exporter.journal.sqlite_schema import refusal
from exporter.limits import MAX_IN_FLIGHT
from exporter.model import Account
from exporter.secret import SecretStr

_ANSWER = 0.1


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
    document = read(Path(path), sources := sources or Sources())
    file = read_section(File, document.data, (), document) or File()
    secrets = Secrets(Path(path).parent, environ, document, sources)
    loader = _Loader(file, secrets, last_good)
    accounts = tuple(loader.accounts())
    url = _storage_url(file, secrets, in_use=last_good is not None)
    faults = [fault for link_file in loader.link_files for fault in link_file.faults]
    warnings = sorted(document.warnings)
    if document.faults or (faults and last_good is None):
        raise ConfigError([*document.faults, *faults], warnings)
    for account in accounts:
        account.secret_key  # noqa: B018 - derived here, on a thread, rather than at the first poll
    return Config(accounts, url, tuple(warnings), tuple(loader.link_files))


class _Loader:
    def __init__(self, file: File, secrets: Secrets, last_good: Config | None) -> None:
        self.link_files: list[LinkFile] = []
        self._file = file
        self._secrets = secrets
        self._document = secrets.document
        self._last_good = last_good.link_files if last_good else ()

    def accounts(self) -> list[Account]:
        """The accounts, without what is wrong in them."""
        if "accounts" not in self._file.given:
            self._document.add(("accounts",), "is missing: list at least one account under it")
        self._intervals = check_intervals(self._document, self._file, Intervals())
        accounts = [self._account(section) for section in self._file.accounts.values()]
        check_accounts([*zip(self._file.accounts.values(), accounts, strict=True)], self._document)
        return accounts

    def _account(self, section: AccountSection) -> Account:
        intervals = check_intervals(self._document, section, self._intervals)
        links = [make_link(link, section, intervals) for link in section.links.values()]
        held = check_links(self._document, section.links.values(), intervals, {})
        last_good = {file.name: file for file in self._last_good if file.account == section.name}
        files = LinkFiles(section, intervals, held, last_good, self._document)
        found = files.load(self._secrets.folder, self._secrets.sources)
        self.link_files += found
        links += [link for file in found for link in file.links]
        account = replace(make_account(section, self._secrets), links=tuple(links))
        _warn_of_overload(account, section.loc, self._document)
        return account


def _storage_url(file: File, secrets: Secrets, *, in_use: bool) -> SecretStr:
    """The storage's URL; a relative path of a database starts at the folder of the configuration.

    A database that is ``in_use`` by this process is left alone. To close a file would end all locks on it,
    those of SQLite included ("How To Corrupt An SQLite Database File", 2.2).
    """
    at: Loc = ("storage",)
    url = DEFAULT_STORAGE
    if file.storage:
        if not given_as(file.storage, "url"):
            message = "is missing: write url: sqlite:data/exporter.db"
            secrets.document.add(("storage", "url"), message)
        given = secrets.find(file.storage, "url", doubts.of_storage)
        if given is None:
            return SecretStr("")
        at, url = given
    try:
        found = storage_url.parse(url)
    except ValueError as error:
        secrets.document.add(at, str(error))
        return SecretStr(url)
    wrong = storage_url.missing_file(found)
    if isinstance(found, storage_url.Sqlite):
        wrong = None if in_use else refusal(secrets.folder / found.path)
        url = f"sqlite:{secrets.folder.absolute() / found.path}"
    if wrong:
        secrets.document.add(at, wrong)
    return SecretStr(url)


def _warn_of_overload(account: Account, loc: Loc, document: Document) -> None:
    """Warn if the links need more requests a second than are possible at 100 ms an answer."""
    wanted = sum(1 / link.refresh_interval for link in account.links)
    carried = account.max_concurrent_requests / _ANSWER
    if not wanted > carried:  # it is no number if an interval is wrong
        return
    slowest = format_duration(math.ceil(len(account.links) / carried))
    needed = math.ceil(wanted * _ANSWER)
    more = f" or max_concurrent_requests: {needed}" if needed <= MAX_IN_FLIGHT else ""
    document.warn(
        loc,
        f"{len(account.links)} links ask for {wanted:.1f} requests a second, but "
        f"max_concurrent_requests: {account.max_concurrent_requests} allows about {carried:.0f} "
        f"(at 100 ms an answer), so links with few clicks will be read late: "
        f"write refresh_interval: {slowest}{more}",
    )

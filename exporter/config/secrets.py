"""Secrets: written in the file, in a file of their own, or in an environment variable. Never in a message."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pydantic import SecretStr

from exporter import storage_url
from exporter.config import values
from exporter.config.authorities import read_authorities
from exporter.config.document import Loc, Plain, mapping, sequence
from exporter.config.proxies import FromEnvironment, proxy_at
from exporter.config.schema import DEFAULT_STORAGE, DEFAULT_URL
from exporter.model import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from exporter.config.document import Report
    from exporter.config.sources import Sources
    from exporter.model import Proxy

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Secrets:
    """What was found, by the account's place: credentials, proxies by address, certificates.

    And the storage's URL, if the file names one.
    """

    credentials: dict[Loc, Credentials] = field(default_factory=dict)
    proxies: dict[Loc, tuple[tuple[str, Proxy], ...]] = field(default_factory=dict)
    authorities: dict[Loc, str] = field(default_factory=dict, repr=False)
    storage_url: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class Finder:
    """Finds secrets. Relative paths start at ``folder``; variables are those of ``environ``."""

    folder: Path
    environ: Mapping[str, str] = field(repr=False)
    report: Report = field(repr=False)
    sources: Sources = field(repr=False)

    def find(self, data: Plain) -> Secrets:
        """Finds every secret that ``data`` names. Errors go to the report."""
        document = mapping(data)
        secrets = Secrets(storage_url=self._storage_url(document))
        for index, account in enumerate(sequence(document.get("accounts"))):
            if isinstance(account, dict):
                loc: Loc = ("accounts", index)
                secrets.credentials[loc] = self._credentials(account, loc)
                secrets.proxies[loc] = self._proxies(account, loc)
                secrets.authorities[loc] = self._authorities(account, loc)
        return secrets

    def _storage_url(self, document: dict[str, Plain]) -> SecretStr | None:
        storage = document.get("storage")
        if storage is None:
            self._check_storage(DEFAULT_STORAGE, ("storage",))
        return self._storage(storage) if isinstance(storage, dict) else None

    def _proxies(self, account: dict[str, Plain], loc: Loc) -> tuple[tuple[str, Proxy], ...]:
        """The account's addresses that need a proxy, each with its proxy."""
        keys = given_as(account, "proxy")
        if keys:
            text = self._secret(account, loc, "proxy")
            url = text.get_secret_value() if text else "none"
            named = None if url.strip().lower() == "none" else self._try(proxy_at, url, (*loc, keys[0]))
            found = [(address, named) for _, address in addresses(loc, account)]
        else:
            proxy_for = FromEnvironment(self.environ).proxy_for
            found = [(url, self._try(proxy_for, url, at)) for at, url in addresses(loc, account)]
        return tuple((address, proxy) for address, proxy in found if proxy)

    def _authorities(self, account: dict[str, Plain], loc: Loc) -> str:
        name = account.get("ca_file")
        if not isinstance(name, str):  # the schema says what is wrong with it
            return ""
        found = self._try(
            lambda given: read_authorities(self.folder, given, self.sources), name, (*loc, "ca_file")
        )
        return found or ""

    def _credentials(self, account: dict[str, Plain], loc: Loc) -> Credentials:
        found = {name: self._secret(account, loc, name) for name in ("login", "password", "api_key")}
        given = {name: given_as(account, name) for name in found}
        if given["api_key"] and (given["login"] or given["password"]):
            message = "login or password is given as well: keep either those or the API key"
            self.report.add((*loc, given["api_key"][0]), message, key=True)
        elif not given["api_key"]:
            self._both(loc, given)
        return Credentials(**found)

    def _both(self, loc: Loc, given: dict[str, list[str]]) -> None:
        """Report a login without a password, a password without a login, or neither."""
        for name in ("login", "password"):
            if not given[name]:
                message = (
                    f"is missing: write {name}, {name}_file or {name}_env, or an api_key instead of both"
                )
                self.report.add((*loc, name), message)

    def _storage(self, storage: dict[str, Plain]) -> SecretStr | None:
        loc: Loc = ("storage",)
        keys = given_as(storage, "url")
        if not keys:
            self.report.add((*loc, "url"), "is missing: write url: sqlite:data/exporter.db")
        url = self._secret(storage, loc, "url")
        if url is not None:
            self._check_storage(url.get_secret_value(), (*loc, keys[0]))
        return url

    def _check_storage(self, url: str, loc: Loc) -> None:
        """Report a URL that is no storage, and a file that another program wrote."""
        try:
            found = storage_url.parse(url)
        except ValueError as error:
            self.report.add(loc, str(error))
            return
        wrong = storage_url.missing_file(found)
        if isinstance(found, storage_url.Sqlite):
            wrong = storage_url.foreign_file(self.folder / found.path)
        if wrong:
            self.report.add(loc, wrong)

    def _secret(self, section: dict[str, Plain], loc: Loc, name: str) -> SecretStr | None:
        """The secret ``name`` of ``section``; None when it is not given, or not as it should be."""
        keys = given_as(section, name)
        if len(keys) > 1:
            self.report.add((*loc, keys[1]), f"{keys[0]} is given as well: keep one of the two", key=True)
            return None
        text = section[keys[0]] if keys else None
        if not isinstance(text, str):  # the schema says what is wrong with it
            return None
        value = self._try(lambda given: values.secret(self._read(keys[0], given)), text, (*loc, keys[0]))
        return None if value is None else SecretStr(value)

    def _read(self, key: str, given: str) -> str:
        if key.endswith("_file"):
            return read_file(self.folder, given, self.sources)
        return self._from_env(given) if key.endswith("_env") else given

    def _try(self, take: Callable[[str], T], text: str, loc: Loc) -> T | None:
        try:
            return take(text)
        except ValueError as error:
            self.report.add(loc, str(error))
            return None

    def _from_env(self, name: str) -> str:
        """The value of the variable ``name``."""
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(
                "is not a variable's name: write the name, such as SMSC_PASSWORD, not the secret"
            )
        if self.environ.get(name):
            return self.environ[name]
        wrong = "is empty" if name in self.environ else "is not set"
        # Only what no secret looks like is repeated: it may be one, misplaced.
        if re.fullmatch("[A-Z]+(_[A-Z0-9]+)+", name):
            raise ValueError(f"environment variable {name} {wrong}: run export {name}=...")
        raise ValueError(f"the environment variable with this name {wrong}: set it, and write its name here")


def read_file(folder: Path, name: str, sources: Sources) -> str:
    """What the file ``name`` holds, without the line's end; a relative name starts at ``folder``.

    Raises ValueError. The name is not repeated: it may be a misplaced secret.
    """
    try:
        text = sources.read(folder / name).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text: save it as UTF-8") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        advice = "write its path, absolute or from the folder of this file"
        raise ValueError(f"the file cannot be read ({reason}): {advice}") from None
    return text.rstrip("\r\n")


def addresses(loc: Loc, account: Mapping[str, Plain]) -> Iterator[tuple[Loc, str]]:
    """The account's addresses that are well-formed, each with its place; the schema reports the others."""
    with suppress(ValueError):
        yield (*loc, "base_url"), values.base_url(account.get("base_url", DEFAULT_URL))
    for index, url in enumerate(sequence(account.get("fallback_urls"))):
        with suppress(ValueError):
            yield (*loc, "fallback_urls", index), values.base_url(url)


def given_as(section: dict[str, Plain], name: str) -> list[str]:
    """The keys of ``section`` that give the secret ``name``: itself, ``_file`` or ``_env``."""
    return [key for key in (name, f"{name}_file", f"{name}_env") if key in section]

"""Secrets: written in the file, in a file of their own, or in an environment variable. Never in a message."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import SecretStr

from exporter.config import values
from exporter.config.document import Loc, Plain, mapping, sequence
from exporter.config.signature import Signature, signature
from exporter.config.syntax import read_bytes
from exporter.model import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from exporter.config.document import Report


@dataclass(frozen=True, slots=True)
class Secrets:
    """What was found: credentials by the account's place, and the storage's URL if the file names one."""

    credentials: dict[Loc, Credentials] = field(default_factory=dict)
    storage_url: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class Finder:
    """Finds secrets. Relative paths start at ``folder``; variables are those of ``environ``.

    ``files`` are those that were read, so that their changes can be followed.
    """

    folder: Path
    environ: Mapping[str, str] = field(repr=False)
    report: Report = field(repr=False)
    files: dict[str, Signature | None] = field(default_factory=dict)

    def find(self, data: Plain) -> Secrets:
        """Every secret that ``data`` names; what is wrong with them goes to the report."""
        document = mapping(data)
        credentials: dict[Loc, Credentials] = {
            ("accounts", index): self._credentials(account, ("accounts", index))
            for index, account in enumerate(sequence(document.get("accounts")))
            if isinstance(account, dict)
        }
        storage = document.get("storage")
        url = self._storage(storage) if isinstance(storage, dict) else None
        return Secrets(credentials, url)

    def _credentials(self, account: dict[str, Plain], loc: Loc) -> Credentials:
        found = {name: self._secret(account, loc, name) for name in ("login", "password", "api_key")}
        given = {name: given_as(account, name) for name in found}
        if given["api_key"] and (given["login"] or given["password"]):
            message = "stands in place of login and password: keep one or the other"
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
            self._try(values.storage_url, url.get_secret_value(), (*loc, keys[0]))
        return url

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
            self.files[str(self.folder / given)] = signature(self.folder / given)
            return read_file(self.folder, given)
        return self._from_env(given) if key.endswith("_env") else given

    def _try(self, take: Callable[[str], str], text: str, loc: Loc) -> str | None:
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
        wrong = "is empty" if name in self.environ else "is not there"
        # Only what no secret looks like is repeated: it may be one, misplaced.
        if re.fullmatch("[A-Z]+(_[A-Z0-9]+)+", name):
            raise ValueError(f"the environment variable {name} {wrong}, set it: export {name}=...")
        raise ValueError(
            f"the environment variable of this name {wrong}: set it, and write its name here, not the secret"
        )


def read_file(folder: Path, name: str) -> str:
    """What the file ``name`` holds, without the line's end; a relative name starts at ``folder``.

    Raises ValueError. The name is not repeated: it may be a misplaced secret.
    """
    try:
        text = read_bytes(folder / name).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text: save it as UTF-8") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        advice = "write its path, absolute or from the folder of this file"
        raise ValueError(f"the file cannot be read ({reason}): {advice}") from None
    return text.rstrip("\r\n")


def given_as(section: dict[str, Plain], name: str) -> list[str]:
    """The keys of ``section`` that give the secret ``name``: itself, ``_file`` or ``_env``."""
    return [key for key in (name, f"{name}_file", f"{name}_env") if key in section]

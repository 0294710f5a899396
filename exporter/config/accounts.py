"""Makes accounts of their sections: finds secrets, proxies and certificates, and checks that they agree."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from exporter.config.document import Document, Loc
from exporter.config.proxies import proxy_at, proxy_for
from exporter.config.schema import AccountSection
from exporter.config.secrets import Secrets, given_as, read_file
from exporter.model import Account, Credentials, Proxy
from exporter.secret import SecretStr

T = TypeVar("T")


def make_account(section: AccountSection, secrets: Secrets) -> Account:
    """The account, without its links. Errors go to the document."""
    _check_keys(section, secrets.document)
    return Account(
        name=section.name,
        credentials=_credentials(section, secrets),
        base_url=section.base_url,
        timezone=section.timezone,
        links=(),
        fallback_urls=tuple(section.fallback_urls.values()),
        method=section.method,
        format=section.format,
        timeout=section.timeout,
        max_concurrent_requests=section.max_concurrent_requests,
        proxies=_proxies(section, secrets),
        authorities=_authorities(section, secrets),
    )


def _check_keys(section: AccountSection, document: Document) -> None:
    if "name" not in section.given:
        message = "is missing: write a name of your choice, which becomes the account label"
        document.add((*section.loc, "name"), message)
    if "links" not in section.given and not section.given.get("link_files"):
        message = "is missing: list at least one link under it, such as - id: 145142, or name link_files"
        document.add((*section.loc, "links"), message)
    repeated = "{first} on line {line} is the same address: remove one"
    _report_repeated(_addresses(section).items(), repeated, document)


def _addresses(section: AccountSection) -> dict[Loc, str]:
    """The account's addresses that are well-formed, by their places."""
    found: dict[Loc, str] = {(*section.loc, "base_url"): section.base_url, **section.fallback_urls}
    return {at: url for at, url in found.items() if url}


def _credentials(section: AccountSection, secrets: Secrets) -> Credentials:
    names = ("login", "password", "api_key")
    found = {name: secrets.find(section, name) for name in names}
    login, password, api_key = (given_as(section, name) for name in names)
    if api_key and (login or password):
        message = "login or password is given as well: keep either those or the API key"
        secrets.document.add((*section.loc, api_key[0]), message, key=True)
    for name, given in (("login", login), ("password", password)):
        if not given and not api_key:
            message = f"is missing: write {name}, {name}_file or {name}_env, or an api_key instead of both"
            secrets.document.add((*section.loc, name), message)
    return Credentials(**{name: SecretStr(secret[1]) for name, secret in found.items() if secret})


def _proxies(section: AccountSection, secrets: Secrets) -> tuple[tuple[str, Proxy], ...]:
    addresses = _addresses(section)
    if given_as(section, "proxy"):
        at, url = secrets.find(section, "proxy") or ((), "none")
        named = None if url.strip().lower() == "none" else _try(proxy_at, url, at, secrets.document)
        return tuple((address, named) for address in addresses.values() if named)
    from_environment = partial(proxy_for, environ=secrets.environ)
    found = [(url, _try(from_environment, url, at, secrets.document)) for at, url in addresses.items()]
    return tuple((url, proxy) for url, proxy in found if proxy)


def _authorities(section: AccountSection, secrets: Secrets) -> str:
    """Certificates, in PEM, that the account trusts beside the system's."""

    def read(name: str) -> str:
        advice = "write the path of a file with certificates in PEM form (-----BEGIN CERTIFICATE-----)"
        # Comments between the certificates may be in any charset, and the certificates are ASCII.
        text = read_file(secrets.folder, name, secrets.sources, advice).decode("ascii", "ignore")
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
        except (ssl.SSLError, ValueError):
            raise ValueError(f"the file contains no certificate, or a damaged one: {advice}") from None
        return text

    at = (*section.loc, "ca_file")
    return _try(read, section.ca_file, at, secrets.document) or "" if section.ca_file else ""


def _try(take: Callable[[str], T], text: str, at: Loc, document: Document) -> T | None:
    try:
        return take(text)
    except ValueError as error:
        document.add(at, str(error))
        return None


def check_accounts(accounts: list[tuple[AccountSection, Account]], document: Document) -> None:
    """Report accounts of one name, and those of one login."""
    names = (((*section.loc, "name"), account.name) for section, account in accounts)
    _report_repeated(names, "{first} on line {line} already has this name: choose another", document)
    logins = []
    for section, account in accounts:
        name = "login" if account.credentials.login else "api_key"
        if account.base_url and (account.credentials.login or account.credentials.api_key):
            logins.append(((*section.loc, given_as(section, name)[0]), account.login_key))
    message = (
        "{first} on line {line} has the same login, and the provider counts by login: merge the two accounts"
    )
    _report_repeated(logins, message, document)


def _report_repeated(entries: Iterable[tuple[Loc, str]], message: str, document: Document) -> None:
    seen: dict[str, Loc] = {}
    for loc, text in entries:
        first = seen.setdefault(text, loc) if text else loc
        if first != loc:
            place = document.fault(first, "")
            document.add(loc, message.format(first=place.path, line=place.line))

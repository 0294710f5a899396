"""From the file to a frozen web configuration whose values agree, or all its errors at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from exporter.config.document import Document
from exporter.config.secrets import given_as
from exporter.config.sections import read_section
from exporter.config.sources import Sources
from exporter.config.tree import read
from exporter.errors import ConfigError, Fault
from exporter.webconfig.schema import CIPHERS, CIPHERS_13, NAMING, VERIFYING, VERSIONS, File, TlsSection
from exporter.webconfig.tls import Loader, Tls, configure


@dataclass(frozen=True, slots=True)
class WebConfig:
    """A web configuration without errors.

    ``users`` are bcrypt hashes by name; none of them means that no password is asked for. ``warnings`` are
    what works otherwise than it is written.
    """

    tls: Tls | None
    users: Mapping[str, bytes] = field(repr=False)
    headers: Mapping[str, str]
    warnings: tuple[Fault, ...]


def load(path: str | Path, sources: Sources | None = None) -> WebConfig:
    """The web configuration in the file at ``path``.

    Raises ConfigError with every error of the file. ``sources`` reads it and the files it names; blocks
    meanwhile.
    """
    sources = sources or Sources()
    document = read(Path(path), sources, NAMING)
    file = read_section(File, document.data, (), document) or File()
    section = file.tls_server_config
    context = Loader(Path(path).parent, sources, document).context(section) if section else None
    _check(file, document)
    if document.faults:
        raise ConfigError(document.faults, document.warnings)
    http = file.http_server_config
    return WebConfig(
        tls=configure(context, section) if context and section else None,
        users={user: hashed.encode() for user, hashed in file.basic_auth_users.items()},
        headers=http.headers if http else {},
        warnings=tuple(sorted(document.warnings)),
    )


def _check(file: File, document: Document) -> None:
    if file.tls_server_config:
        _check_pairs(file.tls_server_config, document)
        _check_client(file.tls_server_config, document)
        _check_versions(file.tls_server_config, document)
    if file.basic_auth_users and "tls_server_config" not in file.given:
        message = (
            "passwords are sent unencrypted: add tls_server_config, or keep the port inside your network"
        )
        document.warn(("basic_auth_users",), message, key=True)


def _check_pairs(tls: TlsSection, document: Document) -> None:
    for name in ("cert", "key", "client_ca"):
        given, at = given_as(tls, name), (*tls.loc, f"{name}_file")
        if len(given) == 2:
            document.add(at, f"{name} is given as well: keep one of the two", key=True)
        elif not given and name != "client_ca":
            document.add(at, f"is missing: write {name}_file, or {name} with the PEM text in it")


def _check_client(tls: TlsSection, document: Document) -> None:
    policy, given = tls.client_auth_type, given_as(tls, "client_ca")
    if policy in VERIFYING and not given:
        message = "is missing: write the CA of the clients' certificates, because no other is trusted"
        document.add((*tls.loc, "client_ca_file"), message)
    if policy == "NoClientCert" and given:
        message = f"has no effect without client_auth_type: write client_auth_type: {VERIFYING[1]}"
        document.add((*tls.loc, given[0]), message, key=True)
    if "client_allowed_sans" in tls.given and policy in ("NoClientCert", VERIFYING[0]):
        message = f"has no effect on clients without a certificate: write client_auth_type: {VERIFYING[1]}"
        document.add((*tls.loc, "client_allowed_sans"), message, key=True)


def _check_versions(tls: TlsSection, document: Document) -> None:
    least, greatest = tls.min_version, tls.max_version
    if least in VERSIONS and greatest in VERSIONS and VERSIONS.index(least) > VERSIONS.index(greatest):
        key = "min_version" if "min_version" in tls.given else "max_version"
        message = f"min_version ({least}) is above max_version ({greatest}): swap them"
        document.add((*tls.loc, key), message)
    suites = {*tls.cipher_suites.values()}
    if greatest == "TLS12" and suites & set(CIPHERS_13) and not suites & set(CIPHERS):
        message = "lists only suites of TLS 1.3, but max_version is TLS12: add one of TLS 1.2"
        document.add((*tls.loc, "cipher_suites"), message)

"""How the values of a web configuration must agree with each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.config.secrets import given_as
from exporter.webconfig.values import CIPHERS, CIPHERS_13, VERIFYING, VERSIONS

if TYPE_CHECKING:
    from exporter.config.document import Document
    from exporter.webconfig.schema import File, RateSection, TlsSection


def check(file: File, document: Document) -> None:
    """Report all values in ``file`` that contradict each other."""
    if file.tls_server_config:
        _check_pairs(file.tls_server_config, document)
        _check_client(file.tls_server_config, document)
        _check_versions(file.tls_server_config, document)
    if file.rate_limit:
        _check_rate(file.rate_limit, document)
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


def _check_rate(rate: RateSection, document: Document) -> None:
    if "burst" in rate.given and "interval" not in rate.given:
        message = "is missing: write the time between two requests, such as interval: 1s"
        document.add((*rate.loc, "interval"), message)
    if rate.interval and not rate.burst:
        message = (
            "is missing or 0, which lets no request through: write how many may come at once, such as 20"
        )
        document.add((*rate.loc, "burst"), message)

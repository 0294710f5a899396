"""How the values of a web configuration must agree with each other.

As in ``exporter.config.checks``, these run on the plain document, so that one error does not hide another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from exporter.config.document import Loc, Plain, mapping, sequence
from exporter.config.secrets import given_as
from exporter.webconfig.values import CIPHERS, CIPHERS_13, VERIFYING, VERSIONS

if TYPE_CHECKING:
    from exporter.config.document import Report

Section: TypeAlias = dict[str, Plain]

TLS_KEY = "tls_server_config"
TLS: Loc = (TLS_KEY,)
_RATE: Loc = ("rate_limit",)


def check(data: Plain, report: Report) -> None:
    """Report all values in ``data`` that contradict each other."""
    document = mapping(data)
    tls = document.get(TLS_KEY)
    if isinstance(tls, dict):
        _check_pairs(tls, report)
        _check_client(tls, report)
        _check_versions(tls, report)
    _check_rate(mapping(document.get("rate_limit")), report)


def _check_pairs(tls: Section, report: Report) -> None:
    for name in ("cert", "key", "client_ca"):
        given = given_as(tls, name)
        if len(given) == 2:
            report.add((*TLS, f"{name}_file"), f"{name} is given as well: keep one of the two", key=True)
        elif not given and name != "client_ca":
            report.add(
                (*TLS, f"{name}_file"), f"is missing: write {name}_file, or {name} with the PEM text in it"
            )


def _check_client(tls: Section, report: Report) -> None:
    policy = tls.get("client_auth_type", "NoClientCert")
    given = given_as(tls, "client_ca")
    if policy in VERIFYING and not given:
        message = "is missing: write the CA of the clients' certificates, because no other is trusted"
        report.add((*TLS, "client_ca_file"), message)
    if policy == "NoClientCert" and given:
        message = f"has no effect without client_auth_type: write client_auth_type: {VERIFYING[1]}"
        report.add((*TLS, given[0]), message, key=True)
    if "client_allowed_sans" in tls and policy in ("NoClientCert", VERIFYING[0]):
        message = f"has no effect on clients without a certificate: write client_auth_type: {VERIFYING[1]}"
        report.add((*TLS, "client_allowed_sans"), message, key=True)


def _check_versions(tls: Section, report: Report) -> None:
    least, greatest = tls.get("min_version", "TLS12"), tls.get("max_version", "TLS13")
    if least in VERSIONS and greatest in VERSIONS and VERSIONS.index(least) > VERSIONS.index(greatest):
        key = "min_version" if "min_version" in tls else "max_version"
        report.add((*TLS, key), f"min_version ({least}) is above max_version ({greatest}): swap them")
    suites = {suite for suite in sequence(tls.get("cipher_suites")) if isinstance(suite, str)}
    if greatest == "TLS12" and suites & set(CIPHERS_13) and not suites & set(CIPHERS):
        message = "lists only suites of TLS 1.3, but max_version is TLS12: add one of TLS 1.2"
        report.add((*TLS, "cipher_suites"), message)


def _check_rate(rate: Section, report: Report) -> None:
    if "burst" in rate and "interval" not in rate:
        report.add(
            (*_RATE, "interval"), "is missing: write the time between two requests, such as interval: 1s"
        )
    if rate.get("interval", "0") != "0" and rate.get("burst", "0") == "0":
        message = (
            "is missing or 0, which lets no request through: write how many may come at once, such as 20"
        )
        report.add((*_RATE, "burst"), message)

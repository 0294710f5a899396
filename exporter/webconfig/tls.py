"""Turns certificates and keys into an SSL context for handshakes."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporter.config.document import Document
from exporter.config.secrets import given_as, read_text_file
from exporter.config.sources import Sources
from exporter.webconfig.schema import CIPHERS, CURVES, TlsSection

# Base64 has no hyphen (RFC 7468), so that what has no end is given up at the next line of hyphens.
_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----[^-]*+-----END CERTIFICATE-----")
_KEY = re.compile("-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----[^-]*+-----END (?:[A-Z]+ )?PRIVATE KEY-----")
_LOCKED = re.compile("BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED")

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1_2,  # RFC 8996; with a warning
    "TLS11": ssl.TLSVersion.TLSv1_2,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_VERIFY = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


@dataclass(frozen=True, slots=True)
class Tls:
    """What a handshake needs; ``allowed_sans`` are the clients let in, None for all with a certificate."""

    context: ssl.SSLContext = field(repr=False)
    allowed_sans: frozenset[str] | None = None

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a client with this certificate, as ``getpeercert`` gives it, is let in."""
        if self.allowed_sans is None:
            return True
        names = {_canonical(name) for _, name in (certificate or {}).get("subjectAltName", ())}
        return not names.isdisjoint(self.allowed_sans)


def _canonical(name: str) -> str:
    """An address in one spelling, as Go writes it; any other name unchanged."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads what ``tls_server_config`` names, relative to ``folder``. Errors go to the document."""

    folder: Path
    sources: Sources
    document: Document

    def context(self, section: TlsSection) -> ssl.SSLContext:
        """A context with the certificate, the key and the clients' CA."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority = self._pem(section, "client_ca", _certificates)
        if authority:
            self._trust(context, section, authority)
        certificate, key = self._pem(section, "cert", _certificates), self._pem(section, "key", _private_key)
        if certificate and key:
            self._present(context, section, certificate, key)
        return context

    def _pem(self, section: TlsSection, name: str, take: Callable[[str], str]) -> str | None:
        """The PEM text ``name``, if it is given once, as it should be."""
        given = given_as(section, name)
        text = getattr(section, given[0]) if len(given) == 1 else None
        if text is None:  # said by the schema or by the checks
            return None
        try:
            return take(self._read(given[0], text))
        except ValueError as error:
            self.document.add((*section.loc, given[0]), str(error))
            return None

    def _read(self, key: str, text: str) -> str:
        return read_text_file(self.folder, text, self.sources) if key.endswith("_file") else text

    def _trust(self, context: ssl.SSLContext, section: TlsSection, authority: str) -> None:
        # As in Go, what the file holds is trusted, whether it is a root or not.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            context.load_verify_locations(cadata=authority)
        except ssl.SSLError:
            self._refuse(section, "client_ca", "contains a certificate that cannot be read: copy it again")

    def _present(self, context: ssl.SSLContext, section: TlsSection, certificate: str, key: str) -> None:
        try:
            with _as_file(certificate) as certificate_file, _as_file(key) as key_file:
                context.load_cert_chain(certificate_file, key_file, password="")  # never ask at the terminal
        except ssl.SSLError as error:
            self._refuse(section, *_explain(error, certificate))

    def _refuse(self, section: TlsSection, name: str, message: str) -> None:
        self.document.add((*section.loc, given_as(section, name)[0]), message)


def _certificates(text: str) -> str:
    found = _CERTIFICATE.findall(text)
    if not found:
        raise ValueError("contains no certificate: it must begin with -----BEGIN CERTIFICATE-----")
    return "\n".join(found)


def _private_key(text: str) -> str:
    if _LOCKED.search(text):
        raise ValueError(
            "contains a key with a passphrase: write one without, made with openssl pkey -in ... -out ..."
        )
    found = _KEY.search(text)
    if not found:
        raise ValueError("contains no private key: it must begin with -----BEGIN PRIVATE KEY-----")
    return found[0]


def _explain(error: ssl.SSLError, certificate: str) -> tuple[str, str]:
    """Which of ``cert`` and ``key`` OpenSSL refuses, and why."""
    reason = error.reason or ""
    if reason.endswith(("TOO_SMALL", "TOO_WEAK")):
        return "cert", f"is too weak for OpenSSL ({reason.lower().replace('_', ' ')}): make a stronger one"
    if reason.endswith("MISMATCH") or reason == "NO_CERTIFICATE_ASSIGNED":
        return "key", "does not belong to the certificate: write the key that was made for it"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=certificate)
    except ssl.SSLError:
        return "cert", "contains a certificate that cannot be read: copy it again"
    return "key", "contains a key that cannot be read: copy it again"


@contextmanager
def _as_file(text: str) -> Iterator[str]:
    """A file name for ``text``, because OpenSSL reads only files. Nothing is written to a disk."""
    with open(os.memfd_create("pem"), "w+b") as file:
        file.write(text.encode())
        file.flush()
        file.seek(0)
        yield f"/dev/fd/{file.fileno()}"


def configure(context: ssl.SSLContext, section: TlsSection) -> Tls:
    """``context`` with the rest of what ``section`` says."""
    context.minimum_version = _VERSIONS[section.min_version]
    context.maximum_version = _VERSIONS[section.max_version]
    context.verify_mode = _VERIFY[section.client_auth_type]
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    if not section.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if section.cipher_suites:
        _set_ciphers(context, section.cipher_suites.values())
    if section.curve_preferences:
        context.set_ecdh_curve(CURVES[next(iter(section.curve_preferences.values()))])
    sans = section.client_allowed_sans
    return Tls(context, None if sans is None else frozenset(map(_canonical, sans.values())))


def _set_ciphers(context: ssl.SSLContext, suites: Iterable[str]) -> None:
    """Only ``suites``. Those of TLS 1.3 are always there; if no other is listed, 1.2 is not spoken."""
    older = [CIPHERS[suite] for suite in suites if suite in CIPHERS]
    if older:
        context.set_ciphers(":".join(older))
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_3

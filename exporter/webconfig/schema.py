"""The shape of the web configuration: which keys there are, and what each may hold.

As in ``exporter.config.values``, each function takes the text of the file, returns its meaning, and raises
ValueError with a sentence that says what to write.
"""

from __future__ import annotations

import re
from collections.abc import Sized
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

import bcrypt

from exporter.config import values as texts
from exporter.config.document import Loc, quote
from exporter.config.sections import Section, items, keys, mapping, section, text
from exporter.config.syntax import Naming

NAMING = Naming(
    "with --web.config.file",
    "write tls_server_config or basic_auth_users, or leave out --web.config.file",
    "tls_server_config:",
)

CIPHERS = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
}
"""The suites of TLS 1.2 that Go's tls.CipherSuites() lists, and what OpenSSL calls them (its ciphers(1))."""

CIPHERS_13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
"""Those of TLS 1.3. Neither Go nor Python lets one choose among them: they are always there."""

CURVES = {"X25519": "X25519", "CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1"}
"""Go's names of curves, and OpenSSL's."""

VERSIONS = ("TLS10", "TLS11", "TLS12", "TLS13")

VERIFYING = ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
_TRUSTING = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")

_YES = frozenset({"true", "yes", "on", "y"})
_NO = frozenset({"false", "no", "off", "n"})
_COSTLY = 15
_HASH = re.compile(r"\$(2[abxy]?)\$([0-9]{2})\$[./A-Za-z0-9]{53}")


def boolean(value: object) -> bool:
    """``true`` or ``false``, or another word that YAML 1.1 has for them."""
    text = texts.plain_text(value)
    if text.casefold() in _YES | _NO:
        return text.casefold() in _YES
    raise ValueError(f"{quote(text)} is not a boolean: write true or false")


def client_auth(value: object) -> str:
    """What the port asks of a client's certificate. Python's ssl accepts none that it has not checked."""
    text = texts.plain_text(value)
    if text in _TRUSTING:
        raise ValueError(
            f"{text} accepts certificates without checking them, which is not supported: "
            f"write {texts.either(VERIFYING)}"
        )
    return texts.one_of("NoClientCert", *VERIFYING, what="a way to ask for certificates")(value)


least_version = texts.one_of(*VERSIONS, what="a version")


def greatest_version(value: object) -> str:
    """The greatest version of TLS; older ones than 1.2 are not spoken here (RFC 8996)."""
    text = least_version(value)
    if text in ("TLS10", "TLS11"):
        raise ValueError(f"{text} is not secure and not supported: write TLS12 or TLS13")
    return text


def doubt_of_version(version: str) -> str | None:
    """What the lowest version really is."""
    if version in ("TLS10", "TLS11"):
        return f"{version} is not secure and not supported: TLS12 is used as the lowest version"
    return None


def doubt_of_http2(wanted: bool) -> str | None:
    """That HTTP/2 is not spoken."""
    return "HTTP/2 is not supported: clients use HTTP/1.1" if wanted else None


def one_curve(curves: Sized) -> None:
    """A list of one curve: Python's ssl sets a single one."""
    if len(curves) != 1:
        raise ValueError(
            "only one curve can be set here: write one, or remove the key for OpenSSL's own choice"
        )


def user(value: object) -> str:
    """A user's name. HTTP ends it at the first colon (RFC 7617)."""
    text = texts.name(value)
    if ":" in text:
        raise ValueError("contains a colon, where HTTP ends the name: remove it")
    return text


def users(found: Sized) -> None:
    """The users, at least one. A file that lets everybody in should leave out the key."""
    if not found:
        raise ValueError("names no user: write a user and a bcrypt hash, or remove the key")


def password_hash(value: object) -> str:
    """A bcrypt hash. No message repeats it."""
    text = texts.plain_text(value)
    match = _HASH.fullmatch(text)
    if match is None:
        raise ValueError("is not a bcrypt hash: write what htpasswd -nBC 10 prints after the colon")
    if match[1] == "2":
        raise ValueError("is a hash of bcrypt's first version, $2$, which cannot be checked: make it again")
    if not 4 <= int(match[2]) <= 31:
        raise ValueError("has a cost outside 4 to 31: make the hash again, with 10")
    try:
        # The cheapest cost takes a millisecond and tells whether the rest can be read.
        bcrypt.checkpw(b"", f"${match[1]}$04{text[text.rindex('$') :]}".encode())
    except ValueError:
        raise ValueError("is a damaged bcrypt hash: copy it again, or make another") from None
    return text


def doubt_of_hash(hashed: str) -> str | None:
    """That the hash takes longer to check than a client waits. Each cost more doubles the time."""
    cost = int(hashed.split("$")[2])
    if cost >= _COSTLY:
        return f"a bcrypt cost of {cost} takes seconds for each login: 10 is usual"
    return None


def header(value: object) -> str:
    """The value of a response header: ASCII, as HTTP has it (RFC 9110)."""
    text = texts.address(value)
    if not text.isascii():
        raise ValueError("contains characters that are not ASCII: remove them")
    return text


def rate_limit(value: object) -> None:
    """Nothing: it is refused."""
    raise ValueError("is not supported: remove it, and limit requests with a reverse proxy in front")


Text: TypeAlias = Annotated[str | None, text(texts.plain_text)]
_cipher = texts.one_of(*CIPHERS, *CIPHERS_13, what="a cipher suite of Go's tls.CipherSuites()")
_header = text(header)

HEADERS = {
    "Content-Security-Policy": _header,
    "Strict-Transport-Security": _header,
    "X-Content-Type-Options": text(texts.one_of("nosniff", what="allowed here")),
    "X-Frame-Options": text(texts.one_of("deny", "sameorigin", what="allowed here")),
    "X-XSS-Protection": _header,
}
"""The headers that the toolkit allows to be set, and no others."""


class _Section(Section):
    """A section of the web configuration."""


@dataclass(frozen=True, kw_only=True)
class TlsSection(_Section):
    """``tls_server_config``. The module ``tls`` checks the certificates and keys."""

    cert: Text = None
    key: Text = field(default=None, repr=False)
    client_ca: Text = None
    cert_file: Text = None
    key_file: Text = None
    client_ca_file: Text = None
    client_auth_type: Annotated[str, text(client_auth, wrong="?")] = "NoClientCert"
    client_allowed_sans: Annotated[dict[Loc, str] | None, items(text(texts.name), texts.not_none)] = None
    min_version: Annotated[str, text(least_version, doubt_of_version, wrong="?")] = "TLS12"
    max_version: Annotated[str, text(greatest_version, wrong="?")] = "TLS13"
    cipher_suites: Annotated[dict[Loc, str], items(text(_cipher))] = field(default_factory=dict)
    prefer_server_cipher_suites: Annotated[bool, text(boolean)] = True
    curve_preferences: Annotated[
        dict[Loc, str], items(text(texts.one_of(*CURVES, what="a curve")), one_curve)
    ] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class HttpSection(_Section):
    """``http_server_config``."""

    http2: Annotated[bool, text(boolean, doubt_of_http2)] = False
    headers: Annotated[dict[str, str], keys(HEADERS)] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class File(_Section):
    """The whole file."""

    tls_server_config: Annotated[TlsSection | None, section(TlsSection)] = None
    http_server_config: Annotated[HttpSection | None, section(HttpSection)] = None
    basic_auth_users: Annotated[
        dict[str, str],
        mapping(
            user,
            text(password_hash, doubt_of_hash),
            "prometheus: $2y$10$... (a bcrypt hash)",
            users,
        ),
    ] = field(default_factory=dict, repr=False)
    rate_limit: Annotated[None, text(rate_limit)] = None

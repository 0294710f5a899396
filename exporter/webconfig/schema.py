"""The shape of the web configuration: which keys there are and what each may hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

from exporter.config import values as texts
from exporter.config.document import Loc  # noqa: TC001 - read at run time
from exporter.config.sections import Section, items, keys, mapping, section, text
from exporter.config.syntax import Naming
from exporter.webconfig import values

NAMING = Naming(
    "with --web.config.file",
    "write tls_server_config or basic_auth_users, or leave out --web.config.file",
    "tls_server_config:",
)


Text: TypeAlias = Annotated[str | None, text(texts.plain_text)]
_cipher = values.known([*values.CIPHERS, *values.CIPHERS_13], "a cipher suite of Go's tls.CipherSuites()")
_header = text(values.header)

HEADERS = {
    "Content-Security-Policy": _header,
    "Strict-Transport-Security": _header,
    "X-Content-Type-Options": text(values.known(["nosniff"], "allowed here")),
    "X-Frame-Options": text(values.known(["deny", "sameorigin"], "allowed here")),
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
    client_auth_type: Annotated[str, text(values.client_auth, wrong="?")] = "NoClientCert"
    client_allowed_sans: Annotated[dict[Loc, str] | None, items(text(texts.name), texts.not_none)] = None
    min_version: Annotated[str, text(values.least_version, values.doubt_of_version, wrong="?")] = "TLS12"
    max_version: Annotated[str, text(values.greatest_version, wrong="?")] = "TLS13"
    cipher_suites: Annotated[dict[Loc, str], items(text(_cipher))] = field(default_factory=dict)
    prefer_server_cipher_suites: Annotated[bool, text(values.boolean)] = True
    curve_preferences: Annotated[
        dict[Loc, str], items(text(values.known(values.CURVES, "a curve")), values.one_curve)
    ] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class HttpSection(_Section):
    """``http_server_config``."""

    http2: Annotated[bool, text(values.boolean, values.doubt_of_http2)] = False
    headers: Annotated[dict[str, str], keys(HEADERS)] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RateSection(_Section):
    """``rate_limit``. The interval is in seconds."""

    interval: Annotated[float, text(values.go_duration)] = 0.0
    burst: Annotated[int, text(values.count, wrong=1)] = 0


@dataclass(frozen=True, kw_only=True)
class File(_Section):
    """The whole file."""

    tls_server_config: Annotated[TlsSection | None, section(TlsSection)] = None
    http_server_config: Annotated[HttpSection | None, section(HttpSection)] = None
    basic_auth_users: Annotated[
        dict[str, str],
        mapping(
            values.user,
            text(values.password_hash, values.doubt_of_hash),
            "prometheus: $2y$10$... (a bcrypt hash)",
            values.users,
        ),
    ] = field(default_factory=dict, repr=False)
    rate_limit: Annotated[RateSection | None, section(RateSection)] = None

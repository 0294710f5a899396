"""The shape of the web configuration: which keys there are and what each may hold."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, TypeAdapter, create_model

from exporter.config import values as texts
from exporter.config.schema import not_none
from exporter.config.syntax import Naming
from exporter.config.wording import Schema
from exporter.webconfig import values

NAMING = Naming(
    "with --web.config.file",
    "write tls_server_config or basic_auth_users, or leave out --web.config.file",
    "tls_server_config:",
)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


Text = Annotated[str, PlainValidator(texts.plain_text)]
Name = Annotated[str, PlainValidator(texts.name)]
Boolean = Annotated[bool, PlainValidator(values.boolean)]
Cipher = Annotated[
    str,
    PlainValidator(
        values.known([*values.CIPHERS, *values.CIPHERS_13], "a cipher suite of Go's tls.CipherSuites()")
    ),
]
Curve = Annotated[str, PlainValidator(values.known(values.CURVES, "a curve"))]
User = Annotated[str, PlainValidator(values.user)]
Hash = Annotated[str, PlainValidator(values.password_hash)]


class TlsSection(_Section):
    """``tls_server_config``. The module ``tls`` checks the certificates and keys."""

    cert: Text | None = None
    key: Text | None = Field(default=None, repr=False)
    client_ca: Text | None = None
    cert_file: Text | None = None
    key_file: Text | None = None
    client_ca_file: Text | None = None
    client_auth_type: Annotated[str, PlainValidator(values.client_auth)] = "NoClientCert"
    client_allowed_sans: Annotated[list[Name], AfterValidator(not_none)] | None = None
    min_version: Annotated[str, PlainValidator(values.least_version)] = "TLS12"
    max_version: Annotated[str, PlainValidator(values.greatest_version)] = "TLS13"
    cipher_suites: list[Cipher] | None = None
    prefer_server_cipher_suites: Boolean = True
    curve_preferences: Annotated[list[Curve], AfterValidator(values.one_curve)] | None = None


def _header(take: Any = values.header) -> Any:
    return Annotated[str, PlainValidator(take)] | None, None


Headers = create_model(
    "Headers",
    __base__=_Section,
    **{
        "Content-Security-Policy": _header(),
        "Strict-Transport-Security": _header(),
        "X-Content-Type-Options": _header(values.known(["nosniff"], "allowed here")),
        "X-Frame-Options": _header(values.known(["deny", "sameorigin"], "allowed here")),
        "X-XSS-Protection": _header(),
    },
)
"""The headers that the toolkit allows to be set, and no others."""


class HttpSection(_Section):
    """``http_server_config``."""

    http2: Boolean = False
    headers: Headers | None = None  # type: ignore[valid-type] # a model made at run time is a type to pydantic alone


class RateSection(_Section):
    """``rate_limit``. The interval is in seconds."""

    interval: Annotated[float, PlainValidator(values.go_duration)] = 0.0
    burst: Annotated[int, PlainValidator(values.count)] = 0


class File(_Section):
    """The whole file."""

    tls_server_config: TlsSection | None = None
    http_server_config: HttpSection | None = None
    basic_auth_users: Annotated[dict[User, Hash], AfterValidator(values.users)] | None = Field(
        default=None, repr=False
    )
    rate_limit: RateSection | None = None


SCHEMA = Schema(
    TypeAdapter(File),
    {
        (): File,
        ("tls_server_config",): TlsSection,
        ("http_server_config",): HttpSection,
        ("http_server_config", "headers"): Headers,
        ("rate_limit",): RateSection,
    },
    {},
    example="prometheus: $2y$10$... (a bcrypt hash)",
)

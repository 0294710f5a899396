"""Certificates of authorities that an account trusts beside the system's."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.config.sources import Sources

_ADVICE = "write the path of a file with certificates in PEM form (-----BEGIN CERTIFICATE-----)"


def read_authorities(folder: Path, name: str, sources: Sources) -> str:
    """The certificates in the file ``name``, in PEM; a relative name starts at ``folder``.

    Raises ValueError when the file cannot be read or holds no certificate that can be used.
    """
    try:
        # Comments between the certificates may be in any charset, and the certificates are ASCII.
        text = sources.read(folder / name).decode("ascii", "ignore")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        raise ValueError(f"the file cannot be read ({reason}): {_ADVICE}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise ValueError(f"the file contains no certificate, or a damaged one: {_ADVICE}") from None
    return text

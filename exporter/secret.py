"""Secrets: they show themselves only to whoever asks for their value."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit


@dataclass(frozen=True, slots=True, repr=False)
class SecretStr:
    """Text that stays out of ``repr``, ``str``, messages, logs and tracebacks."""

    _value: str

    def get_secret_value(self) -> str:
        """The text itself."""
        return self._value

    def __repr__(self) -> str:
        return "SecretStr('**********')"


def split_url(text: str, advice: str) -> tuple[SplitResult, int | None]:
    """A URL's parts and its port. Raises ValueError without quoting it: any part may hold a password."""
    with suppress(ValueError):
        parts = urlsplit(text)
        if parts.port != 0:
            return parts, parts.port
    raise ValueError(f"has a host or port that is not valid: {advice}")

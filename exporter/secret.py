"""A secret, which shows itself only to whoever asks for its value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, repr=False)
class SecretStr:
    """Text that stays out of ``repr``, ``str``, messages, logs and tracebacks."""

    _value: str

    def get_secret_value(self) -> str:
        """The text itself."""
        return self._value

    def __repr__(self) -> str:
        return "SecretStr('**********')"

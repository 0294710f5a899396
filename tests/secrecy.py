"""Secrets that can be told apart, and the search for them in whatever the exporter says or keeps."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

NASTY = " p@s+s&%41\"'\\wörd/:;,#?=<Ж>{[!*|`$~"
"""What encodings change, YAML and URLs take for their own, and terminals and shells as well."""


@dataclass(frozen=True)
class Secret:
    """A secret with a word of its own at both ends, so that half of it is found as well."""

    word: str

    @property
    def text(self) -> str:
        return f"{self.word}a{NASTY}{self.word}z"

    @cached_property
    def traces(self) -> tuple[bytes, ...]:
        """Bytes, in small letters, that are in nothing but what tells the secret or a half of it."""
        return tuple(self._traces())

    def _traces(self) -> Iterator[bytes]:
        yield self.word.lower().encode()
        yield self.word.lower().encode("utf-16-le")
        yield self.word.encode().hex().encode()
        for shift in range(3):
            # of what stands before and behind, base64 mixes some bits into its first and last characters
            encoded = base64.b64encode(b"\0" * shift + self.word.encode())
            yield encoded[(4 if shift else 0) : -4].lower()


def told(secrets: Iterable[Secret], *pieces: str | bytes) -> dict[str, str]:
    """The secrets that one of ``pieces`` tells, each with what stands around it."""
    found = {}
    for piece in pieces:
        data = piece.encode("utf-8", "surrogateescape") if isinstance(piece, str) else piece
        small = data.lower()
        for secret in secrets:
            for trace in secret.traces:
                if (at := small.find(trace)) >= 0:
                    found[secret.word] = data[max(0, at - 60) : at + 60].decode("utf-8", "replace")
    return found

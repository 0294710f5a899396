"""The files that a configuration was made from, and how to tell that one has changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from exporter.config.signature import Signature, signature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.config.group import Group

Seen: TypeAlias = "dict[str, Signature | None]"
"""Files by their paths, with their signatures; None where there is none."""


@dataclass(frozen=True, slots=True)
class Sources:
    """``files`` were read by name, ``groups`` find the link files; ``seen`` is what was there then."""

    files: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()
    seen: Mapping[str, Signature | None] = field(default_factory=dict)

    def look(self) -> Mapping[str, Signature | None]:
        """What is there now. Blocks."""
        found: Seen = {path: signature(Path(path)) for path in self.files}
        for group in self.groups:
            found |= {str(group.folder / name): sign for name, sign in group.find().items()}
        return found

"""What tells a file from a changed one without reading it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

Signature: TypeAlias = tuple[int, ...]
"""Equal for a file that has not changed; empty: it must be read to know."""


def signature(path: Path) -> Signature | None:
    """The signature of the file at ``path``, symbolic links followed; None when there is none.

    A file that cannot be looked at, as on a network disk that is away, does not count as gone.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        return (getattr(error, "errno", 0) or 0,)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

"""Lines that change one at a time and are read all at once: joined in blocks, so that few are joined anew."""

from __future__ import annotations

BLOCK = 32
"""Lines in a block. Fewer make more to join at each reading, more make more to join anew for one change."""


class Blocks:
    """``count`` lines, empty at first, each in its place."""

    __slots__ = ("_blocks", "_changed", "_lines")

    def __init__(self, count: int) -> None:
        self._lines = [b""] * count
        self._blocks = [b""] * -(-count // BLOCK)
        self._changed: set[int] = set()

    def __setitem__(self, place: int, line: bytes) -> None:
        if self._lines[place] != line:
            self._lines[place] = line
            self._changed.add(place // BLOCK)

    def joined(self) -> list[bytes]:
        """All lines, in order, in a few pieces; not to be changed."""
        for block in self._changed:
            self._blocks[block] = b"".join(self._lines[block * BLOCK : (block + 1) * BLOCK])
        self._changed.clear()
        return self._blocks

"""Lines that change one at a time and are read all at once: joined in blocks, so that few are joined anew.

A line is kept in its joined block alone: kept once more by itself, the lines of many links would take more
memory than all else that is known of them.
"""

from __future__ import annotations

BLOCK = 32
"""Lines in a block. Fewer make more to join at each reading, more make more to copy for one change."""


class Blocks:
    """Lines, each in its place, empty at first. A line ends with its only newline, or is empty."""

    __slots__ = ("_joined", "_there")

    def __init__(self) -> None:
        self._joined: list[bytes] = []
        self._there: list[int] = []  # a bit for each line

    def __setitem__(self, place: int, line: bytes) -> None:
        block, index = divmod(place, BLOCK)
        while block >= len(self._joined):
            self._joined.append(b"")
            self._there.append(0)
        there = self._there[block]
        if there >> index:
            self._joined[block] = _with(self._joined[block], there, index, line)
        else:  # nothing here or behind it, as where lines are set in order at first
            self._joined[block] += line
        bit = 1 << index
        self._there[block] = there | bit if line else there & ~bit

    def joined(self) -> list[bytes]:
        """All lines, in order, in a few pieces; not to be changed."""
        return self._joined


def _with(text: bytes, there: int, index: int, line: bytes) -> bytes:
    """A block's text with another line, or none, at ``index``; the very same text where it stands there."""
    before = (there & ((1 << index) - 1)).bit_count()
    lines = text.split(b"\n", before + 1)
    here = slice(before, before + (there >> index & 1))
    changed = [line[:-1]] if line else []
    if lines[here] == changed:
        return text
    lines[here] = changed
    return b"\n".join(lines)

"""Lines that change one at a time and are read all at once: joined in blocks, so that few are joined anew.

A line is kept in its joined block alone: kept once more by itself, the lines of many links would take more
memory than all else that is known of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK = 32
"""Lines in a block. Fewer make more to join at each reading, more make more to copy for one change."""


class Blocks:
    """``count`` lines, each in its place, empty at first. A line ends with its only newline, or is empty."""

    __slots__ = ("_joined", "_there")

    def __init__(self, count: int) -> None:
        blocks = -(-count // BLOCK)
        self._joined = [b""] * blocks
        self._there = [0] * blocks  # a bit for each line

    def __setitem__(self, place: int, line: bytes) -> None:
        block, index = divmod(place, BLOCK)
        there = self._there[block]
        if there >> index:
            self._joined[block] = _with(self._joined[block], there, index, line)
        else:  # nothing here or behind it, as where lines are set in order at first
            self._joined[block] += line
        bit = 1 << index
        self._there[block] = there | bit if line else there & ~bit

    def moved(self, former: Sequence[int | None]) -> Blocks:
        """These lines in other places: each in ``former`` tells where its line is now, if there is one."""
        lines = [line for block in range(len(self._joined)) for line in self._apart(block)]
        moved = Blocks(len(former))
        for block in range(len(moved._joined)):
            places = former[block * BLOCK : (block + 1) * BLOCK]
            moved._put(block, [b"" if place is None else lines[place] for place in places])
        return moved

    def joined(self) -> list[bytes]:
        """All lines, in order, in a few pieces; not to be changed."""
        return self._joined

    def _apart(self, block: int) -> list[bytes]:
        lines = iter(self._joined[block].split(b"\n"))
        there = self._there[block]
        return [next(lines) + b"\n" if there >> index & 1 else b"" for index in range(BLOCK)]

    def _put(self, block: int, lines: list[bytes]) -> None:
        self._joined[block] = b"".join(lines)
        self._there[block] = sum(1 << index for index, line in enumerate(lines) if line)


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

"""Lines that change one at a time and are read all at once: joined in blocks, so that few are joined anew.

Between readings a line is kept in its joined block alone: kept once more by itself, the lines of many links
would take more memory than all else that is known of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK = 16
"""Lines in a block. Fewer make more to join at each reading, more make more to take apart for one change."""

OPEN = 256
"""Blocks that may be apart at a time: filling all of them leaves no more behind than their joined text."""


class Blocks:
    """``count`` lines, each in its place, empty at first.

    A line ends with its only newline, or is empty; no line is the end of another.
    """

    __slots__ = ("_joined", "_open", "_there")

    def __init__(self, count: int) -> None:
        blocks = -(-count // BLOCK)
        self._joined = [b""] * blocks
        self._there = [bytes(BLOCK)] * blocks
        self._open: dict[int, list[bytes]] = {}

    def __setitem__(self, place: int, line: bytes) -> None:
        block, index = divmod(place, BLOCK)
        lines = self._open.get(block)
        if lines is None:
            if self._stands(block, index, line):
                return
            if len(self._open) == OPEN:
                self._join()
            lines = self._open[block] = self._apart(block)
        lines[index] = line

    def moved(self, former: Sequence[int | None]) -> Blocks:
        """These lines in other places: each in ``former`` tells where its line is now, if there is one."""
        self._join()
        lines = [line for block in range(len(self._joined)) for line in self._apart(block)]
        moved = Blocks(len(former))
        for block in range(len(moved._joined)):
            places = former[block * BLOCK : (block + 1) * BLOCK]
            moved._put(block, [b"" if place is None else lines[place] for place in places])
        return moved

    def joined(self) -> list[bytes]:
        """All lines, in order, in a few pieces; not to be changed."""
        self._join()
        return self._joined

    def _stands(self, block: int, index: int, line: bytes) -> bool:
        """Whether that line is there already: no other line of a block has the same series in it."""
        return line in self._joined[block] if line else not self._there[block][index]

    def _apart(self, block: int) -> list[bytes]:
        lines = iter(self._joined[block].split(b"\n"))
        return [next(lines) + b"\n" if there else b"" for there in self._there[block]]

    def _join(self) -> None:
        for block, lines in self._open.items():
            self._put(block, lines)
        self._open.clear()

    def _put(self, block: int, lines: list[bytes]) -> None:
        self._joined[block] = b"".join(lines)
        self._there[block] = bytes(map(bool, lines))

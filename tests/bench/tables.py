"""What all benchmarks have in common: what is asked of them, how they say what they do, and their tables."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SIZES = (100, 1_000, 10_000, 100_000)
"""Numbers of links that are measured where nobody asks for others."""


@dataclass(frozen=True)
class Asked:
    """What the command line asks for, where a part leaves the choice; None for the part's own."""

    sizes: tuple[int, ...] | None = None
    seconds: float | None = None
    """How long a part that watches something watches it."""


def say(text: str) -> None:
    """Progress, on standard error."""
    print(f"  {text}", file=sys.stderr, flush=True)


def head(columns: str) -> str:
    """A table's first line; ``columns`` are its names with bars in between."""
    return f"| {columns} |"


def markdown(columns: str, rows: Iterable[Sequence[str]]) -> str:
    """A table: columns that begin with a number stand to the right."""
    cells = list(rows)
    first = cells[0] if cells else columns.split(" | ")
    rule = "|".join("---:" if re.fullmatch(r"[-+]?\d[\d.]*%?|–", cell) else "---" for cell in first)
    return "\n".join([head(columns), f"|{rule}|", *(f"| {' | '.join(row)} |" for row in cells)])


def figure(value: float | None, form: str) -> str:
    """A number in a cell; a dash where there is none."""
    return "–" if value is None else format(value, form)


def times(ratio: float) -> str:
    """A ratio in a cell, with no more digits than it deserves."""
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"

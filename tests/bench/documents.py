"""Where the tables stand in a document: between ``<!-- bench: PART -->`` and ``<!-- end -->``."""

from __future__ import annotations

import re

_PLACE = re.compile(r"(<!-- bench: (\S+) -->\n)(.*?)(\n<!-- end -->)", re.DOTALL)


def put(document: str, name: str, table: str) -> str:
    """``document`` with another table of that part; the same where it has no place."""

    def replaced(found: re.Match[str]) -> str:
        return f"{found[1]}{table if found[2] == name else found[3]}{found[4]}"

    return _PLACE.sub(replaced, document)


def tables(document: str) -> dict[str, str]:
    """The tables that stand in ``document``, by part."""
    return {found[2]: found[3] for found in _PLACE.finditer(document)}

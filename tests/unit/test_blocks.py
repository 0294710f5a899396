from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exporter.blocks import BLOCK, Blocks

PLACES = st.integers(0, 3 * BLOCK)
VALUES = st.sampled_from(["", "1", "22"])


@given(st.lists(st.tuples(PLACES, VALUES, st.booleans())))
def test_what_is_read_is_what_was_set_last(changes: list[tuple[int, str, bool]]) -> None:
    blocks, plain = Blocks(), [b""] * (3 * BLOCK + 1)
    for place, value, read in changes:
        line = f"<{place}> {value}\n".encode() if value else b""
        blocks[place] = plain[place] = line
        if read:
            assert b"".join(blocks.joined()) == b"".join(plain)
    assert b"".join(blocks.joined()) == b"".join(plain)


def test_only_what_changed_is_joined_anew() -> None:
    blocks = Blocks()
    blocks[0] = blocks[BLOCK] = b"a\n"
    first, second = blocks.joined()
    blocks[BLOCK] = b"b\n"
    blocks[0] = b"a\n"
    assert blocks.joined()[0] is first
    assert blocks.joined()[1] != second

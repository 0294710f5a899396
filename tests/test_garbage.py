"""The search for garbage, put off and taken up again."""

from __future__ import annotations

import gc

from exporter.garbage import uncollected


def test_it_is_off_meanwhile_and_on_again_at_the_end_of_the_outermost() -> None:
    assert gc.isenabled()
    with uncollected():
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()

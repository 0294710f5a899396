"""The places in which the tests of the contract keep events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.journal.places import Place, SqlitePlace

if TYPE_CHECKING:
    from pathlib import Path

PLACES = ["memory", "sqlite"]
"""Every place must pass ``test_contract``."""


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place of each kind."""
    return Place() if request.param == "memory" else SqlitePlace(tmp_path)


@pytest.fixture
def disk(tmp_path: Path) -> SqlitePlace:
    """One SQLite file."""
    return SqlitePlace(tmp_path)

"""Which journal a storage URL means."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.errors import StorageError
from exporter.journal import MemoryJournal, SharedJournal, journal_for
from exporter.secret import SecretStr
from tests import needs
from tests.virtual import VirtualClock


@pytest.fixture
def without_redis() -> Iterator[None]:
    """As where the package for Redis is not installed."""
    names = [name for name in sys.modules if name.split(".")[0] == "redis" or "journal.redis" in name]
    removed = {name: sys.modules.pop(name) for name in names}
    sys.modules["redis"] = None  # type: ignore[assignment]  # Python's way to say that there is none
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "redis" or "journal.redis" in name]:
        del sys.modules[name]
    sys.modules.update(removed)


def test_memory_and_files() -> None:
    assert isinstance(journal_for(SecretStr("memory:"), VirtualClock()), MemoryJournal)


@pytest.mark.parametrize("guest", [False, True])
def test_a_guest_of_a_file_sends_nothing_that_is_not_on_record(guest: bool, tmp_path: Path) -> None:
    journal = journal_for(SecretStr(f"sqlite:{tmp_path}/x.db"), VirtualClock(), guest=guest)
    assert isinstance(journal, SharedJournal)
    assert journal.fail_closed is guest


@needs.redis
def test_redis() -> None:
    journal = journal_for(SecretStr("rediss://:hunter2@127.0.0.1:6380/3"), VirtualClock())
    assert isinstance(journal, SharedJournal)
    assert journal.fail_closed
    assert "hunter2" not in repr(journal)


@pytest.mark.usefixtures("without_redis")
def test_redis_without_its_package_says_what_to_install() -> None:
    with pytest.raises(StorageError, match=r"pip install '\.\[redis\]'") as caught:
        journal_for(SecretStr("redis://:hunter2@127.0.0.1"), VirtualClock())
    assert "hunter2" not in str(caught.value)

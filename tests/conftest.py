"""What all tests share."""

from __future__ import annotations

import io
import os
from itertools import zip_longest
from typing import TYPE_CHECKING

import pytest
from coverage import Coverage
from hypothesis import settings

from exporter import logs
from tests import needs

if TYPE_CHECKING:
    from collections.abc import Iterator

# The same examples each time where a change is judged; new ones each time where it is made.
settings.register_profile("ci", derandomize=True)
settings.load_profile("ci" if "CI" in os.environ else "default")


def pytest_configure(config: pytest.Config) -> None:
    """Lines that only skipped tests would reach are not held against the others."""
    measuring = config.pluginmanager.getplugin("_cov")  # it has options of its own, read before all others
    if needs.MISSING and measuring is not None:
        measuring.options.cov_fail_under = 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that wait for minutes begin first, the longest before all: the others are done meanwhile.

    Between two of them comes one that does not wait, for xdist gives each worker two tests at once.
    """
    waiting = sorted(filter(_minutes, items), key=_minutes, reverse=True)
    for item in waiting:
        item.add_marker("uncovered")
    others = [item for item in items if not _minutes(item)]
    between = others[: len(waiting)]
    items[:] = [item for pair in zip_longest(waiting, between) for item in pair if item]
    items += others[len(waiting) :]


def _minutes(item: pytest.Item) -> int:
    marker = item.get_closest_marker("minutes")
    return marker.args[0] if marker and marker.args else int(marker is not None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Nothing is noted of what an uncovered test and its exporters run through.

    pytest-cov's own way stops one of the two recorders that a process of xdist's has.
    """
    if item.get_closest_marker("uncovered") is None:
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        recorders = []
        while (recorder := Coverage.current()) is not None:
            recorder.stop()
            recorders.append(recorder)
        try:
            return (yield)
        finally:
            for recorder in reversed(recorders):
                recorder.start()


@pytest.fixture(autouse=True)
def _quiet_logs() -> None:
    """Events go nowhere, as the exporter configures them; a test that looks at them captures them."""
    logs.configure("error", "logfmt", io.StringIO())

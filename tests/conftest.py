"""What all tests share."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import settings

from exporter import logs

# The same examples each time where a change is judged; new ones each time where it is made.
settings.register_profile("ci", derandomize=True)
settings.load_profile("ci" if "CI" in os.environ else "default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that wait for minutes begin first: the others are done meanwhile."""
    items.sort(key=lambda item: item.get_closest_marker("minutes") is None)
    for item in items:
        if item.get_closest_marker("minutes"):
            item.add_marker("no_cover")


@pytest.fixture(autouse=True)
def _uncovered(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it noted what such a test's exporters run through, which would take four times as long."""
    if request.node.get_closest_marker("no_cover"):
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture(autouse=True)
def _quiet_logs() -> None:
    """Events go nowhere, as the exporter configures them; a test that looks at them captures them."""
    logs.configure("error", "logfmt", io.StringIO())

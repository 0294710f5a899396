"""What all tests share."""

from __future__ import annotations

import io

import pytest

from exporter import logs


@pytest.fixture(autouse=True)
def _quiet_logs() -> None:
    """Events go nowhere, as the exporter configures them; a test that looks at them captures them."""
    logs.configure("error", "logfmt", io.StringIO())

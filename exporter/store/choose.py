"""Which backend a storage URL means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exporter.store.backend import MemoryBackend
from exporter.store.sqlite import SqliteBackend

if TYPE_CHECKING:
    from pydantic import SecretStr

    from exporter.clock import Clock
    from exporter.store.backend import Backend


def backend_for(url: SecretStr, clock: Clock) -> Backend:
    """The backend that ``url`` names; the configuration has seen to it that there is one."""
    scheme, _, path = url.get_secret_value().partition(":")
    return SqliteBackend(Path(path), clock) if scheme == "sqlite" else MemoryBackend()

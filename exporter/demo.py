"""The demo: the exporter against the built-in simulator, without credentials."""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from exporter import simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LOGIN = _PASSWORD = "demo"  # noqa: S105 - the simulator's own, known to everybody

_MISSPELT = {"id": "145124", "name": "misspelt-id"}
"""A deliberately wrong id, so that one link fails and an alert fires."""


@asynccontextmanager
async def demo() -> AsyncIterator[tuple[str, Path]]:
    """The simulator while the context lasts: its URL, and a configuration that reads from it."""
    settings = simulator.Settings(latency="0.05-0.2")
    with tempfile.TemporaryDirectory(prefix="smsc-exporter-demo-") as folder:
        async with simulator.serving(simulator.Provider(settings)) as url:
            path = Path(folder) / "config.yaml"
            path.write_text(yaml.safe_dump(_document(settings, url), allow_unicode=True), encoding="utf-8")
            yield url, path


def _document(settings: simulator.Settings, url: str) -> dict[str, object]:
    links = [{"id": link.id, "name": link.name, "labels": {"shape": link.shape}} for link in settings.links]
    account = {"name": "demo", "login": _LOGIN, "password": _PASSWORD, "base_url": url}
    accounts = [{**account, "links": [*links, _MISSPELT]}]
    return {"refresh_interval": "21s", "storage": {"url": "memory:"}, "accounts": accounts}

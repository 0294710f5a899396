"""The house: which room stands on which floor, and that imports only point down."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "exporter"
FLOORS = [
    {"blocks", "errors", "clock", "logs", "rules", "garbage", "slices", "storage_url", "threads"},
    {"model"},
    {"config", "provider", "exposition", "telemetry", "store"},
    {"polling", "webconfig"},
    {"web", "demo"},
    {"app"},
    {"cli"},
    {"__main__"},
]
ANNEX = "simulator"  # the tests' independent judge
PURE = {"blocks", "errors", "rules", "model", "exposition"}
OUTSIDE = {"asyncio", "aiohttp", "socket", "time", "os", "threading", "subprocess"}


def _rooms() -> dict[str, list[Path]]:
    rooms: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        rooms.setdefault(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), []).append(path)
    del rooms["__init__"]
    return rooms


def _imported(path: Path) -> Iterator[str]:
    """The dotted names a file imports, those for type checkers included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _imported_rooms(room: str) -> set[str]:
    names = (name for path in _rooms()[room] for name in _imported(path))
    rooms = {name.split(".")[1] for name in names if name.startswith("exporter.")}
    return rooms - {room, "__version__"}


def test_every_room_has_its_floor() -> None:
    assert set().union(*FLOORS, {ANNEX}) == _rooms().keys()


@pytest.mark.parametrize("level", range(len(FLOORS)))
def test_imports_only_point_to_a_lower_floor(level: int) -> None:
    below = set().union(*FLOORS[:level], {ANNEX} if level >= 4 else set())
    for room in FLOORS[level]:
        assert _imported_rooms(room) <= below, room


def test_the_simulator_imports_nothing_of_the_package() -> None:
    assert _imported_rooms(ANNEX) == set()


def test_the_end_waits_for_no_thread_but_the_storages() -> None:
    """Threads are those of ``exporter.threads``; the storage's alone has something to lose."""
    pool = "concurrent.futures.ThreadPoolExecutor"
    with_threads = {path.name for paths in _rooms().values() for path in paths if pool in _imported(path)}
    assert with_threads == {"threads.py", "sqlite.py"}


@pytest.mark.parametrize("room", sorted(PURE))
def test_pure_rooms_touch_neither_clock_nor_network(room: str) -> None:
    for path in _rooms()[room]:
        assert not {name.split(".")[0] for name in _imported(path)} & OUTSIDE, path


def test_what_is_installed_is_what_is_imported() -> None:
    """Each dependency is used, and nothing is used that is not asked for (tzdata is read by zoneinfo)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {line.split(">=")[0] for line in project["dependencies"]}
    names = {name.split(".")[0] for paths in _rooms().values() for path in paths for name in _imported(path)}
    asked |= {line.split(">=")[0].split("[")[0] for line in project["optional-dependencies"]["redis"]}
    used = {"PyYAML": "yaml", "prometheus-client": "prometheus_client"}
    ours = {used.get(name, name) for name in asked - {"tzdata"}}
    assert ours <= names
    third_party = {
        "aiohttp",
        "bcrypt",
        "redis",
        "isal",
        "jinja2",
        "prometheus_client",
        "pydantic",
        "pydantic_core",
        "structlog",
        "yaml",
        "yarl",
    }
    assert names & third_party - {"yarl", "pydantic_core"} == ours


def test_the_root_holds_nothing_unexpected() -> None:
    expected = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "config.yaml"}
    expected |= {"exporter", "tests", "deploy", "grafana", "docs"}
    there = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert there - expected <= {"build", "dist", "data"}
    assert expected <= there

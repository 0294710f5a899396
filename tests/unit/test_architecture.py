"""The house: which room stands on which floor, and that imports only point down."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "exporter"
FLOORS = [
    {"errors", "clock", "logs", "sdnotify", "secret", "signals", "threads"},
    {"model", "storage_url"},
    {"limits", "provider"},
    {"journal"},
    {"config"},
    {"snapshots", "exposition", "telemetry"},
    {"polling", "webconfig"},
    {"web", "reloading"},
    {"app"},
    {"cli"},
    {"__main__"},
]
ANNEX = "simulator"  # the tests' independent judge
ANNEX_FROM = {"cli"}
PURE = ["errors", "model", "limits", "exposition"]
PURE += [f"polling.{name}" for name in ("planner", "queue", "weights", "concurrency", "constants")]
OUTSIDE = {"asyncio", "aiohttp", "socket", "ssl", "time", "os", "threading", "subprocess", "concurrent"}
LIMITS = {"RATE_LIMIT", "MAX_IN_FLIGHT", "FAILED_LOGIN_LIMIT"}
LIMITS |= {"RATE_WINDOW", "FAILED_LOGIN_WINDOW", "ABANDONED_TTL"}
LITERALS = {14, 61, 1800, 1801}
"""Those of the limits' figures that mean nothing else."""
KNOWN_TO = {
    "config": {"MAX_IN_FLIGHT"},  # the most that a key takes
    "web": {"FAILED_LOGIN_LIMIT"},  # the status page names it
    "telemetry": {"RATE_LIMIT"},  # how many requests are possible
    "polling": {"MAX_IN_FLIGHT"},  # the default of a limit that the ledger applies
    "journal": {"FAILED_LOGIN_LIMIT", "FAILED_LOGIN_WINDOW"},  # what to assume after a loss, and for how long
}
"""Who else may name a limit. Whether a request may leave depends on the ledger alone."""


def _rooms() -> dict[str, list[Path]]:
    rooms: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        rooms.setdefault(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), []).append(path)
    del rooms["__init__"]
    return rooms


def _imported(path: Path, *, when_run: bool = False) -> Iterator[str]:
    """The dotted names a file imports; ``when_run`` leaves out those that are for type checkers alone."""
    tree = ast.parse(path.read_text())
    unrun = {
        id(inner)
        for node in ast.walk(tree)
        if when_run and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in unrun:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _file_of(name: str) -> Path | None:
    """The file of a module, or of the module that a name is from."""
    for dotted in (name, name.rpartition(".")[0]):
        path = ROOT.joinpath(*dotted.split("."))
        if path.with_suffix(".py").is_file():
            return path.with_suffix(".py")
        if (path / "__init__.py").is_file():
            return path / "__init__.py"
    return None


def _reached(path: Path, seen: dict[Path, set[str]]) -> dict[Path, set[str]]:
    """All files of the package that run when this one is imported, with what each imports from elsewhere."""
    if path in seen:
        return seen
    names = set(_imported(path, when_run=True))
    seen[path] = {name.split(".")[0] for name in names} - {"exporter"}
    for parent in path.relative_to(ROOT).parents:
        if (package := ROOT / parent / "__init__.py").is_file():
            _reached(package, seen)
    for name in names:
        if name.split(".")[0] == "exporter" and (file := _file_of(name)) is not None:
            _reached(file, seen)
    return seen


def _imported_rooms(room: str) -> set[str]:
    names = (name for path in _rooms()[room] for name in _imported(path))
    rooms = {name.split(".")[1] for name in names if name.startswith("exporter.")}
    return rooms - {room, "__version__"}


def test_every_room_has_its_floor() -> None:
    assert set().union(*FLOORS, {ANNEX}) == _rooms().keys()


@pytest.mark.parametrize("level", range(len(FLOORS)))
def test_imports_only_point_to_a_lower_floor(level: int) -> None:
    below = set().union(*FLOORS[:level])
    for room in FLOORS[level]:
        assert _imported_rooms(room) <= below | ({ANNEX} if room in ANNEX_FROM else set()), room


def test_the_simulator_imports_nothing_of_the_package() -> None:
    assert _imported_rooms(ANNEX) == set()


def test_the_end_waits_for_no_thread_but_the_storages() -> None:
    """Threads are those of ``exporter.threads``; the storage's alone has something to lose."""
    pool = "concurrent.futures.ThreadPoolExecutor"
    with_threads = {path.name for paths in _rooms().values() for path in paths if pool in _imported(path)}
    assert with_threads == {"threads.py", "sqlite.py"}


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_reach_neither_clock_nor_network(name: str) -> None:
    """Neither by themselves nor through another module."""
    module = PACKAGE.joinpath(*name.split("."))
    for path in module.rglob("*.py") if module.is_dir() else [module.with_suffix(".py")]:
        for file, names in _reached(path, {}).items():
            assert not names & OUTSIDE, f"{path} reaches {file}"


def test_a_module_reaches_what_it_imports_through_another() -> None:
    """``oneshot`` imports the client by way of its package, and the client imports aiohttp."""
    reached = _reached(PACKAGE / "polling" / "oneshot.py", {})
    assert "aiohttp" in reached[PACKAGE / "provider" / "client.py"]
    assert PACKAGE / "limits" / "ledger.py" in reached


def _elsewhere() -> Iterator[tuple[str, Path, ast.AST]]:
    """The syntax of all files that may not know the limits' figures, without docstrings, and their rooms."""
    for room, paths in _rooms().items():
        for path in paths if room not in ("limits", ANNEX) else []:
            tree = ast.parse(path.read_text())
            said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            yield from ((room, path, node) for node in ast.walk(tree) if id(node) not in said)


def _names(node: ast.AST) -> set[str]:
    if isinstance(node, ast.ImportFrom):
        return {alias.name for alias in node.names}
    return (
        {node.id} if isinstance(node, ast.Name) else {node.attr} if isinstance(node, ast.Attribute) else set()
    )


def _figures(node: ast.AST) -> set[float]:
    """Numbers in the code, and in the SQL and Lua that it holds."""
    if not isinstance(node, ast.Constant):
        return set()
    if isinstance(node.value, str):
        return set(map(float, re.findall(r"\b\d{2,}\b", node.value)))
    return {node.value} if isinstance(node.value, int | float) else set()


def test_the_figures_of_the_limits_are_defined_once() -> None:
    tree = ast.parse((PACKAGE / "limits" / "constants.py").read_text())
    defined = {
        one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
    }
    assert defined >= LIMITS
    for _, path, node in _elsewhere():
        assert not _figures(node) & LITERALS, f"{path}:{node.lineno}"  # type: ignore[attr-defined]  # a statement has a line


def test_the_limits_are_used_where_requests_are_decided_on_and_named_where_that_is_needed() -> None:
    for room, path, node in _elsewhere():
        assert _names(node) & LIMITS <= KNOWN_TO.get(room, set()), f"{path}:{node.lineno}"  # type: ignore[attr-defined]  # a statement has a line
    decides = PACKAGE / "limits" / "attempts.py", PACKAGE / "limits" / "logins.py"
    used = {
        name for path in decides for node in ast.walk(ast.parse(path.read_text())) for name in _names(node)
    }
    assert used >= LIMITS


def test_every_docstring_says_by_itself_what_it_is_about() -> None:
    for paths in _rooms().values():
        for path in paths:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert not node.value.startswith("The same"), f"{path}:{node.lineno}"


def test_what_is_installed_is_what_is_imported() -> None:
    """Each dependency is used, and nothing is used that is not asked for (tzdata is read by zoneinfo)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {re.split(r"[\[>=]", line)[0] for line in project["dependencies"]}
    names = {name.split(".")[0] for paths in _rooms().values() for path in paths for name in _imported(path)}
    asked |= {re.split(r"[\[>=]", line)[0] for line in project["optional-dependencies"]["redis"]}
    used = {"PyYAML": "yaml", "prometheus-client": "prometheus_client", "markdown-it-py": "markdown_it"}
    ours = {used.get(name, name) for name in asked - {"tzdata"}}
    assert ours <= names
    third_party = {
        "aiohttp",
        "bcrypt",
        "markdown_it",
        "redis",
        "isal",
        "jinja2",
        "prometheus_client",
        "structlog",
        "yaml",
        "yarl",
    }
    assert names & third_party - {"yarl"} == ours


def test_the_root_holds_nothing_unexpected() -> None:
    expected = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "config.yaml"}
    expected |= {"CONTRIBUTING.md", "SECURITY.md"}
    expected |= {"exporter", "tests", "deploy", "grafana", "docs"}
    there = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert there - expected <= {"build", "dist", "data"}
    assert expected <= there

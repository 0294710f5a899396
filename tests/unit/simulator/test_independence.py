import ast
import sys
from pathlib import Path

import exporter.simulator

ALLOWED = {"aiohttp"} | sys.stdlib_module_names
FILES = sorted(Path(exporter.simulator.__file__).parent.glob("*.py"))


def imported(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)}


def test_the_simulator_imports_nothing_of_what_it_judges() -> None:
    names = {name for file in FILES for name in imported(file)}
    strangers = {name for name in names if not name.startswith("exporter.simulator.")}
    assert "aiohttp" in strangers
    assert {name.partition(".")[0] for name in strangers} <= ALLOWED


def test_the_auditor_shares_nothing_with_the_limits() -> None:
    auditor, limits = (
        {name for file in FILES if file.stem == stem for name in imported(file)}
        for stem in ("auditor", "limits")
    )
    assert auditor
    assert limits
    assert not any(name.startswith("exporter") for name in auditor | limits)

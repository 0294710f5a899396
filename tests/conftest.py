"""What all tests share."""

from __future__ import annotations

import io
import os
import resource
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from itertools import zip_longest
from pathlib import Path

import pytest
from hypothesis import settings

from exporter import logs
from tests import forkserver

# What is compiled once need not be compiled by every worker, and by every exporter that a test starts.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Nor need every exporter read the authorities of the world, a fifth of its start: no test asks them.
os.environ["SSL_CERT_FILE"] = os.devnull

# The same examples each time where a change is judged, new ones where it is made. No deadline: a busy
# machine is no error.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if "CI" in os.environ else "here")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Each worker reads all files of tests, which takes seconds: so not those of which no test will run."""
    if collection_path.suffix != ".py":
        return None
    chosen: str = config.option.markexpr
    if "unit" not in collection_path.parts:
        return chosen == "not slow" or None
    return (chosen == "slow" and "mark.slow" not in collection_path.read_text()) or None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All but unit tests are slow. Those that wait for minutes begin first, the longest before all.

    Between two of them comes one that does not wait, for xdist gives each worker two tests at once.
    """
    for item in items:
        if "unit" not in item.path.parts:
            item.add_marker("slow")
    waiting = sorted(filter(_minutes, items), key=_minutes, reverse=True)
    others = [item for item in items if not _minutes(item)]
    between = others[: len(waiting)]
    items[:] = [item for pair in zip_longest(waiting, between) for item in pair if item]
    items += others[len(waiting) :]


def _minutes(item: pytest.Item) -> int:
    marker = item.get_closest_marker("slow")
    return marker.args[0] if marker and marker.args else 0


def _spent() -> float:
    """Seconds of processor time so far, those of processes that ended included."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


_BEFORE = pytest.StashKey[float]()
_COST = "processor seconds"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    item.stash[_BEFORE] = _spent()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "teardown":
        report.user_properties.append((_COST, _spent() - item.stash[_BEFORE]))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what the tests of each folder cost. What several tests share is counted under the first."""
    costs = Counter[str]()
    for report in terminalreporter.getreports(""):
        folder = report.nodeid.partition("::")[0].rpartition("/")[0]
        costs[folder] += sum(cost for name, cost in report.user_properties if name == _COST)
    if costs:
        terminalreporter.section("processor seconds by folder")
    for folder, cost in costs.most_common():
        terminalreporter.line(f"{cost:8.1f}  {folder}")


@pytest.fixture(autouse=True, scope="session")
def _ended_forkserver() -> Iterator[None]:
    yield
    forkserver.end()


@pytest.fixture(autouse=True)
def _quiet_logs() -> None:
    """Events go nowhere, as the exporter configures them; a test that looks at them captures them."""
    logs.configure("error", "logfmt", io.StringIO())

"""Which files a pattern of ``link_files`` finds, and how many."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from exporter.config import Sources, load
from exporter.config.sources import MOST_FILES
from exporter.errors import ConfigError
from tests.unit.config.test_bad_links import faults_of, write_config


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.csv", ["a.csv"]),
        ("./a.csv", ["a.csv"]),
        (".*.csv", [".hidden.csv"]),
        ("*/[ab].csv", ["one/a.csv", "two/b.csv"]),
        ("one/../*/?.csv", ["one/a.csv", "two/b.csv"]),
        ("one/[[]x].csv", ["one/[x].csv"]),
        ("a.csv/*", []),
    ],
)
def test_signs_are_those_of_a_shell(pattern: str, found: list[str], tmp_path: Path) -> None:
    for name in ["a.csv", ".hidden.csv", "one/a.csv", "one/[x].csv", "one/.two/c.csv", "two/b.csv"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert Sources().find(tmp_path, pattern) == found


def test_links_to_files_are_files(tmp_path: Path) -> None:
    (tmp_path / "b.csv").touch()
    (tmp_path / "a.csv").symlink_to("b.csv")
    (tmp_path / "gone.csv").symlink_to("nowhere")
    assert Sources().find(tmp_path, "*.csv") == ["a.csv", "b.csv"]


def test_pattern_that_later_finds_too_much_keeps_the_old_configuration(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "0.csv").write_text("id\n1\n")
    path = write_config(tmp_path, "links/*.csv")
    sources = Sources()
    config = load(path, {}, sources=sources)
    for number in range(1, MOST_FILES + 1):
        os.link(tmp_path / "links" / "0.csv", tmp_path / "links" / f"{number}.csv")
    sources.look()  # and does not fail
    with pytest.raises(ConfigError, match="finds more than 10000 files: name a folder with fewer"):
        load(path, {}, config)


def test_files_of_the_kernel_are_not_read(tmp_path: Path) -> None:
    assert faults_of(tmp_path, "/proc/self/[s]tatus") == (
        "/proc/self/status: its name must end in .yaml, .yml, .json or .csv: rename it, or narrow the pattern"
    )
    (tmp_path / "kernel.csv").symlink_to("/proc/kmsg")
    assert faults_of(tmp_path, "kernel.csv") == (
        "kernel.csv: is empty: name the columns in its first line, such as id,name"
    )

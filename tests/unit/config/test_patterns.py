"""Which files a pattern of ``link_files`` finds, and where its walk ends."""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from exporter.config import Sources, load
from exporter.config.patterns import MOST_ENTRIES, TooManyEntriesError, matches
from exporter.errors import ConfigError
from tests.unit.config.test_bad_links import faults_of, write_config

if TYPE_CHECKING:
    from pathlib import Path

FILES = ["a.csv", "b.yaml", ".hidden.csv", "one/a.csv", "one/two/b.csv", "one/.two/c.csv", "one/[x].csv"]
STEPS = st.sampled_from(
    ["*", "**", "*.csv", "one", "t*", "..", ".", "[ab].*", "?.csv", ".*", "a.csv", "[[]x*"]
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree") / "1" / "2" / "3" / "4"  # so that .. finds nothing of others
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@given(steps=st.lists(STEPS, min_size=1, max_size=4), absolute=st.booleans())
def test_same_files_as_the_standard_library_finds(tree: Path, steps: list[str], absolute: bool) -> None:
    # Nothing is below a file, but the standard library says so of "file/**".
    above = ("/".join(steps[:end]) for end in range(1, len(steps)) if "**" not in steps[:end])
    assume(not any((tree / name).is_file() for each in above for name in glob.iglob(each, root_dir=tree)))
    pattern = "/".join([str(tree), *steps] if absolute else steps)
    expected = {os.path.normpath(name) for name in glob.iglob(pattern, root_dir=tree, recursive=True)}
    if "**" in steps:  # a folder is no file to read
        expected = {name for name in expected if (tree / name).is_file()}
        assert {name for name in matches(pattern, tree) if (tree / name).is_file()} == expected
    else:
        assert set(matches(pattern, tree)) == expected


def test_links_to_folders_are_not_followed_at_any_depth(tmp_path: Path) -> None:
    links = tmp_path / "links"
    links.mkdir()
    (links / "a.csv").write_text("id\n1\n")
    (links / "up").symlink_to("..")
    (links / "also-up").symlink_to("..")
    assert matches("links/**/*.csv", tmp_path) == ["links/a.csv"]
    assert matches("links/up/links/*.csv", tmp_path) == ["links/up/links/a.csv"]
    config = load(write_config(tmp_path, "links/**/*.csv"), {})
    assert [link.name for link in config.accounts[0].links] == ["1"]


def test_any_depth_alone_is_any_file(tmp_path: Path) -> None:
    (tmp_path / "one" / "two").mkdir(parents=True)
    (tmp_path / "one" / "two" / "a.csv").touch()
    (tmp_path / "b.csv").touch()
    assert matches("**", tmp_path) == ["b.csv", "one/two/a.csv"]
    assert matches("one/**", tmp_path) == ["one/two/a.csv"]


def test_links_to_files_are_files(tmp_path: Path) -> None:
    (tmp_path / "b.csv").touch()
    (tmp_path / "a.csv").symlink_to("b.csv")
    (tmp_path / "loop").symlink_to("loop")
    assert matches("**/*.csv", tmp_path) == ["a.csv", "b.csv"]
    assert matches("*/a.csv", tmp_path) == []


def test_walk_that_looks_at_too_much_is_an_error(tmp_path: Path) -> None:
    for number in range(MOST_ENTRIES // 100):
        (tmp_path / "many" / str(number)).mkdir(parents=True)
    for number in range(200):
        (tmp_path / "many" / "0" / str(number)).mkdir()
    with pytest.raises(TooManyEntriesError):
        matches("many/*/../*/../*/x", tmp_path)
    assert faults_of(tmp_path, "many/*/../*/../*/x.csv") == (
        "config.yaml:4:63: accounts[0].link_files[0]: looks at more than 10000 files and folders: "
        "name a folder with fewer"
    )


def test_folders_nested_without_end_are_left(tmp_path: Path) -> None:
    """Where a name gets longer than the system takes, even if the folders go on."""
    there = os.open(tmp_path, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("d" * 200, dir_fd=there)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=there)
        os.close(there)
        there = below
    os.close(there)
    (tmp_path / "a.csv").touch()
    assert matches("**/*.csv", tmp_path) == ["a.csv"]


def test_walk_that_grows_too_large_later_keeps_the_old_configuration(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.csv").write_text("id\n1\n")
    path = write_config(tmp_path, "links/*/../*/../*.csv")
    sources = Sources()
    config = load(path, {}, sources=sources)
    for number in range(150):
        (tmp_path / "links" / str(number)).mkdir()
    assert sources.look() == sources.seen  # and does not fail
    with pytest.raises(ConfigError, match="looks at more than 10000 files and folders"):
        load(path, {}, config)


def test_files_of_the_kernel_are_not_read(tmp_path: Path) -> None:
    assert faults_of(tmp_path, "/proc/self/[s]tatus") == (
        "/proc/self/status: its name must end in .yaml, .yml, .json or .csv: rename it, or narrow the pattern"
    )
    (tmp_path / "kernel.csv").symlink_to("/proc/kmsg")
    assert faults_of(tmp_path, "kernel.csv") == (
        "kernel.csv: is empty: name the columns in its first line, such as id,name"
    )

"""Every link file in ``bad_links`` is named after its fault; beside it stands the whole message it gives."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from exporter.config import Config, LinkFile, load
from exporter.config.document import MOST_FAULTS, MOST_LINKS
from exporter.config.sources import MOST_BYTES
from exporter.errors import ConfigError
from exporter.secret import SecretStr
from tests.factories import make_links
from tests.unit.config.test_faults import refused

BAD = Path(__file__).parent / "bad_links"
NAMES = sorted(path.name for path in BAD.iterdir() if path.suffix != ".txt")
TOP = "storage: {url: 'memory:'}\nstale_after: 15m\naccounts:\n"


def faults_of(folder: Path, *patterns: str, links: str = "") -> str:
    """What is wrong with the link files of an account, their folder's name left out."""
    with pytest.raises(ConfigError) as caught:
        load(write_config(folder, *patterns, links=links), {})
    return str(caught.value).replace(f"{folder}/", "").replace(f"{BAD}/", "")


def write_config(folder: Path, *patterns: str, links: str = "") -> Path:
    """A configuration of one account with these link files."""
    account = f"{{name: main, login: alex, password: hunter2, link_files: {list(patterns)}{links}}}"
    path = folder / "config.yaml"
    path.write_text(f"{TOP}  - {account}\n", "utf-8")
    return path


@pytest.mark.parametrize("name", NAMES)
def test_message(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_config(tmp_path, str(BAD / name))
    said = refused(capsys, f"--config.file={path}")
    assert said.replace(f"{BAD}/", "") == (BAD / f"{name}.txt").read_text("utf-8")


def test_ages_are_measured_by_the_longest_interval(tmp_path: Path) -> None:
    (tmp_path / "links.csv").write_text("id,refresh_interval,stale_after\n1,,25m\n2,10m,25m\n3,,2h\n")
    more = ", refresh: adaptive, max_interval: 30m, stale_after: 1h"
    assert faults_of(tmp_path, "links.csv", links=more) == (
        "links.csv:2:1: stale_after: stale_after (25m) must be longer than one and a half times max_interval "
        "(30m), or series disappear between readings: write stale_after: 1h30m"
    )


def test_every_expectation_has_its_file() -> None:
    assert sorted(path.stem for path in BAD.glob("*.txt")) == NAMES
    assert len(NAMES) >= 50


def test_directory(tmp_path: Path) -> None:
    (tmp_path / "links.yaml").mkdir()
    assert faults_of(tmp_path, "*.yaml").splitlines()[-1] == (
        "links.yaml: is a directory: name the file in it under link_files"
    )


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    # A loop of symbolic links cannot be read by anyone, root included
    os.symlink(tmp_path / "loop.csv", tmp_path / "loop.csv")
    assert faults_of(tmp_path, "loop.csv") == (
        "loop.csv: cannot be read (Too many levels of symbolic links): name another under link_files"
    )


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    message = "pipe.csv: cannot be read (it is a device or a pipe): name another under link_files"
    assert faults_of(tmp_path, "pipe.csv") == message


def test_file_that_is_too_large(tmp_path: Path) -> None:
    with (tmp_path / "dump.csv").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    assert faults_of(tmp_path, "dump.csv") == (
        "dump.csv: cannot be read (it is larger than 8 MiB): name another under link_files"
    )


def test_json_that_is_nested_without_end(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 100_000)
    assert faults_of(tmp_path, "a.json").startswith("a.json:1:1: is nested more than 50 levels deep")


def test_alias_bomb(tmp_path: Path) -> None:
    bomb = (Path(__file__).parent / "bad" / "alias-bomb.yaml").read_text()
    (tmp_path / "bomb.yaml").write_text(bomb)
    assert "aliases make this document larger than 100366 values" in faults_of(tmp_path, "bomb.yaml")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "- {id: 1, nam: x}\n" * 300),
        ("a.json", "[" + '{"id": 1, "id": 2},\n' * 300 + "[]]"),
        ("a.csv", "id\n" + "1,2\n" * 300),
        ("b.csv", "id\n" + "1\n" * 300),
    ],
)
def test_errors_without_end(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    told = faults_of(tmp_path, name).splitlines()
    assert len(told) == MOST_FAULTS + 1
    assert told[-1].endswith(": more than 100 errors: correct the others first")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.yaml",
            "- {" + "".join(f"k{n}: 1, " for n in range(1001)) + "}",
            "mapping has more than 1000 keys",
        ),
        ("a.yaml", "- 1\n" * (MOST_LINKS + 1), "list has more than 100000 entries"),
        ("a.json", "[" + "{}," * MOST_LINKS + "{}]", "list has more than 100000 entries"),
        ("a.csv", "id\n" + "1\n" * (MOST_LINKS + 1), "more than 100000 links"),
    ],
)
def test_file_with_too_much_in_it(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    assert message in faults_of(tmp_path, name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text", "objects"),
    [
        ("a.json", '["' + "\\n" * 200_000 + '"]', 0),
        ("a.json", "[" + "{}," * 300_000 + "{}]", MOST_LINKS),
        ("a.yaml", "- {" + "".join(f"k{n}, " for n in range(50_000)) + "}", 0),
        ("a.csv", "id\n" + "1,2\n" * 20_000, 0),
    ],
)
def test_memory_is_bounded(tmp_path: Path, name: str, text: str, objects: int) -> None:
    (tmp_path / name).write_text(text)
    tracemalloc.start()
    faults_of(tmp_path, name)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < MOST_BYTES + 10 * len(text) + objects * 600  # a buffer for the largest file


def csv(first: int, count: int) -> str:
    return "id\n" + "".join(f"{number}\n" for number in range(first, first + count))


TOO_MANY = "with it, this account's files have more than 100000 links: remove some"


@pytest.mark.slow
def test_files_with_too_many_links_together(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(csv(0, MOST_LINKS - 1))
    (tmp_path / "b.csv").write_text(csv(MOST_LINKS, 2))
    (tmp_path / "c.csv").write_text(csv(9 * MOST_LINKS, 1))  # for which there is room
    assert faults_of(tmp_path, "*.csv") == f"b.csv: {TOO_MANY}"


@pytest.mark.slow
def test_a_file_with_errors_keeps_its_links_so_that_there_is_no_room_for_others(tmp_path: Path) -> None:
    *many, one = make_links(MOST_LINKS)
    files = (LinkFile("main", "a.csv", tuple(many)), LinkFile("main", "c.csv", (one,)))
    had = Config((), SecretStr("memory:"), (), files)
    (tmp_path / "a.csv").write_text("id\n1 2\n")
    (tmp_path / "c.csv").write_text(csv(9 * MOST_LINKS, 2))
    config = load(write_config(tmp_path, "*.csv"), {}, had)
    assert config.accounts[0].links == (*many, one)
    assert [str(fault) for fault in config.link_files[1].faults] == [f"{tmp_path}/c.csv: {TOO_MANY}"]


def test_links_that_are_elsewhere_already(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,link,name\n1,,first\n2,,second\n,https://a.example/,third\n")
    (tmp_path / "b.json").write_text('[\n {"id": 2},\n {"id": 7, "name": "first"},\n {"id": 8}\n]\n')
    (tmp_path / "c.yaml").write_text("- {link: 'https://a.example/', name: fourth}\n- {id: 9}\n- {id: 8}\n")
    own = ", links: [{id: 1, name: own}, {id: 9}]"
    # a.csv is at fault itself, so that b.json and c.yaml are not told that they clash with it
    assert faults_of(tmp_path, "*.csv", "*.json", "c.*", links=own).splitlines() == [
        "a.csv:2:1: id: config.yaml:4 is the same link: remove one",
        "c.yaml:2:8: [1].id: config.yaml:4 is the same link: remove one",
        "c.yaml:3:8: [2].id: b.json:4 is the same link: remove one",
    ]
    assert faults_of(tmp_path, "*.csv", "*.json", "c.*").splitlines() == [
        "b.json:2:9: [0].id: a.csv:3 is the same link: remove one",
        "b.json:3:20: [1].name: a.csv:2 already has this name: choose another",
        "c.yaml:1:10: [0].link: a.csv:4 is the same link: remove one",
    ]


def test_everything_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1 2\n")
    (tmp_path / "b.yaml").write_text("- {idd: 1}\n")
    assert faults_of(tmp_path, "?.*", "", links=", links: [{id: 1 3}]").splitlines() == [
        "a.csv:2:1: id: contains a space: write the id as the provider shows it, such as 145142",
        "b.yaml:1:3: [0].id: is missing: write the short link's id, or link with the full address",
        'b.yaml:1:4: [0].idd: unknown key "idd": did you mean "id"?',
        "config.yaml:4:70: accounts[0].link_files[1]: is blank: write at least one letter or digit",
        "config.yaml:4:88: accounts[0].links[0].id: contains a space: write the id as the provider shows it, "
        "such as 145142",
    ]


def test_accounts_do_not_meet(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    accounts = [f"  - {{name: {n}, login: {n}, password: x, link_files: [a.csv]}}\n" for n in ("one", "two")]
    (tmp_path / "config.yaml").write_text(TOP + "".join(accounts))
    config = load(tmp_path / "config.yaml", {})
    assert [len(account.links) for account in config.accounts] == [1, 1]
